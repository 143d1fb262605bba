"""The report as JSON."""

from __future__ import annotations

import json

import numpy as np

from dofa_cli.assess.areas import adjusted_areas
from dofa_cli.assess.regression import assess_numbers
from dofa_cli.assess.report import Assessment
from dofa_cli.assess.single import assess


def test_json_holds_what_was_measured(assessment):
    read = json.loads(assessment.to_json())
    assert read["scores"]["kappa"]["value"] == assessment.measured.values["kappa"]
    assert read["scores"]["kappa"]["low"] == assessment.measured.intervals["kappa"].low
    assert [one["value"] for one in read["classes"]] == [3, 7, 20]
    assert read["confusion"]["rows"] == "reference"
    assert np.sum(read["confusion"]["counts"]) == 600
    assert read["split"]["samples"] == {"train": [50, 60, 70], "test": [200, 190, 210]}
    assert read["folds"] == {"roles": {"0": "train", "1": "test"}, "scores": {"0": {"samples": 300, "kappa": 0.5}}}
    assert read["mistakes"] == [{"reference": "field", "predicted": "wood & water", "caption": "row 4, col 5"}]
    assert read["format"] == 1


def test_scores_that_are_not_defined_are_null(classes):
    read = json.loads(Assessment("x", "classify", assess(np.zeros(9, int), np.zeros(9, int), classes)).to_json())
    assert read["scores"]["kappa"] == {"value": None}
    assert read["classes"][1]["scores"]["recall"] == {"value": None}
    assert "areas" not in read


def test_areas_and_their_notes_are_told(assessment, classes):
    counts = assessment.measured.confusion
    areas = adjusted_areas(counts, np.array([10.0, 20.0, 30.5]), classes)
    held = Assessment("x", "segment", assessment.measured, classes, areas=areas, notes=("first",))
    read = json.loads(held.to_json())
    assert read["areas"]["classes"][2]["mapped_ha"] == 30.5
    assert set(read["areas"]["classes"][0]["adjusted_ha"]) == {"value", "low", "high", "standard_error"}
    assert read["notes"][0] == "first"
    assert "random sample" in read["notes"][-1]


def test_numbers_have_neither_classes_nor_confusion():
    held = Assessment("x", "regress", assess_numbers(np.arange(9.0), np.arange(9.0) + 1, unit="m"))
    read = json.loads(held.to_json())
    assert read["unit"] == "m"
    assert read["scores"]["bias"]["value"] == 1
    assert not {"classes", "confusion"} & set(read)
