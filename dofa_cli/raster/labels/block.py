"""What labels are to those who read them, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from dofa_cli.classes import UNLABELLED, ClassTable
from dofa_cli.raster.grid import Window

NO_GROUP = -1
"""Group of pixels of label rasters, and of unlabelled ones."""


@dataclass(frozen=True)
class LabelBlock:
    """The labels of a block of pixels (height, width).

    ``values`` are class indices (int16, −1 unlabelled) or numbers (float32, NaN unlabelled). ``group`` (int32) is the
    number of the polygon, line or point that labels a pixel: pixels of one group belong on one side of a split.
    """

    values: NDArray[Any]
    group: NDArray[np.int32]


class Labels(Protocol):
    """Labels of one scene, read by the window.

    ``classes`` is ``None`` for numbers. ``smallest_px`` is the width in pixels of a typical labelled object, ``None``
    for points and numbers on a raster. ``notes`` are sentences for the user: what was left out, repaired or assumed.
    """

    @property
    def classes(self) -> ClassTable | None:
        """The classes that ``values`` of a block count through."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, repaired or assumed."""

    @property
    def smallest_px(self) -> float | None:
        """Width of a typical labelled object in pixels."""

    def extent(self) -> Window:
        """Return the pixels that may hold labels."""

    def read(self, window: Window) -> LabelBlock:
        """Return the labels under ``window``, which lies inside the scene."""


@dataclass(frozen=True)
class LabelOptions:
    """What the user says of a label file; :func:`dofa_cli.raster.labels.open_labels` explains each."""

    field: str | None = None
    ignore: Sequence[int | str] = ()
    nodata: int | None = None
    numeric: bool = False
    classes: ClassTable | None = None
    buffer_m: float | None = None


def blank(height: int, width: int, *, numeric: bool) -> LabelBlock:
    """Return a block without a label."""
    empty = np.full((height, width), np.nan, np.float32) if numeric else np.full((height, width), UNLABELLED, np.int16)
    return LabelBlock(empty, np.full((height, width), NO_GROUP, np.int32))


def whereabouts(bounds: tuple[float, float, float, float], crs: CRS | None) -> str:
    """Say where left, bottom, right and top lie: in degrees where that can be told, else in the CRS's own units."""
    if crs is not None:
        try:
            west, south, east, north = transform_bounds(crs, CRS.from_epsg(4326), *bounds)
            if np.isfinite((west, south, east, north)).all():
                return f"longitude {west:.5g} to {east:.5g}, latitude {south:.5g} to {north:.5g}"
        except (CPLE_BaseError, RasterioError):
            pass  # a local system that nothing ties to the earth, or a place outside of the projection
    left, bottom, right, top = bounds
    return f"x {left:.6g} to {right:.6g}, y {bottom:.6g} to {top:.6g}"
