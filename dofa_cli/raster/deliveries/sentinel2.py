"""Sentinel-2 Level-1C and Level-2A products as ESA ships them: a SAFE folder, its zip, or its metadata file.

Names and fields are those of ESA's Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD, issues 12 to 15):
reflectance = (DN + offset) / quantification value, where DN 0 is nodata and the offset (-1000 from processing baseline
04.00 on) stands in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from dofa_cli.errors import DamagedRaster, GridError
from dofa_cli.raster.deliveries.container import Container, open_container
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery, QualityLayer, Screen
from dofa_cli.raster.deliveries.safe import (
    elements,
    first_text,
    local_name,
    named,
    parse_xml,
    product_files,
    refuse_several,
    texts,
    utc_time,
)
from dofa_cli.raster.deliveries.sentinel2_images import BANDS, SCL, Image, chosen_images, images_in

NODATA = 0.0
SHIFTED_FROM = 400
"""Processing baseline 04.00, whose digital numbers are 1000 higher."""
HOME_MADE = 9999
"""The baseline that ESA's toolbox writes into names of products made by a user: it tells nothing of the offset."""
USUAL_QUANTIFICATION, USUAL_OFFSET = 10000.0, -1000.0

_PRODUCT_FILE = re.compile(r"(?:MTD_MSIL(?:1B|1C|2A)|S2\w_(?:OPER|USER)_MTD_SAFL(?:1B|1C|2A)\w*)\.xml$", re.IGNORECASE)
_TILE_FILE = re.compile(r"(?:MTD_TL|manifest)\.(?:xml|safe)$", re.IGNORECASE)
_ROOT = re.compile(r"Level-(\w+)_User_Product")
_LEVEL = re.compile(r"_MSI_?L(1C|2A)_|(?<![A-Z0-9])L(1C|2A)_T\d\d[A-Z]{3}_")
_BASELINE = re.compile(r"_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{4})(?!\d)|_MSI_L(?:1C|2A)_\w+_N(\d\d\.\d\d)(?!\d)")
_QUANTIFICATION = {"1C": ("QUANTIFICATION_VALUE",), "2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")}
_OFFSET = {"1C": "RADIO_ADD_OFFSET", "2A": "BOA_ADD_OFFSET"}
_IMAGE_LISTS = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID", "IMAGE_ID_2A")
_ABSENT_BY_DESIGN = {"1C": (), "2A": ("B10",)}


@dataclass(frozen=True)
class _Place:
    """A product's container, its metadata file if it has one, and the files that belong to it."""

    container: Container
    metadata: str | None
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Told:
    """What metadata or names tell: level (``1C`` or ``2A``), how to scale each band, and the images that there are.

    ``quantification`` is ``None`` where nothing tells it; ``offsets`` are in digital numbers, by band.
    """

    level: str
    quantification: float | None
    offsets: dict[str, float]
    listed: tuple[str, ...] = ()
    taken: datetime | None = None
    spacecraft: str = "Sentinel-2"
    notes: tuple[str, ...] = field(default=())


def read(path: str) -> Delivery | None:
    """Return the Sentinel-2 product at ``path``, or ``None`` where there is none.

    Raises :class:`DamagedRaster` for metadata that cannot be understood, :class:`NoBands` where several products or
    tiles lie there, and :class:`GridError` for Level-1B.
    """
    place = _locate(path)
    if place is None:
        return None
    if place.metadata:
        told = _from_metadata(place.container, place.metadata)
        images = images_in(place.files, told.listed)
    else:
        images = images_in(place.files)
        if not images:
            return None
        told = _from_names(place.container, images)
    refuse_several(path, "Sentinel-2 tiles or dates", sorted({image.scene for image in images} - {""}))
    return _delivery(path, place.container, told, images)


def _delivery(path: str, container: Container, told: _Told, images: Sequence[Image]) -> Delivery:
    chosen, notes = chosen_images(images, told.listed, _ABSENT_BY_DESIGN[told.level])
    scl = chosen.get(SCL)
    shifted = "-0400" if any(told.offsets.values()) else ""
    return Delivery(
        path=path,
        kind=f"{told.spacecraft} Level-{told.level} product",
        sensor="sentinel2",
        product=f"l{told.level.lower()}{shifted}",
        bands=tuple(_band(container, chosen[band], told) for band in BANDS if band in chosen),
        taken=told.taken,
        quality=QualityLayer(container.gdal_path(scl.member), Screen.SENTINEL2_SCL) if scl else None,
        notes=(*told.notes, *notes, *([] if scl else [_no_quality(told.level)])),
    )


def _band(container: Container, image: Image, told: _Told) -> DeliveredBand:
    gdal_path = container.gdal_path(image.member)
    if told.quantification is None:
        return DeliveredBand(gdal_path, image.band, nodata=NODATA)
    if told.offsets and image.band not in told.offsets:
        raise DamagedRaster(
            f"The metadata of {container.path} give {_OFFSET[told.level]} of other bands but not {image.band}."
        )
    scale = 1 / told.quantification
    return DeliveredBand(
        gdal_path,
        image.band,
        scale=scale,
        offset=told.offsets.get(image.band, 0.0) / told.quantification,
        nodata=NODATA,
    )


def _no_quality(level: str) -> str:
    why = "Level-1C has no scene classification" if level == "1C" else "the scene classification (SCL) is missing"
    return f"{why}: --mask-clouds has nothing to go by; --mask FILE takes a mask of your own."


def _locate(path: str) -> _Place | None:
    """Find the product that a folder, archive or metadata file stands for."""
    own = Path(path)
    if own.suffix.lower() in (".xml", ".safe") and own.is_file():
        return _at_file(own)
    container = open_container(path)
    if container is None:
        return None
    files = product_files(container)
    metadata = named(files, _PRODUCT_FILE)
    refuse_several(path, "Sentinel-2 products", metadata)
    if metadata:
        return _Place(container, metadata[0], _below(files, PurePosixPath(metadata[0]).parent))
    return (_within(own) if own.is_dir() else None) or _Place(container, None, files)


def _at_file(file: Path) -> _Place | None:
    """Find the product of a metadata file that is named itself: the product's, a tile's or the manifest."""
    if _TILE_FILE.match(file.name):
        return _locate(str(file.parent))
    if not _PRODUCT_FILE.match(file.name) and not _is_product_file(file):
        return None
    container = open_container(str(file.parent))
    return _Place(container, file.name, product_files(container)) if container else None


def _is_product_file(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return b"_User_Product" in content.read(4096)
    except OSError:  # whoever opens it as a raster says why it cannot be read
        return False


def _within(folder: Path) -> _Place | None:
    """Find the product around a tile's folder, or one further down, with the files in that folder only."""
    here = folder.resolve()
    for product in here.parents[:4]:
        inner = here.relative_to(product)
        metadata = [file.name for file in sorted(product.glob("*.xml")) if _PRODUCT_FILE.match(file.name)]
        if metadata and inner.parts[0].upper() == "GRANULE" and (container := open_container(str(product))):
            return _Place(container, metadata[0], _below(product_files(container), PurePosixPath(inner.as_posix())))
    return None


def _below(files: Sequence[str], folder: PurePosixPath) -> tuple[str, ...]:
    return tuple(file for file in files if PurePosixPath(file).is_relative_to(folder))


def _from_metadata(container: Container, member: str) -> _Told:
    root = parse_xml(container, member)
    level = _level(root, container, member)
    offsets = _offsets(root, level, container, member)
    baseline = first_text(root, "PROCESSING_BASELINE") or "00.00"
    unshifted = not offsets and "04" <= baseline < "99"
    return _Told(
        level=level,
        quantification=_quantification(root, level, container, member),
        offsets=offsets,
        listed=tuple(texts(root, *_IMAGE_LISTS)),
        taken=utc_time(first_text(root, "PRODUCT_START_TIME")),
        spacecraft=first_text(root, "SPACECRAFT_NAME") or "Sentinel-2",
        notes=(f"{member} is of processing baseline {baseline} but states no offset: none is applied.",)
        if unshifted
        else (),
    )


def _level(root: ET.Element, container: Container, member: str) -> str:
    found = _ROOT.match(local_name(root))
    level = found[1] if found else local_name(root)
    if level == "1B":
        raise GridError(f"{container.path} is Sentinel-2 Level-1B, which has no map grid. Use Level-1C or Level-2A.")
    if level not in _OFFSET:
        raise DamagedRaster(
            f"{member} in {container.path} describes no Sentinel-2 Level-1C or Level-2A product: {level}."
        )
    return level


def _quantification(root: ET.Element, level: str, container: Container, member: str) -> float:
    stated = first_text(root, *_QUANTIFICATION[level])
    value = _number(stated)
    if value is None or value <= 0:
        raise DamagedRaster(
            f"{member} in {container.path} has no usable {_QUANTIFICATION[level][0]} ({stated or 'absent'})."
        )
    return value


def _offsets(root: ET.Element, level: str, container: Container, member: str) -> dict[str, float]:
    """Read the offset of each band, in digital numbers; ``band_id`` counts B01 … B08, B8A, B09 … from 0."""
    found = {}
    for element in elements(root, _OFFSET[level]):
        number, value = element.get("band_id", ""), _number(element.text)
        if not number.isdigit() or int(number) >= len(BANDS) or value is None:
            raise DamagedRaster(
                f"{member} in {container.path} has an unreadable {_OFFSET[level]} (band_id '{number}', {element.text})."
            )
        found[BANDS[int(number)]] = value
    return found


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if isfinite(value) else None


def _from_names(container: Container, images: Sequence[Image]) -> _Told:
    """Tell level and offset from names alone: the product's, the tile's folder's, and the images'."""
    text = f"{Path(container.path).absolute().as_posix()}/{images[0].member}"
    by_size = "2A" if any(image.metres for image in images) else "1C"
    level = _last(_LEVEL, text) or by_size
    baseline = int((_last(_BASELINE, text) or str(HOME_MADE)).replace(".", ""))
    absent = f"there is no MTD_MSIL{level}.xml"
    if baseline == HOME_MADE:
        shifted = f"--product l{level.lower()}-0400 says otherwise"
        note = f"{absent} and names tell no processing baseline: taken as one before 04.00; {shifted}."
        return _Told(level, None, {}, notes=(note,))
    offsets = dict.fromkeys(BANDS, USUAL_OFFSET) if baseline >= SHIFTED_FROM else {}
    shown = f"{baseline // 100:02d}.{baseline % 100:02d}"
    note = f"{absent}: scale and offset are those of processing baseline {shown}, which the names state."
    return _Told(level, USUAL_QUANTIFICATION, offsets, notes=(note,))


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    """Return what the last match of a pattern captures: a file's own folders say more than those around them."""
    found = [next(filter(None, match.groups())) for match in pattern.finditer(text.upper())]
    return found[-1] if found else None
