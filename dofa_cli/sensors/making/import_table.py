"""Bands from the columns of a table, which are found by their names and units."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dofa_cli.errors import BadSensorFile, BadWavelengths
from dofa_cli.sensors.making.found import (
    Found,
    FoundBand,
    Spectrum,
    Unit,
    check_count,
    listed,
    number,
    shown,
    spectrum,
    text_of,
    unit_named,
)
from dofa_cli.sensors.making.tables import Columns

LONGEST_TITLE = 200

_NAMES = {
    "id": ("id", "bandid"),
    "band": ("band", "bandnumber"),
    "name": ("name", "bandname"),
    "center": (
        *("center", "centre", "central", "wavelength", "wavelengths", "wl", "cwl", "lambda"),
        *("centerwavelength", "centrewavelength", "centralwavelength", "wavelengthcenter", "wavelengthcentre"),
    ),
    "fwhm": ("fwhm", "width", "bandwidth", "fullwidthhalfmax", "fullwidthathalfmaximum"),
    "low": ("min", "minimum", "lower", "low", "start", "from", "minwavelength", "wavelengthmin", "loweredge"),
    "high": ("max", "maximum", "upper", "high", "end", "to", "maxwavelength", "wavelengthmax", "upperedge"),
    "gsd": ("gsd", "resolution", "pixelsize"),
    "common_name": ("commonname",),
    "usable": ("bbl", "usable", "good"),
    "unit": ("unit", "units", "wavelengthunit", "wavelengthunits"),
}
_FIELD = {name: field for field, names in _NAMES.items() for name in names}
_UNIT_AT_END = re.compile(r"^(?P<name>.*?)[\s_(\[,/]+(?P<unit>[a-zμ]+)[\s)\]]*$")
_METRES = {"m": 1.0, "meters": 1.0, "metres": 1.0, "cm": 0.01, "km": 1000.0}


@dataclass(frozen=True)
class _Column:
    """A column whose name is understood; ``unit`` is what that name says."""

    title: str
    unit: str | None
    values: Sequence[object]

    def numbers(self, labels: Sequence[str]) -> list[float | None]:
        return [
            number(value, f"{shown(self.title)} of {label}") for value, label in zip(self.values, labels, strict=True)
        ]


def from_columns(columns: Columns, origin: str) -> Found:
    """Return one band a row.

    Raises :class:`BadSensorFile` and :class:`BadWavelengths`, which name columns and bands.
    """
    known = _understood(columns, origin)
    unused = [title for title in columns if title not in {column.title for column in known.values()}]
    _check_wavelengths(columns, known, unused, origin)
    count = len(next(iter(columns.values())))
    check_count(count)
    names, aliases = _names(known, count)
    labels = [name or f"band {row}" for row, name in enumerate(names, 1)]
    found, notices = _spectrum(known, labels, count)
    rows = zip(
        names,
        aliases,
        found.centers_um,
        found.fwhm_um,
        _metres(known.get("gsd"), labels, count),
        _texts(known.get("common_name"), count),
        _flags(known.get("usable"), labels, count),
        strict=True,
    )
    bands = tuple(
        FoundBand(name, center, width, gsd, common.lower() if common else None, also, good)
        for name, also, center, width, gsd, common, good in rows
    )
    left_out = [f"columns not used: {listed(unused)}."] if unused else []
    return Found(bands, f"{origin} (table)", notices=(*found.notices, *notices, *left_out))


def _understood(columns: Columns, origin: str) -> dict[str, _Column]:
    """Return the columns by what they hold."""
    known: dict[str, _Column] = {}
    for title, values in columns.items():
        name, unit = _name_and_unit(title)
        field = _FIELD.get(name)
        if field in known:
            raise BadSensorFile(
                f"{origin} has two columns for the same: {listed([known[field].title, title])}. Leave one out."
            )
        if field is not None:
            known[field] = _Column(title, unit, values)
    return known


def _name_and_unit(title: str) -> tuple[str, str | None]:
    """Split ``Center (µm)`` or ``wavelength_nm`` into a folded name and a unit."""
    text = unicodedata.normalize("NFKC", title[:LONGEST_TITLE]).strip().lower().removeprefix("eo:")
    at_end = _UNIT_AT_END.match(text)
    if at_end and (unit_named(at_end["unit"]) or at_end["unit"] in _METRES):
        return _fold(at_end["name"]), at_end["unit"]
    return _fold(text), None


def _fold(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text)


def _check_wavelengths(columns: Columns, known: Mapping[str, _Column], unused: Sequence[str], origin: str) -> None:
    if "center" not in known and not {"low", "high"} <= known.keys():
        raise BadWavelengths(
            f"{origin} has no column of centre wavelengths, such as center_um or center_nm, nor min and max. "
            f"It has {listed(list(columns))}. Spectral responses are read with --from-srf."
        )
    if known.keys() <= {"center", "unit"} and unused and all(_is_numeric(columns[title]) for title in unused):
        raise BadSensorFile(
            f"{origin} looks like spectral responses of {listed(list(unused))}. Read it with --from-srf."
        )


def _is_numeric(values: Sequence[object]) -> bool:
    try:
        return any(number(value, "") is not None for value in values)
    except BadSensorFile:
        return False


def _spectrum(known: Mapping[str, _Column], labels: Sequence[str], count: int) -> tuple[Spectrum, list[str]]:
    """Return centres and widths, from edges where there is no column of their own."""
    unit = _common_unit(known.get("unit"))
    empty: list[float | None] = [None] * count
    center, width, low, high = (known.get(field) for field in ("center", "fwhm", "low", "high"))
    centers, widths = (column.numbers(labels) if column else empty for column in (center, width))
    notices = []
    if low and high and not (center and width):
        lows, highs = low.numbers(labels), high.numbers(labels)
        if low.unit != high.unit:
            raise BadWavelengths(f"{listed([low.title, high.title])} are in different units.")
        _check_edges(labels, lows, highs)
        if center is None:
            centers = [None if a is None or b is None else (a + b) / 2 for a, b in zip(lows, highs, strict=True)]
            center = low
            notices.append("centres are the middles between the edges.")
        if width is None:
            widths = [None if a is None or b is None else b - a for a, b in zip(lows, highs, strict=True)]
            width = low
            notices.append("widths are the distances between the edges.")
    in_um = spectrum(labels, centers, widths, unit=_unit(center) or unit, width_unit=_unit(width) or unit)
    return in_um, notices


def _check_edges(labels: Sequence[str], lows: Sequence[float | None], highs: Sequence[float | None]) -> None:
    rows = zip(labels, lows, highs, strict=True)
    if wrong := [label for label, low, high in rows if low is not None and high is not None and not low < high]:
        raise BadWavelengths(f"The lower edge is not below the upper one: {listed(wrong)}.")


def _unit(column: _Column | None) -> Unit | None:
    return unit_named(column.unit) if column and column.unit else None


def _common_unit(column: _Column | None) -> Unit | None:
    """Return the unit that a column of its own gives to all rows."""
    words = {text for value in (column.values if column else ()) if (text := text_of(value))}
    if not words:
        return None
    units = {unit_named(word) for word in words}
    unit = units.pop()
    if units or unit is None:
        raise BadWavelengths(f"Wavelengths are in units that are no lengths, or in several: {listed(sorted(words))}.")
    return unit


def _names(known: Mapping[str, _Column], count: int) -> tuple[list[str | None], list[tuple[str, ...]]]:
    """Return the names of the bands and further ones: a column of ids comes first, then one of bands, then of names."""
    columns = [_texts(known[field], count) for field in ("id", "band", "name") if field in known]
    rows = [[text for text in row if text] for row in zip(*columns, strict=True)] or [[] for _ in range(count)]
    return [row[0] if row else None for row in rows], [tuple(row[1:]) for row in rows]


def _texts(column: _Column | None, count: int) -> list[str | None]:
    return [text_of(value) for value in column.values] if column else [None] * count


def _metres(column: _Column | None, labels: Sequence[str], count: int) -> list[float | None]:
    if column is None:
        return [None] * count
    factor = _METRES.get(column.unit or "m")
    if factor is None:
        raise BadSensorFile(f"{shown(column.title)} is not in metres.")
    return [None if value is None else round(value * factor, 9) for value in column.numbers(labels)]


def _flags(column: _Column | None, labels: Sequence[str], count: int) -> list[bool]:
    """Return which bands are good: 1 or true, not 0 or false; all where the table does not say."""
    if column is None:
        return [True] * count
    words = {"true": 1, "yes": 1, "false": 0, "no": 0}
    plain = [
        words.get(str(value).lower(), value) if isinstance(value, str | bool) else value for value in column.values
    ]
    numbers = (number(value, f"{shown(column.title)} of {label}") for value, label in zip(plain, labels, strict=True))
    return [value is None or value > 0 for value in numbers]
