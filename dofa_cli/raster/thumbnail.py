"""A raster at screen size, read tile by tile: memory stays bounded whatever its bands, rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DamagedRaster
from dofa_cli.raster.grid import Window
from dofa_cli.raster.header import FileBand, Header

TILE_BYTES = 32 * 2**20
"""Values read at once."""
SOURCE_BYTES = 128 * 2**20
"""Values of the file under them: GDAL's cache must hold their blocks, or it decodes them once for every band."""


@dataclass(frozen=True)
class Piece:
    """Part of a thumbnail: its place, ``values`` (bands, height, width) as in the file, ``valid`` (height, width)."""

    window: Window
    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Thumbnail:
    """Some bands of a file with every ``step``-th row and column; ``height`` and ``width`` in its own pixels."""

    header: Header
    bands: tuple[FileBand, ...]
    step: int

    @property
    def height(self) -> int:
        """Rows of the thumbnail."""
        return ceil(self.header.grid.height / self.step)

    @property
    def width(self) -> int:
        """Columns of the thumbnail."""
        return ceil(self.header.grid.width / self.step)

    def pieces(self) -> Iterator[Piece]:
        """Read the thumbnail, a tile at a time; a pixel is valid where every band is.

        Raises :class:`DamagedRaster`.
        """
        indexes = [band.index for band in self.bands]
        try:
            with rasterio.open(self.header.path) as file:
                for window in _tiles(self):
                    source, shape = _source(self, window), (window.height, window.width)
                    how = {"window": source, "resampling": Resampling.nearest}
                    values = file.read(indexes, out_shape=(len(indexes), *shape), **how)
                    mask = file.dataset_mask(out_shape=shape, **how) > 0 if self.header.has_mask else True
                    yield Piece(window, values, _valid(values, self.bands) & mask)
        except RasterioError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise DamagedRaster(f"Cannot read {self.header.path}: {reason}") from None


def thumbnail(header: Header, bands: Sequence[FileBand], longest: int) -> Thumbnail:
    """Return ``bands`` of a file at most ``longest`` rows high and columns wide."""
    return Thumbnail(header, tuple(bands), ceil(max(header.grid.height, header.grid.width) / longest))


def _tiles(shown: Thumbnail) -> Iterator[Window]:
    """Cut a thumbnail into tiles of :data:`TILE_BYTES` that follow the file's blocks, so that few are read twice."""
    depth = len(shown.bands) * max(band.dtype.itemsize for band in shown.bands)
    pixels = max(1, min(TILE_BYTES // depth, SOURCE_BYTES // (depth * shown.step**2)))
    block_height, block_width = (max(1, side // shown.step) for side in shown.header.block)
    width = min(shown.width, max(isqrt(pixels), min(block_width, pixels)))
    width = width // block_width * block_width or width
    height = max(1, min(shown.height, pixels // width))
    height = height // block_height * block_height or height
    for row in range(0, shown.height, height):
        for col in range(0, shown.width, width):
            yield Window(row, col, height, width).intersect(Window(0, 0, shown.height, shown.width))


def _source(shown: Thumbnail, window: Window) -> RasterWindow:
    """Return the file's pixels under part of a thumbnail."""
    grid = shown.header.grid
    full = window.scaled(shown.step).intersect(Window(0, 0, grid.height, grid.width))
    return RasterWindow(full.col, full.row, full.width, full.height)


def _valid(values: NDArray[Any], bands: Sequence[FileBand]) -> NDArray[np.bool_]:
    valid = np.ones(values.shape[1:], bool)
    for layer, band in zip(values, bands, strict=True):
        if layer.dtype.kind in "fc":
            valid &= np.isfinite(layer)
        if band.nodata is not None and np.isfinite(band.nodata):
            valid &= layer != band.nodata
    return valid
