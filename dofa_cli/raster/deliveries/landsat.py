"""Landsat scenes of Level 1 and Level 2: a folder, a tar archive, or the metadata file (``*_MTL``) itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath

from dofa_cli.errors import NoBands
from dofa_cli.raster.deliveries.container import Container, open_container
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery, QualityLayer, Screen
from dofa_cli.raster.deliveries.landsat_craft import Calibration, Craft, Factors
from dofa_cli.raster.deliveries.landsat_mtl import Mtl, parse_mtl

NODATA = 0.0
LEVEL2_FACTORS: dict[str, Factors] = {"SR": (2.75e-05, -0.2), "ST": (0.00341802, 149.0)}
"""Scale and offset of Collection 2 surface reflectance and temperature (USGS), the same in every scene."""

_METADATA = re.compile(r"_MTL\.(?:txt|json|xml)$", re.IGNORECASE)
_BAND_KEY = re.compile(r"FILE_NAME_BAND_((?:ST_B)?\d+(?:_VCID_\d)?)$")
_FILE = re.compile(
    r"(?P<scene>L(?P<sort>[COTEM])0(?P<craft>\d)_(?P<level>L1TP|L1GT|L1GS|L2SP|L2SR)_\d{6}_(?P<day>\d{8})_\d{8}_\d\d_"
    r"(?:RT|T1|T2))_(?:(?P<part>SR|ST)_)?(?P<band>B\d+(?:_VCID_\d)?|QA_PIXEL)\.TIFF?$",
    re.IGNORECASE,
)
_QUALITY = "QA_PIXEL"


def read(path: str) -> Delivery | None:
    """Return the Landsat scene at ``path``, or ``None`` where there is none.

    Raises :class:`NoBands` for several scenes, and where none of a scene's files is there;
    :class:`~dofa_cli.errors.DamagedRaster` for metadata that are cut or incomplete.
    """
    container = _beside(path) if _METADATA.search(path) else open_container(path)
    if container is None:
        return None
    metadata = [member for member in container.members if _METADATA.search(member)]
    if _METADATA.search(path):
        metadata = [Path(path).name]
    if not metadata:
        return _from_names(path, container)
    _check_one(path, [_METADATA.sub("", member) for member in metadata])
    text = next((member for member in metadata if member.lower().endswith(".txt")), metadata[0])
    return _from_metadata(path, container, text)


def _beside(path: str) -> Container | None:
    """Return the files that lie in the folder of a metadata file."""
    if not Path(path).is_file():
        return None
    folder = Path(path).parent
    return Container(str(folder), str(folder), tuple(sorted(file.name for file in folder.iterdir() if file.is_file())))


def _check_one(path: str, scenes: Sequence[str]) -> None:
    names = list(dict.fromkeys(scenes))
    if len(names) > 1:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise NoBands(f"{path} holds {len(names)} Landsat scenes ({shown}). Name the folder or MTL file of one.")


@dataclass(frozen=True)
class _Files:
    """The files of one folder of a container, found whatever the case of their names."""

    container: Container
    folder: PurePosixPath

    @cached_property
    def by_name(self) -> dict[str, str]:
        return {str(PurePosixPath(member)).lower(): member for member in self.container.members}

    def gdal_path(self, name: str) -> str | None:
        member = self.by_name.get(str(self.folder / name).lower())
        return None if member is None else self.container.gdal_path(member)


def _from_metadata(path: str, container: Container, member: str) -> Delivery:
    mtl = parse_mtl(PurePosixPath(member).name, container.text(member))
    contents = mtl.group("PRODUCT_CONTENTS", "PRODUCT_METADATA")  # Collection 2, Collection 1
    craft = Craft.of(mtl, contents)
    calibration = Calibration.of(mtl, craft)
    files = _Files(container, PurePosixPath(member).parent)
    listed = {match[1]: files.gdal_path(file) for key, file in contents.items() if (match := _BAND_KEY.match(key))}
    there = {key: file for key, file in listed.items() if file}
    if not there:
        raise NoBands(f"None of the {len(listed)} band files that {mtl.name} lists lies beside it.")
    mask = files.gdal_path(contents["FILE_NAME_QUALITY_L1_PIXEL"]) if "FILE_NAME_QUALITY_L1_PIXEL" in contents else None
    notes = []
    if absent := [_band_id(key) for key in listed if key not in there]:
        notes.append(f"listed in {mtl.name} and not there: {', '.join(absent)}.")
    if calibration.sine is None:
        notes.append("taken with the sun below the horizon: values are not turned into reflectance.")
    bands = tuple(_band(craft, file, _band_id(key), calibration.factors(key)) for key, file in there.items())
    return _delivery(path, craft, bands, mask, taken=_taken(mtl), notes=notes)


def _from_names(path: str, container: Container) -> Delivery | None:
    """Read files that are named as USGS names them, where their metadata file is missing."""
    members = [(_FILE.match(PurePosixPath(member).name), member) for member in container.members]
    found = [(match, member) for match, member in members if match]
    layers = {match["band"].upper(): (match, container.gdal_path(member)) for match, member in found}
    mask = layers.pop(_QUALITY, (None, None))[1]
    if not layers:
        return None
    _check_one(path, [match["scene"] for match, _ in found])
    first = found[0][0]
    craft = Craft(int(first["craft"]), first["sort"].upper() == "M", first["level"].upper())
    usual = LEVEL2_FACTORS if craft.is_level2 else {}
    bands = tuple(
        _band(craft, file, name, usual.get((match["part"] or "").upper(), (None, None)))
        for name, (match, file) in sorted(layers.items(), key=lambda layer: _number(layer[0]))
    )
    note = "without its metadata file (*_MTL.txt) the usual factors of Collection 2 are used"
    note += "." if craft.is_level2 else ", and values are not corrected for the sun's elevation."
    return _delivery(path, craft, bands, mask, taken=_day(first["day"]), notes=[note])


def _band(craft: Craft, file: str, name: str, factors: Factors) -> DeliveredBand:
    scale, offset = factors
    centre, width = craft.spectrum(name)
    return DeliveredBand(file, name, 1, scale, offset, NODATA, centre, width)


def _band_id(key: str) -> str:
    """Turn ``4``, ``6_VCID_1`` or ``ST_B10`` into ``B4``, ``B6_VCID_1`` or ``B10``."""
    return f"B{key.removeprefix('ST_B')}"


def _number(name: str) -> tuple[int, str]:
    digits = re.match(r"B(\d+)", name)
    return int(digits[1]) if digits else 0, name


def _taken(mtl: Mtl) -> datetime | None:
    day, time = mtl.find("DATE_ACQUIRED"), mtl.find("SCENE_CENTER_TIME")
    return _day(f"{day}T{time}") or (_day(day) if day else None)


def _day(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def _delivery(
    path: str,
    craft: Craft,
    bands: tuple[DeliveredBand, ...],
    mask: str | None,
    *,
    taken: datetime | None,
    notes: Sequence[str],
) -> Delivery:
    if path.lower().endswith((".gz", ".tgz")):
        notes = [*notes, "a compressed archive is read slowly; unpack it once with tar -xf."]
    quality = None if mask is None else QualityLayer(mask, Screen.LANDSAT_QA_PIXEL)
    return Delivery(path, craft.kind, craft.sensor, craft.product, bands, taken, quality, tuple(notes))
