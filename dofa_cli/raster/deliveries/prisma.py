"""PRISMA hyperspectral scenes of level 2D: the HDF-EOS5 file (``PRS_L2D_….he5``), its folder or its zip.

The cubes of the two detectors lie in the file as (rows, bands, columns), bands from long to short waves; centres,
widths and scales are attributes of the file's root (PRISMA Products Specification Document, issue 2.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from dofa_cli.errors import DamagedRaster, SceneError
from dofa_cli.raster.deliveries.container import Container, open_container
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery
from dofa_cli.raster.deliveries.safe import product_files, refuse_several, utc_time
from dofa_cli.raster.deliveries.view import Cube, slices, write_view
from dofa_cli.raster.source import Grid
from dofa_cli.raster.spectrum import micrometres

PIXEL_M = 30.0
LARGEST_DN = 65535
NODATA = 0.0
WAY_OUT = "Export it to GeoTIFF or ENVI with the EnMAP-Box or prismaread and name that file"

_PRODUCT = re.compile(r"PRS_L\w+\.he5$", re.IGNORECASE)
_SWATH = re.compile(r"/SWATHS/PRS_L(\d[A-Z]?)_HCO/Data_Fields/")
Tags = dict[str, str]


@dataclass(frozen=True)
class _Channel:
    """One usable element of a detector's band axis: its place from 0, centre and width in µm."""

    place: int
    centre_um: float
    fwhm_um: float | None


@dataclass(frozen=True)
class _Detector:
    """One cube and what the root's attributes say of it; reflectance = DN · ``scale`` + ``offset``."""

    cube: Cube
    channels: tuple[_Channel, ...]
    scale: float
    offset: float


def read(path: str) -> Delivery | None:
    """Return the PRISMA scene at ``path``, or ``None`` where there is none.

    Raises :class:`SceneError` for other levels, :class:`~dofa_cli.errors.NoBands` for several scenes and
    :class:`DamagedRaster` for a file without what a scene needs.
    """
    file = _file_of(path)
    if file is None:
        return None
    try:
        with rasterio.open(file, driver="HDF5") as opened:
            tags, arrays = opened.tags(), opened.subdatasets
    except RasterioError:
        return None
    if "List_Cw_Vnir" not in tags:
        return None
    levels = {found[1] for name in arrays if (found := _SWATH.search(name))}
    if levels != {"2D"}:
        level = ", ".join(sorted(levels)) or "unknown"
        raise SceneError(f"{path} is PRISMA of level {level}, which lies on no map grid. Order the scene at level 2D.")
    return _delivery(path, file, tags)


def _file_of(path: str) -> str | None:
    """Return the whole name of the HE5 file that ``path`` is or holds."""
    if "://" in path:
        return None
    if path.lower().endswith(".he5"):
        return _whole(path)
    if not Path(path).is_dir() and not path.lower().endswith(".zip"):
        return None
    container = open_container(path)
    return None if container is None else _only_product(container)


def _only_product(container: Container) -> str | None:
    found = [file for file in product_files(container) if _PRODUCT.match(PurePosixPath(file).name)]
    refuse_several(container.path, "PRISMA scenes", found)
    return _whole(container.gdal_path(found[0])) if found else None


def _whole(file: str) -> str:
    return file if file.startswith("/vsi") else str(Path(file).resolve())


def _delivery(path: str, file: str, tags: Tags) -> Delivery:
    detectors = [_detector(path, file, tags, name) for name in ("Vnir", "Swir")]
    rows, _, cols = detectors[0].cube.shape
    if detectors[1].cube.shape[::2] != (rows, cols):
        raise DamagedRaster(f"The VNIR and SWIR cubes of {path} differ in size.")
    planes = [plane for one in detectors for plane in slices(one.cube, 1, [channel.place for channel in one.channels])]
    packed = file.startswith("/vsi")
    view = write_view(path if packed else file, planes, _grid(path, tags, rows, cols), "UInt16", NODATA)
    pairs = [(one, channel) for one in detectors for channel in one.channels]
    bands = tuple(_band(view, number, one, channel) for number, (one, channel) in enumerate(pairs, 1))
    return Delivery(
        path=path,
        kind="PRISMA L2D scene",
        sensor="prisma",
        product="l2d",
        bands=bands,
        taken=utc_time(tags.get("Product_StartTime")),
        notes=(f"{path} is read without unpacking it, which is slow.",) if packed else (),
    )


def _band(view: str, number: int, detector: _Detector, channel: _Channel) -> DeliveredBand:
    return DeliveredBand(
        path=view,
        name=f"B{number:03d}",
        index=number,
        scale=detector.scale,
        offset=detector.offset,
        nodata=NODATA,
        wavelength_um=channel.centre_um,
        fwhm_um=channel.fwhm_um,
    )


def _detector(path: str, file: str, tags: Tags, name: str) -> _Detector:
    """Describe a detector; elements with a centre of 0, or flagged 0, carry no values and are left out."""
    centres, widths = _numbers(path, tags, f"List_Cw_{name}"), _numbers(path, tags, f"List_Fwhm_{name}")
    flags = [float(flag) for flag in tags.get(f"List_Cw_{name}_Flags", "").split()]
    if len(widths) != len(centres):
        raise DamagedRaster(f"{path} lists {len(centres)} centres and {len(widths)} widths of {name} bands.")
    flags = flags if len(flags) == len(centres) else [1.0] * len(centres)
    rows = zip(centres, widths, flags, strict=True)
    channels = [
        _Channel(place, round(centre_um, 6), round(width / 1000, 6) or None)
        for place, (centre, width, flag) in enumerate(rows)
        if flag > 0 and (centre_um := micrometres(centre, "nm"))
    ]
    (low,), (high,) = (_numbers(path, tags, f"L2Scale{name}{end}") for end in ("Min", "Max"))
    cube = _cube(path, file, f"{name.upper()}_Cube", len(centres))
    ordered = tuple(sorted(channels, key=lambda channel: channel.centre_um))
    return _Detector(cube, ordered, (high - low) / LARGEST_DN, low)


def _cube(path: str, file: str, name: str, bands: int) -> Cube:
    """Describe a cube of ``bands`` bands; GDAL may show its first or its second axis as bands."""
    try:
        with rasterio.open(f'HDF5:"{file}"://HDFEOS/SWATHS/PRS_L2D_HCO/Data_Fields/{name}') as opened:
            first, second, third = opened.count, opened.height, opened.width
    except RasterioError as error:
        raise DamagedRaster(f"{name} of {path} cannot be opened: {error}") from None
    array = f"/HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/{name}"
    if second == bands:
        return Cube(file, array, "UInt16", (first, second, third))
    if first == bands:
        return Cube(file, array, "UInt16", (second, first, third))
    raise DamagedRaster(
        f"{name} of {path} has axes of {first}, {second} and {third}, and {bands} wavelengths are listed. {WAY_OUT}."
    )


def _grid(path: str, tags: Tags, rows: int, cols: int) -> Grid:
    """Return the map grid; the corners that the file names are centres of pixels."""
    names = ("ULcorner_easting", "ULcorner_northing", "LRcorner_easting", "LRcorner_northing")
    left, top, right, bottom = (_numbers(path, tags, f"Product_{name}")[0] for name in names)
    if abs((right - left) / PIXEL_M + 1 - cols) > 1 or abs((top - bottom) / PIXEL_M + 1 - rows) > 1:
        raise DamagedRaster(f"{path} has {rows} rows and {cols} columns, which its corners do not fit. {WAY_OUT}.")
    try:
        crs = CRS.from_epsg(int(_numbers(path, tags, "Epsg_Code")[0]))
    except CRSError:
        raise DamagedRaster(f"{path} names EPSG:{tags['Epsg_Code']}, which is no coordinate system.") from None
    transform = Affine(PIXEL_M, 0.0, left - PIXEL_M / 2, 0.0, -PIXEL_M, top + PIXEL_M / 2)
    return Grid(transform, crs, rows, cols)


def _numbers(path: str, tags: Tags, name: str) -> list[float]:
    try:
        found = [float(word) for word in tags.get(name, "").split()]
    except ValueError:
        found = []
    if not found:
        raise DamagedRaster(f"{path} has no numbers in its attribute {name}. Fetch the product again.")
    return found
