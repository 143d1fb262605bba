"""The command line over many scenes: when it means many, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from tests.made import sentinel2_scene
from tests.pipelines.head_cases import linear_head, recipe_for, saved


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "scenes"
    place.mkdir()
    for name, height in (("a", 64), ("b", 100), ("c", 64)):
        sentinel2_scene(place / f"{name}.tif", height, 80)
    return place


@pytest.fixture
def dofa(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(verb, *arguments, sensor=("--sensor", "sentinel2")):
        asked = [verb, *map(str, arguments), "--weights", weights, "--device", "cpu", *sensor]
        return CliRunner().invoke(app, asked)

    return run


def test_a_folder_of_scenes_becomes_a_folder_of_embeddings(dofa, folder):
    found = dofa("embed", "scenes", "-o", "out/")
    assert found.exit_code == 0, found.stderr
    assert [Path(line).name for line in found.stdout.split()] == [f"{name}_patch.tif" for name in "abc"]
    assert "3 scenes: 3 done" in found.stderr
    assert {path.name for path in Path("out").iterdir()} == {
        *(f"{name}_patch.tif" for name in "abc"),
        "dofa-embed.jsonl",
    }


def test_files_with_a_folder_for_output_are_scenes_and_without_one_scene(dofa, folder):
    Path("out").mkdir()
    assert dofa("embed", "scenes/a.tif", "scenes/b.tif", "-o", "out").exit_code == 0
    assert len(list(Path("out").glob("*.tif"))) == 2
    together = dofa("embed", "scenes/a.tif", "scenes/c.tif", "-o", "one.tif")
    assert together.exit_code == 15  # the bands come twice


def test_a_quoted_pattern_writes_to_the_current_folder(dofa, folder):
    assert dofa("embed", "scenes/[ab].tif", "--name", "{number}_{name}").exit_code == 0
    assert {path.name for path in Path().glob("*.tif")} == {"000001_a.tif", "000002_b.tif"}


def test_a_failing_scene_ends_in_its_own_code_after_the_others(dofa, folder):
    (folder / "broken.tif").write_bytes(b"nothing")
    found = dofa("embed", "scenes", "-o", "out/")
    assert found.exit_code == 94
    assert "1 of 4 scenes failed (broken)" in found.stderr
    assert "is not a raster" in found.stderr
    assert len(found.stdout.split()) == 3
    fast = dofa("embed", "scenes", "-o", "new/", "--fail-fast", "--name", "{name}")
    assert fast.exit_code == 94
    assert len(fast.stdout.split()) == 2  # a and b come before broken


def test_json_is_one_object(dofa, folder):
    found = dofa("embed", "scenes", "-o", "out/", "--json")
    assert json.loads(found.stdout)["states"]["done"] == 3
    plan = dofa("embed", "scenes", "-o", "new/", "--json", "--dry-run")
    assert json.loads(plan.stdout)["scenes"] == 3
    assert not Path("new").exists()


def test_a_dry_run_tells_the_sum_and_what_would_fail(dofa, folder):
    found = dofa("embed", "scenes", "-o", "out/", "--dry-run")
    assert found.exit_code == 0, found.stderr
    assert "scenes   3" in found.stdout
    (folder / "broken.tif").write_bytes(b"nothing")
    found = dofa("embed", "scenes", "-o", "out/", "--dry-run")
    assert found.exit_code == 94
    assert "1 scene would fail" in found.stdout


@pytest.mark.parametrize("option", [["--name", "{name}"], ["--resume"], ["--fail-fast"], ["--report", "r.jsonl"]])
def test_options_of_many_scenes_are_refused_for_one(dofa, folder, option):
    found = dofa("embed", "scenes/a.tif", "-o", "one.tif", *option)
    assert found.exit_code == 2
    assert f"{option[0]}: for many scenes alone" in found.stderr
    assert not Path("one.tif").exists()


def test_maps_and_squares_of_many_scenes(dofa, folder, weights):
    head = saved(linear_head(recipe_for(folder / "a.tif"), Path(weights)), Path("crops.pt"))
    found = dofa("segment", "scenes", "--head", head, "-o", "maps/", "--report", "run.jsonl", sensor=())
    assert found.exit_code == 0, found.stderr
    assert {path.name for path in Path("maps").glob("*.tif")} == {f"{name}_classes.tif" for name in "abc"}
    assert Path("run.jsonl").exists()
    plan = dofa("segment", "scenes", "--head", head, "-o", "new/", "--dry-run", sensor=())
    assert "scenes   3" in plan.stdout


def command(*arguments):
    return [sys.executable, "-c", "from dofa_cli.cli.main import run; run()", *map(str, arguments)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_stopped_ends_as_an_uninterrupted_one(folder, weights, tmp_path, how):
    for name in "de":
        sentinel2_scene(folder / f"{name}.tif", 900, 400)
    asked = [folder, "--weights", weights, "--sensor", "sentinel2", "--device", "cpu", "--shard", "1"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command("embed", *asked, "-o", f"{whole}/"), check=True, capture_output=True)
    process = subprocess.Popen(
        command("embed", *asked, "-o", f"{cut}/"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (cut / "c_patch.tif").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, how)
    process.communicate()
    assert process.returncode == (93 if how == signal.SIGTERM else -signal.SIGKILL)
    resumed = command("embed", *asked, "-o", f"{cut}/", "--resume")
    again = subprocess.run(resumed, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert {path.name for path in cut.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.glob("*.tif"):
        with rasterio.open(path) as one, rasterio.open(cut / path.name) as other:
            np.testing.assert_array_equal(one.read(), other.read())
