"""One run over an output: kept shards, missing shards, the end, and what a failure leaves."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext

import numpy as np
import pytest

from dofa_cli.errors import DamagedRaster, Interrupted, OptionError, OutputExists, OutputLocked, RunDiffers
from dofa_cli.pipelines.shards import session as session_module
from dofa_cli.pipelines.shards.files import save_array
from dofa_cli.pipelines.shards.lock import lock_path
from dofa_cli.pipelines.shards.manifest import Manifest
from dofa_cli.pipelines.shards.session import Course, is_ending, session
from dofa_cli.pipelines.shards.store import Finished, PartStore, parts_path

WORK = Manifest("embed", (), "tiny", "ab" * 32, {"zoom": 1})


class Numbers:
    """Shards that hold their own number; ``after`` is called with each that is done."""

    def __init__(self, count=5, after=lambda _: None):
        self.count, self.after = count, after
        self.on_windows = lambda _: None
        self.ran: list[int] = []

    def run(self, numbers, folder):
        for number in numbers:
            self.ran.append(number)
            name = f"{number:06d}.npy"
            self.on_windows(1)
            self.on_windows(1)
            yield Finished(number, {name: save_array(folder, name, np.array([number]))}, {"windows": 3, "seconds": 1.0})
            self.after(number)


class Recipe:
    """Opens the numbers anew."""

    key = "numbers"

    def open(self):
        return Numbers()


def write(output, work, course, fail=None, advance=lambda _: None):
    """Run all shards and write their sum."""
    with session(output, WORK, course) as parts:
        if parts.ending is None:
            parts.complete(Recipe(), work, advance)
            total = sum(int(np.load(parts.folder / name)[0]) for done in parts.in_order() for name in done.files)
            (parts.folder / output.name).write_text(str(total))
            if fail:
                raise fail
            parts.end({output.name: output}, total=total)
    return parts


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.txt"


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_run_leaves_its_output_alone(output):
    parts = write(output, Numbers(), Course())
    assert output.read_text() == "10"
    assert names(output.parent) == {"out.txt"}
    assert parts.kept == 0


@pytest.mark.parametrize("finished", range(4))
def test_a_stopped_run_goes_on_with_the_shards_that_are_missing(output, finished):
    def stop(number):
        if number == finished:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM") as stopped:
        write(output, Numbers(after=stop), Course())
    # the signal comes when the next shard is asked for: that one is still finished
    kept = finished + 2
    assert stopped.value.exit_code == 93
    assert not output.exists()
    said: list[str] = []
    rest = Numbers()
    parts = write(output, rest, Course(say=said.append))
    assert rest.ran == list(range(kept, 5))
    assert said == [f"Continuing: {kept} of 5 shards were finished."]
    assert (parts.kept, parts.kept_seconds) == (kept, kept)
    assert output.read_text() == "10"
    assert names(output.parent) == {"out.txt"}


def test_a_failure_keeps_finished_shards_and_says_so(output):
    said: list[str] = []

    def fail(number):
        if number == 2:
            raise DamagedRaster("Cannot read rows 0 to 3.")

    with pytest.raises(DamagedRaster):
        write(output, Numbers(after=fail), Course(say=said.append))
    assert said == ["3 finished shards are kept; the same command goes on from there."]
    assert names(output.parent) == {".out.txt.parts"}
    rest = Numbers()
    write(output, rest, Course())
    assert rest.ran == [3, 4]


def test_a_failure_before_the_first_shard_leaves_nothing(output):
    with pytest.raises(DamagedRaster):
        write(output, Numbers(0), Course(), fail=DamagedRaster("gone"))
    assert names(output.parent) == set()


def test_options_that_cannot_be_followed_leave_nothing(output):
    with pytest.raises(OptionError):
        write(output, Numbers(), Course(), fail=OptionError("no"))
    assert names(output.parent) == set()


def test_files_that_are_not_finished_do_not_stay_after_a_failure(output):
    with pytest.raises(DamagedRaster):
        write(output, Numbers(1), Course(), fail=DamagedRaster("gone"))
    assert names(parts_path(output)) == {"manifest.json", "000000.json", "000000.npy"}


def test_kept_parts_serve_the_next_run(output):
    write(output, Numbers(), Course(keep_parts=True))
    assert not is_ending(output)
    again = Numbers()
    assert write(output, again, Course(overwrite=True)).kept == 5
    assert again.ran == []
    assert names(output.parent) == {"out.txt"}


@pytest.fixture
def cut_short(output, monkeypatch):
    """A run killed when its result was whole and had no name yet."""
    with monkeypatch.context() as patch:
        patch.setattr(PartStore, "publish", lambda *_: signal.raise_signal(signal.SIGINT))
        patch.setattr(session_module, "stoppable", nullcontext)
        with pytest.raises(KeyboardInterrupt):
            write(output, Numbers(), Course())
    assert is_ending(output)
    assert not output.exists()


@pytest.mark.usefixtures("cut_short")
def test_a_run_cut_short_after_its_result_was_whole_only_ends(output):
    again = Numbers()
    parts = write(output, again, Course())
    assert again.ran == []
    assert output.read_text() == "10"
    assert parts.finished == {}
    assert names(output.parent) == {"out.txt"}


@pytest.mark.usefixtures("cut_short")
def test_a_result_that_was_removed_after_it_was_whole_is_made_again(output):
    store = PartStore(parts_path(output))
    store.publish(store.ending)
    store.remove()
    output.unlink()
    again = Numbers()
    write(output, again, Course())
    assert again.ran == [0, 1, 2, 3, 4]
    assert output.read_text() == "10"
    assert names(output.parent) == {"out.txt"}


@pytest.mark.usefixtures("cut_short")
def test_another_command_first_ends_a_run_that_was_cut_short(output):
    other = Manifest("embed", (), "tiny", "ab" * 32, {"zoom": 2})
    with pytest.raises(OutputExists, match="of another command"), session(output, other, Course()):
        pytest.fail("work began")
    assert output.read_text() == "10"
    assert names(output.parent) == {"out.txt"}


def test_a_bar_hears_each_window_once(output):
    told: list[int] = []
    write(output, Numbers(), Course(keep_parts=True), advance=told.append)
    assert sum(told) == 15
    told.clear()
    write(output, Numbers(), Course(overwrite=True), advance=told.append)
    assert told == [3] * 5


def test_facts_are_settled_once_and_then_taken_over(output):
    with session(output, WORK, Course(keep_parts=True)) as parts:
        parts.settle(int8=[1.5])
        parts.complete(Recipe(), Numbers(1))
    with session(output, WORK, Course()) as parts:
        assert parts.manifest.settled == {"int8": [1.5]}


def test_shards_of_other_options_stop_a_run_before_any_work(output):
    write(output, Numbers(), Course(keep_parts=True))
    other = Manifest("embed", (), "tiny", "ab" * 32, {"zoom": 2})
    with pytest.raises(RunDiffers, match="zoom was 1, is 2"), session(output, other, Course()):
        pytest.fail("work began")
    assert not lock_path(output).exists()


def test_two_runs_at_once_are_refused(output):
    def again(_):
        with pytest.raises(OutputLocked):
            write(output, Numbers(), Course())

    write(output, Numbers(2, after=again), Course())
    assert output.read_text() == "1"


def test_an_executor_runs_what_is_missing(output):
    class Elsewhere:
        def run(self, recipe, work, numbers, store, on_done):  # noqa: ARG002 - the protocol's
            for done in recipe.open().run(numbers, store.path):
                store.finish(done)
                on_done(done)

    told: list[int] = []
    here = Numbers()
    write(output, here, Course(executor=Elsewhere()), advance=told.append)
    assert here.ran == []
    assert sum(told) == 15
    assert output.read_text() == "10"
