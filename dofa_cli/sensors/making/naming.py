"""From what sources call bands to ids that sensor files may hold, and back: other names become aliases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dofa_cli.errors import BadSensorFile, OptionError
from dofa_cli.sensors.making.found import clean, listed, shown
from dofa_cli.sensors.names import fold

COMMON_NAMES = (
    *("pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075"),
    *("rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"),
)
"""Names of spectral regions in STAC's electro-optical extension, https://github.com/stac-extensions/eo."""
LONGEST_ID = 64
LONGEST_ALIAS = 200
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")
"""Names that some systems keep for devices, with whatever ending."""
_UNIT = r"(?:nm|nanomet\w*|[µμu]m|micromet\w*|[aå]ngstr\w*)"
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_WAVELENGTH = re.compile(
    rf"[(\[]\s*{_NUMBER}\s*{_UNIT}?\s*[)\]]$|(?<![A-Za-z0-9.]){_NUMBER}\s*{_UNIT}$|^{_NUMBER}$", re.IGNORECASE
)
"""A wavelength at the end of a band's description: in brackets, with its unit, or all there is."""


@dataclass(frozen=True)
class BandName:
    """A band's id and its name in the source, where that is another one."""

    id: str
    aliases: tuple[str, ...] = ()


def check_id(text: str) -> str:
    """Return the id of a new sensor; :class:`OptionError` for what could not be the name of a file everywhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) or len(text) > LONGEST_ID:
        raise OptionError(
            f"{shown(text)} cannot be the id of a sensor. Use at most {LONGEST_ID} letters, digits, dots, hyphens and "
            "underscores, beginning with a letter or digit."
        )
    if _DEVICES.fullmatch(text) or text.lower().endswith(".toml") or text.endswith("."):
        raise OptionError(f"{shown(text)} cannot be the id of a sensor: as a file it would mean something else.")
    return text


def telling_names(texts: Sequence[str | None], count: int) -> list[str | None]:
    """Return what band descriptions call the bands, without wavelengths.

    ``None`` for all where they do not tell every band by a name of its own, or only number them.
    """
    plain = [_WAVELENGTH.sub("", clean((text or "")[:LONGEST_ALIAS])).strip() for text in texts]
    folded = [fold(text) for text in plain]
    tells = len(plain) == count and all(folded) and len(set(folded)) == count
    if not tells or all(text in (f"band{n}", f"b{n}", f"channel{n}", str(n)) for n, text in enumerate(folded, 1)):
        return [None] * count
    return [*plain]


def band_names(names: Sequence[str | None]) -> list[BandName]:
    """Return ids: a name with signs that ids cannot have replaced, or ``b`` and the band's number.

    Numbers alone become ``b`` and the number, lest any number in a file's text name a band. Raises
    :class:`BadSensorFile` where two bands could not be told apart.
    """
    made = [_band_name(name, place) for place, name in enumerate(names, 1)]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(made, 1):
        places.setdefault(fold(name.id), []).append(place)
    if twice := [group for group in places.values() if len(group) > 1]:
        pairs = [" and ".join(f"{names[at - 1] or 'unnamed'} (band {at})" for at in group[:2]) for group in twice]
        raise BadSensorFile(f"Bands whose names cannot be told apart: {listed(pairs)}. Name them with --names.")
    return [BandName(name.id, name.aliases) for name in made]


def _band_name(name: str | None, place: int) -> BandName:
    text = clean(name or "")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:LONGEST_ID].rstrip("._-")
    if plain.isdecimal():
        plain = f"b{plain}"[:LONGEST_ID]
    made = plain or f"b{place}"
    is_another = text and not text.isdecimal() and text != made and len(text) <= LONGEST_ALIAS
    return BandName(made, (text,) if is_another else ())


def common_name(name: str | None) -> str | None:
    """Return the STAC common name that a band's name is, or ``None``."""
    folded = fold(name or "")
    return folded if folded in COMMON_NAMES else None
