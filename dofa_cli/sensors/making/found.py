"""What a source says of bands, before it becomes a sensor: numbers and units, checked where they come in."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from dofa_cli.errors import BadSensorFile, BadWavelengths
from dofa_cli.sensors.schema import LONGEST_OPTICAL_UM, SHORTEST_OPTICAL_UM

MOST_BANDS = 2000
NANOMETRES_FROM = 100.0
"""Wavelengths without a unit from here on are nanometres: no optical band lies at 100 µm."""
NARROWEST_UM = 5e-5
"""Widths below this (0.05 nm) are in another unit than their centres; no imaging spectrometer is that fine."""
SHOWN_BANDS = 6
LONGEST_SHOWN = 60


class Unit(Enum):
    """Units of wavelength, as micrometres."""

    ANGSTROM = 1e-4
    NANOMETRE = 1e-3
    MICROMETRE = 1.0
    MILLIMETRE = 1e3
    METRE = 1e6


_WRITTEN = {
    Unit.ANGSTROM: r"å|[aå]ngstr[oö]ms?",
    Unit.NANOMETRE: r"nm|nanomet(?:er|re)s?",
    Unit.MICROMETRE: r"[uμ]m|microns?|micromet(?:er|re)s?",
    Unit.MILLIMETRE: r"mm|millimet(?:er|re)s?",
    Unit.METRE: r"m|met(?:er|re)s?",
}
"""How units are written, in lower case and with the Greek letter for micro."""


@dataclass(frozen=True)
class FoundBand:
    """One band: wavelengths in µm, pixel size in metres; ``None`` for what the source does not say.

    Radar bands have a polarisation and a frequency in GHz instead of a centre.
    """

    name: str | None = None
    center_um: float | None = None
    fwhm_um: float | None = None
    gsd_m: float | None = None
    common_name: str | None = None
    aliases: tuple[str, ...] = ()
    usable: bool = True
    polarisation: str | None = None
    frequency_ghz: float | None = None


@dataclass(frozen=True)
class Found:
    """All bands of a source.

    ``origin`` names the source in words, ``in_order`` says that files hold the bands in this order, and ``notices`` is
    what the user should know.
    """

    bands: tuple[FoundBand, ...]
    origin: str
    in_order: bool = True
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spectrum:
    """Centres and widths in µm, one a band, and what was done to get there."""

    centers_um: tuple[float, ...]
    fwhm_um: tuple[float | None, ...]
    notices: tuple[str, ...] = ()


def spectrum(
    labels: Sequence[str],
    centers: Sequence[float | None],
    widths: Sequence[float | None],
    *,
    unit: Unit | None = None,
    width_unit: Unit | None = None,
) -> Spectrum:
    """Bring centres and widths of the bands called ``labels`` to µm.

    Without a unit, values from 100 on are nanometres and those up to 30 micrometres; widths have the unit of their
    centres. A width of 0 means that it is not known.

    Raises :class:`BadWavelengths`, which names the bands, for missing values, for what no optical band has, and where
    both units seem to be in use.
    """
    check_count(len(labels))
    given = _complete(labels, centers)
    chosen = unit or _unit_of(labels, given)
    in_um = tuple(round(value * chosen.value, 9) for value in given)
    _refuse(labels, [not SHORTEST_OPTICAL_UM < value <= LONGEST_OPTICAL_UM for value in in_um], given, _NO_BAND)
    notices = [_CONVERTED] if unit is None and chosen is Unit.NANOMETRE else []
    if unknown := [label for label, width in zip(labels, widths, strict=True) if width == 0]:
        notices.append(f"a width of 0 means that it is not known: {listed(unknown)}.")
    return Spectrum(in_um, _widths(labels, in_um, widths, width_unit or chosen), tuple(notices))


_CONVERTED = "wavelengths look like nanometres and were converted to micrometres."
_NO_BAND = f"no optical band lies outside {SHORTEST_OPTICAL_UM:g} to {LONGEST_OPTICAL_UM:g} µm"
_MIXED = "a width must be above 0 and below its centre; are both in one unit?"


def _complete(labels: Sequence[str], centers: Sequence[float | None]) -> list[float]:
    if missing := [label for label, center in zip(labels, centers, strict=True) if center is None]:
        raise BadWavelengths(
            f"No centre wavelength for {listed(missing)}. Add it to the source, or give all with --wavelengths."
        )
    given = [center for center in centers if center is not None]
    _refuse(labels, [not math.isfinite(value) or value <= 0 for value in given], given, _NO_BAND)
    return given


def _unit_of(labels: Sequence[str], centers: Sequence[float]) -> Unit:
    """Tell the unit by size."""
    large = [label for label, value in zip(labels, centers, strict=True) if value >= NANOMETRES_FROM]
    if 0 < len(large) < len(labels):
        small = [label for label, value in zip(labels, centers, strict=True) if value < NANOMETRES_FROM]
        raise BadWavelengths(
            f"Wavelengths are in mixed units: {listed(large)} look like nanometres, {listed(small)} do not. "
            "Give all in micrometres."
        )
    return Unit.NANOMETRE if large else Unit.MICROMETRE


def _widths(
    labels: Sequence[str], centers_um: Sequence[float], widths: Sequence[float | None], unit: Unit
) -> tuple[float | None, ...]:
    in_um = [round(width * unit.value, 9) if width else None for width in widths]
    wrong = [
        width is not None and not NARROWEST_UM <= width < center
        for width, center in zip(in_um, centers_um, strict=True)
    ]
    _refuse(labels, wrong, [width or 0.0 for width in widths], _MIXED)
    return tuple(in_um)


def _refuse(labels: Sequence[str], wrong: Sequence[bool], values: Sequence[float], reason: str) -> None:
    """Raise :class:`BadWavelengths` with the bands and values that are wrong."""
    rows = zip(labels, wrong, values, strict=True)
    if faults := [f"{listed([label])} ({value:g})" for label, is_wrong, value in rows if is_wrong]:
        more = f" and {len(faults) - SHOWN_BANDS} more" if len(faults) > SHOWN_BANDS else ""
        raise BadWavelengths(f"{', '.join(faults[:SHOWN_BANDS])}{more}: {reason}.")


def check_count(count: int) -> None:
    """Raise :class:`BadSensorFile` for no band, or more than any instrument has."""
    if count == 0:
        raise BadSensorFile("No band was found. A sensor needs at least one.")
    if count > MOST_BANDS:
        raise BadSensorFile(f"More than {MOST_BANDS} bands were found, which no instrument has. Is it the right file?")


def unit_named(text: str) -> Unit | None:
    """Return the unit that a word such as ``nm`` or ``Micrometers`` names, or ``None``."""
    word = unicodedata.normalize("NFKC", text).strip().lower()
    return next((unit for unit, pattern in _WRITTEN.items() if re.fullmatch(pattern, word)), None)


def number(value: object, what: str) -> float | None:
    """Return a number of a source, ``None`` where it is empty; :class:`BadSensorFile` says ``what`` is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise BadSensorFile(f"{what} is too large a number.") from None
        except ValueError:
            pass
    raise BadSensorFile(f"{what} is {shown(value)}, which is not a number.")


def text_of(value: object) -> str | None:
    """Return a name of a source in one clean line, ``None`` where it has none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return clean(str(value)) or None


def clean(text: str) -> str:
    """Return text in one line that can be written as UTF-8: no control characters, no halves of characters."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in whole).split())


def shown(value: object) -> str:
    """Write a value of a source for a message: one line, not too long."""
    if not isinstance(value, str | float | None):
        return f"a value of type {type(value).__name__}"
    text = clean(str(value)[: 4 * LONGEST_SHOWN])
    return f"'{text}'" if len(text) <= LONGEST_SHOWN else f"'{text[: LONGEST_SHOWN - 1]}…'"


def listed(labels: Sequence[str]) -> str:
    """Write names for a message, of many the first ones."""
    more = f" and {len(labels) - SHOWN_BANDS} more" if len(labels) > SHOWN_BANDS else ""
    return ", ".join(clean(label)[:LONGEST_SHOWN] for label in labels[:SHOWN_BANDS]) + more
