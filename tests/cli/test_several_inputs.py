"""Several inputs of a place on the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from tests.pipelines.inputs.cases import labels, optical, radar, squares


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))
    classes = squares()
    optical(tmp_path / "S2A_MSIL1C_may.tif")
    radar(tmp_path / "radar.tif", classes)
    labels(tmp_path / "labels.tif", classes)
    return tmp_path


def called(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_inputs_are_trained_shown_and_mapped(here, weights):
    scenes = ("S2A_MSIL1C_may.tif:sentinel2:may", "radar.tif:sentinel1")
    asked = [word for one in scenes for word in ("--scene", one)]
    trained = called(
        "train", "head.pt", *asked, "--labels", "labels.tif", "--weights", weights, "--combine", "mean", "--set", "c=1"
    )
    assert trained.exit_code == 0, trained.output
    assert trained.stdout == "head.pt\n"
    shown = called("heads", "show", "head.pt").stdout
    assert "2, embeddings joined as their mean" in shown
    assert "sentinel2:may, product l1c" in shown
    assert "VV 3.75 µm, VH 3.75 µm" in shown
    facts = json.loads(called("heads", "show", "head.pt", "--json").stdout)
    assert [one["date"] for one in facts["recipe"]["inputs"]] == ["may", ""]
    mapped = called("segment", *scenes, "--head", "head.pt", "--weights", weights)
    assert mapped.exit_code == 0, mapped.output
    assert mapped.stdout == "S2A_MSIL1C_may_classes.tif\n"
    planned = called("segment", *scenes, "--head", "head.pt", "--weights", weights, "-o", "b.tif", "--dry-run")
    assert "sensor   sentinel2:may + sentinel1, product l1c" in planned.stdout
    judged = called("evaluate", "head.pt", *asked, "--labels", "labels.tif", "--weights", weights)
    assert judged.exit_code == 0, judged.output
    assert "overall accuracy" in judged.stdout
    plain = called("segment", "radar.tif", "--head", "head.pt", "--weights", weights)
    assert plain.exit_code == 72
    assert "sentinel2:may, sentinel1" in plain.output


def test_an_unknown_sensor_is_one_line(here):
    result = called("segment", "radar.tif:sentinal1", "--head", "head.pt")
    assert result.exit_code == 21
    assert "Did you mean 'sentinel1'" in result.output
