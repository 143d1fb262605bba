"""The verb ``dofa segment`` as a whole, on scenes made here and a random head."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from scipy.ndimage import map_coordinates
from shapely.geometry import box

from dofa_cli.classes import ClassTable
from dofa_cli.errors import (
    DamagedHead,
    HeadError,
    NoWeights,
    OptionError,
    OutputExists,
    OutputUnwritable,
    WrongHead,
)
from dofa_cli.heads.head import Task
from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.quicklook import quicklook
from dofa_cli.pipelines.segment import segment
from dofa_cli.raster.style import read_style
from tests.made import TRAINED, TRANSFORM, UTM, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import CLASSES, HEIGHT, linear_head, recipe_for, saved

ROWS, COLS, PATCH = 150, 170, 16


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "S2A_MSIL1C_20170216T102101_scene.tif", ROWS, COLS)


@pytest.fixture(scope="module")
def head(weights, scene):
    return linear_head(recipe_for(scene), weights)


@pytest.fixture
def run(weights, scene, head, tmp_path):
    def run(output="map.tif", source=scene, of=head, **options):
        file = saved(of, tmp_path / "crops.pt")
        return segment(source, tmp_path / output, **({"head": file, "weights": str(weights)} | options))

    return run


def read(path, band=1):
    with rasterio.open(path) as file:
        return file.read(band)


def by_hand(head, scene, weights, folder, zoom=1):
    """Embed, apply the linear head in numpy and interpolate with SciPy: logits (K, rows, cols)."""
    report = embed(scene, folder / "by_hand.tif", sensor="sentinel2", weights=str(weights), zoom=zoom)
    with rasterio.open(report.output) as file:
        tokens = file.read().astype(float)
    with rasterio.open(scene) as file:
        shape = file.shape
    logits = np.einsum("kd,drc->krc", head.tensors["weight"].double().numpy(), tokens)
    logits += head.tensors["bias"].double().numpy()[:, None, None]
    axes = [
        (((np.arange(size) + 0.5) * zoom) / PATCH - 0.5).clip(0, nodes - 1)
        for size, nodes in zip(shape, logits.shape[1:], strict=True)
    ]
    places = np.meshgrid(*axes, indexing="ij")
    return np.stack([map_coordinates(one, places, order=1) for one in logits])


# Values


@pytest.mark.parametrize("zoom", [1, 2])
def test_the_map_is_the_heads_answer_interpolated_to_pixels(run, weights, scene, head, tmp_path, zoom):
    found = read(run(zoom=zoom).output)
    logits = by_hand(head, scene, weights, tmp_path, zoom)
    expected = np.array(CLASSES.values)[logits.argmax(axis=0)]
    ordered = np.sort(logits, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-3  # elsewhere rounding may decide
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], expected[clear])
    assert len(np.unique(found)) > 1


def test_a_number_is_written_as_float_in_its_unit(run, weights, scene, tmp_path):
    head = linear_head(recipe_for(scene), weights, None)
    report = run(of=head)
    with rasterio.open(report.output) as file:
        found = file.read(1)
        assert (file.dtypes[0], file.descriptions[0], file.units[0]) == ("float32", "canopy height", "m")
        assert np.isnan(file.nodata)
    expected = by_hand(head, scene, weights, tmp_path)[0] * HEIGHT.std + HEIGHT.mean
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert report.numbers["mean"] == pytest.approx(float(expected.mean()), rel=1e-4)
    assert report.classes is None


@pytest.mark.parametrize("shard", [1, 3])
def test_the_shard_changes_no_bit(run, shard):
    options = {"probabilities": True, "dtype": "float32", "overlap": 16}
    reports = [run(f"{number}.tif", shard=number, **options) for number in (shard, 16)]
    for name in ("map", "probabilities"):
        one, two = (read(report.files[name], None) for report in reports)
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (63, 65), (64, 64), (3, 200)])
def test_every_size_comes_back_whole(run, head, tmp_path, size):
    source = write_raster(tmp_path / "S2A_MSIL1C_small.tif", reflectance(9, *size), TRAINED)
    report = run(source=source, zoom=2, window=32, overlap=16)
    found = read(report.output)
    assert found.shape == size
    assert np.isin(found, CLASSES.values).all()
    assert report.valid_share == 1


def test_nodata_holes_are_kept_to_the_pixel(run, tmp_path):
    values = reflectance(9, 100, 120)
    hole = np.zeros((100, 120), bool)
    hole[10:15, 20:27] = hole[60, 60] = True
    values[:, hole] = 0
    source = write_raster(tmp_path / "S2A_MSIL1C_holed.tif", values, TRAINED, nodata=0)
    report = run(source=source, probabilities=True, confidence="margin", smooth="majority")
    np.testing.assert_array_equal(read(report.output) == 255, hole)
    np.testing.assert_array_equal(read(report.files["probabilities"], 2) == 255, hole)
    np.testing.assert_array_equal(read(report.files["confidence"]) == 255, hole)
    assert report.valid_share == pytest.approx(1 - hole.mean())


def test_a_scene_without_valid_pixels_gives_a_map_of_nodata(run, tmp_path):
    source = write_raster(tmp_path / "S2A_MSIL1C_empty.tif", np.zeros((9, 40, 40), np.uint16), TRAINED, nodata=0)
    report = run(source=source)
    assert (read(report.output) == 255).all()
    assert report.valid_share == 0


# Ground


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (TRANSFORM, UTM),
        (Affine(1e-4, 0, 14.1, 0, -1e-4, 48.2), "EPSG:4326"),
        (TRANSFORM @ Affine.rotation(30), UTM),
        (Affine(10, 0, 300000, 0, 10, 5798000), UTM),
        (TRANSFORM, None),
    ],
)
def test_the_maps_grid_is_the_scenes(run, tmp_path, transform, crs):
    source = write_raster(tmp_path / "S2A_MSIL1C_x.tif", reflectance(9, 80, 90), TRAINED, transform=transform, crs=crs)
    report = run(source=source, probabilities=True)
    for path in report.files.values():
        with rasterio.open(path) as file, rasterio.open(source) as given:
            assert file.transform.almost_equals(given.transform)
            assert (file.crs, file.shape) == (given.crs, given.shape)
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (report.classes[0]["hectares"] is None) == (crs is None)


def test_an_area_is_cropped_to_its_cells_and_masked_outside(run, tmp_path):
    west, north = TRANSFORM @ (40, 50)
    east, south = TRANSFORM @ (100, 120)
    gpd.GeoDataFrame(geometry=[box(west, south, east, north)], crs=UTM).to_file(tmp_path / "area.gpkg")
    with rasterio.open(run(aoi=tmp_path / "area.gpkg").output) as file:
        assert (~TRANSFORM @ (file.transform.c, file.transform.f)) == pytest.approx((32, 48))
        found = file.read(1)
    inside = np.zeros_like(found, bool)
    inside[2:72, 8:68] = True
    np.testing.assert_array_equal(found != 255, inside)


def test_a_snapped_map_keeps_the_scenes_pixels(run, tmp_path):
    moved = TRANSFORM @ Affine.translation(5, 3)
    source = write_raster(tmp_path / "S2A_MSIL1C_m.tif", reflectance(9, 80, 80), TRAINED, transform=moved)
    with rasterio.open(run(source=source, snap=True).output) as file:
        assert file.transform.almost_equals(moved)
        assert file.shape == (80, 80)


# Files


def test_a_class_map_shows_names_and_colours_at_once(run, tmp_path):
    report = run()
    style = read_style(report.output)
    for value, name, colour in zip(CLASSES.values, CLASSES.names, CLASSES.colours, strict=True):
        assert style.names[value] == name
        assert style.colours[value] == colour
    with rasterio.open(report.output) as file:
        assert file.colormap(1)[4][:3] == CLASSES.colours[1]
        assert file.nodata == 255
        assert file.tags()["head"] == "crops.pt"
        assert len(file.tags()["head_sha256"]) == 64
        assert json.loads(file.tags()["classes"])["4"] == "Wälder & Büsche"
        assert file.tags()["weights"] == "tiny.safetensors"
    labels = [entry.get("label") for entry in ElementTree.parse(tmp_path / "map.qml").iter("paletteEntry")]
    assert labels == list(CLASSES.names)
    assert quicklook(report.output, tmp_path / "look.png").stat().st_size > 0


def test_large_maps_have_overviews_of_existing_classes(run, head, tmp_path):
    source = write_raster(tmp_path / "S2A_MSIL1C_wide.tif", reflectance(9, 20, 1100), TRAINED)
    report = run(source=source)
    with rasterio.open(report.output) as file:
        assert file.overviews(1)[0] == 2
        assert np.isin(file.read(1, out_shape=(10, 550)), CLASSES.values).all()


def test_class_values_above_a_byte_are_kept(run, head):
    table = ClassTable.of([1, 300, 70])
    report = run(of=replace(head, classes=table))
    with rasterio.open(report.output) as file:
        assert (file.dtypes[0], file.nodata) == ("uint16", 65535)
        assert set(np.unique(file.read(1))) <= set(table.values)
    assert {70, 300} <= read_style(report.output).colours.keys()


def test_class_counts_add_up_to_the_valid_pixels(run):
    report = run()
    found = read(report.output)
    for one in report.classes:
        assert one["pixels"] == (found == one["value"]).sum()
        assert one["hectares"] == pytest.approx(one["pixels"] * 0.01, rel=2e-3)
    assert json.loads(report.to_json())["classes"][1]["name"] == "Wälder & Büsche"


def test_polygons_hold_the_areas_of_the_map(run, tmp_path):
    report = run(polygons=tmp_path / "areas.gpkg")
    frame = gpd.read_file(tmp_path / "areas.gpkg")
    for one in report.classes:
        area = frame[frame["value"] == one["value"]].geometry.area.sum()
        assert area == pytest.approx(one["pixels"] * 100)
    assert frame.crs == UTM


def test_probabilities_are_named_and_scaled(run):
    report = run(probabilities=True, confidence="entropy", dtype="uint8")
    with rasterio.open(report.files["probabilities"]) as file:
        assert file.descriptions == CLASSES.names
        assert file.scales == pytest.approx([1 / 250] * 3)
        values = file.read().astype(float) * file.scales[0]
        assert np.abs(values.sum(axis=0) - 1).max() < 0.01
    with rasterio.open(report.files["confidence"]) as file:
        assert file.descriptions == ("entropy",)


def test_files_are_named_after_the_scene(weights, scene, head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = saved(head, tmp_path / "crops.pt")
    report = segment(scene, head=file, weights=str(weights), probabilities=True, confidence="margin")
    assert [str(path) for path in report.files.values()] == [
        f"{scene.stem}_{kind}.tif" for kind in ("classes", "probabilities", "confidence")
    ]
    numbers = saved(linear_head(recipe_for(scene), weights, None), tmp_path / "height.pt")
    assert segment(scene, head=numbers, weights=str(weights)).output == f"{scene.stem}_canopy_height.tif"


def test_a_dry_run_foretells_and_writes_nothing(run, tmp_path):
    report = run(dry_run=True, polygons=tmp_path / "areas.gpkg")
    assert not report.written
    assert report.classes[0]["pixels"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"crops.pt"}


@pytest.mark.parametrize(
    "name", ["map.tif", "map.qml", "map.tif.aux.xml", "map_probabilities.tif", "map_confidence.tif", "areas.gpkg"]
)
def test_nothing_that_exists_is_replaced(run, tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("precious")
    monkeypatch.setattr("dofa_cli.pipelines.segment._source", lambda *_: pytest.fail("work began"))
    with pytest.raises(OutputExists, match=name):
        run(probabilities=True, confidence="margin", polygons=tmp_path / "areas.gpkg")
    assert (tmp_path / name).read_text() == "precious"


def test_overwriting_replaces_the_styles_too(run, tmp_path):
    (tmp_path / "map.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
    (tmp_path / "map.tif").write_text("old")
    report = run(overwrite=True)
    assert read_style(report.output).names[1] == "water"


def test_a_failure_leaves_finished_shards_alone_and_the_next_run_goes_on(run, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OutputUnwritable("disk gone")

    with monkeypatch.context() as patch:
        patch.setattr("dofa_cli.pipelines.mapping.files.polygonise", fail)
        with pytest.raises(OutputUnwritable):
            run(probabilities=True, polygons=tmp_path / "areas.gpkg")
    assert {path.name for path in tmp_path.iterdir()} == {"crops.pt", ".map.tif.parts"}
    told: list[str] = []
    run(probabilities=True, polygons=tmp_path / "areas.gpkg", say=told.append)
    assert any(line.startswith("Continuing: ") for line in told)
    made = {"crops.pt", "map.tif", "map_probabilities.tif", "areas.gpkg"}
    assert made <= {path.name for path in tmp_path.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# Heads that do not fit


def test_weights_of_another_sum_are_refused_with_both_names(run, head, tmp_path):
    other = tiny_weights(tmp_path / "other.safetensors", DofaConfig(1, 16, 24, 3, 3, 64))
    with pytest.raises(WrongHead, match=r"'tiny\.safetensors'.*'other\.safetensors'"):
        run(weights=str(other))
    assert not (tmp_path / "map.tif").exists()


def test_weights_that_are_not_here_are_named(run, monkeypatch):
    monkeypatch.delenv("DOFA_DEFAULT_WEIGHTS", raising=False)
    with pytest.raises(NoWeights, match=r"crops\.pt was trained on weights 'tiny\.safetensors'.*--weights"):
        run(weights=None)


def test_weights_of_the_environment_serve_where_the_name_is_not_found(run, weights, monkeypatch):
    monkeypatch.setenv("DOFA_DEFAULT_WEIGHTS", str(weights))
    assert run(weights=None).written


def test_a_head_of_images_is_refused(run, head):
    with pytest.raises(WrongHead, match="dofa classify"):
        run(of=replace(head, task=Task.CLASSIFY))
    with pytest.raises(WrongHead, match="whole images"):
        run(of=replace(head, recipe=replace(head.recipe, level="window")))


def test_a_file_that_is_no_head_is_refused(run, tmp_path):
    (tmp_path / "no.pt").write_text("no head")
    with pytest.raises(DamagedHead):
        run(head=tmp_path / "no.pt")
    with pytest.raises(HeadError, match="No head file"):
        run(head=tmp_path / "none.pt")


def test_tensors_that_do_not_fit_are_refused(run, head):
    with pytest.raises(DamagedHead):
        run(of=replace(head, tensors={"weight": torch.zeros(3, 7), "bias": torch.zeros(3)}))


@pytest.mark.parametrize("options", [{"probabilities": True}, {"confidence": "margin"}, {"smooth": "majority"}])
def test_a_number_has_no_classes_to_show(run, weights, scene, options):
    with pytest.raises(OptionError, match="number"):
        run(of=linear_head(recipe_for(scene), weights, None), **options)


def test_endings_are_checked_before_the_work(run, tmp_path):
    with pytest.raises(OptionError, match=r"\.tif"):
        run("map.png")
    with pytest.raises(OptionError, match=r"\.gpkg"):
        run(polygons=tmp_path / "areas.shp")
