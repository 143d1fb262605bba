"""The verbs over many real, small scenes, and what they foretell."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import box

from dofa_cli.classes import ClassTable
from dofa_cli.errors import AreaError, DamagedWeights, NoWeights, OptionError, SomeFailed
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference import encoder, run
from dofa_cli.pipelines.many.outlooks import embed_outlook, segment_outlook
from dofa_cli.pipelines.many.run_report import State, read_report
from dofa_cli.pipelines.many.verbs import ManyOptions, classify_many, embed_many, segment_many
from dofa_cli.pipelines.segment import segment
from tests.made import TRAINED, TRANSFORM, UTM, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import linear_head, recipe_for, saved
from tests.pipelines.image_heads import image_head


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for number, (height, width) in enumerate([(150, 170), (64, 64), (300, 90)]):
        sentinel2_scene(folder / f"S2A_{number}.tif", height, width)
    return folder


@pytest.fixture
def options(weights):
    return {"weights": weights, "sensor": "sentinel2", "device": "cpu"}


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def test_each_scene_gets_what_it_would_get_alone(scenes, options, tmp_path):
    summary = embed_many([str(scenes)], tmp_path / "out", **options)
    summary.check()
    assert summary.states[State.DONE] == 3
    for number in range(3):
        alone = embed(scenes / f"S2A_{number}.tif", tmp_path / f"{number}.tif", **options)
        np.testing.assert_array_equal(read(tmp_path / f"out/S2A_{number}_patch.tif"), read(alone.output))


def test_weights_and_encoders_are_opened_once_for_all_scenes(scenes, options, tmp_path, monkeypatch):
    opened = {"weights": 0, "encoders": 0}
    load, start = encoder.load_checkpoint, encoder.Encoder.__init__

    def loading(path):
        opened["weights"] += 1
        return load(path)

    def starting(self, *args, **more):
        opened["encoders"] += 1
        start(self, *args, **more)

    monkeypatch.setattr(encoder, "load_checkpoint", loading)
    monkeypatch.setattr(encoder.Encoder, "__init__", starting)
    embed_many([str(scenes)], tmp_path / "out", **options).check()
    assert opened == {"weights": 1, "encoders": 1}
    embed(scenes / "S2A_1.tif", tmp_path / "alone.tif", **options)
    assert opened == {"weights": 2, "encoders": 2}


def test_a_damaged_scene_is_reported_and_the_others_are_made(scenes, options, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    for path in scenes.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "S2A_0a.tif").write_bytes((scenes / "S2A_0.tif").read_bytes()[:20_000])
    summary = embed_many([str(folder)], tmp_path / "out", **options)
    with pytest.raises(SomeFailed, match=r"1 of 4 scenes failed \(S2A_0a\)"):
        summary.check()
    found = {record.scene: record for record in read_report(tmp_path / "out/dofa-embed.jsonl")}
    assert found["S2A_0a"].exit_code in (12, 13)
    assert sum(record.state is State.DONE for record in found.values()) == 3


def test_resume_keeps_embeddings_that_are_whole(scenes, options, tmp_path):
    embed_many([str(scenes)], tmp_path / "out", **options).check()
    os.truncate(tmp_path / "out/S2A_1_patch.tif", 2000)
    summary = embed_many([str(scenes)], tmp_path / "out", ManyOptions(resume=True), **options)
    summary.check()
    assert (summary.states[State.KEPT], summary.states[State.DONE]) == (2, 1)


def test_zarr_stores_are_kept_and_checked_too(scenes, options, tmp_path):
    embed_many([str(scenes)], tmp_path / "out", file_format="zarr", **options).check()
    store = tmp_path / "out/S2A_0_patch.zarr"
    chunk = max((path for path in store.rglob("*") if "/c/" in path.as_posix()), key=lambda path: path.stat().st_size)
    os.truncate(chunk, chunk.stat().st_size // 2)
    summary = embed_many([str(scenes)], tmp_path / "out", ManyOptions(resume=True), file_format="zarr", **options)
    summary.check()
    assert (summary.states[State.KEPT], summary.states[State.DONE]) == (2, 1)


@pytest.mark.parametrize("level", ["window", "scene"])
def test_tables_of_vectors_are_kept_and_checked_too(scenes, options, tmp_path, level):
    embed_many([str(scenes)], tmp_path / "out", level=level, **options).check()
    path = tmp_path / f"out/S2A_0_{level}.parquet"
    path.write_bytes(path.read_bytes()[:-8] + b"xxxxPAR1")
    summary = embed_many([str(scenes)], tmp_path / "out", ManyOptions(resume=True), level=level, **options)
    summary.check()
    assert (summary.states[State.KEPT], summary.states[State.DONE]) == (2, 1)


def test_options_that_only_say_how_do_not_matter_to_resume(scenes, options, tmp_path):
    embed_many([str(scenes)], tmp_path / "out", **options).check()
    again = embed_many([str(scenes)], tmp_path / "out", ManyOptions(resume=True), shard=1, keep_parts=True, **options)
    assert again.states[State.KEPT] == 3
    other = embed_many([str(scenes)], tmp_path / "out", ManyOptions(resume=True), overlap=32, **options)
    assert "overlap was null, is 32" in other.failures[0].error


def test_items_of_a_catalogue_are_embedded_by_their_links(scenes, options, tmp_path):
    bands = [{"name": name} for name in TRAINED]
    features = [
        {
            "type": "Feature",
            "id": name,
            "collection": "sentinel-2-l1c",
            "properties": {"datetime": "2020-07-01T10:00:00Z"},
            "assets": {
                "stack": {"href": f"{name}.tif", "type": "image/tiff", "eo:bands": bands},
                "thumbnail": {"href": "no.png", "type": "image/png", "roles": ["thumbnail"]},
            },
        }
        for name in ("S2A_0", "S2A_1")
    ]
    page = scenes / "page.json"
    page.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    many = ManyOptions(name="{date}_{name}")
    found = embed_outlook([str(page)], tmp_path / "out", many, **options)
    assert (found.scenes, found.failed) == (2, 0)
    summary = embed_many([str(page)], tmp_path / "out", many, **options)
    page.unlink()
    summary.check()
    alone = embed(scenes / "S2A_1.tif", tmp_path / "alone.tif", **options)
    np.testing.assert_array_equal(read(tmp_path / "out/20200701_S2A_1.tif"), read(alone.output))


@pytest.fixture
def area(tmp_path):
    """Polygons over the first 40 × 40 pixels of the scenes."""
    west, north = TRANSFORM @ (0, 0)
    east, south = TRANSFORM @ (40, 40)
    gpd.GeoDataFrame(geometry=[box(west, south, east, north)], crs=UTM).to_file(tmp_path / "area.gpkg")
    return tmp_path / "area.gpkg"


def test_scenes_outside_the_area_of_interest_are_passed_over(options, tmp_path, area):
    sentinel2_scene(tmp_path / "near.tif", 64, 64)
    sentinel2_scene(tmp_path / "far.tif", 64, 64, transform=TRANSFORM @ Affine.translation(5000, 0))
    paths = [str(tmp_path / "near.tif"), str(tmp_path / "far.tif")]
    summary = embed_many(paths, tmp_path / "out", aoi=area, **options)
    summary.check()
    assert (summary.states[State.DONE], summary.states[State.OUTSIDE]) == (1, 1)
    found = embed_outlook(paths, tmp_path / "out", aoi=area, **options)
    assert (found.scenes, found.outside) == (1, 1)


def test_faults_that_all_scenes_share_are_raised_before_any_work(scenes, options, tmp_path):
    with pytest.raises(NoWeights):
        embed_many([str(scenes)], tmp_path / "out", **(options | {"weights": "none.safetensors"}))
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(DamagedWeights):
        embed_many([str(scenes)], tmp_path / "out", **(options | {"weights": str(tmp_path / "broken.safetensors")}))
    with pytest.raises(AreaError):
        embed_many([str(scenes)], tmp_path / "out", aoi=tmp_path / "none.gpkg", **options)
    with pytest.raises(OptionError, match="no field"):
        embed_many([str(scenes)], tmp_path / "out", ManyOptions(name="{what}"), **options)
    assert not (tmp_path / "out").exists()


def test_notes_that_scenes_share_are_said_once(scenes, options, tmp_path):
    said = []
    for path in scenes.iterdir():
        (tmp_path / path.name).symlink_to(path)
    embed_many([str(tmp_path)], tmp_path / "out", ManyOptions(say=said.append), **(options | {"sensor": "sentinel2a"}))
    assert len(said) == len({line.partition(": ")[2] for line in said})


@pytest.fixture
def head(scenes, weights, tmp_path):
    return saved(linear_head(recipe_for(scenes / "S2A_0.tif"), Path(weights)), tmp_path / "crops.pt")


def test_maps_of_many_scenes_have_their_polygons_beside_them(scenes, weights, head, tmp_path):
    options = {"weights": weights, "polygons": Path(".gpkg"), "probabilities": True}
    segment_many([str(scenes)], tmp_path / "out", head=head, **options).check()
    for number in range(3):
        assert len(gpd.read_file(tmp_path / f"out/S2A_{number}_classes.gpkg"))
    alone = segment(scenes / "S2A_0.tif", tmp_path / "alone.tif", head=head, weights=weights)
    np.testing.assert_array_equal(read(tmp_path / "out/S2A_0_classes.tif"), read(alone.output))
    again = ManyOptions(resume=True)
    (tmp_path / "out/S2A_1_classes_probabilities.tif").unlink()
    summary = segment_many([str(scenes)], tmp_path / "out", again, head=head, **options)
    assert (summary.states[State.KEPT], summary.states[State.DONE]) == (2, 1)


def test_resume_with_another_head_is_told(scenes, weights, head, tmp_path):
    segment_many([str(scenes)], tmp_path / "out", head=head, weights=weights).check()
    other = saved(linear_head(recipe_for(scenes / "S2A_0.tif"), Path(weights), None), tmp_path / "height.pt")
    name = ManyOptions(resume=True, name="{name}_classes")
    summary = segment_many([str(scenes)], tmp_path / "out", name, head=other, weights=weights)
    assert "head was crops.pt, is height.pt" in summary.failures[0].error


def test_squares_of_many_scenes_are_classified(scenes, weights, tmp_path):
    classes = ClassTable.of([1, 2], {1: "water", 2: "land"})
    head = image_head(scenes / "S2A_0.tif", Path(weights), tmp_path, classes, [0.0, 1.0])
    options = {"head": head, "grid": "32px", "weights": weights}
    classify_many([str(scenes)], tmp_path / "out", **options).check()
    assert read(tmp_path / "out/S2A_1_classes.tif").shape == (1, 2, 2)
    again = classify_many([str(scenes)], tmp_path / "out", ManyOptions(resume=True), **options)
    assert again.states[State.KEPT] == 3


# What a run would take


def test_the_outlook_of_maps_counts_what_the_runs_count(scenes, weights, head, tmp_path):
    found = segment_outlook([str(scenes)], tmp_path / "out", head=head, weights=weights)
    reports = [segment(path, head=head, weights=weights, dry_run=True) for path in scenes.iterdir()]
    assert found.windows == sum(report.facts.windows for report in reports)
    assert found.shards == sum(report.facts.shards for report in reports)


def test_the_outlook_counts_what_the_runs_count(scenes, options, tmp_path):
    found = embed_outlook([str(scenes)], tmp_path / "out", shard=2, **options)
    reports = [embed(path, dry_run=True, shard=2, **options) for path in sorted(scenes.iterdir())]
    assert found.scenes == 3
    assert found.windows == sum(report.windows for report in reports)
    assert found.shards == sum(report.shards for report in reports)
    assert found.output_bytes == sum(report.output_bytes for report in reports)
    assert found.area_km2 == pytest.approx(sum(report.area_km2 for report in reports))
    assert found.seconds > 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more",
    [{"zoom": 2}, {"level": "window"}, {"snap": True}, {"resolution": 20}, {"bands": "B04,B03"}, {"warp": "EPSG:3035"}],
)
def test_the_outlook_follows_the_options(scenes, options, tmp_path, more):
    found = embed_outlook([str(scenes)], tmp_path / "out", **options, **more)
    reports = [embed(path, dry_run=True, **options, **more) for path in scenes.iterdir()]
    assert found.windows == sum(report.windows for report in reports)
    assert found.output_bytes == sum(report.output_bytes for report in reports)


def test_scenes_that_would_fail_are_told(scenes, options, tmp_path):
    (tmp_path / "no.tif").write_bytes(b"no raster")
    found = embed_outlook([str(scenes), str(tmp_path / "no.tif")], tmp_path / "out", **options)
    assert (found.scenes, found.failed) == (3, 1)
    assert "no.tif" in found.failures[0]["scene"]
    with pytest.raises(SomeFailed, match="1 of 4 scenes would fail"):
        found.check()


def test_scenes_of_several_numbers_of_bands_are_settled_apart(scenes, options, tmp_path):
    write_raster(tmp_path / "rgb.tif", reflectance(3, 100, 100), ("B04", "B03", "B02"))
    paths = [str(scenes), str(tmp_path / "rgb.tif")]
    found = embed_outlook(paths, tmp_path / "out", **options)
    alone = embed(tmp_path / "rgb.tif", dry_run=True, **options)
    rest = embed_outlook([str(scenes)], tmp_path / "out", **options)
    assert found.windows == rest.windows + alone.windows


def links(folder, count):
    """Write a list that names ``count`` links to one small scene."""
    sentinel2_scene(folder / "one.tif", 150, 170)
    names = [f"S2A_{number:06d}.tif" for number in range(count)]
    for name in names:
        (folder / name).symlink_to(folder / "one.tif")
    (folder / "list.txt").write_text("\n".join(names))
    return str(folder / "list.txt")


def test_only_headers_are_read_of_all_but_one_scene(options, tmp_path, monkeypatch):
    settled = []
    prepare = run.prepare_scene

    def preparing(described, *rest):
        settled.append(described)
        return prepare(described, *rest)

    monkeypatch.setattr(run, "prepare_scene", preparing)
    found = embed_outlook([links(tmp_path, 50)], tmp_path / "out", **options)
    assert (found.scenes, found.windows) == (50, 50 * 12)
    assert len(settled) == 1


@pytest.mark.slow
def test_ten_thousand_scenes_are_foretold_in_constant_memory(options, tmp_path):
    listed = links(tmp_path, 10_000)
    embed_outlook([str(tmp_path / "one.tif")], tmp_path / "out", **options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = embed_outlook([listed], tmp_path / "out", **options)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (found.scenes, found.windows) == (10_000, 10_000 * 12)
    assert grown_kb < 20_000
