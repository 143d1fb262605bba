"""How large a pixel is on the ground, whatever the coordinate system."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite

from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform

from dofa_cli.raster.source import Grid

ELLIPSOID = "WGS84"


@dataclass(frozen=True)
class PixelSize:
    """A pixel's height (one row down) and width (one column right) in metres."""

    height: float
    width: float


def ground_pixel(grid: Grid) -> PixelSize | None:
    """Return the pixel at the centre of ``grid``, geodesic on WGS84; ``None`` without coordinates.

    Web Mercator and degrees are thus measured where the scene lies, not at the equator.
    """
    if grid.crs is None:
        return None
    row, col = grid.height / 2, grid.width / 2
    steps = ((col, row - 0.5), (col, row + 0.5), (col - 0.5, row), (col + 0.5, row))
    xs, ys = zip(*(grid.transform @ step for step in steps), strict=True)
    return _geodesic(grid.crs, xs, ys) or _planar(grid)


def _geodesic(crs: CRS, xs: tuple[float, ...], ys: tuple[float, ...]) -> PixelSize | None:
    from pyproj import Geod

    try:
        lons, lats = transform(crs, CRS.from_epsg(4326), xs, ys)[:2]
    except (RasterioError, ValueError):  # a local system that nothing ties to the earth
        return None
    if not all(isfinite(lon) and abs(lat) <= 90 for lon, lat in zip(lons, lats, strict=True)):
        return None
    _, _, lengths = Geod(ellps=ELLIPSOID).inv(lons[::2], lats[::2], lons[1::2], lats[1::2])
    height, width = (float(length) for length in lengths)
    return PixelSize(height, width) if height > 0 and width > 0 else None


def _planar(grid: Grid) -> PixelSize | None:
    if grid.crs is None or not grid.crs.is_projected:
        return None
    metres, step = float(grid.crs.linear_units_factor[1]), grid.transform
    return PixelSize(metres * hypot(step.b, step.e), metres * hypot(step.a, step.d))
