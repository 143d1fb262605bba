"""Cubes whose bands do not come first, shown to GDAL as plain rasters: small virtual files that read the original.

GDAL takes the last two axes of an array for rows and columns, which is wrong for cubes stored by line or by pixel. Its
virtual rasters can slice an array along any axis instead (``ArraySource``, since GDAL 3.8).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import rasterio
from platformdirs import user_cache_path
from rasterio.env import GDALVersion

from dofa_cli.errors import OutputUnwritable, SceneError
from dofa_cli.raster.source import Grid, file_stamp

OLDEST_GDAL = "3.8"


@dataclass(frozen=True)
class Cube:
    """An array of three axes in a HDF5 or netCDF file.

    ``file`` is what GDAL opens, ``array`` the array's full name in it, ``dtype`` the values' type in GDAL's words,
    ``shape`` the sizes in the file's order.
    """

    file: str
    array: str
    dtype: str
    shape: tuple[int, int, int]


Planes = Sequence[ET.Element]
"""Bands of a view, in order."""


def slices(cube: Cube, axis: int, at: Iterable[int]) -> list[ET.Element]:
    """Return the planes of a cube at places (from 0) of one axis.

    The cube is wrapped in a virtual array, whose file GDAL opens once for all of them.
    """
    whole = ET.Element("VRTDataset")
    group = ET.SubElement(whole, "Group", name="/")
    names = [f"axis{number}" for number in range(len(cube.shape))]
    for name, size in zip(names, cube.shape, strict=True):
        ET.SubElement(group, "Dimension", name=name, size=str(size))
    array = ET.SubElement(group, "Array", name="cube")
    ET.SubElement(array, "DataType").text = cube.dtype
    for name in names:
        ET.SubElement(array, "DimensionRef", ref=name)
    source = ET.SubElement(array, "Source")
    ET.SubElement(source, "SourceFilename").text = cube.file
    ET.SubElement(source, "SourceArray").text = cube.array
    text = ET.tostring(whole, encoding="unicode")
    return [_plane(text, "/cube", [], axis, place) for place in at]


def rectified_slices(cube: Cube, at: Iterable[int]) -> list[ET.Element]:
    """Return planes of an EMIT cube at places (from 0) of its last axis, laid out by the file's geometry look-up table.

    Values of bands that the product calls bad stay as they are.
    """
    resample = ET.Element("Resample")
    ET.SubElement(resample, "Option", name="USE_GOOD_WAVELENGTHS").text = "NO"
    return [_plane(cube.file, cube.array, [resample], 2, place) for place in at]


def write_view(original: str, planes: Planes, grid: Grid, dtype: str, nodata: float) -> str:
    """Write a virtual raster of ``planes`` on ``grid`` to the user's cache and return its path.

    The name follows ``original`` and what is in it, so the same view is written once. Raises
    :class:`OutputUnwritable` where the cache cannot be written, :class:`SceneError` with a GDAL that is too old.
    """
    if not GDALVersion.runtime().at_least(OLDEST_GDAL):
        raise SceneError(
            f"{original} needs GDAL {OLDEST_GDAL} or newer to be read, and this is {rasterio.__gdal_version__}. "
            "Install a newer rasterio."
        )
    text = ET.tostring(_described(planes, grid, dtype, nodata), encoding="unicode")
    digest = sha256(f"{file_stamp(original)}{text}".encode()).hexdigest()[:12]
    path = user_cache_path("dofa") / "views" / f"{PurePosixPath(original).stem}-{digest}.vrt"
    if not path.exists():
        _write(path, text)
    return str(path)


def _described(planes: Planes, grid: Grid, dtype: str, nodata: float) -> ET.Element:
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        ET.SubElement(root, "SRS").text = grid.crs.to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, grid.transform.to_gdal()))
    for number, plane in enumerate(planes, 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=dtype, band=str(number))
        ET.SubElement(band, "NoDataValue").text = repr(nodata)
        band.append(plane)
    return root


def _plane(file: str, array: str, steps: Sequence[ET.Element], axis: int, place: int) -> ET.Element:
    plane = ET.Element("ArraySource")
    derived = ET.SubElement(plane, "DerivedArray")
    single = ET.SubElement(derived, "SingleSourceArray")
    ET.SubElement(single, "SourceFilename").text = file
    ET.SubElement(single, "SourceArray").text = array
    view = ET.Element("View", expr="[" + ",".join(str(place) if n == axis else ":" for n in range(3)) + "]")
    for step in (*steps, view):
        ET.SubElement(derived, "Step").append(step)
    return plane


def _write(path: Path, text: str) -> None:
    """Write beside and rename, so that nobody reads half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path)
    except OSError as error:
        raise OutputUnwritable(
            f"{path.parent} cannot be written ({error.strerror}), where views of hyperspectral cubes are kept. "
            "Set XDG_CACHE_HOME to another folder."
        ) from None
