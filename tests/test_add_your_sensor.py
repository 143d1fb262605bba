"""The page "Add your sensor": its commands run, and print what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app

PAGE = (Path(__file__).parents[1] / "docs" / "add-your-sensor.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    dofa (sensors add .*)$", PAGE, re.MULTILINE)
FILES = {
    "cube.hdr": "ENVI\nsamples = 2\nlines = 2\nbands = 3\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
    "wavelength units = Nanometers\nwavelength = {480.2, 1380.5, 1610.3}\nfwhm = {10, 12, 12}\nbbl = {1, 0, 1}\n",
    "bands.csv": "band,center_nm,fwhm_nm\nB1,490,65\nB2,560,35\n",
    "srf.csv": "nm,blue,red\n" + "".join(f"{nm},{nm < 550:d},{600 < nm < 700:d}\n" for nm in range(450, 750, 10)),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_page_shows_every_way():
    assert len(COMMANDS) == 6
    ways = ("--wavelengths", "--from ", "--from-srf", "--like", "--frequency")
    assert all(any(way in command for command in COMMANDS) for way in ways)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_make_sensors_that_are_found(here, command):
    made = CliRunner().invoke(app, shlex.split(command))
    assert made.exit_code == 0, made.output
    name = shlex.split(command)[2]
    shown = CliRunner().invoke(app, ["sensors", "show", name])
    assert shown.exit_code == 0
    assert str(here / "config") in shown.stdout
    assert CliRunner().invoke(app, ["sensors", "remove", name]).exit_code == 0
    assert CliRunner().invoke(app, ["sensors", "show", name]).exit_code == 21


def test_the_file_on_the_page_is_what_is_printed(here):
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    made = CliRunner().invoke(app, shlex.split(COMMANDS[0]))
    assert made.stdout == shown
