"""What ``dofa bench`` prints and writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.pipelines import bench as verbs


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Measure next to nothing."""
    monkeypatch.setattr(
        verbs, "QUICK", replace(verbs.QUICK, seconds=0.002, windows=4, copied=2**20, side=64, squares=(64,))
    )


def bench(*arguments):
    return CliRunner().invoke(app, ["bench", "--quick", *map(str, arguments)])


def test_people_get_tables_and_a_sentence(weights):
    result = bench("--weights", weights)
    assert result.exit_code == 0, result.output
    for word in ("TFLOP/s", "copying, memory", "decoding, made here, zstd", "of its products", "windows/s", "km²/s"):
        assert word in result.stdout
    for stage in ("wait", "prepare", "infer", "blend", "write", "assemble", "other", "read (beside)"):
        assert any(line.startswith(stage) for line in result.stdout.splitlines())
    assert "bounds the run" in result.stdout
    assert "Running 4 windows" in result.stderr


def test_programs_get_one_object(weights):
    result = bench("--weights", weights, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scene"]["windows"] == 4


def test_a_file_gets_the_object_and_people_the_table(weights, tmp_path):
    target = tmp_path / "bench.json"
    result = bench("--weights", weights, "--json", target)
    assert result.exit_code == 0, result.output
    told = json.loads(target.read_text(encoding="utf-8"))
    assert told["verdict"]["sentence"] in result.stdout
    again = bench("--weights", weights, "--json", target)
    assert again.exit_code == 41
    assert json.loads(target.read_text(encoding="utf-8")) == told


def test_a_scene_with_its_sensor(weights, scene):
    result = bench(scene, "--sensor", "sentinel2", "--weights", weights, "--windows", "0")
    assert result.exit_code == 0, result.output
    assert "decoding, the scene's files" in result.stdout
    assert "150 × 170 px" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.tif"], 11, "nowhere.tif"),
        (["--precision", "float12"], 2, "float12"),
        (["--weights", "random:gigantic"], 32, "gigantic"),
        (["--batch-size", "none"], 2, "--batch-size"),
        (["--json", "no/such/folder.json"], 42, "folder.json"),
    ],
)
def test_wrong_input_ends_in_one_line(weights, arguments, code, words):
    result = bench("--weights", weights, *arguments)
    assert result.exit_code == code, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in result.output
