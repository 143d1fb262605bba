"""The JSON Schema of sensor files: it takes what the program takes, and refuses plain mistakes."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest

from dofa_cli.resources import data_folder
from dofa_cli.sensors.schema import Band, Kind, Product, Sensor, Statistics, Status
from dofa_cli.sensors.showing.schema_json import file_schema, to_text

FILES = sorted(data_folder("sensors").rglob("*.toml"))
SCHEMA = file_schema()
SMALL: dict[str, Any] = {
    "id": "mine",
    "name": "Mine",
    "kind": "optical",
    "status": "given",
    "products": [{"id": "dn", "quantity": "dn"}],
    "bands": [{"id": "R", "center_um": 0.66}],
}
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}


def faults(value: Any, node: dict[str, Any], at: str = "") -> list[str]:
    """Check a value by the part of JSON Schema that the schema uses; say where it breaks which rule."""
    unknown = node.keys() - RULES.keys() - {"$schema", "title", "description", "default", "definitions"}
    assert not unknown, f"this check does not know {unknown}"
    if wrong := RULES["type"](value, node, at) if "type" in node else []:
        return wrong
    return [fault for rule in RULES if rule in node for fault in RULES[rule](value, node, at)]


def _type(value, node, at):
    fits = isinstance(value, TYPES[node["type"]]) and (node["type"] == "boolean" or not isinstance(value, bool))
    return [] if fits else [f"{at} is no {node['type']}"]


def _properties(value, node, at):
    known = {name: part for name, part in node["properties"].items() if name in value}
    return [fault for name, part in known.items() for fault in faults(value[name], part, f"{at}.{name}")]


def _additional(value, node, at):
    others = [name for name in value if name not in node.get("properties", {})]
    if node["additionalProperties"] is False:
        return [f"{at}.{name} is not known" for name in others]
    return [fault for name in others for fault in faults(value[name], node["additionalProperties"], f"{at}.{name}")]


def _any(value, node, at):
    tried = [faults(value, part, at) for part in node["anyOf"]]
    return [] if [] in tried else [f"{at} fits none: {tried}"]


RULES: dict[str, Any] = {
    "type": _type,
    "$ref": lambda value, node, at: faults(value, SCHEMA["definitions"][node["$ref"].split("/")[-1]], at),
    "allOf": lambda value, node, at: [fault for part in node["allOf"] for fault in faults(value, part, at)],
    "anyOf": _any,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda value, node, at: [f"{at}.{name} is missing" for name in node["required"] if name not in value],
    "items": lambda value, node, at: [
        fault for number, item in enumerate(value) for fault in faults(item, node["items"], f"{at}[{number}]")
    ],
    "minItems": lambda value, node, at: [f"{at} is too short"] * (len(value) < node["minItems"]),
    "enum": lambda value, node, at: [f"{at} is {value}"] * (value not in node["enum"]),
    "pattern": lambda value, node, at: [f"{at} is {value}"] * (not re.search(node["pattern"], value)),
    "maxLength": lambda value, node, at: [f"{at} is too long"] * (len(value) > node["maxLength"]),
    "maximum": lambda value, node, at: [f"{at} is {value}"] * (value > node["maximum"]),
    "exclusiveMinimum": lambda value, node, at: [f"{at} is {value}"] * (value <= node["exclusiveMinimum"]),
    "exclusiveMaximum": lambda value, node, at: [f"{at} is {value}"] * (value >= node["exclusiveMaximum"]),
}


def changed(**fields: Any) -> dict[str, Any]:
    """Return the small sensor with fields replaced; ``None`` takes one away."""
    return {name: value for name, value in (SMALL | fields).items() if value is not None}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_built_in_file_fits(path):
    assert faults(tomllib.loads(path.read_text(encoding="utf-8")), SCHEMA) == []


def test_the_ready_made_validator_agrees_if_it_is_here():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft7Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    for path in FILES:
        assert list(validator.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))) == []
    for mistake in MISTAKES.values():
        assert not validator.is_valid(mistake)


@pytest.mark.parametrize(
    "content",
    [
        SMALL,
        {"id": "mine", "name": "Mine", "extends": "sentinel2"},
        {"id": "mine", "name": "Mine", "extends": "sentinel2", "bands": [{"id": "B01", "fwhm_um": 0.02}]},
        changed(
            bands=None, spectrum={"prefix": "b", "first": 0, "digits": 3, "center_um": [0.5, 0.6], "gsd_m": [1, 1]}
        ),
        changed(bands=None, spectrum={"id": ["a", "b"], "center_um": [0.5, 0.6], "status": ["given", "nominal"]}),
        changed(bands=[{"id": "R"}], band_defaults={"center_um": 0.66, "status": "verified", "gsd_m": 30}),
        changed(
            kind="sar", bands=[{"id": "VV", "frequency_ghz": 5.4, "polarisation": "VV", "model": {"dofa_v1": 3.75}}]
        ),
    ],
    ids=["whole", "extends", "extends with part of a band", "columns", "named columns", "defaults", "radar"],
)
def test_what_a_file_may_hold(content):
    assert faults(content, SCHEMA) == []


MISTAKES: dict[str, dict[str, Any]] = {
    "no id": changed(id=None),
    "no name": changed(name=None),
    "no kind": changed(kind=None),
    "no product": changed(products=None),
    "an empty list of products": changed(products=[]),
    "neither bands nor columns": changed(bands=None),
    "an unknown field": changed(colour="red"),
    "an unknown field of a band": changed(bands=[{"id": "R", "centre": 0.66}]),
    "nanometres": changed(bands=[{"id": "R", "center_um": 660}]),
    "nanometres in a column": changed(bands=None, spectrum={"center_um": [660.0]}),
    "nanometres of the weights": changed(bands=[{"id": "R", "center_um": 0.66, "model": {"dofa_v1": 665}}]),
    "a band without id": changed(bands=[{"center_um": 0.66}]),
    "an id with a path": changed(id="../mine"),
    "an unknown kind": changed(kind="radar"),
    "an unknown status": changed(status="sure"),
    "an unknown quantity": changed(products=[{"id": "dn", "quantity": "counts"}]),
    "text for a number": changed(bands=[{"id": "R", "center_um": "0.66"}]),
    "one name instead of a list": changed(aliases="kite"),
    "an id in the defaults": changed(band_defaults={"id": "R"}),
    "statistics without a source": changed(
        statistics=[
            {"weights": [], "training_scale": "reflectance", "bands": [], "mean": [], "std": [], "status": "given"}
        ]
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_what_a_file_may_not_hold(mistake):
    assert faults(mistake, SCHEMA) != []


def test_it_knows_every_field_of_the_format_and_explains_it():
    parts = SCHEMA["definitions"] | {"Sensor": SCHEMA}
    for model in (Sensor, Band, Product, Statistics):
        fields = parts[model.__name__]["properties"]
        assert model.model_fields.keys() == fields.keys() - {"band_defaults", "spectrum"}
        assert all(field["description"].endswith(".") for field in fields.values())
    assert Band.model_fields.keys() - {"id"} == parts["BandDefaults"]["properties"].keys()
    assert Band.model_fields.keys() | {"prefix", "first", "digits"} == parts["Spectrum"]["properties"].keys()


def test_names_to_choose_from_are_those_of_the_program():
    assert SCHEMA["definitions"]["Kind"]["enum"] == [kind.value for kind in Kind]
    assert SCHEMA["definitions"]["Status"]["enum"] == [status.value for status in Status]


def test_it_has_no_null_as_toml_has_none():
    assert "null" not in re.findall(r'"(\w+)"', to_text())
    assert json.loads(to_text()) == SCHEMA
