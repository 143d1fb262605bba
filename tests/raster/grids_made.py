"""Grids of every kind that labels and polygons must come back on: projected, in degrees, rotated, south up."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import Polygon

from dofa_cli.raster.source import Grid

TRANSFORMS = {
    "projected": ("EPSG:32633", Affine(10, 0, 300000, 0, -10, 5800020)),
    "degrees": ("EPSG:4326", Affine(0.0001, 0, 12.3, 0, -0.00007, 52.4)),
    "rotated": ("EPSG:32633", Affine.translation(300000, 5800020) @ Affine.rotation(30) @ Affine.scale(10, -10)),
    "south up": ("EPSG:32733", Affine(30, 0, 300000, 0, 30, 5800020)),
}


def made_grid(kind: str, height: int, width: int) -> Grid:
    crs, transform = TRANSFORMS[kind]
    return Grid(transform, CRS.from_user_input(crs), height, width)


def on_ground(grid: Grid, *corners: tuple[float, float]) -> Polygon:
    """The polygon through (col, row) corners of pixels, in the grid's CRS."""
    return Polygon([grid.transform @ corner for corner in corners])


def square(grid: Grid, col: float, row: float, right: float, bottom: float) -> Polygon:
    return on_ground(grid, (col, row), (right, row), (right, bottom), (col, bottom))


def centres_in(grid: Grid, shape: shapely.Geometry) -> np.ndarray:
    """Which pixel centres lie inside a shape in the grid's CRS, by shapely alone."""
    cols, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    t = grid.transform
    return shapely.contains_xy(shape, t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f)
