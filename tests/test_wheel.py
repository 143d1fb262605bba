"""What the wheel holds, built directly and by way of the source distribution."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build(folder: Path, *options: str) -> set[str]:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    return build(tmp_path_factory.mktemp("direct"), "--wheel")


def test_source_distribution_gives_the_same_wheel(direct, tmp_path):
    assert build(tmp_path) == direct


def test_wheel_holds_code_and_data(direct):
    assert "dofa_cli/py.typed" in direct
    for folder in ("sensors", "weights"):
        own = {f"dofa_cli/data/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / folder).rglob("*.toml")}
        assert own
        assert own <= direct
    for path in (ROOT / "dofa_cli").rglob("*.py"):
        assert str(path.relative_to(ROOT)) in direct


def test_wheel_holds_nothing_else(direct):
    allowed = ("dofa_cli/", "dofa-")
    assert [name for name in direct if not name.startswith(allowed)] == []
    assert [name for name in direct if name.endswith((".pth", ".pt", ".ckpt"))] == []
    assert [name for name in direct if name.startswith(("dofa_cli/tests", "dofa_cli/examples"))] == []
