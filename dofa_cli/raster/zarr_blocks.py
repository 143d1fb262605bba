"""A whole raster into a Zarr store, block by block from one process: maps, which are decoded at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from pathlib import Path

import numpy as np

from dofa_cli.classes import ClassTable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.writer import Blocks, RasterSpec
from dofa_cli.raster.zarr_layout import ZarrLayout
from dofa_cli.raster.zarr_store import create, finish, write_region

REGION_BYTES = 64 * 10**6
"""Most bytes of a region, which is held while its blocks are made."""
MOST_BLOCKS = 8
"""Blocks a side of a region."""


def write_zarr(
    path: Path,
    blocks: Blocks,
    spec: RasterSpec,
    name: str,
    *,
    classes: ClassTable | None = None,
    on_block: Callable[[], object] = lambda: None,
) -> None:
    """Write the blocks (rows, cols, bands) that a function gives for windows as a finished store at ``path``.

    Each block is asked for once, row by row within a region. Memory stays at one region. Raises
    :class:`OutputUnwritable` or :class:`NoSpace`.
    """
    layout = ZarrLayout(name, spec, region_side(spec), classes)
    create(path, layout)
    whole = Window(0, 0, spec.grid.height, spec.grid.width)
    for region in _tiled(whole, layout.shards[1], layout.shards[2]):
        values = np.empty((region.height, region.width, spec.bands), layout.dtype)
        for block in _tiled(region, spec.block, spec.block):
            values[block.relative_to(region).slices] = blocks(block)
            on_block()
        write_region(path, region, values)
    finish(path)


def region_side(spec: RasterSpec) -> int:
    """Return the side of a region in pixels: whole blocks, few enough to be held."""
    pixel_bytes = spec.bands * np.dtype(spec.dtype).itemsize
    count = isqrt(REGION_BYTES // pixel_bytes) // spec.block
    return spec.block * max(1, min(count, MOST_BLOCKS))


def _tiled(window: Window, height: int, width: int) -> Iterator[Window]:
    for row in range(window.row, window.bottom, height):
        for col in range(window.col, window.right, width):
            yield Window(row, col, height, width).intersect(window)
