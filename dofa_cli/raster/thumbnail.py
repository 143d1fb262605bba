"""A raster at screen size, read tile by tile: memory stays bounded whatever its bands, rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DamagedRaster
from dofa_cli.raster.grid import Window
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.zarr_raster import open_raster

TILE_BYTES = 32 * 2**20
"""Values read at once."""


@dataclass(frozen=True)
class Piece:
    """Part of a thumbnail: its place, ``values`` (bands, height, width) as in the file, ``valid`` (height, width)."""

    window: Window
    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Thumbnail:
    """Every ``step``-th row and column of some bands of an overview, or of the file where ``level`` is ``None``.

    ``height`` and ``width`` are in pixels of the thumbnail.
    """

    header: Header
    bands: tuple[FileBand, ...]
    level: int | None
    step: int
    height: int
    width: int

    def pieces(self) -> Iterator[Piece]:
        """Read the thumbnail, a tile at a time; a pixel is valid where every band is. Raises :class:`DamagedRaster`.

        Tiles are read in full and thinned here: GDAL would decode pixel-interleaved blocks once for every band.
        """
        indexes, step = [band.index for band in self.bands], self.step
        try:
            with _opened(self.header.path, self.level) as file:
                for tile in _tiles(file, self.bands):
                    window = RasterWindow(tile.col, tile.row, tile.width, tile.height)
                    kept = slice(-tile.row % step, None, step), slice(-tile.col % step, None, step)
                    values = file.read(indexes, window=window)[:, *kept]
                    mask = file.dataset_mask(window=window)[kept] > 0 if self.header.has_mask else True
                    place = Window(-(-tile.row // step), -(-tile.col // step), *values.shape[1:])
                    yield Piece(place, values, _valid(values, self.bands) & mask)
        except RasterioError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise DamagedRaster(f"Cannot read {self.header.path}: {reason}") from None


def thumbnail(header: Header, bands: Sequence[FileBand], longest: int) -> Thumbnail:
    """Return ``bands`` of a file at most ``longest`` rows high and columns wide, from an overview if one fits."""
    with _opened(header.path, None) as file:
        side = max(file.height, file.width)
        fitting = [level for level, factor in enumerate(file.overviews(1)) if side // factor >= longest]
    level = max(fitting, default=None)
    with _opened(header.path, level) as file:
        step = ceil(max(file.height, file.width) / longest)
        return Thumbnail(header, tuple(bands), level, step, ceil(file.height / step), ceil(file.width / step))


def _opened(path: str, level: int | None) -> Any:
    return open_raster(path) if level is None else open_raster(path, OVERVIEW_LEVEL=level)


def _tiles(file: Any, bands: Sequence[FileBand]) -> Iterator[Window]:
    """Cut a file into tiles of about :data:`TILE_BYTES` and of whole blocks where they are not larger than that."""
    pixels = TILE_BYTES // (len(bands) * max(band.dtype.itemsize for band in bands))
    block_height, block_width = file.block_shapes[bands[0].index - 1]
    width = min(file.width, block_width * max(1, isqrt(pixels) // block_width))
    rows = max(1, pixels // width)
    height = min(file.height, rows // block_height * block_height or rows)
    for row in range(0, file.height, height):
        for col in range(0, file.width, width):
            yield Window(row, col, height, width).intersect(Window(0, 0, file.height, file.width))


def _valid(values: NDArray[Any], bands: Sequence[FileBand]) -> NDArray[np.bool_]:
    valid = np.ones(values.shape[1:], bool)
    for layer, band in zip(values, bands, strict=True):
        if layer.dtype.kind == "f":
            valid &= np.isfinite(layer)
        if band.nodata is not None and np.isfinite(band.nodata):
            valid &= layer != band.nodata
    return valid
