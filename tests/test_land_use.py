"""The tutorial's commands run, and print what it says they print."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "land-use.md"
COMMAND = "    $ dofa "


def steps() -> list[tuple[str, list[str]]]:
    """Return each command with the lines of output that the page shows below it."""
    found: list[tuple[str, list[str]]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith(COMMAND):
            found.append((line.removeprefix(COMMAND), []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line.strip())
    return found


def shape(line: str) -> str:
    """Return a line without its numbers, which differ a little between processors."""
    return " ".join(re.sub(r"[\d.,]*\d", "0", line).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tutorial")
    (place / "examples").symlink_to(ROOT / "examples")
    return place


@pytest.mark.slow
def test_the_tutorial_runs_and_prints_what_it_says(folder):
    environment = os.environ | {"DOFA_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    told = steps()
    assert len(told) == 5
    for command, expected in told:
        words = [sys.executable, "-c", "from dofa_cli.cli.main import run; run()", *shlex.split(command)]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed = shape(done.stdout + done.stderr)
        assert [line for line in expected if shape(line) not in printed] == [], command
    assert {"landuse.tif", "landuse.qml", "landuse.gpkg", "landuse.report.html", "all.html"} <= {
        path.name for path in folder.iterdir()
    }
