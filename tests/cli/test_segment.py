"""What ``dofa segment`` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from tests.pipelines.head_cases import linear_head, recipe_for, saved


@pytest.fixture
def here(tmp_path, monkeypatch, scene, weights):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for(Path(scene), product="l1c")
    saved(linear_head(recipe, Path(weights)), tmp_path / "crops.pt")
    saved(linear_head(recipe, Path(weights), None), tmp_path / "height.pt")
    return tmp_path


def called(*arguments: object):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def test_stdout_is_the_files_and_stderr_what_they_hold(here, scene, weights):
    result = called(scene, "--head", "crops.pt", "--weights", weights, "--confidence")
    assert result.exit_code == 0, result.output
    assert result.stdout == "scene_classes.tif\nscene_confidence.tif\n"
    assert "Wälder & Büsche" in result.stderr
    assert "hectares" in result.stderr
    assert Path("scene_classes.qml").exists()


def test_a_number_is_summed_up(here, scene, weights):
    result = called(scene, "--head", "height.pt", "--weights", weights)
    assert result.stdout == "scene_canopy_height.tif\n"
    assert "canopy height: mean" in result.stderr


def test_json_is_one_object_on_stdout(here, scene, weights):
    result = called(scene, "--head", "crops.pt", "--weights", weights, "--json", "--probabilities")
    report = json.loads(result.stdout)
    assert report["written"]
    assert report["files"] == {"map": "scene_classes.tif", "probabilities": "scene_probabilities.tif"}
    assert [one["name"] for one in report["classes"]] == ["water", "Wälder & Büsche", "fields"]
    assert report["tags"]["head"] == "crops.pt"
    assert result.stderr == ""


def test_a_dry_run_tells_the_head_and_the_windows(here, scene, weights):
    result = called(scene, "--head", "crops.pt", "--weights", weights, "--dry-run")
    assert "head     crops.pt: segment, linear, weights tiny.safetensors" in result.stdout
    assert "12 of 64 px, overlap 16 px; 2.5 km²" in result.stdout
    assert "150 × 170 pixels" in result.stdout
    assert not Path("scene_classes.tif").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--head", "none.pt"], 70, "No head file none.pt"),
        (["--head", "crops.pt", "--smooth", "much"], 2, "--smooth 'much' is not one of none, majority, majority-5."),
        (["--head", "crops.pt", "-o", "map.png"], 2, "map.png"),
        (["--head", "crops.pt", "--window", "30"], 2, "--window 30 is not a multiple"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(here, scene, weights, arguments, code, said):
    result = called(scene, "--weights", weights, *arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert {path.suffix for path in here.iterdir()} == {".pt"}
