"""Many scenes: failures stay alone, what is done and whole is kept, signals leave a state to go on from."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from dofa_cli.errors import (
    AreaError,
    DamagedRaster,
    Interrupted,
    OptionError,
    OutputExists,
    SomeFailed,
    WorkersLost,
)
from dofa_cli.pipelines.many.listing import Listing
from dofa_cli.pipelines.many.naming import Naming
from dofa_cli.pipelines.many.run import Job, Result, run_many
from dofa_cli.pipelines.many.run_report import State, read_report
from dofa_cli.pipelines.shards.manifest import Manifest
from dofa_cli.pipelines.shards.stop import check_stop
from tests.made import write_raster

MANIFEST = Manifest("embed", (), "tiny", "0" * 64, {"zoom": 1})


class Verb:
    """Writes a small raster for each scene; ``faults`` are raised or called at the scenes of those names."""

    def __init__(self, **faults):
        self.faults = faults
        self.ran = []
        self.lock = threading.Lock()

    def __call__(self, item, output, overwrite):
        with self.lock:
            self.ran.append(item.name)
        fault = self.faults.get(item.name)
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            fault()
        if output.exists() and not overwrite:
            raise OutputExists(f"{output} exists already.")
        write_raster(output, np.full((2, 40, 40), item.number, np.uint8), blockxsize=16, blockysize=16, tiled=True)
        return Result(windows=4, area_km2=0.16, files=(output,))


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.tif").write_bytes(name.encode())
    return folder


@pytest.fixture
def job(scenes, tmp_path):
    out = tmp_path / "out"
    naming = Naming(out, "{name}", "embed", "patch", ".tif", (".tif",))
    return Job(Listing((str(scenes),), out), naming, MANIFEST, out / "dofa-embed.jsonl")


def lines(job):
    return list(read_report(job.report))


def states(job):
    return {record.scene: record.state for record in lines(job)}


def test_every_scene_is_run_and_reported(job):
    told = []
    summary = run_many(replace(job, on_scene=told.append), Verb())
    summary.check()
    assert [record.scene for record in told] == list("abcd")
    assert states(job) == dict.fromkeys("abcd", State.DONE)
    assert (summary.total, summary.finished, summary.windows) == (4, 4, 16)
    assert summary.area_km2 == pytest.approx(0.64)
    plain = [json.loads(line) for line in job.report.read_text().splitlines()]
    assert plain[0]["manifest"]["options"] == {"zoom": 1}
    assert [line["state"] for line in plain[1:3]] == ["begun", "done"]
    assert {"scene", "state", "seconds", "windows", "output", "error", "exit_code"} <= plain[2].keys()
    assert plain[2]["output"].endswith("out/a.tif")


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_failing_scene_does_not_stop_the_others(job, at_once):
    verb = Verb(b=DamagedRaster("b is damaged."), c=ZeroDivisionError("by 0"))
    summary = run_many(replace(job, at_once=at_once), verb)
    assert sorted(verb.ran) == list("abcd")
    found = {record.scene: record for record in lines(job)}
    assert (found["b"].state, found["b"].error, found["b"].exit_code) == (State.FAILED, "b is damaged.", 13)
    assert "ZeroDivisionError" in found["c"].error
    assert found["c"].exit_code == 1
    assert found["d"].state is State.DONE
    with pytest.raises(SomeFailed, match="2 of 4 scenes failed") as error:
        summary.check()
    assert error.value.exit_code == 94


@pytest.mark.parametrize("at_once", [1, 2])
def test_fail_fast_begins_no_scene_after_a_failure(job, at_once):
    verb = Verb(a=DamagedRaster("a is damaged."), b=lambda: time.sleep(0.3))
    summary = run_many(replace(job, fail_fast=True, at_once=at_once), verb)
    assert sorted(verb.ran) == list("abcd")[:at_once]
    assert states(job).keys() == set("abcd"[:at_once])
    with pytest.raises(SomeFailed):
        summary.check()


def test_lost_workers_end_the_run(job):
    verb = Verb(a=WorkersLost("no worker is left."))
    run_many(job, verb)
    assert verb.ran == ["a"]


def test_scenes_outside_an_area_are_no_failures(job):
    summary = run_many(replace(job, has_area=True), Verb(b=AreaError("misses the scene.")))
    summary.check()
    assert states(job)["b"] is State.OUTSIDE


def test_without_resume_finished_outputs_are_in_the_way_before_any_work(job):
    run_many(job, Verb())
    verb = Verb()
    with pytest.raises(OutputExists, match=r"4 of 4 outputs exist already.*--resume"):
        run_many(job, verb)
    assert verb.ran == []
    run_many(replace(job, overwrite=True), verb)
    assert verb.ran == list("abcd")


def test_resume_tries_again_what_failed_and_keeps_the_rest(job):
    run_many(job, Verb(b=DamagedRaster("b is damaged.")))
    verb = Verb()
    summary = run_many(replace(job, resume=True), verb)
    summary.check()
    assert verb.ran == ["b"]
    assert states(job) == dict.fromkeys("acd", State.KEPT) | {"b": State.DONE}
    third = Verb()
    run_many(replace(job, resume=True), third)
    assert third.ran == []


def damage_block(path):
    with rasterio.open(path) as file:
        offset = int(
            file.tags(ns="TIFF", bidx=1).get("BLOCK_OFFSET_0_0")
            or file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1)
        )
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 64)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, path.stat().st_size - 10),
        lambda path: path.write_bytes(b"x" * path.stat().st_size),
    ],
    ids=["gone", "empty", "cut", "rubbish"],
)
def test_resume_makes_a_damaged_output_anew(job, harm):
    run_many(job, Verb())
    harm(job.naming.folder / "c.tif")
    verb, said = Verb(), []
    run_many(replace(job, resume=True, say=said.append), verb).check()
    assert verb.ran == ["c"]
    assert all("c is done again" in line for line in said)
    with rasterio.open(job.naming.folder / "c.tif") as file:
        assert (file.read() == 3).all()


def test_resume_reads_blocks_and_not_only_the_header(job):
    def compressed(item, output, overwrite):
        noise = np.random.default_rng(item.number).integers(0, 255, (1, 64, 64), np.uint8)
        write_raster(output, noise, compress="deflate", tiled=True, blockxsize=64, blockysize=64)
        return Result(1, None, (output,))

    run_many(job, compressed)
    damage_block(job.naming.folder / "b.tif")
    verb = Verb()
    run_many(replace(job, resume=True), verb).check()
    assert verb.ran == ["b"]


def test_resume_with_other_options_names_them_and_overwrites_only_when_told(job):
    run_many(job, Verb())
    other = replace(job, resume=True, manifest=replace(MANIFEST, options={"zoom": 2}))
    verb = Verb()
    run_many(other, verb)
    assert verb.ran == []
    assert "zoom was 1, is 2" in lines(job)[-1].error
    assert lines(job)[-1].exit_code == 91
    run_many(replace(other, overwrite=True), verb).check()
    assert verb.ran == list("abcd")


def test_resume_with_other_weights_or_a_changed_scene_names_it(job, scenes):
    run_many(job, Verb())
    (scenes / "a.tif").write_bytes(b"longer than before")
    run_many(replace(job, resume=True), Verb())
    assert "a.tif changed (size 1 -> 18 bytes)" in {one.scene: one.error for one in lines(job)}["a"]
    run_many(replace(job, resume=True, manifest=replace(MANIFEST, weights_sha256="1" * 64)), Verb())
    assert "weights tiny changed" in lines(job)[-1].error


def test_an_output_that_no_report_knows_is_not_replaced(job):
    run_many(job, Verb())
    job.report.unlink()
    run_many(replace(job, resume=True), Verb())
    assert {one.exit_code for one in lines(job)} == {41}


def test_a_line_cut_by_a_kill_costs_that_scene_alone(job):
    run_many(job, Verb())
    os.truncate(job.report, job.report.stat().st_size - 40)
    with job.report.open("rb") as file:
        assert not file.read().endswith(b"\n")
    (job.naming.folder / "d.tif").unlink()
    verb = Verb()
    run_many(replace(job, resume=True), verb).check()
    assert verb.ran == ["d"]


def test_an_output_whose_end_a_kill_left_untold_is_made_again(job):
    def killed(record):
        raise SystemError("killed before the line was written")

    first = Verb()
    with pytest.raises(SystemError):
        run_many(replace(job, on_scene=killed), first)
    text = job.report.read_text().splitlines()
    job.report.write_text("\n".join(line for line in text if '"done"' not in line) + "\n")
    assert (job.naming.folder / "a.tif").exists()
    verb = Verb()
    run_many(replace(job, resume=True), verb).check()
    assert verb.ran == list("abcd")
    assert states(job) == dict.fromkeys("abcd", State.DONE)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_signal_stops_between_scenes_and_resume_goes_on(job, at_once):
    def stop():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

    first = Verb(b=stop)
    summary = run_many(replace(job, at_once=at_once), first)
    assert "d" not in first.ran
    with pytest.raises(Interrupted, match=r"of 4 scenes are finished. The same command with --resume goes on"):
        summary.check()
    assert summary.finished >= 2
    verb = Verb()
    run_many(replace(job, resume=True), verb).check()
    assert "a" not in verb.ran
    assert states(job).keys() == set("abcd")
    assert all(state.is_there for state in states(job).values())


def test_a_scene_stopped_midway_is_reported_as_such(job):
    def stop():
        os.kill(os.getpid(), signal.SIGINT)
        check_stop()

    summary = run_many(job, Verb(b=stop))
    assert states(job) == {"a": State.DONE, "b": State.STOPPED}
    assert summary.stopped


def test_two_scenes_with_one_output_fail_before_any_work(job):
    verb = Verb()
    with pytest.raises(OptionError, match="would both be written"):
        run_many(replace(job, naming=replace(job.naming, pattern="same")), verb)
    assert verb.ran == []
    assert not Path(job.report).exists()


def test_a_scenes_own_sensor_is_part_of_what_made_it(tmp_path):
    listing = tmp_path / "list.csv"
    out = tmp_path / "out"
    (tmp_path / "a.tif").write_bytes(b"a")
    listing.write_text("scene,sensor\na.tif,naip\n")
    naming = Naming(out, "{name}", "embed", "patch", ".tif", (".tif",))
    job = Job(Listing((str(listing),)), naming, MANIFEST, out / "r.jsonl")
    run_many(job, Verb()).check()
    listing.write_text("scene,sensor\na.tif,sentinel2\n")
    run_many(replace(job, resume=True), Verb())
    assert "sensor was naip, is sentinel2" in lines(job)[-1].error
