"""The direction of imports, and what may not be imported where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dofa_cli"
BELOW = {
    "errors": set(),
    "resources": set(),
    "sensors": set(),
    "weights": set(),
    "raster": set(),
    "model": set(),
    "heads": {"model"},
    "assess": set(),
    "training": {"model", "heads", "sensors", "raster"},
    "pipelines": {"raster", "sensors", "weights", "model", "heads", "training", "assess"},
    "cli": {"pipelines", "sensors", "weights", "assess"},
}
FOUNDATION = {"errors", "resources", "classes", "__version__"}
HEAVY = (
    "torch",
    "openvino",
    "rasterio",
    "rioxarray",
    "dask",
    "distributed",
    "zarr",
    "fsspec",
    "xarray",
    "pandas",
    "geopandas",
    "matplotlib",
    "pydantic",
    "pyarrow",
    "sklearn",
)
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the modules a file imports anywhere, but for those that only type checkers see."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_parts(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("dofa_cli.")}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [f for f in FILES if room(f) in BELOW], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    assert own_parts(path) <= BELOW[room(path)] | FOUNDATION | {room(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rasters_know_no_tensors_and_networks_no_rasters(path):
    outside = {name.split(".")[0] for name in imports(path)}
    if room(path) in ("raster", "sensors", "weights"):
        assert "torch" not in outside
    if room(path) in ("model", "heads"):
        assert not outside & {"rasterio", "rioxarray", "xarray", "dask", "geopandas"}


def test_help_loads_nothing_heavy():
    code = f"import sys, dofa_cli.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 300
    assert path.stem not in {"utils", "common", "core", "base", "helpers", "misc"}
