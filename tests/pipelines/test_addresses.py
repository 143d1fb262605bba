"""Outputs at addresses: made here, uploaded whole, for one scene and for many; a store in memory stands for S3."""

from __future__ import annotations

import json
import os
import signal
from contextlib import nullcontext

import fsspec
import numpy as np
import pytest
import rasterio
from fsspec.implementations.memory import MemoryFileSystem

from dofa_cli.classes import ClassTable
from dofa_cli.errors import Interrupted, OptionError, OutputExists, OutputLocked, OutputUnwritable
from dofa_cli.pipelines.classify import classify
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.encoder import Encoder
from dofa_cli.pipelines.many.run_report import State, read_report
from dofa_cli.pipelines.many.verbs import ManyOptions, embed_many, segment_many
from dofa_cli.pipelines.segment import segment
from dofa_cli.raster import remote_output
from dofa_cli.raster.remote_output import is_uploaded
from tests.made import sentinel2_scene, tiny_weights
from tests.pipelines.head_cases import linear_head, recipe_for, saved
from tests.pipelines.image_heads import image_head

FOLDER = "memory://bucket/out"
CLASSES = ClassTable.of([1, 2], {1: "water", 2: "fields"})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for number, (height, width) in enumerate([(150, 170), (64, 64)]):
        sentinel2_scene(folder / f"S2A_{number}.tif", height, width)
    return folder


@pytest.fixture
def scene(scenes):
    return scenes / "S2A_0.tif"


@pytest.fixture
def options(weights):
    return {"weights": str(weights), "sensor": "sentinel2", "device": "cpu"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_output, "FIRST_PAUSE", 0)
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    return working


def stored():
    return {path.removeprefix("/bucket/out/") for path in fsspec.filesystem("memory").find("/bucket")}


def read(place):
    if "://" not in str(place):
        with rasterio.open(place) as file:
            return file.read()
    content = fsspec.filesystem("memory").cat_file(str(place).removeprefix("memory:/"))
    with rasterio.MemoryFile(content) as held, held.open() as file:
        return file.read()


def test_an_embedding_at_an_address_is_the_one_of_a_file(scene, options, tmp_path, here):
    alone = embed(scene, tmp_path / "alone.tif", **options)
    report = embed(scene, f"{FOLDER}/a.tif", **options)
    assert report.output == f"{FOLDER}/a.tif"
    np.testing.assert_array_equal(read(report.output), read(alone.output))
    assert stored() == {"a.tif", "a.tif.dofa.json"}
    assert list(here.iterdir()) == []
    with pytest.raises(OutputExists, match="--overwrite"):
        embed(scene, f"{FOLDER}/a.tif", **options)
    embed(scene, f"{FOLDER}/a.tif", overwrite=True, **options)


def test_a_dry_run_uploads_nothing(scene, options, here):
    report = embed(scene, f"{FOLDER}/a.tif", dry_run=True, **options)
    assert report.output == f"{FOLDER}/a.tif"
    assert stored() == set()
    assert list(here.iterdir()) == []


def test_after_an_upload_that_failed_the_same_command_only_uploads(scene, options, monkeypatch, here):
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda *_, **__: (_ for _ in ()).throw(OSError("busy")))
    with pytest.raises(OutputUnwritable, match=r"busy\. What was computed is kept"):
        embed(scene, f"{FOLDER}/a.tif", **options)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setattr(Encoder, "tokens", lambda *_: pytest.fail("computed again"))
    report = embed(scene, f"{FOLDER}/a.tif", **options)
    assert report.kept_shards == report.shards
    assert is_uploaded(report.output)
    assert list(here.iterdir()) == []


def test_a_second_run_is_refused_until_the_first_is_uploaded(scene, options, monkeypatch, here):
    put, refused = MemoryFileSystem.put_file, []

    def put_while_another_starts(*args, **kwargs):
        with pytest.raises(OutputLocked, match=f"writes {FOLDER}/a.tif: process") as error:
            embed(scene, f"{FOLDER}/a.tif", **options)
        refused.append(error)
        return put(*args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_while_another_starts)
    assert is_uploaded(embed(scene, f"{FOLDER}/a.tif", **options).output)
    assert refused
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_during_an_upload_lets_it_end_and_a_second_one_stops(scene, options, monkeypatch, here, signals):
    put = MemoryFileSystem.put_file

    def put_after_signals(*args, **kwargs):
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
        return put(*args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_after_signals)
    with pytest.raises(Interrupted) if signals > 1 else nullcontext():
        embed(scene, f"{FOLDER}/a.tif", **options)
    assert is_uploaded(f"{FOLDER}/a.tif") == (signals == 1)
    monkeypatch.setattr(MemoryFileSystem, "put_file", put)
    if signals > 1:
        report = embed(scene, f"{FOLDER}/a.tif", **options)
        assert report.kept_shards == report.shards
    assert list(here.iterdir()) == []


def test_a_map_goes_with_its_style_confidence_and_polygons(scene, weights, tmp_path):
    head = saved(linear_head(recipe_for(scene), weights), tmp_path / "crops.pt")
    how = {"head": head, "weights": weights, "confidence": "margin"}
    alone = segment(scene, tmp_path / "map.tif", polygons=tmp_path / "map.gpkg", **how)
    report = segment(scene, f"{FOLDER}/map.tif", polygons=f"{FOLDER}/map.gpkg", **how)
    names = {path.rpartition("/")[2] for path in alone.files.values()}
    assert set(report.files.values()) == {f"{FOLDER}/{name}" for name in names}
    assert names | {"map.qml", "map.tif.dofa.json"} <= stored()
    np.testing.assert_array_equal(read(report.output), read(alone.output))
    with pytest.raises(OptionError, match="--polygons"):
        segment(scene, tmp_path / "other.tif", polygons=f"{FOLDER}/other.gpkg", **how)


def test_a_map_as_a_zarr_store_is_uploaded_with_its_entry_last(scene, weights, tmp_path):
    head = saved(linear_head(recipe_for(scene), weights), tmp_path / "crops.pt")
    report = segment(scene, f"{FOLDER}/map.zarr", head=head, weights=weights)
    assert is_uploaded(report.output)
    entry = json.loads(fsspec.filesystem("memory").cat_file("/bucket/out/map.zarr.dofa.json"))
    assert "map.zarr/zarr.json" in entry["files"]


def test_rows_of_images_are_uploaded(scene, weights, tmp_path):
    head = image_head(scene, weights, tmp_path, CLASSES, [0.0, 2.0])
    done = classify(scene, f"{FOLDER}/rows.csv", head=head, weights=weights)
    assert done.output == f"{FOLDER}/rows.csv"
    assert fsspec.filesystem("memory").cat_file("/bucket/out/rows.csv").startswith(b"path,")


def test_many_scenes_go_to_a_folder_at_an_address_and_are_kept_there(scenes, options, tmp_path):
    report = tmp_path / "run.jsonl"
    embed_many([str(scenes)], FOLDER, ManyOptions(report=report), **options).check()
    assert {"S2A_0_patch.tif", "S2A_1_patch.tif"} <= stored()
    with pytest.raises(OutputExists, match="2 of 2 outputs exist"):
        embed_many([str(scenes)], FOLDER, ManyOptions(report=report), **options)
    fsspec.filesystem("memory").pipe_file("/bucket/out/S2A_1_patch.tif", b"half")
    said = []
    again = embed_many([str(scenes)], FOLDER, ManyOptions(report=report, resume=True, say=said.append), **options)
    assert (again.states[State.KEPT], again.states[State.DONE]) == (1, 1)
    assert any("4 bytes" in line for line in said)
    assert {one.output for one in read_report(report)} == {f"{FOLDER}/S2A_{number}_patch.tif" for number in range(2)}
    assert is_uploaded(f"{FOLDER}/S2A_1_patch.tif")


def test_many_maps_and_their_polygons_go_to_a_folder_at_an_address(scenes, weights, tmp_path):
    head = saved(linear_head(recipe_for(scenes / "S2A_0.tif"), weights), tmp_path / "crops.pt")
    done = segment_many(
        [str(scenes)],
        f"{FOLDER}/",
        ManyOptions(report=tmp_path / "r.jsonl"),
        head=head,
        weights=weights,
        polygons=".gpkg",
    )
    done.check()
    assert {"S2A_0_classes.gpkg", "S2A_1_classes.gpkg", "S2A_0_classes.tif"} <= stored()


def test_a_folder_that_cannot_be_reached_is_told_before_any_work(scenes, options, here):
    with pytest.raises(OutputUnwritable, match="nowhere"):
        embed_many([str(scenes)], "nowhere://bucket/out/", **options)
    assert list(here.iterdir()) == []
