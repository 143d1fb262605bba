"""EMIT surface reflectance (level 2A): the netCDF file ``EMIT_L2A_RFL_….nc``, or the folder that it lies in.

The cube lies in the file as (downtrack, crosstrack, bands), along the orbit; a geometry look-up table in the same file
says which of its pixels belongs to each pixel of a map (EMIT L2A user guide). GDAL applies that table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from dofa_cli.errors import DamagedRaster
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery
from dofa_cli.raster.deliveries.safe import refuse_several, utc_time
from dofa_cli.raster.deliveries.view import Cube, rectified_slices, write_view
from dofa_cli.raster.source import Grid
from dofa_cli.raster.spectrum import micrometres

TITLE = "EMIT L2A Estimated Surface Reflectance"
NODATA = -9999.0
WAY_OUT = "Write it as orthorectified ENVI with emit_utils (reformat.py --orthorectify) and name that file"
_BANDS = "/sensor_band_parameters"
_GLOBAL = "NC_GLOBAL#"
Tags = dict[str, str]


@dataclass(frozen=True)
class _Spectrum:
    """Centres and widths in nm and whether each band is good, in the file's order."""

    centres: list[float]
    widths: list[float]
    good: list[float]


def read(path: str) -> Delivery | None:
    """Return the EMIT scene at ``path``, or ``None`` where there is none.

    Raises :class:`DamagedRaster` for a file without what a scene needs, :class:`~dofa_cli.errors.NoBands` for a folder
    of several scenes.
    """
    file = _file_of(path)
    if file is None:
        return None
    try:
        with rasterio.open(file, driver="netCDF") as opened:
            tags = {name.removeprefix(_GLOBAL): text for name, text in opened.tags().items()}
    except RasterioError:
        return None
    title = tags.get("title", "")
    return _delivery(path, file, tags) if title.startswith(TITLE) and "Uncertainty" not in title else None


def _file_of(path: str) -> str | None:
    """Return the whole name of the netCDF file that ``path`` is or holds."""
    place = Path(path)
    if place.suffix.lower() == ".nc" and place.is_file():
        return str(place.resolve())
    found = sorted(place.glob("EMIT_L2A_RFL_*.nc")) if place.is_dir() else []
    refuse_several(path, "EMIT scenes", [file.name for file in found])
    return str(found[0].resolve()) if found else None


def _delivery(path: str, file: str, tags: Tags) -> Delivery:
    cube, spectrum = _cube(file), _spectrum(file)
    count = cube.shape[2]
    if any(len(column) != count for column in (spectrum.centres, spectrum.widths, spectrum.good)):
        raise DamagedRaster(f"{file} has {count} bands and lists {len(spectrum.centres)} wavelengths. {WAY_OUT}.")
    view = write_view(file, rectified_slices(cube, range(count)), _grid(file, tags), cube.dtype, NODATA)
    return Delivery(
        path=path,
        kind="EMIT L2A reflectance",
        sensor="emit",
        product="l2a",
        bands=tuple(_band(view, number, spectrum) for number in range(count)),
        taken=utc_time(tags.get("time_coverage_start")),
        notes=("EMIT is laid on the map by the look-up table of its file (nearest pixel, EPSG:4326).",),
    )


def _band(view: str, number: int, spectrum: _Spectrum) -> DeliveredBand:
    return DeliveredBand(
        path=view,
        name=f"B{number + 1:03d}",
        index=number + 1,
        nodata=NODATA,
        wavelength_um=micrometres(round(spectrum.centres[number], 4), "nm"),
        fwhm_um=round(spectrum.widths[number] / 1000, 7) if spectrum.widths[number] > 0 else None,
        usable=spectrum.good[number] > 0,
    )


def _cube(path: str) -> Cube:
    """Describe the cube; GDAL's HDF5 driver shows axes as they lie, here (downtrack, crosstrack, bands)."""
    try:
        with rasterio.open(f'HDF5:"{path}"://reflectance') as opened:
            shape = (opened.count, opened.height, opened.width)
    except RasterioError as error:
        raise DamagedRaster(f"The reflectance of {path} cannot be opened: {error}") from None
    return Cube(path, "/reflectance", "Float32", shape)


def _spectrum(path: str) -> _Spectrum:
    centres = _values(path, f"{_BANDS}/wavelengths")
    return _Spectrum(centres, _values(path, f"{_BANDS}/fwhm"), _values(path, f"{_BANDS}/good_wavelengths"))


def _values(path: str, name: str) -> list[float]:
    try:
        with rasterio.open(f'HDF5:"{path}":/{name}') as opened:
            return [float(value) for value in opened.read(1)[0]]
    except RasterioError:
        raise DamagedRaster(f"{path} has no {name.lstrip('/')}. Fetch the product again.") from None


def _grid(path: str, tags: Tags) -> Grid:
    """Return the grid of the geometry look-up table."""
    try:
        with rasterio.open(f'HDF5:"{path}"://location/glt_x') as opened:
            height, width = opened.height, opened.width
        numbers = [float(part) for part in tags.get("geotransform", "").strip("{}").split(",")]
        transform, crs = Affine.from_gdal(*numbers), CRS.from_wkt(tags.get("spatial_ref", ""))
    except (RasterioError, CRSError, ValueError, TypeError):
        raise DamagedRaster(f"{path} has no geometry look-up table, so it is on no map grid. {WAY_OUT}.") from None
    return Grid(transform, crs, height, width)
