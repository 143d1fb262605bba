from __future__ import annotations

import json
import pickle

import pytest

from dofa_cli import errors
from dofa_cli.errors import DamagedRaster, DofaError, RunError
from dofa_cli.pipelines.cluster import on_worker
from dofa_cli.pipelines.cluster.on_worker import Task, as_dofa_error, do_shards, sent_error, sent_shard, stop_run
from dofa_cli.pipelines.shards.store import PartStore
from tests.pipelines.cluster.fake_work import FakeRecipe, FakeWork, check_parts


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(on_worker, "_opened", type(on_worker._opened)())
    monkeypatch.setattr(on_worker, "_stopped", set())


@pytest.fixture
def done(tmp_path):
    """Do a task here; the messages as they arrive, through JSON as through the network."""

    def do(work, numbers, **task):
        messages = []
        recipe = task.pop("recipe", FakeRecipe(work))
        about = {"name": "t", "run": "r", "topic": "x", "recipe": recipe, "folder": tmp_path} | task
        do_shards(Task(numbers=tuple(numbers), **about), lambda m: messages.append(json.loads(json.dumps(m))))
        return messages

    return do


def said(messages):
    return [(message["what"], message["number"]) for message in messages]


def test_each_shard_is_told_as_it_starts_and_ends(done, tmp_path):
    messages = done(FakeWork(9), [3, 4])
    assert said(messages) == [("opening", 3), ("started", 3), ("finished", 3), ("started", 4), ("finished", 4)]
    check_parts(tmp_path, [3, 4])
    assert sent_shard(messages[2]) == PartStore(tmp_path).find(3)


def test_a_shard_with_a_whole_part_is_not_done_again(done, tmp_path):
    diary = tmp_path.parent / f"{tmp_path.name}.txt"
    done(FakeWork(9, diary=diary), [3])
    assert said(done(FakeWork(9, diary=diary), [3, 4])) == [
        ("opening", 3),
        ("finished", 3),
        ("started", 4),
        ("finished", 4),
    ]
    assert [line.split()[0] for line in diary.read_text().splitlines()] == ["3", "4"]


def test_a_shard_whose_part_is_damaged_is_done_again(done, tmp_path):
    done(FakeWork(9), [3])
    (tmp_path / "000003.npy").unlink()
    assert ("started", 3) in said(done(FakeWork(9), [3]))
    check_parts(tmp_path, [3])


def test_a_failing_shard_is_told_and_the_rest_go_on(done, tmp_path):
    messages = done(FakeWork(9, faults={4: "DamagedRaster"}), [3, 4, 5])
    assert said(messages)[-4:] == [("started", 4), ("failed", 4), ("started", 5), ("finished", 5)]
    error = sent_error(messages[-3])
    assert (type(error), str(error)) == (DamagedRaster, "scene.tif: shard 4 cannot be done.")
    check_parts(tmp_path, [3, 5])


def test_a_work_that_cannot_be_opened_is_told_with_the_host(done):
    messages = done(None, [3], recipe=FakeRecipe(FakeWork(9), fault="SceneNotFound"))
    assert said(messages) == [("opening", 3), ("failed", None)]
    assert "on host" in str(sent_error(messages[1]))


def test_another_version_or_a_folder_that_is_not_there_is_refused(done, tmp_path):
    assert "Install the same on all" in done(FakeWork(9), [0], version="0.0.1")[-1]["text"]
    assert "all workers share" in done(FakeWork(9), [0], folder=tmp_path / "nowhere")[-1]["text"]


def test_a_stopped_run_begins_no_shard_and_other_runs_go_on(done):
    stop_run("r")
    assert done(FakeWork(9), [3, 4]) == []
    assert said(done(FakeWork(9), [3], run="another"))[-1] == ("finished", 3)


def test_a_stop_is_heeded_between_two_shards(done, tmp_path):
    class Stopping(FakeWork):
        def run(self, numbers, folder):
            for finished in super().run(numbers, folder):
                stop_run("r")
                yield finished

    assert said(done(Stopping(9), [3, 4])) == [("opening", 3), ("started", 3), ("finished", 3)]
    check_parts(tmp_path, [3])


@pytest.mark.parametrize("others", ["other", None])
def test_nothing_is_recorded_among_the_parts_of_a_run_that_came_after(done, tmp_path, others):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("mine")

    class Replaced(FakeWork):
        def run(self, numbers, folder):
            for finished in super().run(numbers, folder):
                if finished.number == 4:
                    manifest.unlink()
                    if others:
                        manifest.write_text(others)
                yield finished

    assert said(done(Replaced(9), [3, 4, 5]))[-2:] == [("finished", 3), ("started", 4)]
    assert sorted(path.name for path in tmp_path.glob("00*.json")) == ["000003.json"]


def test_a_work_is_opened_once_for_all_its_tasks_and_two_stay_open(done):
    class Counting(FakeRecipe):
        def open(self):
            opened.append(self.key)
            return super().open()

    opened = []
    for number, key in enumerate("aababca"):
        done(None, [number], recipe=Counting(FakeWork(9), key=key))
    assert opened == ["a", "b", "c", "a"]


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_every_error_of_ours_travels(kind):
    if not issubclass(kind, DofaError):
        return
    told = kind("scene.tif: it is so.")
    assert (type(pickle.loads(pickle.dumps(told))), str(pickle.loads(pickle.dumps(told)))) == (kind, str(told))
    back = sent_error({"kind": kind.__name__, "text": str(told)})
    assert (type(back), str(back)) == (kind, str(told))


def test_other_errors_become_one_line_that_says_where():
    try:
        raise KeyError("first\nsecond")
    except KeyError as error:
        told = as_dofa_error(error)
    assert type(told) is RunError
    assert str(told).startswith("KeyError: ")
    assert "test_on_worker.py, line" in str(told)
    assert "\n" not in str(told)
