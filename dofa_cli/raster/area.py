"""An area of interest: read from any vector file, cut the scene to it on the scene's own cells."""

from __future__ import annotations

from math import ceil, gcd
from pathlib import Path
from typing import Any

import numpy as np

from dofa_cli.errors import AreaError, GridError
from dofa_cli.raster.grid import CellGrid, Window
from dofa_cli.raster.scene import Scene


def crop_to_area(scene: Scene, path: str | Path, patch: int, zoom: int) -> Scene:
    """Crop ``scene`` outward to its own cells around the polygons in ``path``; pixels outside them become invalid.

    Raises :class:`AreaError` when the file cannot be read, has no polygons or misses the scene.
    """
    area = read_area(path, scene.grid.crs)
    window = scene.pixel_window(area.bounds)
    step = patch // gcd(patch, zoom)  # the smallest number of pixels that is a whole number of cells
    row, col = window.row // step * step, window.col // step * step
    bottom = min(ceil(window.bottom / step) * step, scene.height)
    right = min(ceil(window.right / step) * step, scene.width)
    return scene.crop(Window(row, col, bottom - row, right - col)).within(area)


def read_area(path: str | Path, crs: Any) -> Any:
    """Return the union of the polygons in a vector file, in ``crs`` (that of the file is taken if it has none)."""
    import geopandas as gpd  # slow to import, and only areas need it
    import pyogrio.errors

    try:
        frame = gpd.read_file(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise AreaError(f"{path} cannot be read as a vector file: {str(error).splitlines()[0]}") from None
    if not isinstance(frame, gpd.GeoDataFrame):  # a table without geometry
        raise AreaError(f"{path} holds no polygons.")
    if crs is not None and frame.crs is not None:
        frame = frame.to_crs(crs)
    shapes = frame.geometry.explode()
    polygons = shapes[shapes.geom_type == "Polygon"]
    if polygons.empty:
        raise AreaError(f"{path} holds no polygons.")
    reached = polygons[np.isfinite(polygons.bounds).all(axis=1)]
    if reached.empty:
        raise AreaError(f"{path} lies where the scene's coordinate system does not reach.")
    return reached.make_valid().union_all()


def snapped_grid(scene: Scene, patch: int, zoom: int) -> CellGrid:
    """Return cells that start at multiples of the cell size in the CRS, so that dates and neighbours line up.

    The scene keeps its own pixels: where its origin is not on a multiple of the pixel size, that part of a pixel is
    the same for all cells. Raises :class:`GridError` for rotated or ungeoreferenced scenes.
    """
    transform = scene.grid.transform
    if scene.grid.crs is None or transform.b or transform.d:
        raise GridError("--snap needs a scene with coordinates and without rotation.")
    if patch % zoom:
        raise GridError(f"--snap needs a zoom that divides the patch of {patch} pixels, not {zoom}.")
    step = patch // zoom
    row = _pixels_before(transform.f, transform.e, step)
    col = _pixels_before(transform.c, transform.a, step)
    return CellGrid(scene.height, scene.width, patch, zoom, row * zoom, col * zoom)


def _pixels_before(origin: float, pixel: float, step: int) -> int:
    """Return how many pixels lie between the multiple of ``step`` pixels at or before ``origin`` and ``origin``."""
    return int((origin / pixel + 1e-6) // 1) % step
