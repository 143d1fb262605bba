"""What happens on a worker: a scene's work is opened once, and runs of its shards are done one after another."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from contextlib import chdir, closing, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from dofa_cli import __version__, errors
from dofa_cli.errors import DofaError, OutputUnwritable, RunDiffers, RunError
from dofa_cli.pipelines.shards.store import MANIFEST, Finished, PartStore
from dofa_cli.pipelines.shards.work import Recipe, ShardWork

OPENED = 2
"""Works that stay open in a process: the scene at hand and the one before."""

Send = Callable[[dict[str, Any]], object]
"""Takes a message of plain values to the driver."""

_one_at_a_time = threading.Lock()
_opened: OrderedDict[str, ShardWork] = OrderedDict()
_stopped: set[str] = set()


@dataclass(frozen=True)
class Task:
    """Neighbouring shards for one worker; ``run`` names the scene's whole run.

    ``version`` is the driver's, ``place`` its working folder, in which relative paths are found.
    """

    name: str
    run: str
    topic: str
    recipe: Recipe
    numbers: tuple[int, ...]
    folder: Path
    version: str = __version__
    place: Path = field(default_factory=Path.cwd)


def carry_out(task: Task) -> None:
    """Do a task on the worker that calls this. All that is to be told goes to the driver as messages."""
    place = chdir(task.place) if task.place.is_dir() else nullcontext()
    with _one_at_a_time, place:  # the device takes one batch after another, however many threads the worker has
        do_shards(task, _sender(task))


def do_shards(task: Task, send: Send) -> None:
    """Do a task's shards, telling ``send`` what becomes of each; those with a whole part are done already.

    Messages are ``opening``, and of each shard ``started`` and then ``finished`` or ``failed``; ``failed`` without a
    number means that the work could not be opened. After :func:`stop_run` no shard is begun.
    """
    if task.run in _stopped:
        return
    send({"what": "opening", "number": task.numbers[0]})
    try:
        check_place(task)
        missing = _not_kept(task, send)
        work = _open(task.recipe) if missing else None
    except Exception as error:  # noqa: BLE001 - the driver decides, whatever a worker meets
        send(_failed(None, as_dofa_error(error), f" (on host {socket.gethostname()})"))
        return
    if work is not None:
        _work_through(work, missing, task, send)


class _Owner:
    """Whose parts a folder held when a task began, so that a driver that was ended and replaced is noticed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self.before = self._read()

    @property
    def is_another(self) -> bool:
        """Whether the folder is gone, or its parts are of another run by now."""
        return self._read() != self.before

    def _read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except OSError:
            return None


def check_place(task: Task) -> None:
    """Raise unless this worker has the driver's version and sees the driver's folder."""
    if task.version != __version__:
        raise RunDiffers(f"A worker has dofa {__version__}, this is dofa {task.version}. Install the same on all.")
    if not task.folder.is_dir():
        raise OutputUnwritable(
            f"A worker does not see {task.folder}. Outputs of a cluster must lie in a folder that all workers share."
        )


def stop_run(run: str) -> None:
    """Begin no further shard of a run in this process."""
    _stopped.add(run)


def as_dofa_error(error: Exception) -> DofaError:
    """Put an error into a form that is one line for a user."""
    if isinstance(error, DofaError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = (str(error).strip().splitlines() or ["nothing said"])[0]
    return RunError(f"{type(error).__name__}: {said}{where}")


def sent_error(message: dict[str, Any]) -> DofaError:
    """Make the error of a ``failed`` message again."""
    kind = getattr(errors, message["kind"], RunError)
    return cast("DofaError", kind(message["text"]))


def sent_shard(message: dict[str, Any]) -> Finished:
    """Make the record of a ``finished`` message again; tuples crossed as lists."""
    plain = message["done"]
    files = {name: (int(size), int(crc)) for name, (size, crc) in plain["files"].items()}
    return Finished(int(plain["number"]), files, dict(plain["counts"]))


def _not_kept(task: Task, send: Send) -> list[int]:
    """Tell of the shards that are finished already, and return the others."""
    store, missing = PartStore(task.folder), []
    for number in task.numbers:
        if (done := store.find(number)) is None:
            missing.append(number)
        else:
            send(_finished(done, None))
    return missing


def _work_through(work: ShardWork, numbers: list[int], task: Task, send: Send) -> None:
    """Work on shards in order; one that fails is left out and the rest go on."""
    left, owner = list(numbers), _Owner(task.folder)
    while left and task.run not in _stopped and not owner.is_another:
        try:
            _stream(work, left, task, send, owner)
        except Exception as error:  # noqa: BLE001 - the driver decides, whatever a shard meets
            send(_failed(left.pop(0), as_dofa_error(error)))
            if not isinstance(error, DofaError):
                _opened.pop(task.recipe.key, None)  # what it left open may be broken


def _stream(work: ShardWork, left: list[int], task: Task, send: Send, owner: _Owner) -> None:
    """Work on the shards of ``left`` in one stream, taking off those that are finished.

    Nothing is recorded in a folder that has become another run's: its driver was ended, and nobody listens.
    """
    store, started = PartStore(task.folder), time.monotonic()
    send({"what": "started", "number": left[0]})
    with closing(cast("Any", work.run(tuple(left), task.folder))) as stream:
        for done in stream:
            if owner.is_another:
                return
            store.finish(done)
            left.remove(done.number)
            send(_finished(done, time.monotonic() - started))
            if not left or task.run in _stopped:
                return
            started = time.monotonic()
            send({"what": "started", "number": left[0]})
    raise RunError(f"shard {left[0]} was left out")


def _open(recipe: Recipe) -> ShardWork:
    """Open a work, or find it open."""
    work = _opened.pop(recipe.key, None) or recipe.open()
    _opened[recipe.key] = work
    while len(_opened) > OPENED:
        _opened.popitem(last=False)
    return work


def _finished(done: Finished, seconds: float | None) -> dict[str, Any]:
    return {"what": "finished", "number": done.number, "seconds": seconds, "done": asdict(done)}


def _failed(number: int | None, error: DofaError, where: str = "") -> dict[str, Any]:
    return {"what": "failed", "number": number, "kind": type(error).__name__, "text": f"{error}{where}"}


def _sender(task: Task) -> Send:
    from distributed import get_worker

    worker = get_worker()
    about = {"run": task.run, "task": task.name, "worker": worker.address}

    def send(message: dict[str, Any]) -> None:
        worker.log_event(task.topic, about | message)

    return send
