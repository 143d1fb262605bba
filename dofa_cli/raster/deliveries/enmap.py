"""EnMAP scenes of levels 1C and 2A: a folder or archive, the metadata file, or the spectral image beside it.

Centres, widths, gains and offsets of the bands stand in ``…-METADATA.XML`` (EnMAP HSI product specification).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from dofa_cli.errors import DamagedRaster, NoBands, SceneError
from dofa_cli.raster.deliveries.container import Container, open_container
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery, QualityLayer, Screen
from dofa_cli.raster.deliveries.safe import (
    elements,
    first_text,
    local_name,
    parse_xml,
    product_files,
    refuse_several,
    utc_time,
)
from dofa_cli.raster.spectrum import micrometres

EMPTY_MEAN = -1_000_000.0
"""Mean that the band statistics give for a band without a single valid pixel; its standard deviation is 0 then."""

_METADATA = re.compile(r"ENMAP.*-METADATA\.XML$", re.IGNORECASE)
_IMAGE = re.compile(r"ENMAP.*-SPECTRAL_IMAGE(?:_COG)?\.(?:TIFF?|BSQ|BIL|BIP)$", re.IGNORECASE)
_STEM = re.compile(r"-(?:METADATA|SPECTRAL_IMAGE(?:_COG)?)\.\w+$", re.IGNORECASE)
_PACKED = re.compile(r"ENMAP.*\.(?:ZIP|TAR|TGZ|GZ)$", re.IGNORECASE)
_CLOUDS = re.compile(r".*-QL_QUALITY_CLOUD(?:_COG)?\.TIFF?$", re.IGNORECASE)
_LEVEL = re.compile(r"_(L\d[A-Z])-", re.IGNORECASE)


def read(path: str) -> Delivery | None:
    """Return the EnMAP scene at ``path``, or ``None`` where there is none.

    Raises :class:`SceneError` for level 1B, :class:`NoBands` for several scenes or one without its image, and
    :class:`DamagedRaster` for metadata that are cut or incomplete.
    """
    container = _container(path)
    if container is None:
        return None
    files = product_files(container)
    metadata = [file for file in files if _METADATA.match(PurePosixPath(file).name)]
    if not metadata:
        _refuse_packed(path, files)
        return None
    refuse_several(path, "EnMAP scenes", [_stem(file) for file in metadata])
    return _delivery(path, container, files, metadata[0])


def _container(path: str) -> Container | None:
    """Open a folder or archive, or the files of one scene beside its metadata or image."""
    name = PurePosixPath(path).name
    if not (_METADATA.match(name) or _IMAGE.match(name)):
        return open_container(path)
    folder = Path(path).parent
    if not Path(path).is_file():
        return None
    stem = _stem(name).lower()
    beside = (file.name for file in folder.iterdir() if file.is_file())
    return Container(str(folder), str(folder), tuple(sorted(file for file in beside if file.lower().startswith(stem))))


def _refuse_packed(path: str, files: Sequence[str]) -> None:
    """Say that a delivery holds the product as an archive in an archive or folder."""
    if packed := [file for file in files if _PACKED.match(PurePosixPath(file).name)]:
        raise NoBands(f"{path} holds {packed[0]}, which is packed itself. Unpack that and name it.")


def _delivery(path: str, container: Container, files: Sequence[str], member: str) -> Delivery:
    root = parse_xml(container, member)
    level = _level(root, member)
    stem = _stem(member).upper()
    if level not in ("L1C", "L2A"):
        raise SceneError(f"{path} is EnMAP of level {level}, which lies on no map grid. Order the scene at level L2A.")
    image = container.gdal_path(_image(container, root, files, member))
    clouds = [file for file in files if _CLOUDS.match(file) and file.upper().startswith(stem)]
    taken = [text for part in elements(root, "temporalCoverage") if (text := first_text(part, "startTime"))]
    return Delivery(
        path=path,
        kind=f"EnMAP {level} scene",
        sensor="enmap",
        product="l2a" if level == "L2A" else "l1",
        bands=_bands(root, image, member, calibrated=level == "L2A"),
        taken=utc_time(taken[0] if taken else None),
        quality=QualityLayer(container.gdal_path(clouds[0]), Screen.NONZERO) if clouds else None,
    )


def _level(root: ET.Element, member: str) -> str:
    found = _LEVEL.search(PurePosixPath(member).name)
    return (found[1] if found else first_text(root, "level") or "unknown").upper()


def _image(container: Container, root: ET.Element, files: Sequence[str], member: str) -> str:
    """Find the spectral image: the file that the metadata name, else the one of the same scene."""
    wanted = next((first_text(part, "name") for part in elements(root, "merge")), None)
    stem = _stem(member).upper()
    images = [file for file in files if _IMAGE.match(PurePosixPath(file).name) and file.upper().startswith(stem)]
    named = [file for file in images if PurePosixPath(file).name.upper() == (wanted or "").upper()]
    if not images:
        raise NoBands(f"{member} in {container.path} has no spectral image ({wanted or '…-SPECTRAL_IMAGE.TIF'}).")
    return (named or images)[0]


def _bands(root: ET.Element, image: str, member: str, *, calibrated: bool) -> tuple[DeliveredBand, ...]:
    """Name the bands B001, B002, … from short to long waves, which is how they stand in the image."""
    described = [band for part in elements(root, "bandCharacterisation") for band in elements(part, "bandID")]
    if not described:
        raise DamagedRaster(f"{member} describes no band. Fetch the product again.")
    background = first_text(root, "backgroundValue")
    empty = _empty_bands(root)
    ordered = sorted(described, key=lambda band: _number(band, "wavelengthCenterOfBand", member))
    return tuple(
        DeliveredBand(
            path=image,
            name=f"B{place:03d}",
            index=(index := _index(band, member)),
            scale=_number(band, "GainOfBand", member) if calibrated else None,
            offset=_number(band, "OffsetOfBand", member) if calibrated else None,
            nodata=_float(background),
            wavelength_um=micrometres(_number(band, "wavelengthCenterOfBand", member), "nm"),
            fwhm_um=round(_number(band, "FWHMOfBand", member) / 1000, 9),
            usable=index not in empty,
        )
        for place, band in enumerate(ordered, 1)
    )


def _empty_bands(root: ET.Element) -> set[int]:
    """Return the numbers of bands whose statistics say that they hold nothing but the background value."""
    statistics = [band for part in elements(root, "bandStatistics") for band in elements(part, "bandID")]
    found = set()
    for band in statistics:
        values = {local_name(child): (child.text or "").strip() for child in band}
        if (_float(values.get("mean")), _float(values.get("stdDeviation"))) == (EMPTY_MEAN, 0.0):
            found.add(int(band.get("number", "0")))
    return found


def _index(band: ET.Element, member: str) -> int:
    try:
        return int(band.get("number", ""))
    except ValueError:
        raise DamagedRaster(f"{member} has a band without its number. Fetch the product again.") from None


def _number(band: ET.Element, name: str, member: str) -> float:
    value = _float(first_text(band, name))
    if value is None:
        raise DamagedRaster(f"{member} gives no {name} for band {band.get('number')}. Fetch the product again.")
    return value


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _stem(name: str) -> str:
    """Return a file's name up to the part that tells its kind, with its folders."""
    return _STEM.sub("", name)
