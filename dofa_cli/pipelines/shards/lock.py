"""One run at a time to an output: a lock file beside it that tells whose it is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from dofa_cli.errors import OutputLocked
from dofa_cli.raster.writer import explained

try:
    import fcntl
except ImportError:  # Windows: process id and start time alone tell whether a lock is stale
    fcntl = None  # type: ignore[assignment]

SAME_START = 0.5
"""Seconds by which two readings of one process's start may differ."""


@dataclass(frozen=True)
class Holder:
    """A process that writes an output: ``started`` in seconds since its machine booted, ``time`` as people read it.

    Seconds since booting stay the same when the clock is set.
    """

    host: str
    pid: int
    started: float
    time: str

    @property
    def is_alive(self) -> bool | None:
        """Whether the process still runs; ``None`` where it is on another host."""
        if self.host != socket.gethostname():
            return None
        started = _started(self.pid)
        return started is not None and abs(started - self.started) < SAME_START


def lock_path(output: Path) -> Path:
    """Return the lock file of an output."""
    return output.with_name(f".{output.name}.lock")


@contextmanager
def locked(output: Path, shown: str = "") -> Iterator[None]:
    """Hold an output's lock while the body runs; messages name the output as ``shown``, else by its path.

    Raises :class:`OutputLocked` naming host, process and time where another run holds it. A lock whose process has
    ended is taken over.
    """
    path = lock_path(output)
    with explained(path):
        file = _held(path, shown or str(output))
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _held(path: Path, shown: str) -> int:
    """Open and claim a lock file; return its descriptor.

    The kernel's own lock, where there is one, lets one process at a time read and write who holds it, and is gone with
    the process.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _claim(file, path, shown)
        except BaseException:
            os.close(file)
            raise
        if _is_at(file, path):
            return file
        os.close(file)  # its holder removed it in the meantime


def _claim(file: int, path: Path, shown: str) -> None:
    is_free = _kernel_lock(file)
    holder = _read(file)
    if not is_free or (holder is not None and holder.is_alive is not False):
        raise OutputLocked(_refusal(path, holder, shown))
    mine = Holder(socket.gethostname(), os.getpid(), _started(os.getpid()) or 0.0, _now())
    os.lseek(file, 0, os.SEEK_SET)
    os.truncate(file, 0)
    os.write(file, json.dumps(asdict(mine)).encode())


def _kernel_lock(file: int) -> bool:
    """Take the kernel's lock; ``False`` where another holds it. File systems without locks count as free."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _read(file: int) -> Holder | None:
    """Return who a lock file names; ``None`` for an empty or unreadable one, left by a process that ended at once."""
    os.lseek(file, 0, os.SEEK_SET)
    try:
        return Holder(**json.loads(os.read(file, 4096)))
    except (ValueError, TypeError):
        return None


def _refusal(path: Path, holder: Holder | None, output: str) -> str:
    if holder is None:
        return f"Another run writes {output}. Wait for it, or name another file with -o."
    who = f"Another run writes {output}: process {holder.pid} on {holder.host} since {holder.time}."
    if holder.is_alive is None:
        return f"{who} If that run is dead, remove {path}."
    return f"{who} Wait for it, or name another file with -o."


def _started(pid: int) -> float | None:
    """Return when a process started, in seconds since booting; ``None`` where there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return round(float(process.create_time() - psutil.boot_time()), 2)
    except psutil.Error:
        return None


def _now() -> str:
    return datetime.fromtimestamp(time.time()).astimezone().isoformat(timespec="seconds")
