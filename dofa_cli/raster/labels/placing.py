"""Drawn labels brought onto a scene's pixels: reprojected, repaired, counted, and made polygons of."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from dofa_cli.errors import LabelsMiss, OptionError
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.labels.block import whereabouts
from dofa_cli.raster.labels.vectors import Features
from dofa_cli.raster.source import Grid

EARTH_RADIUS_M = 6.371e6
BEND_PX = 0.1
"""How far an edge may bend away from its straight line when it is reprojected, in pixels."""
_EDGE = 1e-5
"""What reaches less far into the scene, in pixels, only touches it."""
_POLYGON, _LINE, _POINT = 2, 1, 0
"""Dimensions of geometries."""


@dataclass(frozen=True)
class Placed:
    """Polygons in pixels of a scene (x right, y down), and the feature that each is a part of.

    ``tiny`` ones hit no pixel's centre; they stand for the pixel they lie in, where no other claims it.
    """

    shapes: NDArray[Any]
    feature: NDArray[np.int64]
    tiny: NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def place(features: Features, grid: Grid, buffer_m: float | None) -> Placed:
    """Bring geometries onto the pixels of ``grid``: empty ones left out, broken ones repaired, both counted.

    Points and lines become polygons: the pixel that a point lies in, the pixels within half a pixel of a line, or all
    within ``buffer_m`` metres. Raises :class:`LabelsMiss` when nothing touches the scene.
    """
    _check_crs(features, grid)
    there = ~(shapely.is_missing(features.geometry) | shapely.is_empty(features.geometry))
    kept = np.flatnonzero(there)
    repaired, broken = _repaired(shapely.force_2d(features.geometry[kept]))
    parts, of = _simple_parts(_to_crs(repaired, features.crs, grid))
    shapes, tiny = _as_polygons(_to_pixels(parts, grid), grid, buffer_m)
    scene = shapely.box(_EDGE, _EDGE, grid.width - _EDGE, grid.height - _EDGE)
    near = shapely.intersects(shapes, scene) & (shapely.area(shapes) > 0)
    if not near.any():
        raise LabelsMiss(_missed(features, grid))
    notes = (
        _note(int((~there).sum()), "{} of {} without geometry {} left out.", features),
        _note(broken, "{} of {} with broken geometry {} repaired.", features),
        _note(len(kept) - len(np.unique(of[near])), "{} of {} outside the scene {} left out.", features),
        _note(int(tiny[near].sum()), "{} parts of {} smaller than a pixel {} given the pixel they lie in.", features),
    )
    return Placed(shapes[near], kept[of[near]], tiny[near], tuple(note for note in notes if note))


def _check_crs(features: Features, grid: Grid) -> None:
    if features.crs is None and grid.crs is not None:
        raise LabelsMiss(
            f"{features.path} does not say its coordinate system. State it with: "
            f"ogr2ogr -a_srs EPSG:… labels.gpkg {features.path}"
        )
    if features.crs is not None and grid.crs is None:
        raise LabelsMiss(
            f"The scene has no coordinate system, so {features.path} cannot be placed on it. "
            f"Give it one with: gdal_edit.py -a_srs EPSG:… FILE"
        )


def _repaired(geometry: NDArray[Any]) -> tuple[NDArray[Any], int]:
    broken = ~shapely.is_valid(geometry)
    geometry = geometry.copy()
    geometry[broken] = shapely.make_valid(geometry[broken], method="structure", keep_collapsed=False)
    return geometry, int(broken.sum())


def _to_crs(geometry: NDArray[Any], crs: Any, grid: Grid) -> NDArray[Any]:
    """Reproject, with long edges divided first so that they bend with the ground."""
    import geopandas as gpd

    series = gpd.GeoSeries(geometry, crs=crs)
    if crs is None or series.crs == grid.crs:
        return geometry
    moved = gpd.GeoSeries(shapely.segmentize(geometry, _longest_edge(series.crs, grid)), crs=crs).to_crs(grid.crs)
    reached = np.isfinite(moved.bounds.to_numpy()).all(axis=1)
    return np.asarray(np.where(reached, moved.to_numpy(), shapely.Polygon()), dtype=object)


def _longest_edge(crs: Any, grid: Grid) -> float:
    """Return the length, in units of ``crs``, of an edge that bends by :data:`BEND_PX` at 80° of latitude.

    An edge of length L along a parallel bends by L² · tan(latitude) / 8R.
    """
    pixel = ground_pixel(grid)
    width = min(pixel.width, pixel.height) if pixel else grid.pixel_size
    metres = sqrt(8 * EARTH_RADIUS_M * BEND_PX * width / np.tan(np.radians(80)))
    unit = np.pi * EARTH_RADIUS_M / 180 if crs.is_geographic else crs.axis_info[0].unit_conversion_factor
    return float(metres / unit)


def _simple_parts(geometry: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Take collections apart; a dissolved class is many polygons, of which a split may take some."""
    parts, of = shapely.get_parts(geometry, return_index=True)
    inner, within = shapely.get_parts(parts, return_index=True)  # collections may hold multipolygons
    return inner, of[within]


def _to_pixels(geometry: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Return geometries in columns and rows; rounded, so that edges on pixel corners stay there."""
    inverse = ~grid.transform
    turn = np.array([[inverse.a, inverse.d], [inverse.b, inverse.e]])
    return np.asarray(
        shapely.transform(geometry, lambda xy: np.round(xy @ turn + (inverse.c, inverse.f), 6)), dtype=object
    )


def _as_polygons(shapes: NDArray[Any], grid: Grid, buffer_m: float | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return polygons for all geometries, and which of them were smaller than a pixel and hit no pixel's centre."""
    dimension = shapely.get_dimensions(shapes)
    shapes = shapes.copy()
    thin = dimension < _POLYGON
    if buffer_m is not None and thin.any():
        shapes[thin] = _widened(shapes[thin], grid, buffer_m)
    else:
        shapes[dimension == _LINE] = shapely.buffer(shapes[dimension == _LINE], 0.5, cap_style="flat")
        shapes[dimension == _POINT] = _pixel_of(shapes[dimension == _POINT])
    tiny = (shapely.area(shapes) < 1) & ~thin & ~shapely.is_empty(shapes)
    tiny[tiny] = ~_hit_a_centre(shapes[tiny])
    shapes[tiny] = _pixel_of(shapely.point_on_surface(shapes[tiny]))
    return shapes, tiny


def _widened(shapes: NDArray[Any], grid: Grid, buffer_m: float) -> NDArray[Any]:
    pixel = ground_pixel(grid)
    if pixel is None:
        raise OptionError("Labels cannot be widened by metres on a scene without a coordinate system.")
    size = np.array((pixel.width, pixel.height))
    wide = shapely.buffer(shapely.transform(shapes, lambda xy: xy * size), buffer_m)
    return np.asarray(shapely.transform(wide, lambda xy: xy / size), dtype=object)


def _pixel_of(points: NDArray[Any]) -> NDArray[Any]:
    col, row = np.floor(shapely.get_x(points)), np.floor(shapely.get_y(points))
    return np.asarray(shapely.box(col, row, col + 1, row + 1), dtype=object)


def _hit_a_centre(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which polygons hold the centre of a pixel, by trying all centres inside their bounds."""
    hit = np.zeros(len(shapes), bool)
    for at, (left, top, right, bottom) in enumerate(shapely.bounds(shapes)):
        cols, rows = np.arange(np.floor(left), right) + 0.5, np.arange(np.floor(top), bottom) + 0.5
        hit[at] = shapely.contains_xy(shapes[at], *np.meshgrid(cols, rows)).any()
    return hit


def _missed(features: Features, grid: Grid) -> str:
    bounds = tuple(gpd.GeoSeries(features.geometry).total_bounds)
    if not np.isfinite(bounds).all():
        return f"{features.path} holds no geometry."
    return (
        f"{features.path} does not touch the scene: it covers {whereabouts(bounds, features.crs)}, "
        f"the scene {whereabouts(grid.bounds, grid.crs)}."
    )


def _note(count: int, text: str, features: Features) -> str:
    return text.format(count, f"the features in {features.path}", "was" if count == 1 else "were") if count else ""
