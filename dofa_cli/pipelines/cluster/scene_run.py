"""One scene's missing shards on a cluster: handed out, watched, handed out again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from secrets import token_hex
from typing import Any

from dofa_cli.errors import DofaError, RunError, WorkersLost
from dofa_cli.pipelines.cluster.ledger import ATTEMPTS, Ledger, Limits, neighbours
from dofa_cli.pipelines.cluster.link import Link, SchedulerGone, withdraw
from dofa_cli.pipelines.cluster.on_worker import Task, sent_error, sent_shard
from dofa_cli.pipelines.shards.stop import check_stop, stop_asked
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.pipelines.shards.work import Recipe

POLL_SECONDS = 0.25
AGAIN_SECONDS = 1.0
"""Before shards that failed are handed out again: a server may recover, and a bad worker is not asked without end."""
BEFORE_ANY = -1
"""The generation before the first connection."""
LOOK_SECONDS = 5.0
"""Between two looks at the workers that are there."""
LONGEST = 8
TASKS_A_WORKER = 8
"""Tasks that each worker gets at least, while there are enough shards: they end at about the same time."""


@dataclass
class Flight:
    """A task that was handed out, and where it is: which shard ``worker`` is at since ``since``, if one is.

    ``opening`` says that the worker is opening the work, ``heard`` that a shard of the task ended.
    """

    future: Any
    task: Task
    worker: str | None = None
    number: int | None = None
    since: float = 0.0
    opening: bool = False
    heard: bool = False

    def board(self, message: dict[str, Any]) -> None:
        """Note what a worker is at."""
        self.worker, self.number, self.since = message["worker"], message["number"], time.monotonic()
        self.opening = message["what"] == "opening"

    def land(self) -> None:
        """Forget where the task is: its worker is gone."""
        self.worker = self.number = None


class SceneRun:
    """Run shards of one recipe on the workers of ``link`` until each is finished or given up.

    ``rank`` orders scenes: those of a smaller one come first. ``on_done`` hears of each finished shard once, in the
    thread that calls :meth:`carry_out`.
    """

    def __init__(self, link: Link, recipe: Recipe, folder: Path, rank: int, limits: Limits) -> None:
        self.link, self.recipe, self.folder, self.rank = link, recipe, folder, rank
        self.limits = limits
        self.name = f"run-{token_hex(6)}"
        self.flights: dict[str, Flight] = {}
        self.handed_out = 0
        self.cannot_open: set[str] = set()
        self.later: list[tuple[float, tuple[int, ...], str | None]] = []
        self.generation = BEFORE_ANY
        self.looked = self.seen_workers = time.monotonic()

    def carry_out(self, numbers: Sequence[int], on_done: Callable[[Finished], object]) -> Ledger:
        """Run the shards; return the account, which names those that were given up.

        Raises what no other attempt would mend, :class:`~dofa_cli.errors.WorkersLost`, or
        :class:`~dofa_cli.errors.Interrupted` after the shards at work have ended.
        """
        self.ledger, self.on_done = Ledger(numbers, self.limits), on_done
        with self.link.inbox(self.name) as self.inbox:
            try:
                while self.ledger.missing:
                    try:
                        self._turn()
                    except SchedulerGone:
                        self.link.renew(self.generation)
                    if stop_asked():
                        self._end_at_work()
                        check_stop()
            finally:
                self._drop_all()
        return self.ledger

    def _turn(self) -> None:
        """Heed what came, and look after what takes too long."""
        self._watch_connection()
        self._hand_out_later()
        with suppress(Empty):
            self._take(self.inbox.get(timeout=POLL_SECONDS))
            while True:
                self._take(self.inbox.get_nowait())
        self._watch_hanging()
        self._watch_workers()

    def _take(self, message: dict[str, Any]) -> None:
        what = message["what"]
        if what == "lost":
            self._lose(message["worker"])
            return
        flight = self.flights.get(message["task"])
        if what == "finished":
            self._book(message)
        if flight is None:
            return
        flight.heard |= what in ("finished", "failed")
        if what in ("opening", "started"):
            flight.board(message)
        elif what == "failed":
            self._fail(message["number"], sent_error(message), message["worker"])
        elif what == "landed":
            self._collect(message["task"])

    def _book(self, message: dict[str, Any]) -> None:
        done = sent_shard(message)
        if self.ledger.finish(done.number, message["seconds"]):
            self.on_done(done)

    def _fail(self, number: int | None, error: DofaError, worker: str | None = None) -> bool:
        """Book a failure; whether to try again. What stands in the way of all shards is raised."""
        again = self.ledger.fail(number, error)
        if number is None and worker is not None:
            self.cannot_open.add(worker)
            again = again or len(self.cannot_open) < min(ATTEMPTS, len(self.link.workers()))
        if self.ledger.is_final(error) or (number is None and not again):
            raise error
        return again

    def _collect(self, name: str) -> None:
        """Look at a task that ended, and hand out again what it left undone."""
        flight = self.flights[name]
        if flight.future.status in ("cancelled", "lost"):  # its scheduler is gone; all is handed out again
            self.link.renew(self.generation)
            return
        del self.flights[name]
        left = self.ledger.left_of(flight.task.numbers)
        if left and (error := _silence(flight)) is not None:
            self._fail(left[0], error)
        self.later.append((time.monotonic() + AGAIN_SECONDS, left, flight.worker))

    def _lose(self, worker: str) -> None:
        """Book the shard that a lost worker was at; the scheduler gives its tasks to others by itself."""
        for name in self._at(worker):
            flight = self.flights[name]
            number = flight.number
            flight.land()
            if not self._fail(number, WorkersLost("the worker was lost while at it")):
                self._withdraw(name)

    def _at(self, worker: str) -> list[str]:
        return [name for name, flight in self.flights.items() if flight.worker == worker]

    def _withdraw(self, name: str) -> None:
        """Take a task back and hand out what is missing of it."""
        flight = self.flights.pop(name)
        withdraw(flight.future)
        self._hand_out(self.ledger.left_of(flight.task.numbers))

    def _watch_connection(self) -> None:
        """Hand all missing shards out at the start, and over every new connection."""
        if self.link.is_up and self.generation == self.link.generation:
            return
        self.link.renew(self.generation)
        self.generation = self.link.generation
        self.seen_workers = time.monotonic()
        self.flights.clear()
        self.later.clear()
        self._hand_out_missing()

    def _watch_hanging(self) -> None:
        now = time.monotonic()
        for name, flight in list(self.flights.items()):
            patience = self.limits.first if flight.opening else self.ledger.patience
            if flight.worker is None or now - flight.since < patience:
                continue
            worker, number = flight.worker, flight.number
            flight.land()
            self.link.say(f"Shard {number} takes more than {patience:.0f} s on {worker}; another worker gets it.")
            if not self._fail(number, RunError(f"it took more than {patience:.0f} s")):
                self._withdraw(name)
            self.link.restart(worker)

    def _watch_workers(self) -> None:
        """Look from time to time whether any worker is there; raise :class:`WorkersLost` when there long is none."""
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        self._end_silent()
        if self.link.workers():
            self.seen_workers = now
        elif now - self.seen_workers > self.link.patience:
            raise WorkersLost(
                f"No worker at {self.link.where} for {self.link.patience:.0f} s. Start some, then give the same "
                "command; what is finished is kept."
            )

    def _end_silent(self) -> None:
        """End workers that hang with a task they never began, of which the driver hears nothing."""
        for worker, seconds in self.link.silent(self.name).items():
            if seconds > self.ledger.patience and not self._at(worker):
                self.link.say(f"Nothing was heard of {worker} for {seconds:.0f} s; another worker gets its shards.")
                self.link.restart(worker)

    def _end_at_work(self) -> None:
        """Take back what has not begun; wait for the shards that are at work."""
        self.link.stop(self.name)
        for name in [name for name, flight in self.flights.items() if flight.worker is None]:
            withdraw(self.flights.pop(name).future)
        deadline = time.monotonic() + self.ledger.patience
        while self.flights and self.link.is_up and time.monotonic() < deadline:
            with suppress(Empty):
                self._take_last(self.inbox.get(timeout=POLL_SECONDS))

    def _take_last(self, message: dict[str, Any]) -> None:
        """Heed a message after a stop: what is finished counts, what failed or is lost is not tried again."""
        if message["what"] == "finished":
            self._book(message)
        elif message["what"] == "landed":
            self.flights.pop(message["task"], None)
        elif message["what"] == "lost":
            for name in self._at(message["worker"]):
                del self.flights[name]

    def _hand_out_missing(self) -> None:
        workers = self.link.workers()
        longest = max(1, min(LONGEST, len(self.ledger.missing) // (TASKS_A_WORKER * max(1, len(workers)))))
        for run in neighbours(list(self.ledger.missing), longest):
            self._hand_out(run)

    def _hand_out_later(self) -> None:
        """Hand out what failed and has waited."""
        due = [one for one in self.later if one[0] <= time.monotonic()]
        for one in due:
            self.later.remove(one)
            self._hand_out(self.ledger.left_of(one[1]), avoid=one[2])

    def _hand_out(self, numbers: Sequence[int], avoid: str | None = None) -> None:
        if not numbers:
            return
        self.handed_out += 1
        name = f"{self.name}-{self.handed_out}"
        task = Task(name, self.name, self.link.topic, self.recipe, tuple(numbers), self.folder)
        future = self.link.submit(task, -self.rank, avoid)
        self.flights[name] = Flight(future, task)
        inbox = self.inbox
        future.add_done_callback(lambda _: inbox.put({"what": "landed", "task": name}))

    def _drop_all(self) -> None:
        for flight in self.flights.values():
            withdraw(flight.future)
        self.flights.clear()


def _silence(flight: Flight) -> DofaError | None:
    """Return what is wrong with a task that ended without a word about any of its shards."""
    from distributed.scheduler import KilledWorker

    error = flight.future.exception() if flight.future.status == "error" else None
    if isinstance(error, KilledWorker):
        return WorkersLost("worker after worker was lost while at it")
    if error is not None:
        said = (str(error).splitlines() or ["nothing said"])[0]
        return RunError(f"a worker cannot take it: {type(error).__name__}: {said}")
    return None if flight.heard else RunError("its worker said nothing")
