"""Bands from the text of an ENVI header (``.hdr``), whether its data file is there or not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dofa_cli.errors import BadSensorFile, BadWavelengths
from dofa_cli.sensors.making.found import (
    Found,
    FoundBand,
    Unit,
    check_count,
    clean,
    number,
    shown,
    spectrum,
    unit_named,
)
from dofa_cli.sensors.making.naming import telling_names

_NO_UNIT = ("", "unknown", "index")


def from_envi(text: str, origin: str) -> Found:
    """Return the bands with centres, widths, bad-band flags, names and pixel size (where the map is in metres).

    Raises :class:`BadSensorFile` for what is no ENVI header or a truncated one, and :class:`BadWavelengths`.
    """
    fields = _fields(text, origin)
    names = _items(fields.get("band names", ""))
    columns = {key: _numbers(fields, key, origin) for key in ("wavelength", "fwhm", "bbl")}
    count = _count(fields, columns, origin)
    labels = [f"band {number}" for number in range(1, count + 1)]
    widths: list[float | None] = [*columns["fwhm"]] or [None] * count
    found = spectrum(labels, columns["wavelength"], widths, unit=_unit(fields, origin))
    good = [flag > 0 for flag in columns["bbl"]] or [True] * count
    gsd = _pixel_m(fields)
    rows = zip(telling_names(names, count), found.centers_um, found.fwhm_um, good, strict=True)
    bands = tuple(FoundBand(name, center, width, gsd, usable=usable) for name, center, width, usable in rows)
    return Found(bands, f"{origin} (ENVI header)", notices=(*found.notices, *_scale(fields)))


def _fields(text: str, origin: str) -> dict[str, str]:
    """Return the fields by name; lists in braces, which may run over several lines, without those."""
    first, *lines = text.splitlines() or [""]
    if first.strip() != "ENVI":
        raise BadSensorFile(f"{origin} is not an ENVI header: it does not begin with ENVI.")
    fields: dict[str, str] = {}
    waiting = iter(line for line in lines if not line.startswith(";"))
    for line in waiting:
        key, equals, value = line.partition("=")
        if equals:
            fields[" ".join(key.lower().split())] = _value(value.strip(), waiting, key.strip(), origin)
    return fields


def _value(value: str, following: Iterator[str], key: str, origin: str) -> str:
    if not value.startswith("{"):
        return value
    parts = [value]
    while "}" not in parts[-1]:
        line = next(following, None)
        if line is None:
            raise BadSensorFile(f"{origin} is cut off inside {shown(key)}.")
        parts.append(line)
    return " ".join(parts).lstrip("{").partition("}")[0].strip()


def _items(text: str) -> list[str]:
    return [clean(item) for item in text.split(",")] if text else []


def _numbers(fields: dict[str, str], key: str, origin: str) -> list[float]:
    found = (number(item, f"{key} in {origin}") for item in _items(fields.get(key, "")))
    return [value for value in found if value is not None]


def _count(fields: dict[str, str], columns: dict[str, list[float]], origin: str) -> int:
    """Return the number of bands; every list has that length, or is not there."""
    stated = fields.get("bands", str(len(columns["wavelength"])))
    if not stated.isdecimal():
        raise BadSensorFile(f"{origin} says that it has {shown(stated)} bands.")
    count = int(stated[:9])
    check_count(count)
    if not columns["wavelength"]:
        raise BadWavelengths(f"{origin} states no wavelengths. Give them with --wavelengths.")
    for key, values in columns.items():
        if values and len(values) != count:
            raise BadSensorFile(f"{origin} has {count} bands but {len(values)} values of {key}. Is it cut off?")
    return count


def _unit(fields: dict[str, str], origin: str) -> Unit | None:
    stated = fields.get("wavelength units", "")
    unit = unit_named(stated)
    if unit is None and stated.lower() not in _NO_UNIT:
        raise BadWavelengths(f"{origin} has wavelengths in {shown(stated)}, which is no unit of length.")
    return unit


def _pixel_m(fields: dict[str, str]) -> float | None:
    """Return the pixel's width where ``map info`` says that it is in metres: item 6, or the second number in a row."""
    items = _items(fields.get("map info", ""))
    if len(items) < 7 or not re.search(r"units\s*=\s*met(?:er|re)s", " ".join(items), re.IGNORECASE):
        return None
    try:
        size = float(items[5])
    except ValueError:
        return None
    return size if 0 < size < float("inf") else None


def _scale(fields: dict[str, str]) -> list[str]:
    factor = fields.get("reflectance scale factor")
    try:
        scale = 1 / float(factor or "nan")
    except (ValueError, ZeroDivisionError):
        return []
    if not 0 < scale < float("inf"):
        return []
    return [f"the header names a reflectance scale factor: --product-scale {scale:g} makes that the product."]
