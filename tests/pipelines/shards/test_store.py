"""Finished shards on disk: whole and recorded, or not there."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dofa_cli.errors import RunDiffers
from dofa_cli.pipelines.shards.files import moved, put_beside, save_array
from dofa_cli.pipelines.shards.manifest import Fingerprint, Manifest
from dofa_cli.pipelines.shards.store import MANIFEST, Ending, Finished, ended_path, open_store, parts_path, read_ending

WORK = Manifest("embed", (Fingerprint("scene.tif", 12, 5),), "tiny", "ab" * 32, {"zoom": 1})


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.tif"


@pytest.fixture
def store(output):
    return open_store(output, WORK, overwrite=False)[0]


def finish(store, number, value=0.0, **counts):
    name = f"{number:06d}.npy"
    done = Finished(number, {name: save_array(store.path, name, np.full((3, 4), value))}, counts)
    store.finish(done)
    return done


def test_the_folder_lies_hidden_beside_the_output(store, output):
    assert store.path == parts_path(output) == output.parent / ".out.tif.parts"


def test_finished_shards_are_kept_with_their_counts(store, output):
    done = [finish(store, number, number, valid_cells=number) for number in (0, 2)]
    again, manifest = open_store(output, WORK, overwrite=False)
    assert list(again.kept().values()) == done
    assert again.find(2) == done[1]
    assert again.find(1) is None
    assert manifest == WORK


def test_what_is_not_recorded_is_removed(store):
    finish(store, 0)
    save_array(store.path, "000001.npy", np.zeros(3))
    (store.path / ".000002.npy.77.abcd").write_bytes(b"half")
    (store.path / "sub").mkdir()
    assert list(store.kept()) == [0]
    assert {path.name for path in store.path.iterdir()} == {MANIFEST, "000000.npy", "000000.json"}


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").write_text('{"number": 7, "files": {}, "counts": {}}'),
    ],
    ids=["shorter", "another byte", "gone", "unreadable record", "record of another shard"],
)
def test_a_damaged_shard_is_done_again_and_the_others_stay(store, harm):
    finish(store, 0)
    finish(store, 1)
    harm(store.path / "000001.npy")
    assert list(store.kept()) == [0]
    assert not (store.path / "000001.npy").exists()


def test_damaged_files_are_said_in_one_line(store):
    for number in range(3):
        finish(store, number)
        (store.path / f"{number:06d}.npy").write_bytes(b"")
    said: list[str] = []
    assert store.kept(said.append) == {}
    assert said == [f"3 finished shards are damaged in {store.path} and done again."]


def test_parts_of_other_work_are_refused_by_name_and_replaced_on_demand(store, output):
    finish(store, 0)
    other = replace(WORK, options={"zoom": 2})
    with pytest.raises(RunDiffers, match=r"zoom was 1, is 2\. Add --overwrite"):
        open_store(output, other, overwrite=False)
    assert open_store(output, other, overwrite=True)[0].kept() == {}


def test_overwriting_goes_on_with_parts_of_the_same_work(store, output):
    finish(store, 0)
    assert list(open_store(output, WORK, overwrite=True)[0].kept()) == [0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"version": 99}), "their format is 99, this dofa's is 1"),
        ("", "their manifest cannot be read"),
        ("[]", "their manifest cannot be read"),
        (json.dumps({"version": 1, "verb": "embed"}), "their manifest cannot be read"),
    ],
)
def test_a_manifest_of_another_version_or_unreadable_is_refused(store, output, text, said):
    (store.path / MANIFEST).write_text(text)
    with pytest.raises(RunDiffers, match=said):
        open_store(output, WORK, overwrite=False)
    assert open_store(output, WORK, overwrite=True)[1] == WORK


def test_a_folder_without_a_manifest_is_begun_anew(output):
    parts_path(output).mkdir()
    (parts_path(output) / "000000.npy").write_bytes(b"left over")
    store, _ = open_store(output, WORK, overwrite=False)
    assert [path.name for path in store.path.iterdir()] == [MANIFEST]


def test_a_file_is_whole_or_not_there(tmp_path):
    with pytest.raises(TypeError), put_beside(tmp_path / "a.json") as file:
        file.write([b"half"])
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_equal_files_stays_and_another_is_replaced(tmp_path):
    first = save_array(tmp_path, "a.npy", np.arange(4))
    inode = (tmp_path / "a.npy").stat().st_ino
    assert save_array(tmp_path, "a.npy", np.arange(4)) == first
    assert (tmp_path / "a.npy").stat().st_ino == inode
    save_array(tmp_path, "a.npy", np.arange(5))
    assert len(np.load(tmp_path / "a.npy")) == 5


def test_an_ending_gives_files_their_names_also_the_second_time(store, output):
    (store.path / "out.tif").write_text("whole")
    (store.path / "areas.gpkg").write_text("too")
    areas = output.with_name("areas.gpkg")
    ending = Ending((("out.tif", str(output)), ("areas.gpkg", str(areas))), {"seen_cells": 3}, {"rows": 1})
    store.end(ending, WORK)
    assert (output.read_text(), areas.read_text()) == ("whole", "too")
    assert store.ending == ending
    store.publish(ending)
    assert read_ending(ended_path(output)) == (WORK, ending)


def test_a_result_for_another_disk_is_copied(tmp_path, monkeypatch):
    source, target = tmp_path / "a.tif", tmp_path / "there" / "b.tif"
    source.write_text("whole")
    target.parent.mkdir()
    replace_file = type(source).replace

    def across(path, to):
        if path == source:
            raise OSError(18, "Invalid cross-device link")
        return replace_file(path, to)

    monkeypatch.setattr(type(source), "replace", across)
    moved(source, target)
    assert target.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
