"""One run at a time to an output."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import psutil
import pytest

from dofa_cli.errors import OutputLocked, OutputUnwritable
from dofa_cli.pipelines.shards.lock import Holder, lock_path, locked

HOLD = """
import sys, time
from pathlib import Path
from dofa_cli.pipelines.shards.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.tif"


def me() -> Holder:
    started = psutil.Process().create_time() - psutil.boot_time()
    return Holder(socket.gethostname(), os.getpid(), round(started, 2), "2026-01-01T12:00:00+00:00")


def leave(output, holder):
    lock_path(output).write_text(json.dumps(asdict(holder)))


def test_a_lock_names_its_holder_and_is_removed_at_the_end(output):
    with locked(output):
        found = Holder(**json.loads(lock_path(output).read_text()))
        assert (found.host, found.pid, found.is_alive) == (socket.gethostname(), os.getpid(), True)
    assert not lock_path(output).exists()


def test_a_failure_releases_the_lock(output):
    with pytest.raises(ZeroDivisionError), locked(output):
        raise ZeroDivisionError
    assert not lock_path(output).exists()


def test_a_second_run_is_refused_with_host_process_and_time(output):
    with locked(output), pytest.raises(OutputLocked) as refused, locked(output):
        pass
    said = str(refused.value)
    assert f"process {os.getpid()} on {socket.gethostname()} since 20" in said
    assert "out.tif" in said
    assert "\n" not in said


def test_a_running_process_holds_its_lock_without_the_kernels_help(output, monkeypatch):
    monkeypatch.setattr("dofa_cli.pipelines.shards.lock.fcntl", None)
    leave(output, me())
    with pytest.raises(OutputLocked), locked(output):
        pass


@pytest.mark.parametrize(
    "stale",
    [
        pytest.param(lambda: replace(me(), pid=2**22 + 1), id="no such process"),
        pytest.param(lambda: replace(me(), started=me().started - 100), id="process id used again"),
    ],
)
def test_a_stale_lock_is_taken_over(output, stale):
    leave(output, stale())
    with locked(output):
        assert json.loads(lock_path(output).read_text())["pid"] == os.getpid()
    assert not lock_path(output).exists()


@pytest.mark.parametrize("text", ["", "{", '{"host": "a"}'])
def test_an_unreadable_lock_that_nobody_holds_is_taken_over(output, text):
    lock_path(output).write_text(text)
    with locked(output):
        assert json.loads(lock_path(output).read_text())["pid"] == os.getpid()


def test_another_hosts_lock_is_refused_with_what_to_do(output):
    leave(output, replace(me(), host="node17"))
    with pytest.raises(OutputLocked, match=r"on node17 since 2026.*If that run is dead, remove .*\.out\.tif\.lock"):
        locked(output).__enter__()
    assert lock_path(output).exists()


@pytest.mark.parametrize("jump", [-86400, 86400 * 365])
def test_setting_the_clock_makes_no_lock_stale(output, jump, monkeypatch):
    monkeypatch.setattr("dofa_cli.pipelines.shards.lock.fcntl", None)
    leave(output, me())
    boot, process = psutil.boot_time() + jump, psutil.Process().create_time() + jump
    monkeypatch.setattr(psutil, "boot_time", lambda: boot)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: process)
    monkeypatch.setattr("time.time", lambda: 1e9 + jump)
    with pytest.raises(OutputLocked), locked(output):
        pass


def test_a_killed_process_leaves_a_lock_that_is_taken_over(output):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(output)], stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        with pytest.raises(OutputLocked, match=f"process {held.pid}"):
            locked(output).__enter__()
        held.kill()
    assert lock_path(output).exists()
    with locked(output):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders too")
def test_a_folder_that_cannot_be_written_is_named(output):
    output.parent.chmod(0o500)
    with pytest.raises(OutputUnwritable, match="out"):
        locked(output).__enter__()
