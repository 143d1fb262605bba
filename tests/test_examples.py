"""Every example script runs as its docstring says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import rasterio

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(script: str, *arguments: object) -> None:
    before = sys.argv
    sys.argv = [script, *map(str, arguments)]
    try:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def embedding(folder):
    run("embed_scene.py", folder / "embedding.tif")
    return folder / "embedding.tif"


def test_embed_scene(embedding):
    with rasterio.open(embedding) as file:
        assert (file.count, file.height, file.width) == (192, 96, 192)


def test_similar_places(embedding, folder):
    with rasterio.open(embedding) as file:
        x, y = file.xy(20, 30)
    run("similar_places.py", embedding, x, y, folder / "similar.tif")
    with rasterio.open(folder / "similar.tif") as file:
        similarity = file.read(1)
    assert similarity[20, 30] == pytest.approx(1, abs=1e-5)
    assert similarity.max() <= 1 + 1e-5


def test_every_script_is_short_and_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
        assert script.name in tested
