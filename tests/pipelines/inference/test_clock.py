"""Seconds by stage: kept apart where stages nest or threads run, summed over shards, told by the verbs."""

from __future__ import annotations

import json
import threading

import pytest

from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference import clock as clocks
from dofa_cli.pipelines.inference.clock import LAST, LOOP, STAGES, Clock, stage_seconds
from dofa_cli.pipelines.segment import segment
from tests.made import sentinel2_scene, tiny_weights
from tests.pipelines.head_cases import linear_head, recipe_for, saved

NOTHING = {f"{name}_s": 0.0 for name in STAGES[:-1]}


class Time:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds


@pytest.fixture
def time(monkeypatch):
    made = Time()
    monkeypatch.setattr(clocks, "time", made)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "scene.tif")


def test_a_stage_stands_still_while_another_is_open_in_it(time):
    clock = Clock()
    with clock.stage("write"):
        time.passes(1)
        with clock.stage("blend"):
            time.passes(2)
            with clock.stage("infer"):
                time.passes(4)
            time.passes(8)
        time.passes(16)
    time.passes(32)
    assert clock.lap() == NOTHING | {"write_s": 17.0, "blend_s": 10.0, "infer_s": 4.0}


def test_a_stage_that_fails_is_counted_and_closed(time):
    def fails():
        time.passes(3)
        return 1 / 0

    clock = Clock()
    with clock.stage("blend"):
        with pytest.raises(ZeroDivisionError):
            clock.timed("infer", fails)
        time.passes(1)
    assert clock.lap() == NOTHING | {"infer_s": 3.0, "blend_s": 1.0}


def test_another_thread_takes_nothing_from_the_loop(time):
    clock = Clock()

    def read():
        with clock.stage("read"):
            time.passes(5)

    with clock.stage("wait"):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        time.passes(1)
    assert clock.lap() == NOTHING | {"read_s": 5.0, "wait_s": 6.0}


def test_items_are_timed_as_they_come_and_not_while_they_are_used(time):
    def items():
        for number in range(3):
            time.passes(2)
            yield number
        time.passes(1)

    clock = Clock()
    for _ in clock.each("wait", items()):
        time.passes(10)
    assert clock.lap()["wait_s"] == 7.0


def test_laps_begin_at_nothing(time):
    clock = Clock()
    clock.note_read(2.5)
    assert clock.lap()["read_s"] == 2.5
    assert clock.lap() == NOTHING


def test_only_the_network_waits_for_the_device(time):
    clock = Clock(synchronise=lambda: time.passes(7))
    for name in ("prepare", "infer", "blend"):
        with clock.stage(name):
            time.passes(1)
    assert clock.lap() == NOTHING | {"prepare_s": 1.0, "infer_s": 8.0, "blend_s": 1.0}


def test_stages_that_were_not_measured_are_left_out():
    assert stage_seconds({"infer_s": 2, "windows": 9, "seconds": 3.0}) == {"infer": 2.0}


@pytest.mark.parametrize("level", ["patch", "window"])
def test_a_runs_stages_lie_within_its_time(scene, weights, tmp_path, level):
    output = tmp_path / ("out.tif" if level == "patch" else "out.parquet")
    report = embed(scene, output, sensor="sentinel2", weights=str(weights), level=level)
    assert tuple(report.stages) == STAGES
    assert 0 < sum(report.stages[name] for name in (*LOOP, LAST)) <= report.seconds
    assert report.stages["infer"] > 0
    assert report.stages["read"] > 0
    assert json.loads(report.to_json())["stages"] == report.stages
    assert report.peak_memory_bytes > 50 * 2**20


def test_a_dry_run_has_no_stages(scene, weights, tmp_path):
    report = embed(scene, tmp_path / "out.tif", sensor="sentinel2", weights=str(weights), dry_run=True)
    assert report.stages == {}
    assert report.peak_memory_bytes is None


def test_stages_are_sums_over_the_records_of_shards(scene, weights, tmp_path):
    report = embed(scene, tmp_path / "out.tif", sensor="sentinel2", weights=str(weights), shard=1, keep_parts=True)
    records = [json.loads(path.read_text()) for path in (tmp_path / ".out.tif.parts").glob("[0-9]*.json")]
    assert len(records) == report.shards > 1
    for name in STAGES[:-1]:
        assert report.stages[name] == pytest.approx(sum(record["counts"][f"{name}_s"] for record in records))
    for record in records:
        own = sum(record["counts"][f"{name}_s"] for name in LOOP)
        assert 0 < own <= record["counts"]["seconds"] + 1e-6


def test_maps_tell_their_stages_from_scenes_and_from_embeddings(scene, weights, tmp_path):
    head = saved(linear_head(recipe_for(scene), weights), tmp_path / "head.pt")
    options = {"head": head, "weights": str(weights)}
    of_scene = segment(scene, tmp_path / "a.tif", **options)
    stored = embed(scene, tmp_path / "tokens.tif", sensor="sentinel2", weights=str(weights)).output
    of_embedding = segment(stored, tmp_path / "b.tif", head=head)
    for report in (of_scene, of_embedding):
        told = json.loads(report.to_json())
        assert 0 < sum(told["stages"][name] for name in (*LOOP, LAST)) <= told["seconds"]
        assert told["peak_memory_bytes"] > 0
        assert told["stages"]["infer"] > 0
    assert of_scene.stages["read"] > 0
    assert of_embedding.stages["read"] == 0
