"""The command: options reach the run, errors are one line, several processes train together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dofa_cli.cli.main import Verbs
from dofa_cli.cli.pretrain import pretrain
from dofa_cli.training.metrics import read_metrics
from tests.made import sentinel2_scene

TINY = ("--size", "24x2x3x8", "--crop", "32", "--decoder", "16x1x4", "--batch", "2", "--precision", "float32")
PLAIN = ("--distill", "none", "--steps", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(2):
        sentinel2_scene(folder / f"{number}.tif", 40, 40)
    return str(folder / "*.tif")


@pytest.fixture
def dofa():
    """Run ``dofa pretrain`` in an application of its own."""
    app = typer.Typer(cls=Verbs)
    app.callback()(lambda: None)
    app.command()(pretrain)

    def run(*words: object):
        return CliRunner().invoke(app, ["pretrain", *map(str, words)])

    return run


class TestCommand:
    def test_prints_the_encoder_and_nothing_else_on_stdout(self, dofa, pattern, tmp_path):
        result = dofa(tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN)
        assert result.exit_code == 0
        assert result.stdout.strip() == str(tmp_path / "run" / "encoder.safetensors")
        assert "sentinel2: 2 images, 9 bands" in result.stderr

    def test_prints_one_json_object(self, dofa, pattern, tmp_path):
        result = dofa(tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN, "--json")
        assert json.loads(result.stdout)["steps"] == 2

    def test_options_reach_the_run(self, dofa, pattern, tmp_path):
        words = (
            "--lr",
            "0.01",
            "--mask-ratio",
            "0.5",
            "--seed",
            "4",
            "--ema",
            "0.5",
            "--accumulate",
            "2",
            "--freeze",
            "norm.*",
        )
        dofa(tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN, *words)
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        training = config["training"]
        assert (training["lr"], training["mask_ratio"], training["ema"], training["accumulate"]) == (0.01, 0.5, 0.5, 2)
        assert (config["seed"], config["freeze"]) == (4, ["norm.*"])

    def test_a_dry_run_shows_bands_with_their_rules(self, dofa, pattern, tmp_path):
        result = dofa(tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN, "--dry-run")
        assert "sentinel2 (sentinel2): 2 images, 0 held out" in result.stdout
        assert "B12   2.19" in result.stdout
        assert not (tmp_path / "run").exists()


class TestErrors:
    def test_are_one_line_with_an_exit_code(self, dofa, tmp_path):
        result = dofa(tmp_path / "run", "--source", "sentinel2=/nowhere/*.tif", *TINY, *PLAIN)
        assert result.exit_code == 11
        assert result.stderr.startswith("Error: No file matches '/nowhere/*.tif'")
        assert len(result.stderr.strip().splitlines()) == 1

    def test_unknown_sensors_are_named(self, dofa, pattern, tmp_path):
        result = dofa(tmp_path / "run", "--source", f"sentinel={pattern}", *TINY, *PLAIN)
        assert (result.exit_code, "No sensor 'sentinel'" in result.stderr) == (21, True)

    def test_another_run_in_the_folder_is_named(self, dofa, pattern, tmp_path):
        words = (tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN)
        dofa(*words)
        result = dofa(*words, "--seed", 1)
        assert result.exit_code == 41
        assert "seed was 0, now 1" in result.stderr

    def test_many_processes_need_an_extra(self, dofa, pattern, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "lightning_fabric", None)
        result = dofa(tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN, "--devices", 2)
        assert (result.exit_code, "dofa[train]" in result.stderr) == (2, True)

    def test_a_graphics_card_that_is_not_there(self, dofa, pattern, tmp_path):
        result = dofa(tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN, "--device", "cuda:63")
        assert result.exit_code == 50


@pytest.mark.slow
def test_two_processes_train_one_network(pattern, tmp_path):
    pytest.importorskip("lightning_fabric", reason="the extra 'train' is not installed")
    script = tmp_path / "dofa.py"
    script.write_text(
        "import typer\nfrom dofa_cli.cli.main import Verbs\nfrom dofa_cli.cli.pretrain import pretrain\n"
        "app = typer.Typer(cls=Verbs)\napp.callback()(lambda: None)\napp.command()(pretrain)\napp()\n"
    )
    words = ("pretrain", tmp_path / "run", "--source", f"sentinel2={pattern}", *TINY, *PLAIN, "--devices", "2")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, script, *map(str, words)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("encoder.safetensors")
    assert result.stdout.count("encoder.safetensors") == 1
    lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert [line["images"] for line in lines] == [4, 4]
