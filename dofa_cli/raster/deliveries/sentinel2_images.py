"""Which files of a Sentinel-2 product are images of which band, and which of them to read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""ESA's order, whose positions are the ``band_id`` of the metadata."""
SCL = "SCL"

_SUFFIXES = (".jp2", ".tif", ".tiff")
_ELSEWHERE = {"QI_DATA", "AUX_DATA"}
"""Folders of rasters that are named like bands and are none, such as ``MSK_QUALIT_B02.jp2``."""
_NAME = re.compile(
    r"(?:(?P<scene>.*)_)?(?P<band>B(?:0?[1-9]|1[0-2]|8A)|SCL)(?:_(?P<metres>10|20|60)m)?$", re.IGNORECASE
)
_FOLDER = re.compile(r"R(10|20|60)m$", re.IGNORECASE)
_TILE = re.compile(
    r"(?:L2A_)?T\d\d[A-Z]{3}_\d{8}T\d{6}$|S2\w_\w+_MSI_L(?:1C|2A)_\w+_T\d\d[A-Z]{3}$|S2\w_MSIL(?:1C|2A)_\d{8}T\w+$"
)


@dataclass(frozen=True)
class Image:
    """A file that holds one band; ``scene`` is the part of its name before the band, ``metres`` 10, 20, 60 or 0."""

    member: str
    band: str
    scene: str
    metres: int

    @property
    def stem(self) -> str:
        """The file's name as the metadata list it, in lower case."""
        return _stem(self.member)


def images_in(files: Sequence[str], listed: Sequence[str] | None = None) -> list[Image]:
    """Return the images among ``files``.

    Those whose names the metadata list come first; a band without one of them is looked for under other names that end
    in the band. Without a list (``None``) only ESA's own names with tile and date count.
    """
    found = [image for file in files if (image := _image(file))]
    if listed is None:
        return [image for image in found if _TILE.match(image.scene)]
    wanted = {_stem(name) for name in listed}
    known = [image for image in found if image.stem in wanted]
    if not known:
        return found
    seen, scenes = {image.band for image in known}, {image.scene for image in known} | {""}
    return known + [image for image in found if image.band not in seen and image.scene in scenes]


def chosen_images(
    images: Sequence[Image], listed: Sequence[str], absent: Sequence[str]
) -> tuple[dict[str, Image], list[str]]:
    """Return the finest image of each band, and notes on what is missing but for bands ``absent`` by design."""
    chosen = {
        band: min(same, key=lambda image: (image.metres, len(image.member), image.member))
        for band in (*BANDS, SCL)
        if (same := [image for image in images if image.band == band])
    }
    notes = []
    if missing := [band for band in BANDS if band not in chosen and band not in absent]:
        notes.append(f"no image file of {', '.join(missing)} was found.")
    finest = _finest(listed)
    notes += [
        f"{band} is read at {image.metres} m: its image of {finest[band]} m is missing."
        for band, image in chosen.items()
        if image.metres > finest.get(band, image.metres)
    ]
    return chosen, notes


def _finest(listed: Sequence[str]) -> dict[str, int]:
    """Return the finest pixel size in metres at which the metadata list each band."""
    sizes: dict[str, int] = {}
    for name in listed:
        if found := _NAME.match(PurePosixPath(name).name):
            band = _band(found["band"])
            sizes[band] = min(sizes.get(band, 60), int(found["metres"] or 0))
    return sizes


def _image(member: str) -> Image | None:
    place = PurePosixPath(member)
    found = _NAME.match(place.stem)
    if found is None or place.suffix.lower() not in _SUFFIXES or _is_elsewhere(place):
        return None
    folders = [size[1] for part in place.parts[:-1] if (size := _FOLDER.match(part))]
    metres = found["metres"] or next(iter(folders), "0")
    return Image(member, _band(found["band"]), (found["scene"] or "").upper(), int(metres))


def _is_elsewhere(place: PurePosixPath) -> bool:
    return bool(_ELSEWHERE & {part.upper() for part in place.parts}) or place.name.upper().startswith("MSK_")


def _band(name: str) -> str:
    """Write a band as ESA does: two digits, or B8A."""
    digits = name.upper().removeprefix("B")
    return f"B{int(digits):02d}" if digits.isdigit() else name.upper()


def _stem(name: str) -> str:
    place = PurePosixPath(name)
    return (place.stem if place.suffix.lower() in _SUFFIXES else place.name).lower()
