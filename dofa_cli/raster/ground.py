"""How large a pixel is on the ground, whatever the coordinate system."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite, radians, sin

from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.warp import transform

from dofa_cli.raster.source import Grid

ELLIPSOID = "WGS84"


@dataclass(frozen=True)
class PixelSize:
    """A pixel's width (one column right) and its height square to that, in metres: their product is its area."""

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
    except CPLE_BaseError:  # a local system that nothing ties to the earth
        return None
    if not all(isfinite(lon) and abs(lat) <= 90 for lon, lat in zip(lons, lats, strict=True)):
        return None
    azimuths, _, lengths = Geod(ellps=ELLIPSOID).inv(lons[::2], lats[::2], lons[1::2], lats[1::2])
    width, height = float(lengths[1]), float(lengths[0]) * abs(sin(radians(azimuths[0] - azimuths[1])))
    return PixelSize(height, width) if height > 0 and width > 0 else None


def _planar(grid: Grid) -> PixelSize | None:
    if grid.crs is None or not grid.crs.is_projected:
        return None
    metres, step = float(grid.crs.linear_units_factor[1]), grid.transform
    width = hypot(step.a, step.d)
    return PixelSize(metres * abs(step.determinant) / width, metres * width)
