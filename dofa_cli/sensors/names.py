"""How the bands of a sensor are called: by id, alias or STAC name, or by a wavelength that a text states."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter

from dofa_cli.sensors.schema import Sensor

_WAVELENGTH = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(nm|nanomet\w*|µm|um|micromet\w*)", re.IGNORECASE)
_RED_EDGE = re.compile(r"red[ _-]edge", re.IGNORECASE)  # one word, lest it be taken for red
_TOLERANCE_UM = 0.005
"""How far a wavelength in a text may lie from a sensor's band, or half the band's width if that is more."""


class BandNames:
    """Find a sensor's bands by what files call them."""

    def __init__(self, sensor: Sensor) -> None:
        common = Counter(band.common_name for band in sensor.bands)
        self.patterns = sensor.file_patterns
        self.table: dict[str, str] = {}
        for band in sensor.bands:
            unique = [band.common_name] if band.common_name and common[band.common_name] == 1 else []
            self.table |= dict.fromkeys((fold(name) for name in [*unique, *band.aliases, band.id]), band.id)
        optical = [(band.center_um, band.fwhm_um or 0.0, band.id) for band in sensor.bands if band.center_um]
        self.spectrum = sorted(optical)
        self.centres = [centre for centre, _, _ in self.spectrum]

    def by_text(self, text: str) -> str | None:
        """Return the band that a description names, or whose wavelength it states."""
        return self.by_name(text) or self.by_wavelength(text)

    def by_name(self, text: str) -> str | None:
        """Match the whole text first, then each of its words."""
        words = [text, *re.split(r"[^A-Za-z0-9]+", _RED_EDGE.sub("rededge", text))]
        return next((self.table[fold(word)] for word in words if fold(word) in self.table), None)

    def by_wavelength(self, text: str) -> str | None:
        """Match a wavelength with its unit to the nearest band."""
        stated = wavelength_in(text)
        if stated is None or not self.spectrum:
            return None
        at = bisect_left(self.centres, stated)
        centre, width, name = min(self.spectrum[max(0, at - 1) : at + 1], key=lambda band: abs(band[0] - stated))
        return name if abs(centre - stated) <= max(_TOLERANCE_UM, width / 2) else None

    def by_file_name(self, name: str) -> str | None:
        """Match the part of a file's name that a pattern calls ``band``, else its last word that names one."""
        for pattern in self.patterns:
            if (hit := re.search(pattern, name)) and "band" in hit.groupdict():
                return self.by_name(hit["band"])
        words = re.split(r"[^A-Za-z0-9]+", name.rsplit(".", 1)[0])
        return next((band for word in reversed(words) if (band := self.by_name(word))), None)


def wavelength_in(text: str) -> float | None:
    """Return the wavelength in µm that a band description states with its unit, or ``None``."""
    stated = _WAVELENGTH.search(text)
    if not stated:
        return None
    value = float(stated[1])
    return value / 1000 if stated[2].lower().startswith("n") else value


def fold(name: str) -> str:
    """Return a name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
