"""Where samples lie, for splitting: blocks of ground with whole polygons, whole scenes, or single samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.learning.folds import Sites, SplitBy, SplitOptions
from dofa_cli.pipelines.learning.labelled_scenes import Place, on_ground
from dofa_cli.pipelines.learning.sampling import Points
from dofa_cli.raster.blocks import FOLDS, Blocks, choose_blocks, stated_blocks
from dofa_cli.raster.grid import Window
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.source import Grid

EQUAL_AREA = CRS.from_epsg(6933)
"""Metres for places all over the world."""


def scene_sites(points: Points, places: Sequence[Place], options: SplitOptions, reach: int) -> Sites:
    """Say how labelled pixels may be split; ``reach`` is how many pixels the network sees at once.

    Scenes that lie apart are units as a whole where there are enough of them, else blocks of each ground are.
    """
    if options.by is SplitBy.RANDOM:
        single = np.arange(len(points), dtype=np.int64)
        unit = np.where(points.group >= 0, -1 - points.group, single)
        whole = "polygons" if (points.group >= 0).all() else "pixels"
        return Sites(unit, points.stratum, points.weight, f"random {whole}; neighbours may be on both sides")
    ground, row, col = on_ground(points, places)
    grounds = np.unique(ground)
    if options.by is SplitBy.AUTO and options.block is None and len(grounds) >= max(FOLDS, options.cv or 0):
        return Sites(ground.astype(np.int64), points.stratum, points.weight, "whole scenes")
    unit = np.empty(len(points), np.int64)
    for number in grounds:
        mine = ground == number
        blocks = _blocks(row[mine], col[mine], places[number].grid, options, reach)
        unit[mine] = (int(number) << 32) + blocks.units_of(row[mine], col[mine], points.group[mine])
    how = _told(blocks, places[int(grounds[-1])].grid)
    return Sites(unit, points.stratum, points.weight, how, ground, row, col, guard=reach)


def chip_sites(points: Points, grids: Sequence[Grid], options: SplitOptions) -> Sites:
    """Say how chips may be split: in blocks where all have coordinates, else one by one."""
    single = np.arange(len(points), dtype=np.int64)
    if options.by is SplitBy.RANDOM:
        return Sites(single, points.stratum, points.weight, "random images; neighbours may be on both sides")
    if any(grid.crs is None for grid in grids):
        if options.by is SplitBy.BLOCKS or options.block:
            raise OptionError("The images have no coordinates, so they cannot be split in blocks. Leave --block out.")
        return Sites(single, points.stratum, points.weight, "random images, which have no coordinates")
    xs, ys = _centres(grids)
    size = _side(grids)
    rows, cols = np.floor((ys.max() - ys) / size), np.floor((xs - xs.min()) / size)
    extent = Window(0, 0, int(rows.max()) + 1, int(cols.max()) + 1)
    blocks = choose_blocks(extent, 1, folds=options.cv or FOLDS)
    if options.block is not None:
        metres = stated_blocks(extent, options.block, Grid(grids[0].transform, grids[0].crs, 1, 1))
        pixel = ground_pixel(grids[0])
        assert pixel is not None
        step = max(1, round(metres.height * pixel.height / size))
        blocks = Blocks(extent, step, step)
    how = f"blocks of {blocks.height * size / 1000:.3g} × {blocks.width * size / 1000:.3g} km"
    return Sites(blocks.block_of(rows, cols), points.stratum, points.weight, how)


def _blocks(rows: NDArray[np.int64], cols: NDArray[np.int64], grid: Grid, options: SplitOptions, reach: int) -> Blocks:
    top, left = int(rows.min()), int(cols.min())
    extent = Window(top, left, int(rows.max()) + 1 - top, int(cols.max()) + 1 - left)
    if options.block is not None:
        return stated_blocks(extent, options.block, grid)
    return choose_blocks(extent, reach, folds=options.cv or FOLDS)


def _told(blocks: Blocks, grid: Grid) -> str:
    said = f"blocks of {blocks.height} × {blocks.width} pixels"
    pixel = ground_pixel(grid)
    if pixel is None:
        return said
    return f"{said} ({blocks.height * pixel.height:,.0f} × {blocks.width * pixel.width:,.0f} m)"


def _centres(grids: Sequence[Grid]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    xs, ys = np.empty(len(grids)), np.empty(len(grids))
    for number, grid in enumerate(grids):
        assert grid.crs is not None
        x, y = grid.transform @ (grid.width / 2, grid.height / 2)
        found = transform(grid.crs, EQUAL_AREA, [x], [y])
        xs[number], ys[number] = found[0][0], found[1][0]
    return xs, ys


def _side(grids: Sequence[Grid]) -> float:
    """Return the side of a typical chip in metres."""
    pixel = ground_pixel(grids[0])
    return 1.0 if pixel is None else max(1.0, pixel.height * grids[0].height)
