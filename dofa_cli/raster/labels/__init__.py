"""Labels on a scene's grid: polygons, lines, points and rasters, in any format and coordinate system."""

from dofa_cli.raster.labels.block import LabelBlock, Labels
from dofa_cli.raster.labels.opening import open_labels

__all__ = ["LabelBlock", "Labels", "open_labels"]
