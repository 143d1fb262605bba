"""Shards outside an area of interest: left out without a change to the result, and without reading a pixel."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from shapely.geometry import box
from shapely.ops import unary_union

from dofa_cli.pipelines.embed import embed
from dofa_cli.raster.grid import Window
from dofa_cli.raster.scene import Scene
from tests.made import TRANSFORM, UTM, sentinel2_scene, tiny_weights

SIDE = 400


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(
        tmp_path_factory.mktemp("scene") / "scene.tif", SIDE, SIDE, tiled=True, blockxsize=64, blockysize=64
    )


@pytest.fixture
def corners(tmp_path):
    """Two corners of the scene, 70 pixels wide each, as an area."""

    def pixels(row, col, size):
        left, top = TRANSFORM @ (col, row)
        right, bottom = TRANSFORM @ (col + size, row + size)
        return box(left, bottom, right, top)

    area = unary_union([pixels(0, 0, 70), pixels(SIDE - 70, SIDE - 70, 70)])
    gpd.GeoDataFrame(geometry=[area], crs=UTM).to_file(tmp_path / "area.gpkg")
    return tmp_path / "area.gpkg"


@pytest.fixture
def judged(monkeypatch):
    """The windows of pixels that are read."""
    found: list[Window] = []
    usual = Scene.judge

    def judge(self, window, *blocks):
        found.append(window)
        return usual(self, window, *blocks)

    monkeypatch.setattr(Scene, "judge", judge)
    return found


def read(report):
    with rasterio.open(report.output) as file:
        return file.read()


def test_an_area_changes_no_value_by_leaving_shards_out(scene, weights, corners, tmp_path, monkeypatch):
    options = {"sensor": "sentinel2", "weights": str(weights), "aoi": corners, "shard": 2}
    some = embed(scene, tmp_path / "some.tif", **options)
    monkeypatch.setattr(Scene, "touches_area", lambda _, __: True)
    every = embed(scene, tmp_path / "every.tif", **options)
    np.testing.assert_array_equal(read(some), read(every))
    assert some.valid_share == every.valid_share
    assert 0 < some.valid_share < 0.2


@pytest.mark.parametrize("level", ["window", "scene"])
def test_vectors_do_not_change_either(scene, weights, corners, tmp_path, monkeypatch, level):
    options = {"sensor": "sentinel2", "weights": str(weights), "aoi": corners, "shard": 2, "level": level}
    some = gpd.read_parquet(embed(scene, tmp_path / "some.parquet", **options).output)
    monkeypatch.setattr(Scene, "touches_area", lambda _, __: True)
    every = gpd.read_parquet(embed(scene, tmp_path / "every.parquet", **options).output)
    assert len(some) == len(every) > 0
    np.testing.assert_array_equal(np.stack(some["embedding"]), np.stack(every["embedding"]))


def test_nothing_is_read_of_shards_outside_and_their_number_is_said(scene, weights, corners, tmp_path, judged):
    said = []
    options = {"sensor": "sentinel2", "weights": str(weights), "shard": 2, "say": said.append, "keep_parts": True}
    embed(scene, tmp_path / "whole.tif", **options)
    for_all = len(judged)
    judged.clear()
    embed(scene, tmp_path / "some.tif", aoi=corners, **options)
    records = [json.loads(path.read_text()) for path in (tmp_path / ".some.tif.parts").glob("0*.json")]
    outside = sum(record["counts"]["outside"] for record in records)
    assert 0 < outside < len(records)
    assert f"{outside} of {len(records)} shards lie outside the area of interest and cost nothing." in said
    assert len(judged) == for_all - outside  # one more in both, for statistics of the scene


def test_an_area_inside_one_pixel_touches_its_shard(scene, weights, tmp_path):
    left, top = TRANSFORM @ (200.4, 200.4)
    gpd.GeoDataFrame(geometry=[box(left, top - 5, left + 5, top)], crs=UTM).to_file(tmp_path / "dot.gpkg")
    report = embed(
        scene, tmp_path / "dot.tif", sensor="sentinel2", weights=str(weights), aoi=tmp_path / "dot.gpkg", min_valid=0
    )
    assert report.valid_share > 0
