"""``dofa info`` and ``dofa quicklook``: what stands on stdout, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from dofa_cli.cli.info import bars
from dofa_cli.cli.main import app
from tests.made import reflectance, write_raster


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def result(tmp_path):
    """Make a raster like an embedding."""
    path = write_raster(tmp_path / "e.tif", np.random.default_rng(0).normal(size=(24, 9, 9)).astype(np.float32))
    rule = {"band": "B04", "wavelength_um": 0.665, "scale": "x / 2", "mean": 1, "std": 2, "origin": "made up"}
    with rasterio.open(path, "r+") as file:
        file.update_tags(dofa_version="0.1.0", level="patch", weights="tiny", bands="B04,B03")
        file.update_tags(normalization=json.dumps([rule]))
    return path


def test_info_tells_grid_sensor_product_and_values(scene):
    told = run("info", scene)
    assert told.exit_code == 0
    for text in ("EPSG:32633", "150 rows × 170 columns", "sentinel2, Sentinel-2 MSI", "9 of 9", "l1c", "plausible"):
        assert text in told.stdout
    rows = [line for line in told.stdout.splitlines() if "B8A" in line or "B12" in line]
    assert len(rows) == 1
    assert set(rows[0]) & set("▁▂▃▄▅▆▇█")
    assert max(map(len, told.stdout.splitlines())) < 140


def test_info_prints_one_json_object(scene):
    told = json.loads(run("info", scene, "--json").stdout)
    assert told["scenes"][0]["sensor"] == "sentinel2"
    assert told["tables"] == []


def test_info_compares_with_a_given_sensor(scene):
    told = run("info", scene, "--sensor", "landsat8")
    assert "landsat8, Landsat 8" in told.stdout
    assert run("info", scene, "--sensor", "landsat").exit_code == 21


def test_info_says_unknown_rather_than_guess(tmp_path):
    path = write_raster(tmp_path / "x.tif", reflectance(6, 9, 9))
    assert "unknown; give --sensor" in run("info", path).stdout


def test_info_shows_a_selection_of_many_bands(tmp_path):
    path = write_raster(tmp_path / "x.tif", reflectance(60, 9, 9))
    told = run("info", path).stdout
    assert "16 of 60 bands" in told
    assert "\n60 " in told


def test_info_reads_results(result):
    told = run("info", result).stdout
    assert "made by dofa 0.1.0" in told
    assert "weights         tiny" in told
    assert "B04   0.665  x / 2" in told
    assert "sensor  " not in told


def test_info_describes_a_damaged_file_before_it_fails(tmp_path):
    path = write_raster(tmp_path / "x.tif", reflectance(3, 200, 200))
    path.write_bytes(path.read_bytes()[:100_000])
    told = run("info", path)
    assert told.exit_code == 13
    assert "200 rows × 200 columns" in told.stdout
    assert told.stderr.startswith("Error: Cannot read")


def test_info_counts_what_differs_between_files(tmp_path):
    for name, side in (("B02", 20), ("B03", 20), ("B05", 10)):
        write_raster(tmp_path / f"T33UUU_20170216T102101_{name}.tif", reflectance(1, side, side))
    told = run("info", *sorted(tmp_path.iterdir())).stdout
    assert "2 files: 20 rows × 20 columns" in told
    assert "1 file: 10 rows × 10 columns" in told


def test_what_is_missing_exits_with_its_code():
    assert run("info", "/nowhere.tif").exit_code == 11
    assert run("quicklook", "/nowhere.tif", "-o", "x.png").exit_code == 11


def test_neither_loads_torch(scene, tmp_path):
    code = (
        "import sys; from dofa_cli.pipelines.info import info; from dofa_cli.pipelines.quicklook import quicklook;"
        f"info({scene!r}); quicklook({scene!r}, {str(tmp_path / 'x.png')!r});"
        "print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_quicklook_prints_the_path_of_a_picture(result, tmp_path):
    picture = tmp_path / "e.png"
    told = run("quicklook", result, "-o", picture)
    assert (told.exit_code, told.stdout) == (0, f"{picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_quicklook_replaces_only_when_told(result, tmp_path):
    picture = tmp_path / "e.png"
    picture.write_text("mine")
    told = run("quicklook", result, "-o", picture)
    assert told.exit_code == 41
    assert picture.read_text() == "mine"
    assert run("quicklook", result, "-o", picture, "--overwrite").exit_code == 0


def test_bars_show_the_smallest_count_and_leave_nothing_blank_but_0():
    assert bars([0, 1, 1000, 500]) == " ▁█▄"
    assert bars([0, 0]) == "  "
