"""The format of sensor files as a JSON Schema, for editors that complete and check TOML."""

from __future__ import annotations

import json
from typing import Any

from dofa_cli.sensors.schema import LONGEST_OPTICAL_UM, SHORTEST_OPTICAL_UM, Sensor

Node = dict[str, Any]
FILE = "sensor.schema.json"
DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest dialect that editors of TOML know."""
OWN = ("id", "name")
FROM_PARENT = ("kind", "status", "products")
"""What a file must say of itself, and what it may leave to the one that it extends."""

HELP: dict[str, dict[str, str]] = {
    "Sensor": {
        "id": "The name that --sensor takes, and the file's name without .toml.",
        "name": "The instrument's full name.",
        "kind": "optical, hyperspectral (many narrow bands) or sar (radar).",
        "extends": "Id of a sensor that this file completes: what is not said here is taken from there, bands by id.",
        "aliases": "Other names that --sensor takes; case and punctuation do not matter.",
        "platforms": "Satellites or aircraft that carry the instrument.",
        "status": "How sure the numbers are: verified, partly_verified, single_source, nominal, disagreement or given.",
        "sources": "Where the numbers come from.",
        "note": "What a user should know.",
        "wavelengths_vary": "Centres differ between products: those that a file states are used.",
        "file_patterns": "Regular expressions (Python) on names of band files; the group 'band' finds the band.",
        "default_product": "Product that is taken when values fit several.",
        "default": "Preset used when no bands are named, for each weights family.",
        "presets": "Band lists by name, for --bands.",
        "stack_orders": "Band orders of stacks without names. Two of one length: never matched by count.",
        "products": "How files store their values.",
        "bands": "One entry a band, in the usual order of files.",
        "statistics": "Means and standard deviations on a scale of training.",
    },
    "Band": {
        "id": "The band's name in product files.",
        "common_name": "STAC common name, such as red or nir08.",
        "center_um": "Centre in µm, weighted by the spectral response. Not for radar.",
        "fwhm_um": "Full width at half maximum in µm.",
        "gsd_m": "Pixel size in metres.",
        "aliases": "Other names of the band in files; case and punctuation do not matter.",
        "polarisation": "Sent and received, such as VV or VH. Radar only.",
        "frequency_ghz": "Frequency in GHz. Radar only, instead of center_um.",
        "model": "Wavelength in µm that weights of a family saw in training, where it was not center_um.",
        "status": "How sure centre and width are, if not the sensor's status.",
        "source": "Where centre and width come from.",
    },
    "Product": {
        "id": "The name that --product takes.",
        "quantity": "What value · scale + offset is.",
        "level": "Processing level as the agency names it.",
        "dtype": "Type of the stored values, such as uint16.",
        "scale": "quantity = value · scale + offset.",
        "offset": "quantity = value · scale + offset.",
        "nodata": "Stored value of pixels without data.",
        "white": "Reflectance that a display product shows as 255.",
        "pattern": "Regular expression (Python) on path and tags that tells the product.",
        "named_only": "Never assumed from the values alone.",
        "bands_absent": "Bands that this product never has: a file that has one of them is another product.",
        "eight_bit": "Values are bytes.",
        "offset_rule": "In words, when another offset holds.",
        "status": "How sure scale and offset are.",
        "note": "What a user should know.",
    },
    "Statistics": {
        "weights": "Weights families that they are for.",
        "training_scale": "Pixel scale that they are on.",
        "bands": "Band ids; mean and std have one value each, in this order.",
        "mean": "Mean of each band.",
        "std": "Standard deviation of each band.",
        "status": "How sure they are.",
        "source": "Where they come from.",
        "note": "What a user should know.",
    },
}
TABLES = {
    "BandDefaults": "Fields that every band has unless it says otherwise.",
    "Spectrum": "Bands as columns of equal length, for instruments with many: center_um = [...], fwhm_um = [...].",
}
NAMING: Node = {
    "prefix": {"type": "string", "default": "B", "description": "What ids begin with, if no column has them."},
    "first": {"type": "integer", "default": 1, "description": "Number of the first band."},
    "digits": {"type": "integer", "default": 1, "description": "Digits of the number at least: 3 for B001."},
}
"""How bands of columns are called."""


def file_schema() -> Node:
    """Return the schema of a file: a :class:`Sensor`, but bands may be columns, and what extends may be partial."""
    schema = _without_null(Sensor.model_json_schema(ref_template="#/definitions/{model}"))
    definitions: Node = schema.pop("$defs")
    for name, part in {"Sensor": schema, **definitions}.items():
        _explain(part, HELP.get(name, {}))
    fields = definitions["Band"]["properties"]
    _limit_to_micrometres(fields)
    plain = {name: node for name, node in fields.items() if name != "id"}
    definitions |= {"BandDefaults": _table(plain), "Spectrum": _table(NAMING | _lists(fields))}
    tables = {name: _pointer(kind) for name, kind in (("band_defaults", "BandDefaults"), ("spectrum", "Spectrum"))}
    whole = {"required": [*FROM_PARENT], "anyOf": [{"required": ["bands"]}, {"required": ["spectrum"]}]}
    return {
        "$schema": DIALECT,
        "title": "A sensor file of dofa",
        "description": "One instrument: bands, products, statistics.",
        **_table(schema["properties"] | tables),
        "required": [*OWN],
        "anyOf": [{"required": ["extends"]}, whole],
        "definitions": definitions,
    }


def to_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(file_schema(), indent=2, ensure_ascii=False) + "\n"


def _table(properties: Node) -> Node:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _pointer(definition: str) -> Node:
    """Refer to a definition and say what it is; nothing may stand beside a reference, so it goes into ``allOf``."""
    return {"allOf": [{"$ref": f"#/definitions/{definition}"}], "description": TABLES[definition]}


def _lists(fields: Node) -> Node:
    """Turn each field of a band into a column."""
    return {name: {"type": "array", "items": node, "description": node["description"]} for name, node in fields.items()}


def _limit_to_micrometres(fields: Node) -> None:
    """State the limits that :data:`dofa_cli.sensors.schema.Micrometres` sets in code."""
    limits = {"exclusiveMinimum": SHORTEST_OPTICAL_UM, "maximum": LONGEST_OPTICAL_UM}
    fields["center_um"] |= limits
    fields["model"]["additionalProperties"] |= limits


def _explain(part: Node, texts: dict[str, str]) -> None:
    """Say what each field is, and leave out the words for programmers."""
    part.pop("description", None)
    for field, node in part.get("properties", {}).items():
        words = {"description": texts[field]}
        part["properties"][field] = {"allOf": [node]} | words if "$ref" in node else node | words


def _without_null(node: Any) -> Any:
    """Leave out null, which TOML does not have, and titles that only repeat the field's name."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if kept.get("default", 0) is None:
        del kept["default"]
    options = [option for option in kept.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        kept = {key: value for key, value in kept.items() if key != "anyOf"} | options[0]
    return {key: _without_null(value) for key, value in kept.items()}
