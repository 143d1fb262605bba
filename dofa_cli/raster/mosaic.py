"""What a mosaic is made of: its sheets, the grid they share, and where each lies on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, floor
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import calculate_default_transform, transform_bounds

from dofa_cli.classes import ClassTable
from dofa_cli.errors import GridError, NotARaster
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from dofa_cli.raster.writer import RasterSpec
from dofa_cli.raster.zarr_raster import open_raster

NEAR = 1e-3
"""Shares of a pixel by which a sheet may miss the mosaic's pixels and still lie on them."""
NOWHERE = Window(0, 0, 0, 0)


class Overlap(StrEnum):
    """Which value stands where several sheets have one."""

    FIRST = "first"
    LAST = "last"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"

    @property
    def mixes(self) -> bool:
        """Whether the value depends on all sheets."""
        return self not in (Overlap.FIRST, Overlap.LAST)


@dataclass(frozen=True)
class Facts:
    """What one raster says of itself."""

    path: str
    grid: Grid
    bands: int
    dtype: str
    nodata: float | None
    descriptions: tuple[str | None, ...]
    unit: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: dict[str, str]

    @property
    def is_coded(self) -> bool:
        """Whether values are codes that scale and offset turn into numbers."""
        return any(scale != 1 for scale in self.scales) or any(self.offsets)


@dataclass(frozen=True, eq=False)
class Sheet:
    """One raster of a mosaic: the pixels it covers there (``place``), and how it gets onto them.

    ``exact`` means pixel by pixel, else it is resampled; ``shift`` is how far, in pixels, its own lie from the
    mosaic's. Values that are codes have ``scales`` and ``offsets`` where they are to be decoded.
    """

    path: str
    grid: Grid
    place: Window = NOWHERE
    exact: bool = True
    shift: float = 0.0
    scales: NDArray[np.float32] | None = None
    offsets: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Mosaic:
    """A mosaic laid out: its sheets in order, and what it is to look like (``spec``).

    ``dtype`` and ``nodata`` are the sheets' own. ``classes`` are those of a class map.
    """

    sheets: Sequence[Sheet]
    spec: RasterSpec
    overlap: Overlap
    dtype: np.dtype[Any]
    nodata: float | None
    classes: ClassTable | None = None


def read_facts(path: str) -> Facts:
    """Describe a raster; raises :class:`NotARaster` and what opening a Zarr store raises."""
    try:
        with open_raster(path) as file:
            return Facts(
                path=path,
                grid=Grid(file.transform, file.crs, file.height, file.width),
                bands=file.count,
                dtype=file.dtypes[0],
                nodata=file.nodata,
                descriptions=tuple(file.descriptions),
                unit=file.units[0] or "" if file.count else "",
                scales=tuple(file.scales),
                offsets=tuple(file.offsets),
                tags=file.tags(),
            )
    except RasterioError as error:
        raise NotARaster(f"{path} cannot be opened: {str(error).splitlines()[0]}") from None


def lay_out(sheets: Sequence[Sheet], crs: str | None, resolution: float | None) -> tuple[Grid, list[Sheet]]:
    """Return the mosaic's grid and the sheets with their places on it.

    The CRS is that of all sheets, or ``crs``; the pixels are the finest sheet's, or of ``resolution`` CRS units. They
    lie on those of the first sheet that has the same, or else on multiples of their size. Raises :class:`GridError`
    for sheets in several CRS without ``crs``, and for sheets without one.
    """
    target = _target_crs(sheets, crs)
    step, origin = _lattice(sheets, target, resolution)
    left, bottom, right, top = _union(_bounds(sheet.grid, target) for sheet in sheets)
    col, row = floor((left - origin[0]) / step[0] + NEAR), floor((origin[1] - top) / step[1] + NEAR)
    x, y = origin[0] + col * step[0], origin[1] - row * step[1]
    width, height = ceil((right - x) / step[0] - NEAR), ceil((y - bottom) / step[1] - NEAR)
    grid = Grid(Affine(step[0], 0, x, 0, -step[1], y), target, height, width)
    return grid, [placed(sheet, grid) for sheet in sheets]


def placed(sheet: Sheet, grid: Grid) -> Sheet:
    """Return a sheet with its place on the mosaic's grid."""
    own, step = sheet.grid.transform, grid.transform
    left, bottom, right, top = _bounds(sheet.grid, grid.crs)
    col, row = (left - step.c) / step.a, (top - step.f) / step.e
    if _same_pixels(sheet.grid, grid):
        at_row, at_col = round(row), round(col)
        shift = max(abs(row - at_row), abs(col - at_col))
        place = Window(at_row, at_col, sheet.grid.height, sheet.grid.width)
        return replace(sheet, place=place, exact=True, shift=0.0 if shift < NEAR else shift)
    assert not own.is_degenerate, "a raster covers some ground"
    first_row, first_col = floor(row + NEAR), floor(col + NEAR)
    end_row, end_col = ceil((bottom - step.f) / step.e - NEAR), ceil((right - step.c) / step.a - NEAR)
    found = Window(first_row, first_col, end_row - first_row, end_col - first_col)
    return replace(sheet, place=found.intersect(Window(0, 0, grid.height, grid.width)), exact=False)


def _target_crs(sheets: Sequence[Sheet], crs: str | None) -> CRS:
    first = sheets[0]
    for sheet in sheets:
        if sheet.grid.crs is None:
            raise GridError(f"{sheet.path} has no coordinates, so it has no place in a mosaic.")
        if crs is None and sheet.grid.crs != first.grid.crs:
            raise GridError(
                f"{first.path} is in {_name(first.grid.crs)}, {sheet.path} in {_name(sheet.grid.crs)}. "
                f"Name the mosaic's coordinate system: --crs {_name(first.grid.crs)}."
            )
    if crs is None:
        return first.grid.crs
    try:
        return CRS.from_user_input(crs)
    except CRSError:
        raise GridError(f"--crs '{crs}' is not a coordinate system. Write for instance EPSG:32633.") from None


def _lattice(
    sheets: Sequence[Sheet], target: CRS, resolution: float | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the pixels' width and height, and a point where they begin."""
    own = [sheet.grid for sheet in sheets if sheet.grid.crs == target and _is_upright(sheet.grid)]
    if resolution is not None:
        step = (resolution, resolution)
    elif own:
        step = min(((grid.transform.a, -grid.transform.e) for grid in own), key=lambda size: size[0] * size[1])
    else:
        step = min((_warped_step(sheet.grid, target) for sheet in sheets), key=lambda size: size[0] * size[1])
    anchor = next((grid for grid in own if _is_step(grid, step)), None)
    return step, (0.0, 0.0) if anchor is None else (anchor.transform.c, anchor.transform.f)


def _warped_step(grid: Grid, target: CRS) -> tuple[float, float]:
    found, _, _ = calculate_default_transform(grid.crs, target, grid.width, grid.height, *grid.bounds)
    return float(found.a), float(-found.e)


def _bounds(grid: Grid, target: CRS | None) -> tuple[float, float, float, float]:
    if grid.crs == target:
        return grid.bounds
    try:
        left, bottom, right, top = transform_bounds(grid.crs, target, *grid.bounds)
    except (CRSError, RasterioError) as error:
        raise GridError(f"{_name(target)} does not reach a sheet at {grid.bounds} in {grid.crs}: {error}") from None
    if not np.isfinite((left, bottom, right, top)).all():
        raise GridError(f"{_name(target)} does not reach a sheet at {grid.bounds} in {_name(grid.crs)}.")
    return left, bottom, right, top


def _union(bounds: Iterable[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    lefts, bottoms, rights, tops = zip(*bounds, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _same_pixels(grid: Grid, other: Grid) -> bool:
    step = other.transform.a, -other.transform.e
    return grid.crs == other.crs and _is_upright(grid) and _is_step(grid, step)


def _is_upright(grid: Grid) -> bool:
    step = grid.transform
    return not (step.b or step.d) and step.a > 0 > step.e


def _is_step(grid: Grid, step: tuple[float, float]) -> bool:
    """Whether pixels have a size, to a small share of one over the whole grid."""
    width, height = abs(grid.transform.a - step[0]) * grid.width, abs(-grid.transform.e - step[1]) * grid.height
    return width < NEAR * step[0] and height < NEAR * step[1]


def _name(crs: CRS | None) -> str:
    return "no coordinate system" if crs is None else crs.to_string()
