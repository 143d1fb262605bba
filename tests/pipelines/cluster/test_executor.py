"""Two worker processes of this machine, killed, stopped and asked for the impossible; the work is a fake one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from secrets import token_hex

import pytest

from dofa_cli.errors import BandMismatch, Interrupted, OptionError, SceneNotFound, SomeFailed, WorkersLost
from dofa_cli.pipelines.cluster.executor import DaskExecutor, open_cluster
from dofa_cli.pipelines.cluster.ledger import Limits
from dofa_cli.pipelines.cluster.local import worker_environment
from dofa_cli.pipelines.shards import stop
from dofa_cli.pipelines.shards.store import PartStore
from tests.pipelines.cluster.fake_work import FakeRecipe, FakeWork, check_parts

QUICK = Limits(least=2.0, times=10, first=20.0)


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def executor(said):
    with open_cluster(2, say=said.append, patience=20, limits=QUICK) as opened:
        yield opened


@pytest.fixture
def diary(tmp_path):
    return tmp_path / "diary.txt"


@pytest.fixture
def store(tmp_path):
    (tmp_path / "parts").mkdir()
    return PartStore(tmp_path / "parts")


def pids(executor: DaskExecutor) -> list[int]:
    return list(executor.link.client.run(os.getpid, on_error="ignore").values())


def done_in(diary) -> Counter[int]:
    return Counter(int(line.split()[0]) for line in diary.read_text().splitlines())


def run(executor, work, store, numbers=None, recipe=None, on_done=None):
    """Run shards; the numbers that were told to be done, in order."""
    told = []

    def note(done):
        told.append(done.number)
        if on_done is not None:
            on_done(told)

    chosen = range(work.count) if numbers is None else numbers
    executor.run(recipe or FakeRecipe(work, key=f"fake-{token_hex(6)}"), work, chosen, store, note)
    return told


def test_shards_are_done_once_by_both_workers(executor, store, diary):
    work = FakeWork(30, seconds=0.02, diary=diary)
    told = run(executor, work, store)
    assert sorted(told) == list(range(30))
    check_parts(store.path, range(30))
    assert set(done_in(diary).values()) == {1}
    assert len({line.split()[1] for line in diary.read_text().splitlines()}) == 2


def test_who_is_there_and_where_to_watch_is_said(executor, said):
    assert said[0] == "2 workers at this machine"
    assert "http://127.0.0.1:" in said[1]


def test_only_the_shards_that_are_asked_for_are_done(executor, store):
    assert sorted(run(executor, FakeWork(30), store, numbers=[3, 4, 9])) == [3, 4, 9]
    check_parts(store.path, [3, 4, 9])


def test_workers_killed_twice_change_nothing(executor, store, diary):
    def kill(told):
        if len(told) in (4, 14):
            os.kill(pids(executor)[0], signal.SIGKILL)

    work = FakeWork(30, seconds=0.1, diary=diary)
    assert sorted(run(executor, work, store, on_done=kill)) == list(range(30))
    check_parts(store.path, range(30))
    assert sum(done_in(diary).values()) <= 30 + 2  # the shards that the killed ones were at


def test_a_hanging_worker_is_ended_and_another_gets_its_shard(executor, store, said):
    def hang(told):
        if len(told) == 6:
            os.kill(pids(executor)[0], signal.SIGSTOP)

    work = FakeWork(30, seconds=0.1)
    started = time.monotonic()
    assert sorted(run(executor, work, store, on_done=hang)) == list(range(30))
    check_parts(store.path, range(30))
    assert time.monotonic() - started < 20
    assert any("another worker gets it" in line for line in said)


def test_a_worker_that_hangs_before_it_begins_is_ended_and_another_gets_its_shards(executor, store, said):
    os.kill(pids(executor)[0], signal.SIGSTOP)
    started = time.monotonic()
    assert sorted(run(executor, FakeWork(30, seconds=0.1), store)) == list(range(30))
    check_parts(store.path, range(30))
    assert time.monotonic() - started < 40
    assert any("Nothing was heard of" in line for line in said)


def test_a_shard_that_fails_three_times_is_reported_and_the_rest_are_done(executor, store, diary):
    work = FakeWork(20, faults={7: "DamagedRaster", 8: "DamagedRaster"}, diary=diary)
    with pytest.raises(SomeFailed) as told:
        run(executor, work, store)
    assert "2 of 20 shards failed: shard 7 (rows 70-80, columns 0-20): scene.tif: shard 7" in str(told.value)
    check_parts(store.path, sorted(set(range(20)) - {7, 8}))
    assert done_in(diary)[7] == 3


def test_a_shard_that_kills_its_workers_is_reported_and_the_rest_are_done(executor, store, said):
    work = KillsItsWorker(12)
    with pytest.raises(SomeFailed, match=r"1 of 12 shards failed: shard 5 .*worker was lost"):
        run(executor, work, store)
    assert {f"{number:06d}.npy" for number in range(12) if number != 5} <= {path.name for path in store.path.iterdir()}


def test_what_no_other_attempt_mends_comes_back_as_itself(executor, store, diary):
    work = FakeWork(20, faults={7: "BandMismatch"}, diary=diary)
    with pytest.raises(BandMismatch, match="shard 7 cannot be done"):
        run(executor, work, store)
    assert done_in(diary)[7] == 1


def test_a_scene_that_no_worker_can_open_comes_back_as_itself(executor, store):
    work = FakeWork(20)
    with pytest.raises(SceneNotFound, match="cannot be opened"):
        run(executor, work, store, recipe=FakeRecipe(work, key="closed", fault="SceneNotFound"))


def test_scenes_share_the_workers_and_the_first_comes_first(executor, tmp_path):
    stores = [PartStore(tmp_path / name) for name in "abc"]
    ended = []

    def one(number):
        stores[number].path.mkdir()
        run(
            executor,
            FakeWork(20, seconds=0.03),
            stores[number],
            recipe=FakeRecipe(FakeWork(20, 0.03), key=f"s{number}"),
        )
        ended.append(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join(30)
    assert ended == [0, 1, 2]
    for store in stores:
        check_parts(store.path, range(20))


def test_a_stop_ends_with_the_shards_at_work_and_the_rest_follow_later(executor, store, monkeypatch, diary):
    def ask(told):
        if len(told) == 5:
            monkeypatch.setattr(stop._stop, "signal", signal.SIGTERM)

    work = FakeWork(40, seconds=0.1, diary=diary)
    with pytest.raises(Interrupted):
        run(executor, work, store, on_done=ask)
    kept = sorted(store.kept())
    check_parts(store.path, kept)
    assert 5 <= len(kept) <= 5 + 2 + 2
    monkeypatch.setattr(stop._stop, "signal", None)
    rest = [number for number in range(40) if number not in kept]
    assert sorted(run(executor, work, store, numbers=rest)) == rest
    check_parts(store.path, range(40))
    assert set(done_in(diary).values()) == {1}


def test_one_of_workers_and_scheduler_is_needed():
    for workers, scheduler in ((None, None), (2, "tcp://127.0.0.1:1")):
        with pytest.raises(OptionError, match="--workers"), open_cluster(workers, scheduler):
            pass
    with pytest.raises(OptionError, match="at least one"), open_cluster(0):
        pass


def test_a_scheduler_that_does_not_answer_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("dofa_cli.pipelines.cluster.executor.CONNECT_SECONDS", 1)
    for scheduler in ("tcp://127.0.0.1:9", str(tmp_path / "scheduler.json")):
        with pytest.raises(WorkersLost, match=scheduler), open_cluster(scheduler=scheduler, patience=0.1):
            pass


def test_an_address_needs_no_tcp_and_one_of_another_kind_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("dofa_cli.pipelines.cluster.executor.CONNECT_SECONDS", 1)
    monkeypatch.chdir(tmp_path)
    given = {"scheduler": "127.0.0.1:9", "patience": 0.1}
    with pytest.raises(WorkersLost, match=r"at 127\.0\.0\.1:9 \((?!no such file)"), open_cluster(**given):
        pass
    with pytest.raises(OptionError, match="no kind of address 'http'"), open_cluster(scheduler="http://127.0.0.1:9"):
        pass


def test_each_worker_gets_its_share_of_cores_and_one_card():
    cores = len(os.sched_getaffinity(0))
    assert worker_environment(0, 1, [])["OMP_NUM_THREADS"] == str(cores)
    assert worker_environment(0, 2 * cores, [])["OMP_NUM_THREADS"] == "1"
    assert [worker_environment(n, 3, ["2", "5"]).get("CUDA_VISIBLE_DEVICES") for n in range(3)] == ["2", "5", "2"]
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(0, 2, ["0"])


def test_local_workers_leave_ctrl_c_to_the_driver_and_compute_with_their_share(executor):
    def ask():
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN, os.environ["OMP_NUM_THREADS"]

    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert set(executor.link.client.run(ask).values()) == {(True, share)}


class KillsItsWorker(FakeWork):
    """Its shard 5 ends the process."""

    def run(self, numbers, folder):
        for number in numbers:
            if number == 5:
                time.sleep(0.1)
                os.kill(os.getpid(), signal.SIGKILL)
            yield from super().run([number], folder)
