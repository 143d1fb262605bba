"""The verb as a whole, on scenes made here: grid, tags, types, levels and options."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from affine import Affine
from shapely.geometry import box

from dofa_cli import __version__
from dofa_cli.pipelines.embed import TIMED_BATCHES, embed
from dofa_cli.pipelines.inference.encoder import Encoder
from dofa_cli.weights.checksum import sha256
from tests.made import TRAINED, TRANSFORM, UTM, reflectance, sentinel2_scene, tiny_weights, write_raster

HEIGHT, WIDTH, CELL = 150, 170, 160.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "S2A_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204.tif"
    return sentinel2_scene(path, HEIGHT, WIDTH)


@pytest.fixture
def run(weights, scene, tmp_path):
    def run(output="out.tif", source=scene, **options):
        return embed(source, tmp_path / output, sensor="sentinel2", weights=str(weights), **options)

    return run


def read(report):
    with rasterio.open(report.output) as file:
        return file.read()


def test_grid_is_the_scenes_with_a_patch_to_a_cell(run):
    with rasterio.open(run().output) as file:
        assert file.crs.to_epsg() == 32633
        assert file.transform == TRANSFORM @ Affine.scale(16)
        assert (file.height, file.width, file.count) == (-(-HEIGHT // 16), -(-WIDTH // 16), 24)
        assert np.isnan(file.nodata)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.descriptions[0] == "dim_0"
        tokens = file.read()
    assert np.isfinite(tokens).all()
    assert tokens.std(axis=(1, 2)).min() > 0


def test_provenance_stands_in_the_default_tags(run, weights, scene):
    with rasterio.open(run().output) as file:
        tags = file.tags()
    assert tags["dofa_version"] == __version__
    assert tags["weights"] == "tiny.safetensors"
    assert tags["weights_sha256"] == sha256(weights)
    assert tags["sensor"] == "sentinel2"
    assert tags["product"] == "l1c"
    assert tags["bands"] == ",".join(TRAINED)
    assert tags["wavelengths_um"].startswith("0.665,0.56,0.49,0.705")
    assert (tags["window_px"], tags["overlap_px"], tags["zoom"]) == ("64", "16", "1")
    assert tags["cell_offset_px"] == "-1"
    assert tags["token_norm"] == "trained"
    assert tags["source"] == scene.name
    assert tags["datetime"].startswith("2017-02-16T10:21:01")
    rules = json.loads(tags["normalization"])
    assert [rule["band"] for rule in rules] == list(TRAINED)
    assert rules[0]["mean"] == pytest.approx(114.1099739)


@pytest.mark.parametrize("zoom", [2, 3])
def test_zoom_makes_cells_smaller(run, zoom):
    with rasterio.open(run(zoom=zoom).output) as file:
        assert file.transform.almost_equals(TRANSFORM @ Affine.scale(16 / zoom))
        assert (file.height, file.width) == (-(-HEIGHT * zoom // 16), -(-WIDTH * zoom // 16))


@pytest.mark.parametrize("step", [(0, 0), (3, 5)])
def test_snapped_scenes_share_one_lattice(weights, tmp_path, step):
    rows, cols = step
    moved = TRANSFORM @ Affine.translation(cols, rows)
    source = write_raster(tmp_path / "moved.tif", reflectance(9, 80, 80), TRAINED, transform=moved)
    report = embed(source, tmp_path / "out.tif", sensor="sentinel2", weights=str(weights), snap=True)
    with rasterio.open(report.output) as file:
        left, top = file.transform @ (0, 0)
        assert left % CELL == pytest.approx(0)
        assert top % CELL == pytest.approx(0)
        assert left <= moved.c < left + CELL


@pytest.mark.parametrize("transform", [TRANSFORM @ Affine.rotation(30), Affine(10, 0, 300000, 0, 10, 5798000)])
def test_rotated_and_south_up_grids_are_multiplied(weights, tmp_path, transform):
    source = write_raster(tmp_path / "turned.tif", reflectance(9, 80, 90), TRAINED, transform=transform)
    report = embed(source, tmp_path / "out.tif", sensor="sentinel2", weights=str(weights))
    with rasterio.open(report.output) as file:
        assert file.transform.almost_equals(transform @ Affine.scale(16))


def test_cells_of_an_area_equal_the_scenes_own_cells(run, tmp_path):
    west, north = TRANSFORM @ (40, 50)
    east, south = TRANSFORM @ (100, 120)
    gpd.GeoDataFrame(geometry=[box(west, south, east, north)], crs=UTM).to_crs(4326).to_file(tmp_path / "area.gpkg")
    with rasterio.open(run(aoi=tmp_path / "area.gpkg", min_valid=0.9).output) as file:
        offset = (~(TRANSFORM @ Affine.scale(16))) @ (file.transform.c, file.transform.f)
        assert offset == pytest.approx((40 // 16, 50 // 16))
        assert (file.height, file.width) == (-(-120 // 16) - 50 // 16, -(-100 // 16) - 40 // 16)
        inside = np.isfinite(file.read(1))
    assert inside[1:4, 1:4].all()
    assert not inside[0].any()


def test_half_precision_takes_half_the_space_and_rounds_to_nearest(run):
    exact, half = read(run("exact.tif")), read(run("half.tif", dtype="float16"))
    assert np.array_equal(half, exact.astype(np.float16).astype(np.float32))


def test_int8_is_undone_by_gdals_scale_and_offset(run):
    exact, report = read(run("exact.tif")), run("codes.tif", dtype="int8")
    with rasterio.open(report.output) as file:
        assert file.dtypes[0] == "int8"
        assert file.nodata == -128
        scales, offsets = (np.array(v)[:, None, None] for v in (file.scales, file.offsets))
        values = file.read() * scales + offsets
        told = json.loads(file.tags()["quantization"])
    assert told["method"] == "linear per band"
    assert report.clipped_share == told["clipped_share"] == 0
    assert np.abs(values - exact).max() <= scales.max() / 2 * 1.01
    cosine = (values * exact).sum(0) / np.linalg.norm(values, axis=0) / np.linalg.norm(exact, axis=0)
    assert cosine.min() > 0.999


@pytest.mark.parametrize("option", [{"shard": 1}, {"shard": 2}, {"shard": 99}])
def test_result_does_not_depend_on_the_shard(run, option):
    assert np.array_equal(read(run("a.tif", batch_size=2)), read(run("b.tif", batch_size=2, **option)))


def test_batch_size_changes_rounding_only(run):
    one, many = read(run("one.tif", batch_size=1)), read(run("many.tif", batch_size=5))
    assert np.abs(one - many).max() <= 1e-5 * np.abs(one).max()


def test_window_level_has_one_row_a_window_in_wgs84(run):
    report = run("windows.parquet", level="window")
    frame = gpd.read_parquet(report.output)
    assert len(frame) == -(-HEIGHT // 64) * -(-WIDTH // 64)
    assert frame.crs.to_epsg() == 4326
    assert {"embedding", "geometry", "datetime", "source", "window_row", "window_col"} <= set(frame.columns)
    assert str(frame.datetime.iloc[0]).startswith("2017-02-16 10:21:01")
    assert np.stack(frame.embedding).std(axis=0).min() > 0
    areas = frame.to_crs(UTM).area
    assert areas.max() == pytest.approx(640 * 640, rel=1e-3)
    assert areas.sum() == pytest.approx(HEIGHT * WIDTH * 100, rel=1e-3)
    schema = pq.read_schema(report.output)
    assert "bbox" in schema.names
    assert schema.field("embedding").type == pa.list_(pa.float32(), 24)
    assert json.loads(schema.metadata[b"dofa"])["source_crs"] == "EPSG:32633"


def test_scene_level_is_one_row_over_the_whole_scene(run):
    frame = gpd.read_parquet(run("scene.parquet", level="scene").output)
    assert len(frame) == 1
    assert frame.valid_share.iloc[0] == pytest.approx(1)
    assert frame.to_crs(UTM).area.iloc[0] == pytest.approx(HEIGHT * WIDTH * 100, rel=1e-3)


def test_dry_run_writes_nothing_and_foretells(run, tmp_path):
    report = run(dry_run=True)
    assert not list(tmp_path.iterdir())
    assert not report.written
    assert report.windows == 12
    assert report.output_bytes == report.height * report.width * 24 * 4
    assert report.memory_bytes > report.output_bytes
    assert report.area_km2 == pytest.approx(HEIGHT * WIDTH / 10000, rel=2e-3)
    assert json.loads(report.to_json())["rules"][0]["wavelength_um"] == 0.665


def test_token_norm_none_is_recorded_and_differs(run):
    report = run("raw.tif", token_norm="none")
    assert report.tags["token_norm"] == "none"
    assert not np.allclose(read(report), read(run("normed.tif")))


def test_normalize_scene_standardises_with_the_scenes_own_statistics(run):
    report = run(normalize="scene")
    assert [band["mean"] for band in report.standardised] == pytest.approx([0] * 9, abs=1e-3)
    assert [band["std"] for band in report.standardised] == pytest.approx([1] * 9, abs=1e-3)
    assert "estimated" in report.rules[0]["origin"]


def test_normalize_none_passes_values_on(run):
    rules = run(normalize="none").rules
    assert {(rule["scale"], rule["mean"], rule["std"]) for rule in rules} == {("x", 0.0, 1.0)}


def test_order_of_files_and_bands_in_them_does_not_matter(weights, scene, tmp_path):
    with rasterio.open(scene) as file:
        values = file.read()
    paths = [
        write_raster(tmp_path / f"T33UUU_20170216T102101_{name}.tif", values[i : i + 1])
        for i, name in reversed(list(enumerate(TRAINED)))
    ]
    options = {"sensor": "sentinel2", "weights": str(weights)}
    stacked, split = embed(scene, tmp_path / "a.tif", **options), embed(paths, tmp_path / "b.tif", **options)
    assert np.array_equal(read(stacked), read(split))


def test_output_is_named_after_what_the_files_share(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = reflectance(2, 40, 40)
    paths = [
        write_raster(tmp_path / f"T33UUU_20170216T102101_{name}.tif", values[i : i + 1])
        for i, name in enumerate(("B04", "B03"))
    ]
    report = embed(paths, sensor="sentinel2", weights=str(weights))
    assert report.output == "T33UUU_20170216T102101_patch.tif"
    assert (tmp_path / report.output).exists()


def test_wavelengths_by_hand_name_the_bands_in_file_order(weights, scene, tmp_path):
    given = "0.665,0.56,0.49,0.705,0.74,0.783,0.842,1.61,2.19"
    report = embed(scene, tmp_path / "out.tif", wavelengths=given, weights=str(weights))
    assert report.tags["sensor"] == "custom"
    assert report.tags["wavelengths_um"] == given
    assert len(report.rules) == 9


def test_calibrated_wavelengths_by_hand_follow_the_sentinel2_rule(weights, scene, tmp_path):
    given = "0.665,0.56,0.49,0.705,0.74,0.783,0.842,1.61,2.19"
    report = embed(scene, tmp_path / "out.tif", wavelengths=given, scale=1e-4, weights=str(weights))
    assert report.rules[0]["scale"] == "clip(0.0713884·x + 1, 1, 255)"
    assert "interpolated from sentinel2" in report.rules[0]["origin"]


def test_progress_is_silent_unless_asked(run, capsys):
    run()
    assert capsys.readouterr().err == ""
    run("again.tif", progress=True)
    assert "12/12 windows" in capsys.readouterr().err.replace("\r", "\n")


def test_masked_pixels_are_nodata_in_the_result_and_out_of_the_statistics(run, scene, tmp_path):
    marked = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    marked[:, :64] = 3
    mask = write_raster(tmp_path / "clouds.tif", marked)
    report = run(mask=str(mask), normalize="scene")
    clouds = np.isnan(read(report)).all(axis=0)
    assert clouds[:4].all()
    assert not clouds[4:].any()
    assert report.masked_share == pytest.approx(64 / HEIGHT)
    assert "values other than 0" in report.tags["masked"]
    assert any("is masked" in note for note in report.notes)
    with rasterio.open(scene) as file:
        kept = file.read(1)[64:].astype(float)
    assert report.rules[0]["mean"] == pytest.approx(kept.mean(), rel=1e-5)


def test_only_listed_values_of_a_mask_count(run, tmp_path):
    marked = np.ones((1, HEIGHT, WIDTH), np.uint8)
    marked[:, :, :80] = 9
    mask = write_raster(tmp_path / "clouds.tif", marked)
    assert np.isfinite(read(run(mask=str(mask), mask_values="9")))[0, :, 5:].all()
    assert np.isnan(read(run("wide.tif", mask=str(mask), mask_values="9", cloud_dilate=16)))[0, :, :6].all()


def test_a_dry_run_halves_a_batch_that_the_device_cannot_hold(run, monkeypatch):
    tokens, sizes = Encoder.tokens, []

    def little(self, pixels):
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("out of memory")
        sizes.append(len(pixels))
        return tokens(self, pixels)

    monkeypatch.setattr(Encoder, "tokens", little)
    report = run(dry_run=True, window=64, batch_size=4)
    assert report.seconds > 0
    assert len(sizes) == 4 * (1 + TIMED_BATCHES)
