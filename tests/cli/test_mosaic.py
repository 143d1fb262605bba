"""The command: what it prints, and how it fails."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import typer
from typer.testing import CliRunner

from dofa_cli.cli.main import Verbs
from dofa_cli.cli.mosaic import mosaic
from tests.pipelines.test_mosaic import class_map, embedding, grid_at

app = typer.Typer(cls=Verbs)
app.command()(mosaic)


@app.callback()
def group() -> None:
    """Make the command one of several, as in the program."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        class_map(tmp_path / f"m{number}.tif", grid_at(0, 30 * number), seed=number)
    return lambda *given: CliRunner().invoke(app, ["mosaic", *map(str, given)])


def test_the_mosaics_path_is_printed(run):
    done = run("all.tif", "m0.tif", "m1.tif", "--on-overlap", "last")
    assert (done.exit_code, done.stdout) == (0, "all.tif\n")
    with rasterio.open("all.tif") as file, rasterio.open("m1.tif") as last:
        valid = last.read(1) != last.nodata
        np.testing.assert_array_equal(file.read(1)[:, 30:][valid], last.read(1)[valid])


def test_json_is_one_object_on_stdout(run):
    report = json.loads(run("all.vrt", "m*.tif", "--json").stdout)
    assert (report["output"], report["inputs"], report["width"]) == ("all.vrt", 2, 80)


def test_a_dry_run_shows_grid_and_size(run, tmp_path):
    done = run("all.tif", "m*.tif", "--dry-run")
    assert "40 × 80 pixels of 160 × 160 in EPSG:32633" in done.stdout
    assert not (tmp_path / "all.tif").exists()


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("all.tif", "none*.tif"), 11, "No file matches 'none*.tif'"),
        (("all.tif", "m0.tif", "--on-overlap", "mode"), 2, "--on-overlap 'mode' is not one of"),
        (("all.tif", "m0.tif", "--on-overlap", "mean"), 2, "is for numbers"),
        (("nowhere/all.tif", "m0.tif"), 42, "nowhere"),
        (("s3://bucket/all.tif", "m0.tif"), 2, "not to the address s3:/"),
        (("m0.tif", "m1.tif"), 41, "exists already"),
    ],
)
def test_failures_are_one_line_with_a_code(run, given, code, message):
    done = run(*given)
    assert done.exit_code == code
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_mixture_is_one_line_too(run, tmp_path):
    embedding(tmp_path / "e.tif", grid_at(0, 0))
    done = run("all.tif", "m0.tif", "e.tif")
    assert done.exit_code == 2
    assert "m0.tif and e.tif do not belong in one mosaic: level segment and patch" in done.stderr
