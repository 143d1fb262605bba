"""A class raster as polygons: traced strip by strip, joined across strips, simplified with their neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.features import rasterize, shapes
from rasterio.windows import Window as RasterWindow

from dofa_cli.classes import ClassTable
from dofa_cli.errors import OptionError, OutputUnwritable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.ground import ELLIPSOID, ground_pixel
from dofa_cli.raster.source import GDAL_OPTIONS, Grid
from dofa_cli.raster.vector import WGS84
from dofa_cli.raster.writer import explained, working_file
from dofa_cli.raster.zarr_raster import open_raster

if TYPE_CHECKING:
    import geopandas as gpd

STRIP_PIXELS = 8_000_000
"""Pixels traced at once."""
DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".fgb": "FlatGeobuf"}
_PARQUET = (".parquet", ".geoparquet")
_NOTHING = 1e-6
"""Tolerance that takes out vertices on straight lines only, in pixels."""

Area = tuple[Any, int]
"""A polygon in pixels (x right, y down) and its class index."""


@dataclass(frozen=True)
class Shaping:
    """How polygons are made of areas; :func:`polygonise` explains each."""

    simplify_px: float = 0.0
    min_area_m2: float = 0.0
    min_area_px: float = 0.0
    strip_rows: int | None = None


def check_polygon_format(out: Path) -> None:
    """Raise :class:`OptionError` for a file that polygons cannot be written to, before any work."""
    if out.suffix.lower() not in (*DRIVERS, *_PARQUET):
        raise OptionError(f"{out}: polygons are written as .gpkg, .parquet, .geojson or .fgb.")


def polygonise(
    raster: Path,
    classes: ClassTable,
    out: Path,
    *,
    simplify_px: float = 0.0,
    min_area_m2: float = 0.0,
    min_area_px: float = 0.0,
    strip_rows: int | None = None,
) -> int:
    """Write the areas of one class in a class raster as polygons; return how many.

    Pixels belong together that share an edge. ``simplify_px`` takes out corners of triangles smaller than its square
    (pixels), on both sides of a border at once, so that neighbours stay flush. Areas under ``min_area_m2`` or
    ``min_area_px``, measured before that, are left out. Columns are ``value``, ``name`` and ``area_m2`` on the
    ellipsoid (``area_px`` without a coordinate system). GeoJSON is in WGS84, all else in the raster's CRS.
    ``strip_rows`` are the rows traced at once; the result does not depend on them.

    Memory holds one strip and the polygons that are kept: it grows with the length of all their borders.
    Raises :class:`OptionError` for an unknown format or metres without a coordinate system,
    :class:`OutputUnwritable` or :class:`NoSpace`.
    """
    check_polygon_format(out)
    frame = _polygons_of(raster, classes, Shaping(simplify_px, min_area_m2, min_area_px, strip_rows))
    _write(frame, out)
    return len(frame)


def _polygons_of(raster: Path, classes: ClassTable, shaping: Shaping) -> gpd.GeoDataFrame:
    with rasterio.Env(**GDAL_OPTIONS), open_raster(raster) as file:
        grid = Grid(file.transform, file.crs, file.height, file.width)
        kept = _in_order([area for areas in _large_areas(file, grid, classes, shaping) for area in areas])
    polygons = _simplified(np.array([polygon for polygon, _ in kept], object), shaping.simplify_px)
    return _described(polygons, np.array([index for _, index in kept], np.int64), classes, grid)


@dataclass
class _Tracer:
    """Traces strips from the top down and keeps pieces of areas that reach the last row, by number.

    ``root`` leads from a piece's number to that of the area it belongs to, ``above`` holds numbers along the last row.
    """

    width: int
    pieces: dict[int, list[Any]] = field(default_factory=dict)
    classes: dict[int, int] = field(default_factory=dict)
    root: dict[int, int] = field(default_factory=dict)
    above: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    count: int = 0

    def strip(self, indices: NDArray[np.int16], top: int) -> list[Area]:
        """Trace the next strip, whose first row is ``top``; return the areas that are complete."""
        polygons, classes = _traced(indices, top)
        bottom = top + len(indices)
        bounds = shapely.bounds(polygons).reshape(-1, 4)
        open_above, open_below = bounds[:, 1] <= top, bounds[:, 3] >= bottom
        numbers = np.zeros(len(polygons), np.int64)
        for at in np.flatnonzero(open_above | open_below):
            numbers[at] = self._add(polygons[at], int(classes[at]))
        complete = numbers == 0
        found: list[Area] = list(zip(polygons[complete], classes[complete].tolist(), strict=True))
        if len(self.above):
            self._join(_along(polygons[open_above], numbers[open_above], top, self.width))
        self.above = _along(polygons[open_below], numbers[open_below], bottom - 1, self.width)
        return found + self._closed()

    def finish(self) -> list[Area]:
        """Return the areas that reach the raster's last row."""
        self.above = self.above[:0]
        return self._closed()

    def _add(self, polygon: Any, index: int) -> int:
        self.count += 1
        self.pieces[self.count], self.classes[self.count], self.root[self.count] = [polygon], index, self.count
        return self.count

    def _find(self, number: int) -> int:
        while self.root[number] != number:
            self.root[number] = self.root[self.root[number]]
            number = self.root[number]
        return number

    def _join(self, below: NDArray[np.int32]) -> None:
        """Make one area of pieces of one class that share an edge of a pixel on the border of two strips."""
        touching = (self.above > 0) & (below > 0)
        for pair in np.unique(np.stack((self.above[touching], below[touching])), axis=1).T.tolist():
            first, second = (self._find(number) for number in pair)
            if first == second or self.classes[first] != self.classes[second]:
                continue
            if len(self.pieces[first]) < len(self.pieces[second]):
                first, second = second, first
            self.root[second] = first
            self.pieces[first] += self.pieces.pop(second)

    def _closed(self) -> list[Area]:
        """Return and forget the areas without a piece in the last row."""
        alive = {number: self._find(number) for number in np.unique(self.above[self.above > 0]).tolist()}
        roots = set(alive.values())
        found = [(_united(self.pieces.pop(number)), self.classes[number]) for number in set(self.pieces) - roots]
        self.root = alive | {number: number for number in roots}
        self.classes = {number: self.classes[number] for number in self.root}
        return found


def _large_areas(file: Any, grid: Grid, classes: ClassTable, shaping: Shaping) -> Iterator[list[Area]]:
    """Yield the areas that are large enough, strip by strip."""
    rows = shaping.strip_rows or max(16, STRIP_PIXELS // grid.width)
    tracer = _Tracer(grid.width)
    for top in range(0, grid.height, rows):
        strip = Window(top, 0, min(rows, grid.height - top), grid.width)
        least = max(shaping.min_area_px, shaping.min_area_m2 and shaping.min_area_m2 / _pixel_area(grid, strip))
        indices = classes.indices(file.read(1, window=RasterWindow(0, top, strip.width, strip.height)))
        areas = tracer.strip(indices, top)
        areas += tracer.finish() if strip.bottom == grid.height else []
        yield [area for area in areas if area[0].area >= least]


def _pixel_area(grid: Grid, strip: Window) -> float:
    """Return the ground under a pixel in the middle of a strip, in m²."""
    origin = grid.transform @ Affine.translation(strip.col, strip.row)
    pixel = ground_pixel(Grid(origin, grid.crs, strip.height, strip.width))
    if pixel is None:
        raise OptionError("A smallest area in m² needs a raster with a coordinate system. Give it in pixels.")
    return pixel.height * pixel.width


def _traced(indices: NDArray[np.int16], top: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return polygons of pixels of one class that share edges, and their classes."""
    found = [
        (shapely.geometry.shape(outline), int(index))
        for outline, index in shapes(indices, mask=indices >= 0, connectivity=4)
    ]
    polygons = np.array([polygon for polygon, _ in found], object)
    moved = shapely.transform(polygons, lambda xy: xy + np.array((0, top))) if top else polygons
    return np.asarray(moved, object), np.array([index for _, index in found], np.int64)


def _along(polygons: NDArray[Any], numbers: NDArray[np.int64], row: int, width: int) -> NDArray[np.int32]:
    """Return the number of the polygon over each pixel of a row, 0 where there is none."""
    if not len(polygons):
        return np.zeros(width, np.int32)
    shape, origin = (1, width), Affine.translation(0, row)
    pairs = list(zip(polygons, numbers.tolist(), strict=True))
    return np.asarray(rasterize(pairs, shape, transform=origin, dtype="int32")[0], np.int32)


def _united(pieces: list[Any]) -> Any:
    """Unite pieces, without the vertices that strips left on straight lines."""
    return pieces[0] if len(pieces) == 1 else shapely.simplify(shapely.union_all(pieces), 0)


def _in_order(areas: list[Area]) -> list[Area]:
    """Sort areas from the top left, and start each ring at the same vertex, however they were found."""
    polygons = shapely.normalize(np.array([polygon for polygon, _ in areas], object))
    classes = np.array([index for _, index in areas], np.int64)
    left, top, right, bottom = shapely.bounds(polygons).reshape(-1, 4).T
    order = np.lexsort((shapely.area(polygons), right, bottom, classes, left, top))
    return [(polygons[at], int(classes[at])) for at in order]


def _simplified(polygons: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Simplify polygons that share borders, so that they share them still.

    Borders are the same on both sides only if both have the same vertices: they get one at every pixel first, and lose
    those on straight lines again, but for the corners of third areas.
    """
    if not tolerance or not len(polygons):
        return polygons
    stepped = shapely.transform(shapely.segmentize(polygons, 1.0), np.round)
    return np.asarray(shapely.coverage_simplify(shapely.coverage_simplify(stepped, _NOTHING), tolerance), object)


def _described(polygons: NDArray[Any], indices: NDArray[np.int64], classes: ClassTable, grid: Grid) -> gpd.GeoDataFrame:
    """Return a table of the polygons on the ground."""
    import geopandas as gpd

    step = grid.transform
    turn = np.array([[step.a, step.d], [step.b, step.e]])
    ground = shapely.transform(polygons, lambda xy: xy @ turn + (step.c, step.f))
    geometry = gpd.GeoSeries(shapely.orient_polygons(ground), crs=grid.crs)
    columns = {
        "value": np.array(classes.values, np.int32)[indices],
        "name": np.array(classes.names, object)[indices],
        "area_px" if grid.crs is None else "area_m2": _ground_areas(geometry, grid),
    }
    return gpd.GeoDataFrame(columns, geometry=geometry)


def _ground_areas(geometry: gpd.GeoSeries, grid: Grid) -> NDArray[np.float64]:
    """Return areas in m² on the ellipsoid, in pixels without a coordinate system."""
    from pyproj import Geod

    planar = shapely.area(geometry.to_numpy())
    if grid.crs is None:
        return np.asarray(planar / abs(grid.transform.determinant))
    try:
        degrees = geometry.to_crs(WGS84)
    except CPLE_BaseError:
        degrees = None
    if degrees is None or not np.isfinite(degrees.bounds.to_numpy()).all():
        return np.asarray(planar * float(grid.crs.linear_units_factor[1]) ** 2)
    measure = Geod(ellps=ELLIPSOID).geometry_area_perimeter
    return np.array([abs(measure(polygon)[0]) for polygon in degrees], np.float64)


def _write(frame: gpd.GeoDataFrame, out: Path) -> None:
    import pyogrio
    import pyogrio.errors

    kind = out.suffix.lower()
    if DRIVERS.get(kind) == "GeoJSON" and frame.crs is not None:
        frame = frame.to_crs(WGS84)
    with working_file(out) as working, explained(out), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        if kind in _PARQUET:
            frame.to_parquet(working, index=False, schema_version="1.1.0", write_covering_bbox=True)
            return
        options = {"RFC7946": "YES"} if DRIVERS[kind] == "GeoJSON" and frame.crs is not None else {}
        try:
            pyogrio.write_dataframe(
                frame, working, layer=out.stem, driver=DRIVERS[kind], geometry_type="Polygon", **options
            )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            raise OutputUnwritable(f"Cannot write {out}: {str(error).splitlines()[0]}") from None
