"""Which band of the file is which band of the sensor: by description, file name, colour, or a unique stack order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dofa_cli.errors import BandMismatch
from dofa_cli.sensors.schema import Band, Sensor

_WAVELENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|nanomet\w*|µm|um|micromet\w*)", re.IGNORECASE)
_RED_EDGE = re.compile(r"red[ _-]edge", re.IGNORECASE)  # one word, lest it be taken for red
_TOLERANCE_UM = 0.005
"""How far a wavelength in a band description may lie from a sensor's band, or half the band's width if that is more."""


@dataclass(frozen=True)
class Label:
    """What a file says about one of its bands. ``pixel_size`` is in units of the CRS; ``index`` counts from 1."""

    file: str
    index: int
    in_file: int
    text: str | None = None
    colour: str | None = None
    pixel_size: float = 1.0

    def describe(self) -> str:
        """Write the label for a message."""
        return f"{self.index} '{self.text}'" if self.text else str(self.index)


@dataclass(frozen=True)
class Choice:
    """The bands to use, in order: ``positions`` index the labels, ``bands`` are the sensor's."""

    bands: tuple[Band, ...]
    positions: tuple[int, ...]
    notes: tuple[str, ...] = ()


def choose_bands(labels: Sequence[Label], sensor: Sensor, request: str | None, family: str) -> Choice:
    """Match ``labels`` to ``sensor`` and pick the requested bands.

    ``request`` is a preset (``rgb``), a list (``B04,B03``), an assignment of file bands (``B04=3,B03=2``), or ``None``
    for the sensor's default. Raises :class:`BandMismatch` with what was found, what the sensor has, and what to give.
    """
    asked = _parse_request(request, sensor) if request else None
    if asked and any(index is not None for _, index in asked):
        return _by_assignment(labels, sensor, asked)
    found = _match(labels, sensor)
    if not found and asked and request not in (*sensor.presets, "all") and len(asked) == len(labels):
        found = {band.id: position for position, (band, _) in enumerate(asked)}
    if not found:
        raise BandMismatch(_no_match(labels, sensor))
    if asked and request != "all":
        return _pick([band for band, _ in asked], found, labels, sensor)
    default = [band for band, _ in asked] if asked else [sensor.by_id[name] for name in sensor.default_bands(family)]
    present = [band for band in default if band.id in found] or [band for band in sensor.bands if band.id in found]
    absent = [band.id for band in default if band.id not in found]
    choice = _pick(present, found, labels, sensor)
    notes = (f"not in the file: {', '.join(absent)}",) if absent else ()
    return Choice(choice.bands, choice.positions, choice.notes + notes)


def wavelength_in(text: str) -> float | None:
    """Return the wavelength in µm that a band description states with its unit, or ``None``."""
    stated = _WAVELENGTH.search(text)
    if not stated:
        return None
    value = float(stated[1])
    return value / 1000 if stated[2].lower().startswith("n") else value


def _match(labels: Sequence[Label], sensor: Sensor) -> dict[str, int]:
    """Return label positions by band id; the finest pixel wins where two labels name one band."""
    names = [_band_of(label, sensor) for label in labels]
    if not any(names):
        names = _by_order(labels, sensor)
    found: dict[str, int] = {}
    for position, name in enumerate(names):
        if name and (name not in found or labels[position].pixel_size < labels[found[name]].pixel_size):
            found[name] = position
    return found


def _band_of(label: Label, sensor: Sensor) -> str | None:
    if label.text and not _says_its_number_only(label):
        return _by_name(label.text, sensor) or _by_wavelength(label.text, sensor)
    return _by_file_name(label.file, sensor) if label.in_file == 1 else None


def _says_its_number_only(label: Label) -> bool:
    """Whether a description is no more than the "Band 3" that many writers give to the third band."""
    return _fold(label.text or "") == f"band{label.index}"


def _by_name(text: str, sensor: Sensor) -> str | None:
    """Match the whole text first, then each of its words."""
    table = {}
    for band in sensor.bands:
        common = [band.common_name] if _is_unique(band.common_name, sensor) else []
        for name in [*common, *band.aliases, band.id]:
            table[_fold(name or "")] = band.id
    words = [text, *re.split(r"[^A-Za-z0-9]+", _RED_EDGE.sub("rededge", text))]
    return next((table[_fold(word)] for word in words if _fold(word) in table), None)


def _is_unique(common_name: str | None, sensor: Sensor) -> bool:
    return common_name is not None and [band.common_name for band in sensor.bands].count(common_name) == 1


def _by_wavelength(text: str, sensor: Sensor) -> str | None:
    stated = wavelength_in(text)
    optical = [band for band in sensor.bands if band.center_um is not None]
    if stated is None or not optical:
        return None
    nearest = min(optical, key=lambda band: abs((band.center_um or 0) - stated))
    tolerance = max(_TOLERANCE_UM, (nearest.fwhm_um or 0) / 2)
    return nearest.id if abs((nearest.center_um or 0) - stated) <= tolerance else None


def _by_file_name(name: str, sensor: Sensor) -> str | None:
    for pattern in sensor.file_patterns:
        if (hit := re.search(pattern, name)) and "band" in hit.groupdict():
            return _by_name(hit["band"], sensor)
    words = re.split(r"[^A-Za-z0-9]+", name.rsplit(".", 1)[0])
    return next((band for word in reversed(words) if (band := _by_name(word, sensor))), None)


def _by_order(labels: Sequence[Label], sensor: Sensor) -> list[str | None]:
    """Name an unnamed stack by colours, or by count when only one order of that length is plausible."""
    if len(labels) > 1 and any(label.in_file == 1 for label in labels):
        return [None] * len(labels)
    colours = [_by_name(label.colour, sensor) if label.colour else None for label in labels]
    if all(colours):
        return colours
    orders = [order for order in sensor.stack_orders if len(order) == len(labels)]
    return list(orders[0]) if len(orders) == 1 else [None] * len(labels)


def _parse_request(request: str, sensor: Sensor) -> list[tuple[Band, int | None]]:
    if request in sensor.presets:
        return [(sensor.by_id[name], None) for name in sensor.presets[request]]
    if request == "all":
        return [(band, None) for band in sensor.bands]
    asked = []
    for part in filter(None, (part.strip() for part in request.split(","))):
        name, _, index = part.partition("=")
        band = _by_name(name, sensor)
        if band is None or (index and not index.isdecimal()):
            presets = ", ".join(sensor.presets) or "none"
            raise BandMismatch(
                f"--bands '{part}' is not a band of {sensor.id}. It has {_list(sensor)}; presets: {presets}; "
                "or write NAME=NUMBER for a band of the file."
            )
        asked.append((sensor.by_id[band], int(index) if index else None))
    if len({index is None for _, index in asked}) > 1:
        raise BandMismatch(f"--bands '{request}' numbers some bands only. Write NAME=NUMBER for every band, or none.")
    if len({band.id for band, _ in asked}) < len(asked) or not asked:
        raise BandMismatch(f"--bands '{request}' names a band twice or none.")
    return asked


def _by_assignment(labels: Sequence[Label], sensor: Sensor, asked: list[tuple[Band, int | None]]) -> Choice:
    for band, index in asked:
        if not 1 <= (index or 0) <= len(labels):
            raise BandMismatch(
                f"--bands {band.id}={index}: the file has {_bands(len(labels))}. {_no_match(labels, sensor)}"
            )
    return Choice(tuple(band for band, _ in asked), tuple((index or 1) - 1 for _, index in asked))


def _pick(bands: Sequence[Band], found: dict[str, int], labels: Sequence[Label], sensor: Sensor) -> Choice:
    if missing := [band.id for band in bands if band.id not in found]:
        raise BandMismatch(
            f"The file has no {', '.join(missing)}. Found: {', '.join(found)}. {_no_match(labels, sensor)}"
        )
    unused = len(labels) - len(bands)
    notes = (f"{_bands(unused)} of the file left out",) if unused else ()
    return Choice(tuple(bands), tuple(found[band.id] for band in bands), notes)


def _no_match(labels: Sequence[Label], sensor: Sensor) -> str:
    shown = ", ".join(label.describe() for label in labels[:14]) + (", …" if len(labels) > 14 else "")
    return (
        f"The file has {_bands(len(labels))} ({shown}); {sensor.id} has {_list(sensor)}. Say which is which with "
        "--bands NAME,NAME,… in file order or --bands NAME=NUMBER,…, or give --wavelengths in µm."
    )


def _list(sensor: Sensor, most: int = 14) -> str:
    names = [band.id for band in sensor.bands]
    return ", ".join(names) if len(names) <= most else f"{len(names)} bands, {names[0]} to {names[-1]}"


def _bands(count: int) -> str:
    return f"{count} band" + ("" if count == 1 else "s")


def _fold(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
