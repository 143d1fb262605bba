"""A scene: one or several files as one aligned lazy stack (bands, height, width) with its mask, scale and offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import dask.array as da
import numpy as np
import rasterio
import rioxarray  # noqa: F401 - registers the rio accessor
import xarray as xr
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.warp import transform_bounds
from shapely import Polygon, prepare

from dofa_cli.errors import AreaError, GridError
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.grid import Window
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.header import FileBand, Header, warped_header, with_resolution
from dofa_cli.raster.source import Grid, Source, is_valid
from dofa_cli.raster.zarr_places import is_zarr
from dofa_cli.raster.zarr_store import is_own

CHUNK_SIDE = 512
CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Pixels:
    """A block read from a scene: ``values`` (bands, height, width) as in the file, ``valid`` (height, width)."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """Aligned bands on one grid, not yet read.

    ``pixels`` is a rioxarray/Dask stack (band, y, x) in the files' dtype, ``mask`` (height, width) is ``False`` where
    alpha or mask bands say so, ``nodata`` holds one value a band. ``area`` is a geometry in the scene's CRS outside of
    which pixels are invalid.
    """

    paths: tuple[str, ...]
    bands: tuple[FileBand, ...]
    grid: Grid
    pixels: xr.DataArray
    mask: da.Array | None
    nodata: tuple[float | None, ...]
    taken: datetime | None = None
    area: Any = None

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.grid.width

    def lazy(self, window: Window) -> list[Any]:
        """Return the Dask arrays under ``window``: values, and the mask where there is one."""
        rows, cols = window.slices
        return [self.pixels.data[:, rows, cols], *([] if self.mask is None else [self.mask[rows, cols]])]

    def judge(self, window: Window, values: NDArray[Any], mask: NDArray[Any] | None = None) -> Pixels:
        """Decide which of the pixels just read are valid: every band finite and not nodata, inside mask and area."""
        valid = np.ones(values.shape[1:], bool) if mask is None else mask.astype(bool)
        for band, nodata in zip(values, self.nodata, strict=True):
            known = is_valid(band, nodata)
            if known is not np.True_:  # most scenes of integers without nodata: a pass over every band less
                valid &= known
        if self.area is not None:
            origin = self.grid.transform @ self.grid.transform.translation(window.col, window.row)
            valid &= geometry_mask([self.area], valid.shape, origin, invert=True, all_touched=False)
        return Pixels(values, valid)

    def crop(self, window: Window) -> Scene:
        """Return the part of the scene under ``window`` (pixels)."""
        rows, cols = window.slices
        origin = self.grid.transform @ self.grid.transform.translation(window.col, window.row)
        grid = Grid(origin, self.grid.crs, window.height, window.width)
        mask = None if self.mask is None else self.mask[rows, cols]
        return replace(self, grid=grid, pixels=_georeferenced(self.pixels.data[:, rows, cols], grid), mask=mask)

    def within(self, area: Any) -> Scene:
        """Return the scene with pixels outside ``area`` (a geometry in its CRS) invalid."""
        prepare(area)  # so that tiles are compared with it quickly
        return replace(self, area=area)

    def without(self, unwanted: da.Array) -> Scene:
        """Return the scene with pixels where ``unwanted`` (height, width) is ``True`` invalid."""
        wanted = ~unwanted
        return replace(self, mask=wanted if self.mask is None else self.mask & wanted)

    def touches_area(self, window: Window) -> bool:
        """Whether a pixel under ``window`` may lie in the area; ``True`` where there is none to lie in."""
        if self.area is None:
            return True
        corners = ((window.col, window.row), (window.right, window.row))
        below = ((window.right, window.bottom), (window.col, window.bottom))
        return bool(self.area.intersects(Polygon([self.grid.transform @ corner for corner in (*corners, *below)])))

    def pixel_window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the pixels that touch ``bounds`` (CRS units); :class:`AreaError` if there are none."""
        inverse = ~self.grid.transform
        left, bottom, right, top = bounds
        corners = [inverse @ point for point in ((left, top), (right, top), (left, bottom), (right, bottom))]
        cols, rows = [np.array(axis) for axis in zip(*corners, strict=True)]
        row, col = int(np.floor(rows.min() + 1e-6)), int(np.floor(cols.min() + 1e-6))
        height, width = int(np.ceil(rows.max() - 1e-6)) - row, int(np.ceil(cols.max() - 1e-6)) - col
        found = Window(row, col, height, width).intersect(Window(0, 0, self.height, self.width))
        if found.is_empty:
            raise AreaError(f"The area of interest does not touch the scene, which covers {_extent(self.grid)}.")
        return found


def read_headers(paths: Sequence[str], warp: str | None = None, resolution: float | None = None) -> list[Header]:
    """Describe the files of one scene, warped to CRS ``warp`` if given.

    Raises :class:`GridError` when a file has no affine grid and no ``warp`` is given.
    """
    headers = [header for path in paths for header in headers_at(path)]
    if warp:
        return [warped_header(header, warp, resolution) for header in headers]
    for header in headers:
        if not header.is_affine:
            raise GridError(
                f"{header.path} lies on ground control points, RPCs or geolocation arrays, not on an affine grid. "
                f"Give --warp with a coordinate system (for instance --warp {_utm(header)}) to warp it while reading."
            )
    return headers


def open_scene(
    headers: Sequence[Header],
    bands: Sequence[FileBand],
    *,
    resolution: float | None = None,
    default_nodata: float | None = None,
    onto: Grid | None = None,
) -> Scene:
    """Stack ``bands`` on the finest of their grids, on one of ``resolution`` CRS units, or ``onto`` a given one.

    Files on other grids are resampled lazily: bilinear, never across nodata. ``default_nodata`` stands in where a file
    declares none. Raises :class:`GridError` when files do not overlap or only some have coordinates.
    """
    used = [header for header in headers if any(band.path == header.path for band in bands)]
    target = onto or target_grid(used, resolution)
    sources = {header.path: _source(header, bands, target, default_nodata) for header in used}
    stack = da.concatenate([lazy_source(sources[header.path], header) for header in used])
    stacked = [band for header in used for band in bands if band.path == header.path]
    ordered = stack if list(bands) == stacked else stack[[stacked.index(band) for band in bands]]
    return Scene(
        paths=tuple(dict.fromkeys(header.given_path for header in used)),
        bands=tuple(bands),
        grid=target,
        pixels=_georeferenced(ordered, target),
        mask=_mask(used, sources),
        nodata=tuple(default_nodata if band.nodata is None else band.nodata for band in bands),
        taken=next((header.taken for header in used if header.taken), None),
    )


def target_grid(headers: Sequence[Header], resolution: float | None) -> Grid:
    """Return the finest grid of some files, at ``resolution`` CRS units if given.

    Raises :class:`GridError` when files do not overlap or only some have coordinates.
    """
    finest = min((header.grid for header in headers), key=_ground_width)
    for header in headers:
        if (header.grid.crs is None) != (finest.crs is None):
            raise GridError(f"{header.path} and other files of the scene do not share a coordinate system.")
        if finest.crs is None and not header.grid.is_same(finest):
            raise GridError(f"{header.path} has no coordinates and another size, so it cannot be aligned.")
        if finest.crs is not None and not overlap(header.grid, finest):
            raise GridError(f"{header.path} does not overlap the other files: it covers {_extent(header.grid)}.")
    return with_resolution(finest, resolution) if resolution else finest


def _ground_width(grid: Grid) -> float:
    """Return a pixel's width in metres, so that degrees and metres compare; in CRS units where there is no ground."""
    pixel = ground_pixel(grid)
    return pixel.width if pixel else grid.pixel_size


def overlap(grid: Grid, other: Grid) -> bool:
    """Whether two grids with coordinates share some ground."""
    if grid.crs == other.crs:
        left, bottom, right, top = grid.bounds
    else:
        left, bottom, right, top = transform_bounds(grid.crs, other.crs, *grid.bounds)
    west, south, east, north = other.bounds
    return bool(left < east and right > west and bottom < north and top > south)


def _source(header: Header, bands: Sequence[FileBand], target: Grid, default_nodata: float | None) -> Source:
    own = [band for band in bands if band.path == header.path]
    dtype = np.result_type(*[band.dtype for band in own])
    nodata = own[0].nodata if own[0].nodata is not None else default_nodata
    same = header.grid.is_same(target) and not header.is_warped
    shape = (len(own), target.height, target.width)
    indices = tuple(band.index for band in own)
    if not same and is_zarr(header.path) and is_own(header.path):
        raise GridError(f"{header.path} lies on another grid, and a Zarr store is not resampled. Give it as a GeoTIFF.")
    return Source(header.path, indices, dtype, shape, None if same else target, nodata, header.has_mask)


def lazy_source(source: Source, header: Header) -> da.Array:
    """Wrap a source as a Dask array whose chunks are whole blocks of the file."""
    bands, height, width = source.shape
    block_height, block_width = header.block if source.grid is None else (CHUNK_SIDE, CHUNK_SIDE)
    column_bytes = bands * block_width * block_height * source.dtype.itemsize
    chunk_width = min(width, block_width * max(1, min(CHUNK_SIDE // block_width, CHUNK_BYTES // column_bytes)))
    row_bytes = bands * chunk_width * block_height * source.dtype.itemsize
    blocks = max(1, min(CHUNK_SIDE // block_height, CHUNK_BYTES // row_bytes))
    chunks = (bands, min(height, blocks * block_height), chunk_width)
    return da.from_array(source, chunks=chunks, lock=False, meta=np.empty((0, 0, 0), source.dtype))


def _mask(headers: Sequence[Header], sources: dict[str, Source]) -> da.Array | None:
    """Combine the masks of files that have one, or whose resampling leaves pixels without a value."""
    told = [(source.of_validity(), header) for header in headers if (source := sources[header.path]).tells_validity]
    masks = [da.any(lazy_source(source, header) > 0, axis=0) for source, header in told]
    return da.all(da.stack(masks), axis=0) if masks else None


def _georeferenced(stack: da.Array, grid: Grid) -> xr.DataArray:
    array = xr.DataArray(stack, dims=("band", "y", "x"))
    array = array.rio.write_transform(grid.transform)
    return array if grid.crs is None else array.rio.write_crs(grid.crs)  # type: ignore[no-any-return]


def _extent(grid: Grid) -> str:
    left, bottom, right, top = grid.bounds
    return f"x {left:.9g} to {right:.9g}, y {bottom:.9g} to {top:.9g} in {grid.crs or 'pixels'}"


def _utm(header: Header) -> str:
    """Suggest the UTM zone of a scene without an affine grid (EPSG:3857 where its place is not known)."""
    with rasterio.open(header.path) as file:
        points, crs = file.gcps
        if not points or crs is None or not crs.is_geographic:
            return "EPSG:3857"
        lon, lat = float(np.mean([p.x for p in points])), float(np.mean([p.y for p in points]))
    zone = int((lon + 180) // 6) + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
