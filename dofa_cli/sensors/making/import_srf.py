"""Bands from a table of spectral responses: wavelengths in the first column, then one column a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import BadSensorFile, BadWavelengths
from dofa_cli.sensors.making.found import (
    Found,
    FoundBand,
    check_count,
    clean,
    listed,
    number,
    shown,
    spectrum,
    unit_named,
)

LEAST_ROWS = 3
OUT_OF_BAND_UM = 0.003
OUT_OF_BAND_SHARE = 0.15
"""A mean this far from the middle (the larger of 3 nm and this share of the width) is drawn by responses far off."""
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class _Shape:
    """A curve's centre and width in µm; whether it is above half its peak at an end of the table, or in parts."""

    center: float
    width: float
    is_middle: bool
    is_cut: bool
    is_split: bool


def from_responses(columns: Mapping[str, Sequence[object]], origin: str) -> Found:
    """Return centre and full width at half maximum of each band.

    The centre is the mean wavelength weighted by response (trapezoidal rule, negative responses as 0). Where it differs
    from the middle of the half-maximum points by more than 3 nm or 15 % of the width, whichever is more, response far
    outside the band has drawn it there, and the middle stands instead. The width is that of the curve divided by its
    peak, between the outermost points where it crosses one half, interpolated linearly. Empty cells are no response.
    Wavelengths are nm or µm by their column's name, else by size.

    Raises :class:`BadSensorFile` and :class:`BadWavelengths`, which name column and row.
    """
    (first, given), *curves = columns.items() or [("", [])]
    check_count(len(curves))
    if len(given) < LEAST_ROWS:
        raise BadSensorFile(f"{origin} has {len(given)} rows; a spectral response needs at least {LEAST_ROWS}.")
    wavelengths, notices = _wavelengths(first, given, origin)
    order = np.argsort(wavelengths, kind="stable")
    axis = wavelengths[order]
    if np.any(np.diff(axis) <= 0):
        raise BadWavelengths(f"{origin} has the same wavelength in two rows.")
    shapes = [(clean(name), _shape(axis, _responses(name, values)[order])) for name, values in curves]
    bands = tuple(FoundBand(name, round(one.center, 6), round(one.width, 6)) for name, one in shapes)
    return Found(bands, f"{origin} (spectral responses)", notices=(*notices, *_notices(shapes)))


def _wavelengths(title: str, values: Sequence[object], origin: str) -> tuple[Curve, tuple[str, ...]]:
    numbers = [number(value, f"{shown(title)} in row {row} of {origin}") for row, value in enumerate(values, 1)]
    filled = [float("nan") if value is None else value for value in numbers]
    if not np.all(np.isfinite(filled)):
        row = int(np.argmin(np.isfinite(filled))) + 1
        raise BadWavelengths(f"{origin} has no wavelength in row {row}.")
    words = title.replace("(", " ").replace("[", " ").replace(")", " ").replace("]", " ").replace("_", " ").split()
    unit = next((found for word in reversed(words) if (found := unit_named(word))), None)
    ends = [min(filled), max(filled)]
    checked = spectrum(["the first wavelength", "the last wavelength"], ends, [None, None], unit=unit)
    factor = checked.centers_um[1] / ends[1]
    return np.asarray(filled) * (1e-3 if factor < 0.5 else 1.0), checked.notices


def _responses(name: str, values: Sequence[object]) -> Curve:
    """Return one band's responses divided by their peak, at least 0."""
    numbers = (number(value, f"a response of {clean(name)}") for value in values)
    curve = np.nan_to_num([0.0 if value is None else value for value in numbers], nan=0.0, posinf=np.inf, neginf=np.inf)
    peak = float(curve.max())
    if not 0 < peak < float("inf"):
        raise BadSensorFile(f"{listed([name])} has no peak: its responses are all 0, negative or infinite.")
    return np.asarray(np.clip(curve, 0, None) / peak)


def _shape(axis: Curve, curve: Curve) -> _Shape:
    """Measure a curve whose peak is 1 over wavelengths ``axis`` (µm, rising)."""
    above = np.flatnonzero(curve >= 0.5)
    first, last = int(above[0]), int(above[-1])
    low = _crossing(axis, curve, first - 1, first) if first > 0 else axis[0]
    high = _crossing(axis, curve, last + 1, last) if last + 1 < len(axis) else axis[-1]
    width, middle = float(high - low), float(low + high) / 2
    mean = _area(axis, axis * curve) / _area(axis, curve)
    is_far = abs(mean - middle) > max(OUT_OF_BAND_UM, OUT_OF_BAND_SHARE * width)
    return _Shape(
        center=middle if is_far else mean,
        width=width,
        is_middle=is_far,
        is_cut=first == 0 or last + 1 == len(axis),
        is_split=last - first + 1 > len(above),
    )


def _area(axis: Curve, curve: Curve) -> float:
    """Integrate by the trapezoidal rule."""
    return float(np.sum((curve[1:] + curve[:-1]) / 2 * np.diff(axis)))


def _crossing(axis: Curve, curve: Curve, below: int, above: int) -> float:
    """Return the wavelength between two rows at which the curve is one half."""
    share = (0.5 - curve[below]) / (curve[above] - curve[below])
    return float(axis[below] + share * (axis[above] - axis[below]))


def _notices(shapes: Sequence[tuple[str, _Shape]]) -> list[str]:
    told = (
        (
            "is_middle",
            "response far outside the band; the centre is the middle at half maximum, not the mean",
        ),
        ("is_cut", "the curve ends above half its peak, so the width is only what the table shows"),
        ("is_split", "the curve dips below half its peak; the width is between the outermost points"),
    )
    found = ((text, [name for name, shape in shapes if getattr(shape, flag)]) for flag, text in told)
    return [f"{listed(names)}: {text}." for text, names in found if names]
