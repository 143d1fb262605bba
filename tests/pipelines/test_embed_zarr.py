"""Embeddings as a Zarr store: the values of the GeoTIFF, written shard by shard, by several, after an interruption."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import rasterio
import xarray as xr

from dofa_cli.errors import Interrupted, OptionError, OutputExists, OutputUnwritable
from dofa_cli.pipelines.embed import embed
from dofa_cli.raster.zarr_places import remove_store
from dofa_cli.raster.zarr_raster import open_raster
from dofa_cli.raster.zarr_store import is_complete
from tests.made import TRAINED, sentinel2_scene, tiny_weights, write_raster

HEIGHT, WIDTH = 330, 280


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "scene.tif", HEIGHT, WIDTH)


@pytest.fixture
def run(weights, scene, tmp_path):
    def run(output="out.zarr", **options):
        place = output if "://" in str(output) else tmp_path / output
        return embed(scene, place, **{"sensor": "sentinel2", "weights": str(weights), "shard": 2} | options)

    return run


class Stopped:
    """Runs some shards, as another process would, and stops."""

    def __init__(self, count):
        self.count, self.done = count, []

    def run(self, recipe, _, numbers, store, on_done):
        again = pickle.loads(pickle.dumps(recipe)).open()
        for finished in again.run(list(numbers)[: self.count], store.path):
            store.finish(finished)
            on_done(finished)
            self.done.append(finished.number)
        if self.count < len(numbers):
            raise Interrupted("Stopped.")


def read(report):
    with open_raster(report.output) as file:
        return file.read()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_store_holds_what_the_geotiff_holds(run, dtype):
    made, cog = run(dtype=dtype), run("out.tif", dtype=dtype)
    np.testing.assert_array_equal(read(made).astype(np.float32), read(cog).astype(np.float32))
    with open_raster(made.output) as one, rasterio.open(cog.output) as other:
        assert (one.crs, one.transform, one.shape, one.count) == (other.crs, other.transform, other.shape, other.count)
        np.testing.assert_allclose(one.scales, other.scales, rtol=1e-6)
        np.testing.assert_allclose(one.offsets, other.offsets, rtol=1e-6)
        told = other.tags()
        told.pop("AREA_OR_POINT", None)
        assert one.tags() == told
        assert one.descriptions == other.descriptions
    assert made.clipped_share == cog.clipped_share
    assert made.valid_share == cog.valid_share


def test_only_the_store_is_left_and_xarray_opens_it(run, tmp_path):
    report = run()
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]
    found = xr.open_zarr(report.output)["embedding"]
    assert found.sizes == {"band": 24, "y": -(-HEIGHT // 16), "x": -(-WIDTH // 16)}
    assert found.rio.crs.to_epsg() == 32633


def test_format_names_the_output(scene, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = embed(scene, sensor="sentinel2", weights=str(weights), file_format="zarr")
    assert report.output == "scene_patch.zarr"
    assert is_complete(tmp_path / "scene_patch.zarr")


def test_every_shard_writes_files_of_its_own(run, tmp_path, monkeypatch):
    files = {}

    class Watching:
        def run(self, _, work, numbers, store, on_done):
            for finished in work.run(numbers, store.path):
                files[finished.number] = set(finished.files)
                store.finish(finished)
                on_done(finished)

    run(executor=Watching())
    names = [name for some in files.values() for name in some]
    assert len(files) > 4
    assert all(some for some in files.values())
    assert len(names) == len(set(names))
    assert all((tmp_path / name).exists() for name in names)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_interrupted_run_goes_on_in_the_store(run, tmp_path, count):
    whole = read(run("whole.zarr"))
    with pytest.raises(Interrupted):
        run(executor=Stopped(count))
    assert not (tmp_path / "out.zarr").exists()
    parts = tmp_path / ".out.zarr.parts"
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("embedding/c/*/*/*")}
    assert len(before) >= count
    rest = Stopped(1000)
    report = run(executor=rest)
    assert len(rest.done) == report.shards - count
    assert report.kept_shards == count
    np.testing.assert_array_equal(read(report), whole)
    assert not parts.exists()
    now = {path: tmp_path / "out.zarr" / path.relative_to(parts / "out.zarr") for path in before}
    assert {path: new.stat().st_mtime_ns for path, new in now.items()} == before


def test_a_damaged_region_is_written_again(run, tmp_path):
    whole = read(run("whole.zarr"))
    with pytest.raises(Interrupted):
        run(executor=Stopped(3))
    damaged = sorted((tmp_path / ".out.zarr.parts").rglob("embedding/c/*/*/*"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    said = []
    report = run(say=said.append)
    assert report.kept_shards == 2
    assert any("damaged" in line for line in said)
    np.testing.assert_array_equal(read(report), whole)


def test_a_scene_without_a_valid_pixel_gives_an_empty_store(weights, tmp_path):
    path = write_raster(tmp_path / "scene.tif", np.zeros((9, 100, 100), np.uint16), TRAINED, nodata=0)
    report = embed(path, tmp_path / "out.zarr", sensor="sentinel2", weights=str(weights))
    assert report.valid_share == 0
    assert np.isnan(read(report)).all()
    assert not list((tmp_path / "out.zarr").rglob("embedding/c/*/*/*"))


def test_an_object_store_is_gone_on_with(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole, url = read(run("whole.zarr")), "memory://bucket/out.zarr"
    with pytest.raises(Interrupted):
        run(url, executor=Stopped(4))
    assert not is_complete(url)
    report = run(url)
    assert (report.kept_shards, report.output) == (4, url)
    assert is_complete(url)
    np.testing.assert_array_equal(read(report), whole)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["whole.zarr"]
    with pytest.raises(OutputExists, match="--overwrite"):
        run(url)
    run(url, overwrite=True)
    remove_store(url)


def test_an_object_store_that_is_gone_is_not_gone_on_with(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = "memory://bucket/gone.zarr"
    with pytest.raises(Interrupted):
        run(url, executor=Stopped(2))
    remove_store(url)
    with pytest.raises(OutputUnwritable, match=r"no longer holds the 2 finished shards. Remove .*\.gone\.zarr\.parts"):
        run(url)
    shutil.rmtree(tmp_path / ".gone.zarr.parts")
    assert run(url).written
    remove_store(url)


def test_a_finished_store_is_replaced_only_when_asked(run):
    before = read(run())
    with pytest.raises(OutputExists):
        run()
    np.testing.assert_array_equal(read(run(overwrite=True)), before)


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("out.tif", {"file_format": "zarr"}, "--format zarr writes .zarr"),
        ("out.zarr", {"file_format": "cog"}, "--format cog writes .tif"),
        ("out.zarr", {"level": "window"}, "--level window writes .parquet"),
        ("out.parquet", {"level": "window", "file_format": "zarr"}, "--format is for --level patch"),
        ("out.zarr", {"keep_parts": True}, "--keep-parts"),
    ],
)
def test_what_cannot_be_a_store_is_named(run, output, options, message):
    with pytest.raises(OptionError, match=message):
        run(output, **options)
