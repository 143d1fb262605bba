"""All that is known of a sensor, and which file says so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dofa_cli.sensors.files import OWN
from dofa_cli.sensors.registry import Entry
from dofa_cli.sensors.scale import pixel_scale
from dofa_cli.sensors.schema import Sensor, Statistics

FAMILIES = ("dofa_v1", "dofa_v2")
"""Weights families that sensors key wavelengths, default bands and statistics by."""
MEASURED = {"center_um": "centre", "frequency_ghz": "frequency", "fwhm_um": "FWHM", "gsd_m": "GSD"}
"""Fields of a band that hold its physics, and how to call them."""


@dataclass(frozen=True)
class Rule:
    """The pixel scale that statistics apply to: ``formula`` of x, the value in a file of any of these products."""

    products: tuple[str, ...]
    bands: tuple[str, ...]
    formula: str


def describe(known: Entry) -> dict[str, Any]:
    """Return every field of a sensor with the files that give them, as plain values for JSON."""
    sensor = known.sensor
    fields = sensor.model_dump(mode="json")
    described = {
        **fields,
        "layer": known.layer,
        "path": str(known.file.path.absolute()),
        "lineage": [str(path.absolute()) for path in known.file.lineage],
        "hides": [str(path.absolute()) for path in known.hidden],
        "origin": _origins(known, fields),
        "default_bands": {family: sensor.default_bands(family) for family in FAMILIES},
        "bands": [_band(known, fields_of_one) for fields_of_one in fields["bands"]],
        "statistics": [
            dumped | {"rules": [vars(rule) for rule in rules(sensor, stats)]}
            for dumped, stats in zip(fields["statistics"], sensor.statistics, strict=True)
        ],
    }
    plain: dict[str, Any] = _writable(described)
    return plain


def rules(sensor: Sensor, stats: Statistics) -> tuple[Rule, ...]:
    """Return how values of each product are brought to the pixel scale of ``stats``, where they can be.

    Products and bands with one formula share a rule.
    """
    found: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for product in sensor.products:
        by_formula: dict[str, list[str]] = {}
        for name in stats.bands:
            if scale := pixel_scale(sensor.by_id[name], product, stats.training_scale):
                by_formula.setdefault(scale.describe(), []).append(name)
        for formula, bands in by_formula.items():
            found.setdefault((tuple(bands), formula), []).append(product.id)
    return tuple(Rule(tuple(products), bands, formula) for (bands, formula), products in found.items())


def files_of_band(known: Entry, band: str) -> dict[str, list[str]]:
    """Return the ids of the files that a band's centre, width and pixel size come from, each with what it gives."""
    found: dict[str, list[str]] = {}
    for field, name in MEASURED.items():
        if path := known.file.origin(field, band):
            found.setdefault(path.stem, []).append(name)
    return found


def inherited(known: Entry) -> dict[str, list[str]]:
    """Return the fields that a sensor takes from files that it extends, by the id of the file; bands are mixed."""
    found: dict[str, list[str]] = {}
    for field in type(known.sensor).model_fields:
        path = _file_of_field(known, field)
        if path and path != known.file.path and field != "bands":
            found.setdefault(path.stem, []).append(field)
    return found


def _band(known: Entry, fields: dict[str, Any]) -> dict[str, Any]:
    sensor = known.sensor
    band = sensor.by_id[fields["id"]]
    return {
        **fields,
        "status": (band.status or sensor.status).value,
        "model": {family: band.wavelength_um(family) for family in FAMILIES},
        "origin": _origins(known, fields, band.id),
    }


def _origins(known: Entry, fields: dict[str, Any], band: str | None = None) -> dict[str, str]:
    """Return the file of each field that one gives."""
    found = {field: known.file.origin(field, band) if band else _file_of_field(known, field) for field in fields}
    return {field: str(path.absolute()) for field, path in found.items() if path}


def _file_of_field(known: Entry, field: str) -> Path | None:
    """Return the file that gives a field of the sensor; names and notes are never inherited."""
    path = known.file.origin(field)
    return None if field in OWN and path != known.file.path else path


def _writable(value: Any) -> Any:
    """Return a value for JSON, which has no word for NaN and infinity: they become text."""
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
