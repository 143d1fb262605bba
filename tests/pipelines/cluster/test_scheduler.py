"""A scheduler and workers started as on a cluster, by commands of their own; all listen on this machine only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dofa_cli.errors import WorkersLost
from dofa_cli.pipelines.cluster.executor import open_cluster
from dofa_cli.pipelines.shards.store import PartStore
from tests.pipelines.cluster.fake_work import FakeRecipe, FakeWork, check_parts

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30


class Commands:
    """``dask scheduler`` and ``dask worker`` processes that end with the test."""

    def __init__(self, folder: Path) -> None:
        self.file, self.started = folder / "scheduler.json", []

    @property
    def address(self) -> str:
        return json.loads(self.file.read_text())["address"]

    def scheduler(self, port: int = 0) -> subprocess.Popen:
        self.file.unlink(missing_ok=True)
        found = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        deadline = time.monotonic() + START_SECONDS
        while not self.file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found

    def worker(self, *options: str) -> subprocess.Popen:
        return self._start("worker", "--nthreads", "1", "--host", "127.0.0.1", *options)

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # a worker's nanny and its process
            process.wait()

    def _start(self, *command: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *command, "--scheduler-file", self.file, "--no-dashboard"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.started.append(process)
        return process


@pytest.fixture
def commands(tmp_path):
    made = Commands(tmp_path)
    yield made
    made.end()


@pytest.fixture
def store(tmp_path):
    (tmp_path / "parts").mkdir()
    return PartStore(tmp_path / "parts")


def run(executor, store, work, on_done=len):
    told = []

    def note(done):
        told.append(done.number)
        on_done(told)

    executor.run(FakeRecipe(work), work, range(work.count), store, note)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("by_file", [True, False])
def test_a_scheduler_that_is_started_again_changes_nothing(commands, store, tmp_path, by_file):
    first, lines = commands.scheduler(), []
    where = str(commands.file) if by_file else commands.address
    port = 0 if by_file else int(commands.address.rpartition(":")[2])
    workers = [commands.worker(), commands.worker()]
    diary = tmp_path / "diary.txt"

    def restart(told):
        if len(told) == 8:
            first.kill()
            first.wait()
            commands.scheduler(port)
            for worker in workers:
                worker.terminate()
            commands.worker()
            commands.worker()

    with open_cluster(scheduler=where, say=lines.append, patience=30) as executor:
        assert sorted(run(executor, store, FakeWork(30, 0.1, diary=diary), restart)) == list(range(30))
    check_parts(store.path, range(30))
    assert any("The scheduler is back" in line for line in lines)
    assert len(diary.read_text().splitlines()) <= 30 + 2 * 2


@pytest.mark.slow
def test_a_scheduler_that_stays_away_is_an_error_and_the_next_run_goes_on(commands, store):
    first = commands.scheduler()
    commands.worker()

    def end(told):
        if len(told) == 4:
            first.kill()

    work = FakeWork(12, 0.1)
    with (
        pytest.raises(WorkersLost, match="No Dask scheduler answers"),
        open_cluster(scheduler=str(commands.file), patience=3) as executor,
    ):
        run(executor, store, work, end)
    kept = store.kept()
    assert 4 <= len(kept) < 12
    commands.scheduler()
    commands.worker()
    with open_cluster(scheduler=str(commands.file), patience=30) as executor:
        missing = [number for number in range(12) if number not in kept]
        executor.run(FakeRecipe(work), work, missing, store, id)
    check_parts(store.path, range(12))


@pytest.mark.slow
def test_no_worker_for_long_is_an_error(commands, store, monkeypatch):
    monkeypatch.setattr("dofa_cli.pipelines.cluster.scene_run.LOOK_SECONDS", 0.5)
    commands.scheduler()
    with (
        pytest.raises(WorkersLost, match="No worker at"),
        open_cluster(scheduler=commands.address, patience=2) as executor,
    ):
        run(executor, store, FakeWork(3))
    assert list(store.path.iterdir()) == []


@pytest.mark.slow
def test_a_hanging_worker_that_nothing_watches_over_is_left_out(commands, store, monkeypatch):
    from dofa_cli.pipelines.cluster.ledger import Limits

    commands.scheduler()
    hanging = commands.worker("--no-nanny")
    commands.worker("--no-nanny")

    def hang(told):
        if len(told) == 6:
            os.kill(hanging.pid, signal.SIGSTOP)

    limits = Limits(least=2, times=10, first=20)
    with open_cluster(scheduler=commands.address, patience=20, limits=limits) as executor:
        executor.link.client.wait_for_workers(2, timeout=START_SECONDS)
        assert sorted(run(executor, store, FakeWork(30, 0.1), hang)) == list(range(30))
    os.kill(hanging.pid, signal.SIGCONT)
    time.sleep(1)  # for the shards of the task that it was at, which it writes again
    check_parts(store.path, range(30))


@pytest.mark.slow
def test_the_local_script_starts_a_cluster_and_runs_on_it(tmp_path):
    scene = next((ROOT / "examples" / "sentinel2").glob("*_B01.jp2"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", ROOT / "examples" / "cluster" / "local.sh", scene, tmp_path / "out.tif"],
        env=os.environ | {"PATH": path},
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert [one.name for one in tmp_path.iterdir()] == ["out.tif"]
