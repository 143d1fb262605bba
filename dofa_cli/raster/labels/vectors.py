"""Vector files of labels, read in any format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import LabelsUnreadable
from dofa_cli.raster.labels.legend import listed
from dofa_cli.raster.source import Grid

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

MANY = 200_000
"""Of a file with more features only those near the scene are read."""
_PARQUET = (".parquet", ".geoparquet")


@dataclass(frozen=True)
class Features:
    """What a vector file holds: ``geometry`` in ``crs`` and the other columns; ``is_part`` where it was too large."""

    path: str
    geometry: NDArray[Any]
    table: pd.DataFrame
    crs: Any
    is_part: bool = False

    def column_of_all(self, name: str) -> pd.DataFrame:
        """Return a table with one column, over all features of the file."""
        if not self.is_part:
            return self.table
        import pyogrio

        file, layer = split_layer(self.path)
        return cast("pd.DataFrame", pyogrio.read_dataframe(file, layer=layer, columns=[name], read_geometry=False))


def is_vector(path: str) -> bool:
    """Whether a file can be read as features."""
    if _is_parquet(path):
        return True
    import pyogrio
    import pyogrio.errors

    try:
        return any(kind is not None for _, kind in pyogrio.list_layers(split_layer(path)[0]))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        return False


def split_layer(path: str) -> tuple[str, str | None]:
    """Split ``file.gpkg:layer`` where the part before the colon is a file and the whole is not."""
    name, colon, layer = path.rpartition(":")
    return (name, layer) if colon and Path(name).exists() and not Path(path).exists() else (path, None)


def read_features(path: str, grid: Grid) -> Features:
    """Read a vector file, or ``file:layer``; of a very large one, the features around the scene.

    Raises :class:`LabelsUnreadable` when it cannot be read, has no geometry, or several layers to choose from.
    """
    import geopandas as gpd
    import pyogrio
    import pyogrio.errors

    try:
        frame, is_part = (gpd.read_parquet(path), False) if _is_parquet(path) else _read_layer(path, grid)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, OSError) as error:
        raise LabelsUnreadable(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(frame, gpd.GeoDataFrame):
        raise LabelsUnreadable(f"{path} is a table without geometry.")
    return Features(path, frame.geometry.to_numpy(), frame.drop(columns=frame.geometry.name), frame.crs, is_part)


def _is_parquet(path: str) -> bool:
    return Path(path).suffix.lower() in _PARQUET


def _read_layer(path: str, grid: Grid) -> tuple[gpd.GeoDataFrame | pd.DataFrame, bool]:
    """Read a layer, and tell whether that is only what lies near the scene."""
    import pyogrio

    name, given = split_layer(path)
    layer = _layer(name, given)
    info = pyogrio.read_info(name, layer=layer)
    near = _around(grid, info["crs"]) if info["features"] > MANY else None
    return pyogrio.read_dataframe(name, layer=layer, bbox=near), near is not None


def _layer(path: str, given: str | None) -> str:
    """Return the layer to read: the only one with geometry, or the one that the user names after a colon."""
    import pyogrio

    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if given is not None and given not in layers:
        raise LabelsUnreadable(f"{path} has no layer '{given}' with geometry. Its layers: {listed(layers)}.")
    if not layers:
        raise LabelsUnreadable(f"{path} is a table without geometry.")
    if given is None and len(layers) > 1:
        raise LabelsUnreadable(
            f"{path} has {len(layers)} layers: {listed(layers)}. Name one behind a colon, as in {path}:{layers[0]}"
        )
    return given or layers[0]


def _around(grid: Grid, crs: str | None) -> tuple[float, float, float, float] | None:
    """Return the scene's bounds in the CRS of a file, or ``None`` where they cannot be told."""
    from rasterio.warp import transform_bounds

    if crs is None or grid.crs is None:
        return None
    found = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=50)
    return cast("tuple[float, float, float, float]", found) if np.isfinite(found).all() else None
