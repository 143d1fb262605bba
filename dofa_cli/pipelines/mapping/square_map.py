"""A raster of one pixel a square: a class map with colours and names, or numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Head
from dofa_cli.pipelines.mapping.predictor import Predictions
from dofa_cli.pipelines.mapping.squares import Squares
from dofa_cli.raster.grid import Window
from dofa_cli.raster.style_files import write_style
from dofa_cli.raster.writer import Overviews, RasterSpec, write_cog

RASTERS = (".tif", ".tiff")


def write_square_map(path: Path, squares: Squares, found: Predictions, head: Head, tags: dict[str, str]) -> None:
    """Write the class of each square, or the number, as a COG; :func:`write_square_style` goes with it.

    Raises :class:`OptionError` for heads of several classes an image, which one band cannot hold.
    """
    if head.several:
        raise OptionError("A head of several classes an image fills no single band. Write a .gpkg or .parquet instead.")
    values = _values(found, head).reshape(squares.height, squares.width, 1)
    spec = RasterSpec(
        grid=squares.coarse,
        bands=1,
        dtype=str(values.dtype),
        nodata=float("nan") if head.classes is None else head.classes.nodata,
        descriptions=("class" if head.classes is not None else head.target.name if head.target else "value",),
        tags=tags,
        colours=_colours(head),
        overviews=Overviews.MOST if head.classes is not None else None,
    )
    write_cog(path, lambda window: _part(values, window), spec)


def write_square_style(path: Path, head: Head) -> tuple[Path, ...]:
    """Write names and colours beside a class map; return their files."""
    return () if head.classes is None else write_style(path, head.classes)


def _values(found: Predictions, head: Head) -> NDArray[Any]:
    return found.values[:, 0] if head.classes is None else head.classes.raster(found.classes)


def _colours(head: Head) -> dict[int, tuple[int, int, int]] | None:
    classes = head.classes
    if classes is None or classes.dtype != "uint8":
        return None
    return dict(zip(classes.values, classes.colours, strict=True))


def _part(values: NDArray[Any], window: Window) -> NDArray[np.generic]:
    rows, cols = window.slices
    return np.asarray(values[rows, cols])
