"""``dofa sensors add``: the file on stdout, notes and its path on stderr, one line and a code for each error."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.sensors import registry
from tests.made import sentinel2_scene


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    """An empty user folder and an empty current folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(registry.SEARCH_PATH, raising=False)
    monkeypatch.chdir(tmp_path)
    return registry.user_folder()


def add(*arguments: str):
    return CliRunner().invoke(app, ["sensors", "add", *arguments])


def refused(code: int, *arguments: str) -> str:
    """The one line on stderr of a command that must fail with ``code``."""
    result = add(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_the_file_goes_to_stdout_and_its_path_to_stderr(user_folder):
    result = add("mine", "--wavelengths", "0.66,0.56,0.49", "--names", "red,green,blue", "--gsd", "0.05")
    assert result.exit_code == 0, result.output
    path = user_folder / "mine.toml"
    assert result.stdout == path.read_text()
    assert result.stderr.splitlines()[-1] == str(path)
    assert all(line.startswith("Note: ") for line in result.stderr.splitlines()[:-1])
    assert tomllib.loads(result.stdout)["bands"][0]["gsd_m"] == 0.05


def test_the_new_sensor_is_at_once_one_of_the_others():
    add("mine", "--wavelengths", "0.66,0.56", "--alias", "m1", "--alias", "m2")
    shown = CliRunner().invoke(app, ["sensors", "show", "M-2", "--json"])
    assert json.loads(shown.stdout)["id"] == "mine"
    assert "mine" in CliRunner().invoke(app, ["sensors", "list"]).stdout


def test_a_scene_can_be_embedded_with_it(tmp_path, weights):
    scene = sentinel2_scene(tmp_path / "scene.tif", 96, 96)
    wavelengths = "0.665,0.56,0.49,0.705,0.74,0.783,0.842,1.61,2.19"
    names = "B04,B03,B02,B05,B06,B07,B08,B11,B12"
    made = add("mine", "--wavelengths", wavelengths, "--names", names, "--product-scale", "1e-4")
    assert made.exit_code == 0, made.output
    arguments = ["embed", str(scene), "--sensor", "mine", "--weights", weights, "--dry-run", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sensor"] == "mine"


def test_a_dry_run_prints_and_writes_nothing(user_folder):
    result = add("mine", "--wavelengths", "0.66", "--dry-run")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["id"] == "mine"
    assert "nothing was written" in result.stderr
    assert not user_folder.exists()


def test_every_way_has_its_option(tmp_path):
    (tmp_path / "bands.json").write_text('[{"name": "red", "center_um": 0.66}]')
    (tmp_path / "srf.csv").write_text("nm,red\n640,0\n660,1\n680,0\n")
    for arguments, band in (
        (("--from", "bands.json"), "red"),
        (("--from-srf", "srf.csv"), "red"),
        (("--like", "naip", "--names", "a,b,c,d"), "a"),
        (("--frequency", "5.4", "--polarisations", "VV,VH"), "VV"),
        (("--wavelengths", "0.66", "--kind", "hyperspectral", "--fwhm", "0.01", "--name", "Mine"), "b1"),
    ):
        result = add("mine", *arguments, "--dry-run")
        assert result.exit_code == 0, result.output
        assert tomllib.loads(result.stdout)["bands"][0]["id"] == band


def test_folders(tmp_path, user_folder):
    for arguments, folder in (
        (("--into", "here"), tmp_path / "here"),
        (("--project",), tmp_path / ".dofa" / "sensors"),
    ):
        assert add("mine", "--wavelengths", "0.66", *arguments).exit_code == 0
        assert [path.name for path in folder.iterdir()] == ["mine.toml"]
    assert not user_folder.exists()


def test_it_replaces_only_by_force():
    assert add("mine", "--wavelengths", "0.66").exit_code == 0
    assert "exists already" in refused(41, "mine", "--wavelengths", "0.5")
    assert add("mine", "--wavelengths", "0.5", "--force").exit_code == 0
    assert registry.sensor("mine").bands[0].center_um == 0.5


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ("mine",), "none was given"),
        (2, ("mine", "--wavelengths", "0.66", "--like", "s2", "--from", "x.csv"), "--from and --like were given"),
        (2, ("../mine", "--wavelengths", "0.66"), "'../mine' cannot be the id"),
        (2, ("", "--wavelengths", "0.66"), "cannot be the id"),
        (2, ("mine", "--wavelengths", "0.66", "--kind", "lidar"), "--kind 'lidar' is not one of"),
        (2, ("mine", "--wavelengths", "0.66,0.5", "--names", "a"), "--names gives 1 values for 2 bands"),
        (11, ("mine", "--from", "nowhere.csv"), "No such file: nowhere.csv"),
        (11, ("mine", "--from", "nowhere.tif"), "No such file: nowhere.tif"),
        (12, ("mine", "--from", "text.dat"), "not a raster"),
        (21, ("mine", "--like", "sentinel22"), "Did you mean"),
        (22, ("mine", "--from", "text.json"), "text.json is not JSON"),
        (23, ("mine", "--wavelengths", "0.66,560"), "mixed units"),
        (42, ("mine", "--wavelengths", "0.66", "--into", "text.dat"), "Cannot write"),
    ],
)
def test_errors_are_one_line_with_their_own_code(tmp_path, user_folder, code, arguments, words):
    for name in ("text.dat", "text.json"):
        (tmp_path / name).write_text("hello")
    assert words in refused(code, *arguments)
    assert not user_folder.exists()


def test_making_a_sensor_of_text_loads_nothing_heavy():
    code = (
        "import sys; from dofa_cli.pipelines.add_sensor import add_sensor; "
        "add_sensor('mine', wavelengths='0.66', dry_run=True); "
        "print([m for m in ('torch', 'rasterio', 'dask', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
