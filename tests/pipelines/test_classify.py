"""The verb ``dofa classify``: rows of images, squares of scenes."""

from __future__ import annotations

import csv
import json
from math import exp

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from affine import Affine

from dofa_cli.classes import ClassTable
from dofa_cli.errors import HeadError, OptionError, OutputExists, SceneNotFound, WrongHead
from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.classify import classify
from dofa_cli.pipelines.inference.batching import HALVED
from dofa_cli.pipelines.inference.encoder import Encoder
from dofa_cli.pipelines.mapping import predictor
from dofa_cli.pipelines.mapping.squares import Squares, lay_squares
from dofa_cli.raster.source import Grid, close_handles
from dofa_cli.raster.style import read_style
from tests.made import TRAINED, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import linear_head, recipe_for, saved
from tests.pipelines.image_heads import BIOMASS, image_head

CLASSES = ClassTable.of([1, 4, 9], {1: "water", 4: "Wälder & Büsche", 9: "fields"})
ROWS, COLS = 150, 170


@pytest.fixture(autouse=True)
def closed():
    yield
    close_handles()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "scene.tif", ROWS, COLS)


@pytest.fixture(scope="module")
def head(scene, weights, tmp_path_factory):
    return image_head(scene, weights, tmp_path_factory.mktemp("head"), CLASSES, [0.0, 2.0, 1.0])


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        shift = Affine(10, 0, 300000 + 5000 * number, 0, -10, 5800020)
        write_raster(folder / f"{number}.tif", reflectance(9, 64, 64, number), TRAINED, transform=shift)
    return folder


class TestImages:
    def test_become_one_row_each(self, images, head, weights, tmp_path):
        out = tmp_path / "out.csv"
        report = classify(images, out, head=head, weights=str(weights))
        with out.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        total = 1 + exp(2) + exp(1)
        assert [row["path"] for row in rows] == [str(images / f"{n}.tif") for n in range(3)]
        assert {row["class"] for row in rows} == {"Wälder & Büsche"}
        assert {row["value"] for row in rows} == {"4"}
        assert float(rows[0]["p_fields"]) == pytest.approx(exp(1) / total, abs=1e-5)
        assert float(rows[0]["probability"]) == pytest.approx(exp(2) / total, abs=1e-5)
        assert rows[0]["footprint"].startswith("POLYGON ((1")
        assert report.counts == {"water": 0, "Wälder & Büsche": 3, "fields": 0}
        assert json.loads(report.to_json())["rows"] == 3

    def test_are_only_counted_and_timed_in_a_dry_run(self, images, head, weights, tmp_path):
        report = classify(images, tmp_path / "out.csv", head=head, weights=str(weights), dry_run=True)
        assert (report.rows, report.written, report.counts) == (3, False, {})
        assert report.seconds > 0
        assert report.memory_bytes > 10**9
        assert not (tmp_path / "out.csv").exists()

    def test_are_run_in_smaller_batches_within_a_limit(self, images, head, weights, tmp_path, monkeypatch):
        monkeypatch.setattr(predictor, "window_bytes", lambda *_: 10**9)
        sizes, vectors = [], Encoder.vectors
        monkeypatch.setattr(Encoder, "vectors", lambda self, x, w: (sizes.append(len(x)), vectors(self, x, w))[1])
        how = {"head": head, "weights": str(weights)}
        report = classify(images, tmp_path / "out.csv", memory_limit=4 * 10**9, **how)
        assert set(sizes) == {2}
        assert report.memory_bytes <= 4 * 10**9
        with pytest.raises(OptionError, match=r"--memory-limit 2\.0 GB is too little: .* needs about 2\.5 GB"):
            classify(images, tmp_path / "other.csv", memory_limit=2 * 10**9, **how)

    def test_that_needed_a_smaller_batch_say_so(self, images, head, weights, tmp_path, monkeypatch):
        vectors = Encoder.vectors

        def little(self, x, w):
            if len(x) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return vectors(self, x, w)

        monkeypatch.setattr(Encoder, "vectors", little)
        assert HALVED in classify(images, tmp_path / "out.csv", head=head, weights=str(weights)).warnings

    @pytest.mark.parametrize("ending", ["parquet", "geojson", "gpkg"])
    def test_lie_on_their_ground(self, images, head, weights, tmp_path, ending):
        out = tmp_path / f"out.{ending}"
        classify(images, out, head=head, weights=str(weights))
        frame = gpd.read_parquet(out) if ending == "parquet" else gpd.read_file(out)
        assert frame.crs.to_epsg() == 4326
        ground = frame.to_crs("EPSG:32633").total_bounds
        assert np.allclose(ground, [300000, 5799380, 310640, 5800020], atol=0.5)
        assert frame["class"].tolist() == ["Wälder & Büsche"] * 3

    def test_without_coordinates_have_no_footprints(self, head, weights, tmp_path):
        plain = write_raster(
            tmp_path / "plain.tif", reflectance(9, 64, 64), TRAINED, crs=None, transform=Affine.identity()
        )
        said = []
        classify(plain, tmp_path / "out.parquet", head=head, weights=str(weights), say=said.append)
        assert "geometry" not in pd.read_parquet(tmp_path / "out.parquet").columns
        assert any("no footprints" in line for line in said)
        with pytest.raises(OptionError, match=r"Write a \.csv or \.parquet"):
            classify(plain, tmp_path / "out.geojson", head=head, weights=str(weights))
        assert not (tmp_path / "out.geojson").exists()

    def test_that_are_damaged_are_named(self, images, head, weights, tmp_path):
        (images / "torn.tif").write_bytes((images / "0.tif").read_bytes()[:3000])
        report = classify(images, tmp_path / "out.csv", head=head, weights=str(weights))
        assert list(report.left_out) == [str(images / "torn.tif")]
        assert report.rows == 3

    def test_may_be_of_several_classes(self, images, scene, weights, tmp_path):
        several = image_head(scene, weights, tmp_path, CLASSES, [1.0, -1.0, 1.0], several=True)
        report = classify(images, tmp_path / "out.csv", head=several, weights=str(weights))
        frame = pd.read_csv(tmp_path / "out.csv")
        assert frame["classes"].tolist() == ["water|fields"] * 3
        assert frame["p_water"].tolist() == pytest.approx([1 / (1 + exp(-1))] * 3, abs=1e-5)
        assert report.counts == {"water": 3, "Wälder & Büsche": 0, "fields": 3}

    def test_get_a_number_from_a_regression_head(self, images, scene, weights, tmp_path):
        number = image_head(scene, weights, tmp_path, None, [1.5], target=BIOMASS)
        classify(images, tmp_path / "out.csv", head=number, weights=str(weights))
        assert pd.read_csv(tmp_path / "out.csv")["biomass"].tolist() == pytest.approx([13.0] * 3)

    def test_do_not_depend_on_the_batch(self, images, scene, weights, tmp_path):
        seeing = image_head(scene, weights, tmp_path, CLASSES, [0.0, 0.0, 0.0], scale=1.0)
        for size in (1, 3):
            classify(images, tmp_path / f"{size}.csv", head=seeing, weights=str(weights), batch_size=size)
        one, three = (pd.read_csv(tmp_path / f"{size}.csv") for size in (1, 3))
        assert np.allclose(one["p_water"], three["p_water"], atol=1e-4)
        assert one["p_water"].nunique() == 3

    def test_of_another_product_are_warned_of(self, head, weights, tmp_path):
        path = write_raster(tmp_path / "surface.tif", reflectance(9, 64, 64), TRAINED)
        said = []
        classify(path, tmp_path / "out.csv", head=head, weights=str(weights), product="l2a", say=said.append)
        assert any("trained on product l1c, not l2a" in line for line in said)


class TestRefusals:
    def test_of_heads_for_pixels(self, images, scene, weights, tmp_path):
        pixels = saved(linear_head(recipe_for(scene), weights, CLASSES), tmp_path / "pixels.pt")
        with pytest.raises(WrongHead, match=r"pixels\.pt is a head for every pixel.*dofa segment"):
            classify(images, tmp_path / "out.csv", head=pixels, weights=str(weights))

    def test_of_other_weights_names_both(self, images, head, tmp_path):
        other = tiny_weights(tmp_path / "other.safetensors", DofaConfig(1, 16, 24, 3, 3, 64))
        with pytest.raises(WrongHead, match=r"tiny\.safetensors.*other\.safetensors"):
            classify(images, tmp_path / "out.csv", head=head, weights=str(other))

    def test_of_what_is_no_head(self, images, tmp_path):
        with pytest.raises(HeadError, match=r"none\.pt"):
            classify(images, tmp_path / "out.csv", head=tmp_path / "none.pt")

    def test_of_outputs(self, images, head, tmp_path):
        with pytest.raises(OptionError, match=r"'out\.xlsx' ends in none of \.csv"):
            classify(images, tmp_path / "out.xlsx", head=head)
        with pytest.raises(OptionError, match="ends in none of"):
            classify(images, tmp_path / "out.tif", head=head)
        (tmp_path / "out.csv").write_text("mine")
        with pytest.raises(OutputExists):
            classify(images, tmp_path / "out.csv", head=head)
        assert (tmp_path / "out.csv").read_text() == "mine"

    def test_of_nothing(self, head, tmp_path):
        with pytest.raises(SceneNotFound, match="No file matches"):
            classify(tmp_path / "*.png", tmp_path / "out.csv", head=head)


class TestGrid:
    def test_is_a_raster_of_squares(self, scene, head, weights, tmp_path):
        out = tmp_path / "grid.tif"
        classify(scene, out, head=head, weights=str(weights), grid="32px")
        with rasterio.open(out) as found, rasterio.open(scene) as source:
            assert found.shape == (5, 6)
            assert found.crs == source.crs
            assert found.transform == source.transform @ Affine.scale(32)
            assert (found.read(1) == 4).all()
            assert found.colormap(1)[4][:3] == CLASSES.colours[1]
            assert found.tags()["head"] == "head.pt"
        assert read_style(str(out)).names == {1: "water", 4: "Wälder & Büsche", 9: "fields"}
        assert (tmp_path / "grid.qml").exists()

    def test_is_also_polygons_that_cover_the_scene(self, scene, head, weights, tmp_path):
        classify(scene, tmp_path / "grid.gpkg", head=head, weights=str(weights), grid="640m")
        frame = gpd.read_file(tmp_path / "grid.gpkg").to_crs("EPSG:32633")
        assert len(frame) == 3 * 3
        assert frame.union_all().area == pytest.approx(ROWS * COLS * 100, rel=1e-3)
        assert frame["row"].max() == 2

    def test_says_of_a_square_what_it_says_of_the_image(self, scene, weights, tmp_path):
        seeing = image_head(scene, weights, tmp_path, CLASSES, [0.0, 0.0, 0.0], scale=1.0)
        classify(scene, tmp_path / "grid.parquet", head=seeing, weights=str(weights), grid="64px", batch_size=2)
        frame = gpd.read_parquet(tmp_path / "grid.parquet")
        with rasterio.open(scene) as source:
            values = source.read()[:, 64:128, :64]
        cut = write_raster(tmp_path / "cut.tif", values, TRAINED)
        classify(cut, tmp_path / "cut.parquet", head=seeing, weights=str(weights), batch_size=2)
        square = frame[(frame["row"] == 1) & (frame["col"] == 0)]
        assert square["p_water"].item() == pytest.approx(
            gpd.read_parquet(tmp_path / "cut.parquet")["p_water"][0], abs=1e-4
        )

    def test_leaves_out_squares_without_enough_valid_pixels(self, head, weights, tmp_path):
        values = reflectance(9, 128, 128)
        values[:, :64, :40] = 0
        values[:, :64, 40:64] += 1
        path = write_raster(tmp_path / "holed.tif", values, TRAINED, nodata=0)
        classify(path, tmp_path / "grid.tif", head=head, weights=str(weights), grid="64px")
        with rasterio.open(tmp_path / "grid.tif") as found:
            assert found.read(1).tolist() == [[255, 4], [4, 4]]
        classify(path, tmp_path / "all.tif", head=head, weights=str(weights), grid="64px", min_valid=0.3)
        with rasterio.open(tmp_path / "all.tif") as found:
            assert (found.read(1) == 4).all()

    def test_of_numbers_is_float(self, scene, weights, tmp_path):
        number = image_head(scene, weights, tmp_path, None, [1.5], target=BIOMASS)
        classify(scene, tmp_path / "grid.tif", head=number, weights=str(weights), grid="100px")
        with rasterio.open(tmp_path / "grid.tif") as found:
            assert found.dtypes == ("float32",)
            assert np.allclose(found.read(1), 13.0)

    def test_of_several_classes_is_no_raster(self, scene, weights, tmp_path):
        several = image_head(scene, weights, tmp_path, CLASSES, [1.0, -1.0, 1.0], several=True)
        with pytest.raises(OptionError, match="no single band"):
            classify(scene, tmp_path / "grid.tif", head=several, weights=str(weights), grid="64px")

    def test_are_only_counted_in_a_dry_run(self, scene, head, weights, tmp_path):
        how = {"head": head, "weights": str(weights), "grid": "64px"}
        report = classify(scene, tmp_path / "grid.tif", dry_run=True, **how)
        assert (report.rows, report.written) == (9, False)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("size", ["64", "0px", "m", "-3px", "1m"])
    def test_needs_a_size(self, scene, head, weights, tmp_path, size):
        with pytest.raises(OptionError, match="--grid"):
            classify(scene, tmp_path / "grid.tif", head=head, weights=str(weights), grid=size)


class TestSquares:
    @pytest.mark.parametrize("size", ["640m", "0.64km", "64px"])
    def test_in_metres_and_pixels_agree(self, scene_of, size):
        found = lay_squares(scene_of(np.zeros((1, 100, 130), np.uint8)), size)
        assert (found.rows, found.cols, found.height, found.width) == (64, 64, 2, 3)

    def test_in_degrees_are_as_wide_as_high_on_the_ground(self, scene_of):
        step = 1e-4
        scene = scene_of(
            np.zeros((1, 500, 500), np.uint8), transform=Affine(step, 0, 10, 0, -step, 60), crs="EPSG:4326"
        )
        found = lay_squares(scene, "500m")
        assert found.cols / found.rows == pytest.approx(2, rel=0.03)

    def test_in_metres_need_coordinates(self, scene_of):
        with pytest.raises(OptionError, match="give pixels"):
            lay_squares(scene_of(np.zeros((1, 9, 9), np.uint8), crs=None), "640m")

    def test_partition_the_scene(self):
        squares = Squares(Grid(Affine.identity(), None, 100, 70), 32, 16)
        seen = np.zeros((128, 80), int)
        for window in squares.windows:
            seen[window.slices] += 1
        assert (seen == 1).all()
