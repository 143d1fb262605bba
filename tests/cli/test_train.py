"""What ``dofa train`` and ``dofa heads show`` print."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.cli.train import read_settings
from dofa_cli.errors import OptionError
from tests.made import write_raster


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def labels(here):
    values = np.kron(np.random.default_rng(0).integers(1, 3, (15, 17)), np.ones((10, 10))).astype(np.uint8)
    return str(write_raster(here / "labels.tif", values[None]))


def called(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


def trained(scene, labels, weights, *more):
    given = ("--scene", scene, "--labels", labels, "--sensor", "sentinel2", "--weights", weights, "--method", "knn")
    return called("train", "head.pt", *given, *more)


def test_stdout_is_the_head_and_stderr_how_good_it_is(here, scene, labels, weights):
    result = trained(scene, labels, weights)
    assert result.exit_code == 0, result.output
    assert result.stdout == "head.pt\n"
    assert "overall accuracy" in result.stderr
    assert "held out by blocks of" in result.stderr
    shown = called("heads", "show", "head.pt").stdout
    assert "knn for segment" in shown
    assert "64 px, overlap 16 px, zoom 1" in shown
    assert "B04 0.665 µm" in shown
    assert "overall accuracy 0." in shown
    facts = json.loads(called("heads", "show", "head.pt", "--json").stdout)
    assert [one["value"] for one in facts["classes"]] == [1, 2]


def test_json_is_one_object_on_stdout(here, scene, labels, weights):
    report = json.loads(trained(scene, labels, weights, "--set", "k=3", "--json").stdout)
    assert report["settings"]["k"] == 3
    assert report["samples"]["test"] == report["report"]["samples"]


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--method", "svm"), 2, "--method 'svm'"),
        (("--split", "half"), 2, "--split 'half'"),
        (("--set", "epochs"), 2, "name=value"),
        (("--labels", "gone.gpkg"), 61, "gone.gpkg"),
        (("--scene", "gone*.tif"), 11, "gone"),
        (("--weights", "gone.safetensors"), 31, "gone.safetensors"),
        (("--class-names", "gone.csv"), 61, "gone.csv"),
    ],
)
def test_bad_input_is_one_line(here, scene, labels, weights, more, code, words):
    result = trained(scene, labels, weights, *more)
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert sorted(path.name for path in here.iterdir()) == ["labels.tif"]


def test_a_folder_that_cannot_be_written_is_told_before_any_work(here, scene, labels, weights):
    result = called("train", "no/head.pt", "--scene", "gone.tif", "--labels", labels)
    assert result.exit_code == 42


@pytest.mark.parametrize("content", [b"", b"no head", None])
def test_what_is_no_head_is_told(here, content):
    if content is None:
        torch.save({"weight": torch.zeros(2)}, here / "x.pt")
    else:
        (here / "x.pt").write_bytes(content)
    result = called("heads", "show", "x.pt")
    assert result.exit_code == 71
    assert len(result.stderr.splitlines()) == 1


def test_settings_are_numbers_lists_or_text():
    assert read_settings(["epochs=5", "c=[0.1, 1]", "decoder=linear", "turns=false"]) == {
        "epochs": 5,
        "c": [0.1, 1],
        "decoder": "linear",
        "turns": False,
    }
    with pytest.raises(OptionError):
        read_settings(["=5"])
