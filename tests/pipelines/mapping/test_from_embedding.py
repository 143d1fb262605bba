"""Maps from stored embeddings: the same as from the scene, and refused where they would not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from dofa_cli.errors import OptionError, WrongHead
from dofa_cli.heads.head import Method
from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.mapping.from_embedding import open_embedding
from dofa_cli.pipelines.segment import segment
from tests.made import TRAINED, TRANSFORM, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import linear_head, recipe_for, saved

ROWS, COLS = 90, 107


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "S2A_MSIL1C_scene.tif", ROWS, COLS)


@pytest.fixture
def stored(weights, scene, tmp_path):
    def run(source=scene, **options):
        given = {"sensor": "sentinel2", "weights": str(weights), "overwrite": True}
        return embed(source, tmp_path / "patch.tif", **(given | options)).output

    return run


@pytest.fixture
def mapped(weights, tmp_path):
    def run(source, head, name="map.tif", **options):
        return segment(source, tmp_path / name, head=saved(head, tmp_path / "crops.pt"), **options)

    return run


def read(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize(("zoom", "snap"), [(1, False), (2, True), (3, False)])
def test_stored_embeddings_give_the_map_of_the_scene(weights, stored, mapped, tmp_path, zoom, snap):
    moved = TRANSFORM @ Affine.translation(5, 3)
    values = reflectance(9, ROWS, COLS)
    source = write_raster(tmp_path / "S2A_MSIL1C_moved.tif", values, TRAINED, transform=moved)
    head = linear_head(recipe_for(source, zoom=zoom), weights)
    direct = mapped(source, head, weights=str(weights), snap=snap, probabilities=True, dtype="float32")
    again = mapped(
        stored(source, zoom=zoom, snap=snap), head, "again.tif", probabilities=True, dtype="float32", smooth="none"
    )
    one, two = (read(report.files["probabilities"]) for report in (direct, again))
    np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-5)
    assert (read(direct.output) == read(again.output)).mean() > 0.999
    with rasterio.open(again.output) as file, rasterio.open(source) as given:
        assert file.transform.almost_equals(given.transform)
        assert (file.shape, file.crs) == (given.shape, given.crs)
        assert file.tags()["embedding"] == "patch.tif"
        assert "quantization" not in file.tags()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_fewer_bits_change_few_pixels(weights, scene, stored, mapped, dtype):
    head = linear_head(recipe_for(scene), weights)
    direct = read(mapped(scene, head, weights=str(weights)).output)
    again = read(mapped(stored(dtype=dtype), head, "again.tif").output)
    assert (direct == again).mean() > 0.97


def test_cells_of_nodata_stay_nodata(weights, stored, mapped, tmp_path):
    values = reflectance(9, 64, 64)
    values[:, 16:32, 32:48] = 0
    source = write_raster(tmp_path / "S2A_MSIL1C_h.tif", values, TRAINED, nodata=0)
    head = linear_head(recipe_for(source), weights)
    hole = np.zeros((64, 64), bool)
    hole[16:32, 32:48] = True
    for dtype in ("float32", "int8"):
        found = read(mapped(stored(source, dtype=dtype), head, overwrite=True).output)[0]
        np.testing.assert_array_equal(found == 255, hole)


def test_the_network_is_not_needed(weights, scene, stored, mapped, monkeypatch):
    path = stored()
    monkeypatch.setattr(
        "dofa_cli.pipelines.mapping.apply_head.open_weights", lambda *_, **__: pytest.fail("weights opened")
    )
    report = mapped(path, linear_head(recipe_for(scene), weights))
    assert report.written
    assert report.facts.windows == 0


def test_embeddings_of_other_weights_are_refused_with_both_names(scene, weights, stored, mapped, tmp_path):
    other = tiny_weights(tmp_path / "other.safetensors", DofaConfig(1, 16, 24, 3, 3, 64))
    head = linear_head(recipe_for(scene), weights)
    with pytest.raises(WrongHead, match=r"other\.safetensors.*tiny\.safetensors"):
        mapped(stored(weights=str(other)), head)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zoom": 2}, "zoom 2.*zoom 1"),
        ({"token_norm": "none"}, "token norm none.*token norm trained"),
        ({"bands": "rgb"}, "bands B04,B03,B02,.*bands B04,B03,B02,B05|bands B04,B03,B02.*B12"),
    ],
)
def test_embeddings_made_otherwise_are_refused_with_both_values(weights, scene, stored, mapped, options, said):
    with pytest.raises(WrongHead, match=said):
        mapped(stored(**options), linear_head(recipe_for(scene), weights))


def test_other_windows_and_rules_are_only_warned_of(weights, scene, stored, mapped):
    heard: list[str] = []
    path = stored(overlap=32, normalize="scene")
    report = mapped(path, linear_head(recipe_for(scene), weights), say=heard.append)
    assert "overlap is 32 px" in report.facts.warnings[0]
    assert "rules that standardise" in heard[0]


def test_options_of_scenes_are_refused_by_name(weights, scene, stored, mapped, tmp_path):
    with pytest.raises(OptionError, match="--sensor, --product"):
        mapped(stored(), linear_head(recipe_for(scene), weights), sensor="sentinel2", product="l1c")


def test_a_head_of_windows_needs_pixels(weights, scene, stored, mapped):
    head = replace(linear_head(recipe_for(scene), weights), method=Method.UPERNET, tensors={"decoder.x": torch.ones(1)})
    with pytest.raises(WrongHead, match="needs the scene's pixels"):
        mapped(stored(), head)


def test_other_rasters_are_no_embeddings(scene, stored, tmp_path):
    assert open_embedding(str(scene)) is None
    assert open_embedding(str(tmp_path / "none.tif")) is None
    found = open_embedding(stored(zoom=3))
    assert (found.cells.height, found.cells.width, found.cells.zoom, found.dim) == (ROWS, COLS, 3, 24)
