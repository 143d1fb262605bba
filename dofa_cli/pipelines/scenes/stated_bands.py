"""What a raster's header says of its bands, for a sensor made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rasterio

from dofa_cli.errors import OptionError
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.header import Header
from dofa_cli.raster.source import Grid, gdal_options
from dofa_cli.sensors.making.found import Found, FoundBand, clean, spectrum
from dofa_cli.sensors.making.naming import LONGEST_ALIAS, telling_names
from dofa_cli.sensors.names import wavelength_in


def bands_of_raster(path: str) -> Found:
    """Return the bands of a raster or product with the wavelengths that its header or band descriptions state."""
    with rasterio.Env(**gdal_options([path])):
        headers = headers_at(path)
    rows = [(band, _pixel_m(header.grid)) for header in headers for band in header.bands]
    texts = [(band.text or "")[:LONGEST_ALIAS] for band, _ in rows]
    labels = [clean(f"band {place} {text}") for place, text in enumerate(texts, 1)]
    centers = [band.wavelength_um or wavelength_in(text) for (band, _), text in zip(rows, texts, strict=True)]
    if not any(centers):
        raise OptionError(f"{path} states no wavelengths. Give them with --wavelengths, one for each of its bands.")
    found = spectrum(labels, centers, [band.fwhm_um for band, _ in rows])
    named = zip(telling_names(texts, len(rows)), found.centers_um, found.fwhm_um, rows, strict=True)
    bands = tuple(
        FoundBand(name, center, width, size, usable=band.usable) for name, center, width, (band, size) in named
    )
    return Found(bands, f"{clean(Path(path).name)} (raster)", notices=(*found.notices, *_scale_told(headers)))


def _pixel_m(grid: Grid) -> float | None:
    """Return a pixel's width where the coordinate system is in metres."""
    if grid.crs is None or not grid.crs.is_projected or abs(grid.crs.linear_units_factor[1] - 1) > 1e-9:
        return None
    return float(f"{grid.pixel_size:.6g}")


def _scale_told(headers: Sequence[Header]) -> list[str]:
    """Say which scale and offset the file declares; what they lead to, it does not tell."""
    scales = {(band.scale, band.offset) for header in headers for band in header.bands} - {(1.0, 0.0)}
    if len(scales) != 1:
        return []
    ((scale, offset),) = scales
    options = f"--product-scale {scale:g} --product-offset {offset:g}"
    return [f"the file declares scale {scale:g} and offset {offset:g}; if that is reflectance, give {options}."]
