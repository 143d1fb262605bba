"""What two workers make of a scene is what one process makes of it, bit for bit, whatever befalls the workers."""

from __future__ import annotations

import os
import signal

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from dofa_cli.errors import SomeFailed
from dofa_cli.pipelines.cluster.executor import open_cluster
from dofa_cli.pipelines.cluster.ledger import Limits
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.segment import segment
from tests.made import sentinel2_scene, tiny_weights
from tests.pipelines.head_cases import linear_head, recipe_for, saved

NAME = "S2A_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204.tif"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("equal")


@pytest.fixture(scope="module")
def weights(folder):
    return tiny_weights(folder / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(folder):
    return sentinel2_scene(folder / NAME, 500, 460)


@pytest.fixture(scope="module")
def executor():
    with open_cluster(2, patience=20, limits=Limits(least=8, first=40)) as opened:
        yield opened


class Disturbed:
    """An executor whose workers get a signal each time when so many shards are done."""

    def __init__(self, executor, number, *after):
        self.executor, self.number, self.after, self.count, self.last = executor, number, after, 0, {}

    def run(self, recipe, work, numbers, store, on_done):
        def note(done):
            self.count += 1
            self.last[done.number] = done
            if self.count in self.after:
                os.kill(next(iter(self.executor.link.client.run(os.getpid, on_error="ignore").values())), self.number)
            on_done(done)

        self.executor.run(recipe, work, numbers, store, note)


def same_rasters(one, other):
    with rasterio.open(one) as a, rasterio.open(other) as b:
        np.testing.assert_array_equal(a.read(), b.read())
        assert (str(a.profile), a.tags(), a.scales) == (str(b.profile), b.tags(), b.scales)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_embeddings_are_the_same(executor, scene, weights, tmp_path, dtype):
    options = {"sensor": "sentinel2", "weights": str(weights), "shard": 1, "dtype": dtype}
    alone = embed(scene, tmp_path / "alone.tif", **options)
    spread = embed(scene, tmp_path / "spread.tif", executor=executor, **options)
    same_rasters(alone.output, spread.output)
    assert (alone.valid_share, alone.clipped_share) == (spread.valid_share, spread.clipped_share)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.tif", "spread.tif"]


def test_vectors_of_windows_are_the_same(executor, scene, weights, tmp_path):
    options = {"sensor": "sentinel2", "weights": str(weights), "shard": 1, "level": "window"}
    alone = embed(scene, tmp_path / "alone.parquet", **options)
    spread = embed(scene, tmp_path / "spread.parquet", executor=executor, **options)
    one, other = gpd.read_parquet(alone.output), gpd.read_parquet(spread.output)
    np.testing.assert_array_equal(np.stack(one.embedding), np.stack(other.embedding))
    assert one.drop(columns="embedding").equals(other.drop(columns="embedding"))


def test_maps_are_the_same(executor, scene, weights, tmp_path):
    head = saved(linear_head(recipe_for(scene), weights), tmp_path / "crops.pt")
    options = {"head": head, "weights": str(weights), "shard": 1}
    alone = segment(scene, tmp_path / "alone.tif", **options)
    spread = segment(scene, tmp_path / "spread.tif", executor=executor, **options)
    same_rasters(alone.output, spread.output)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_embeddings_are_the_same_with_workers_killed_or_hanging(executor, scene, weights, tmp_path, number):
    options = {"sensor": "sentinel2", "weights": str(weights), "shard": 1}
    alone = embed(scene, tmp_path / "alone.tif", **options)
    after = (5, 20) if number == signal.SIGKILL else (5,)
    spread = embed(scene, tmp_path / "spread.tif", executor=Disturbed(executor, number, *after), **options)
    same_rasters(alone.output, spread.output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.tif", "spread.tif"]


class Damaging:
    """An executor that damages the middle of the scene before it begins."""

    def __init__(self, executor, scene):
        self.executor, self.scene = executor, scene

    def run(self, *order):
        content = bytearray(self.scene.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 400_000] = bytes(400_000)
        self.scene.write_bytes(content)
        self.executor.run(*order)


@pytest.mark.slow
def test_a_damaged_block_is_reported_with_its_window_and_the_rest_is_kept(executor, weights, tmp_path):
    scene = sentinel2_scene(tmp_path / NAME, 1100, 520, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    options = {"sensor": "sentinel2", "weights": str(weights), "shard": 4}
    with pytest.raises(SomeFailed, match=r"shards failed: shard \d+ \(rows \d+-\d+, columns \d+-\d+\)") as told:
        embed(scene, tmp_path / "o.tif", executor=Damaging(executor, scene), **options)
    assert NAME in str(told.value)
    assert len(list((tmp_path / ".o.tif.parts").glob("0*.json"))) >= 4
