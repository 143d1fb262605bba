"""Wavelengths that a file states of its bands: in band tags, in lists like those of ENVI, as a netCDF dimension."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

NANOMETRES_FROM = 100.0
"""Values without a unit from here on are nanometres: no optical band lies at 100 µm."""
NARROWEST_UM = 1e-4
"""A band of 0.1 nm or less is none: its width is written in another unit than its centre."""
_UNITS = {
    "nanomet": 1e-3,
    "nm": 1e-3,
    "micro": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "angstr": 1e-4,
    "millimet": 1e3,
    "mm": 1e3,
    "centimet": 1e4,
    "meter": 1e6,
    "metre": 1e6,
}
"""First letters of units of length, and what to multiply by to get µm."""
_NO_LENGTH = ("index", "wavenumber", "cm-1", "1/cm", "ghz", "mhz")
_CENTRES = ("wavelength", "wavelengths", "center_wavelength", "central_wavelength", "centre_wavelength")
_WIDTHS = ("fwhm",)
_FLAGS = ("bbl", "bad_band_multiplier")
"""Names of tags: values above 0 of the last mean that a band is good."""
_SUFFIXES = {"": None, "_nm": "nm", "_um": "um"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_DIMENSION = "netcdf_dim_"

Tags = dict[str, str]


@dataclass(frozen=True)
class Stated:
    """What a file says of one band: centre and width in µm (``None`` if it does not), and whether it is good."""

    wavelength_um: float | None = None
    fwhm_um: float | None = None
    usable: bool = True


def stated_spectrum(file: Any) -> list[Stated]:
    """Return what an open rasterio dataset states of each of its bands.

    GDAL's IMAGERY tags come last: its ENVI driver rounds them to a nanometre.
    """
    shared, envi = _folded(file.tags()), _folded(file.tags(ns="ENVI"))
    unit = envi.get("wavelength_units") or shared.get("wavelength_units") or shared.get("wavelength_unit")
    lists = [_listed(tags, file.count, unit) for tags in (envi, shared)]
    return [
        _merged([*_of_band(file.tags(index), unit, shared), *(one[index - 1] for one in lists), _imagery(file, index)])
        for index in file.indexes
    ]


def micrometres(value: float, unit: str | None) -> float | None:
    """Convert a wavelength to µm, by its size where no unit is known; ``None`` for what is no optical wavelength."""
    word = (unit or "").strip().lower()
    if word.startswith(_NO_LENGTH):
        return None
    length = value * (_factor(word) or (1e-3 if value >= NANOMETRES_FROM else 1.0))
    return round(length, 9) if 0.1 < length <= 30 else None


def all_stated(bands: Sequence[Any]) -> bool:
    """Whether every band (of anything with ``wavelength_um``) states its wavelength."""
    return bool(bands) and all(band.wavelength_um is not None for band in bands)


def _of_band(tags: Tags, unit: str | None, shared: Tags) -> Iterator[Stated]:
    """Yield what a band's own tags and its place on a netCDF dimension say."""
    own = _folded(tags)
    own_unit = own.get("wavelength_units") or own.get("wavelength_unit") or unit
    centre, centre_unit = _measure(own, _CENTRES, own_unit)
    width, _ = _measure(own, _WIDTHS, own_unit)
    flag = next((found for name in _FLAGS if (found := _number(own.get(name))) is not None), 1.0)
    yield _stated(centre, width, centre_unit, flag)
    yield _on_dimension(own, shared)


def _imagery(file: Any, index: int) -> Stated:
    tags = file.tags(index, ns="IMAGERY")
    return _stated(_number(tags.get("CENTRAL_WAVELENGTH_UM")), _number(tags.get("FWHM_UM")), "µm")


def _on_dimension(own: Tags, shared: Tags) -> Stated:
    """Read the value of a band's netCDF dimension, where that is one of wavelengths."""
    for name, value in own.items():
        dimension = name.removeprefix(_DIMENSION)
        unit = shared.get(f"{dimension}#units", "")
        is_wavelength = "wavelength" in dimension + shared.get(f"{dimension}#standard_name", "")
        if dimension != name and (is_wavelength or (_factor(unit.lower()) or 2.0) <= 1.0):
            return _stated(_number(value), None, unit)
    return Stated()


def _listed(tags: Tags, count: int, unit: str | None) -> list[Stated]:
    """Read lists as ENVI headers write them; lists of another length than the bands are left out."""
    centres, centre_unit = _column(tags, _CENTRES, count, unit)
    widths, _ = _column(tags, _WIDTHS, count, unit)
    flags, _ = _column(tags, _FLAGS, count, None)
    rows = zip(centres, widths, flags, strict=True)
    return [_stated(centre, width, centre_unit, 1.0 if flag is None else flag) for centre, width, flag in rows]


def _column(tags: Tags, names: Sequence[str], count: int, unit: str | None) -> tuple[list[float | None], str | None]:
    for text, own_unit in _tagged(tags, names):
        values: list[float | None] = [float(number) for number in _NUMBER.findall(text)]
        if len(values) == count:
            return values, own_unit or unit
    return [None] * count, unit


def _measure(tags: Tags, names: Sequence[str], unit: str | None) -> tuple[float | None, str | None]:
    """Return a number and its unit: the one behind it, that of the tag's name, or ``unit``."""
    for text, own_unit in _tagged(tags, names):
        if found := _NUMBER.match(text.strip()):
            behind = text.strip()[found.end() :].strip()
            return float(found[0]), behind if _factor(behind.lower()) else own_unit or unit
    return None, unit


def _tagged(tags: Tags, names: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the texts of tags called so, with the unit that the tag's name ends in."""
    for name in names:
        for suffix, unit in _SUFFIXES.items():
            if text := tags.get(name + suffix):
                yield text, unit


def _stated(centre: float | None, width: float | None, unit: str | None, flag: float = 1.0) -> Stated:
    """Convert centre and width, of one unit; a width that is not below its centre is left out."""
    in_um = None if centre is None else micrometres(centre, unit)
    if centre is None or in_um is None:
        return Stated(usable=flag > 0)
    width_um = round((width or 0.0) * in_um / centre, 9)
    return Stated(in_um, width_um if NARROWEST_UM < width_um < in_um else None, flag > 0)


def _merged(parts: Sequence[Stated]) -> Stated:
    """Take centre and width from the first part that has them; a band is good where none calls it bad."""
    return Stated(
        next((part.wavelength_um for part in parts if part.wavelength_um is not None), None),
        next((part.fwhm_um for part in parts if part.fwhm_um is not None), None),
        all(part.usable for part in parts),
    )


def _factor(word: str) -> float | None:
    if word in ("m", "cm"):
        return {"m": 1e6, "cm": 1e4}[word]
    return next((factor for start, factor in _UNITS.items() if word.startswith(start)), None)


def _folded(tags: Tags) -> Tags:
    return {name.lower(): value for name, value in tags.items()}


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
