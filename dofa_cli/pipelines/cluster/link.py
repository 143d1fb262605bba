"""The connection to a Dask scheduler: kept through restarts, shared by the runs of several scenes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from secrets import token_hex
from typing import Any

from dofa_cli.errors import WorkersLost
from dofa_cli.pipelines.cluster.on_worker import Task, carry_out, stop_run
from dofa_cli.pipelines.shards.stop import check_stop

RETRY_SECONDS = 1.0
FIRST_SECONDS = 30.0
"""To wait for a scheduler that was never there: its address may be wrong."""
CLOSE_SECONDS = 2.0
RESTART_SECONDS = 60.0

Connect = Callable[[], Any]
"""Gives a new ``distributed.Client``, or raises ``OSError`` where nothing answers."""
Inbox = SimpleQueue[dict[str, Any]]
"""Messages of workers, of the scheduler and of finished tasks, in the order in which they came."""


class SchedulerGone(Exception):
    """The connection broke while something was asked of the scheduler."""


class Link:
    """A client that outlives its scheduler; ``patience`` is how many seconds to wait for one that is gone."""

    def __init__(self, connect: Connect, where: str, say: Callable[[str], object], patience: float) -> None:
        self.connect, self.where, self.say, self.patience = connect, where, say, patience
        self.topic = f"dofa-{token_hex(6)}"
        self.generation = 0
        self._inboxes: dict[str, Inbox] = {}
        self._renewing = threading.Lock()
        self._client = self._connected(min(patience, FIRST_SECONDS))

    @property
    def client(self) -> Any:
        """The client of the present connection."""
        return self._client

    @property
    def is_up(self) -> bool:
        """Whether the scheduler is connected."""
        return bool(self._client.status == "running")

    def submit(self, task: Task, priority: int, avoid: str | None = None) -> Any:
        """Hand a task to the scheduler, rather not to the worker ``avoid``; return its future.

        Raises :class:`SchedulerGone`.
        """
        others = [worker for worker in self.workers() if worker != avoid] if avoid else []
        place = {"workers": others, "allow_other_workers": True} if others else {}
        how = {"key": task.name, "pure": False, "retries": 0, "priority": priority, **place}
        try:
            return self._client.submit(carry_out, task, **how)
        except Exception as error:
            if self.is_up:
                raise
            raise SchedulerGone from error

    @contextmanager
    def inbox(self, run: str) -> Iterator[Inbox]:
        """Give the messages about one run, and those about workers that were lost."""
        self._inboxes[run] = SimpleQueue()
        try:
            yield self._inboxes[run]
        finally:
            del self._inboxes[run]

    def workers(self) -> dict[str, int]:
        """Return the threads of each worker by its address; none where the scheduler does not answer."""
        try:
            return dict(self._client.nthreads())
        except Exception:  # noqa: BLE001 - a client without a connection raises one thing or another
            return {}

    def silent(self, run: str) -> dict[str, float]:
        """Return the seconds since each worker that has tasks of a run was last heard of by the scheduler."""
        try:
            return dict(self._client.run_on_scheduler(_silence, run))
        except Exception:  # noqa: BLE001 - a client without a connection raises one thing or another
            return {}

    def stop(self, run: str) -> None:
        """Ask all workers to begin no further shard of a run."""
        with suppress(Exception):  # a client without a connection raises one thing or another
            self._client.run(stop_run, run, wait=False, on_error="ignore")

    def restart(self, worker: str) -> None:
        """End a worker's process, hanging as it is, and have it started again where something watches over it."""
        threading.Thread(target=self._restart, args=(self._client, worker), daemon=True).start()

    def renew(self, generation: int) -> None:
        """Connect anew unless somebody did since ``generation``; raises :class:`WorkersLost` after ``patience``."""
        with self._renewing:
            if self.generation != generation:
                return
            self.say(f"The scheduler at {self.where} is lost; waiting for it for up to {self.patience:.0f} s.")
            self.close()
            self._client = self._connected(self.patience)
            self.generation += 1
            self.say("The scheduler is back; missing shards are handed out again.")

    def close(self) -> None:
        """Leave the scheduler."""
        with suppress(Exception):
            for topic in (self.topic, "all"):
                self._client.unsubscribe_topic(topic)
        with suppress(Exception):
            self._client.close(timeout=CLOSE_SECONDS)

    def _connected(self, patience: float) -> Any:
        client = self._patiently(self.connect, patience)
        client.subscribe_topic(self.topic, self._take)
        client.subscribe_topic("all", self._take)
        return client

    def _patiently(self, connect: Connect, patience: float) -> Any:
        deadline = time.monotonic() + patience
        while True:
            try:
                return connect()
            except (OSError, ValueError) as error:
                if time.monotonic() > deadline:
                    raise WorkersLost(
                        f"No Dask scheduler answers at {self.where} ({error or type(error).__name__}). Start one, then "
                        "give the same command; what is finished is kept."
                    ) from None
            check_stop()
            time.sleep(RETRY_SECONDS)

    def _take(self, event: tuple[float, Any]) -> None:
        """Pass a message on: workers' to their run, the loss of a worker to every run."""
        message = event[1]
        if not isinstance(message, dict):
            return
        if message.get("action") == "remove-worker":
            for inbox in list(self._inboxes.values()):
                inbox.put({"what": "lost", "worker": message.get("worker")})
        elif message.get("run") in self._inboxes:
            self._inboxes[message["run"]].put(message)

    @staticmethod
    def _restart(client: Any, worker: str) -> None:
        with suppress(Exception):
            try:
                client.restart_workers([worker], timeout=RESTART_SECONDS, raise_for_error=False)
            except ValueError:  # nothing watches over it: the scheduler forgets it and gives its tasks to others
                client.run_on_scheduler(_forget, worker)


def withdraw(future: Any) -> None:
    """Take a task back; one that runs already goes on unheard."""
    with suppress(Exception):
        future.cancel(force=True)


async def _silence(run: str, dask_scheduler: Any = None) -> dict[str, float]:
    now, workers = time.time(), dask_scheduler.workers.items()
    busy = {address: one for address, one in workers if any(str(task.key).startswith(run) for task in one.processing)}
    return {address: now - one.last_seen for address, one in busy.items()}


async def _forget(worker: str, dask_scheduler: Any = None) -> None:
    await dask_scheduler.remove_worker(address=worker, stimulus_id=f"dofa-hanging-{token_hex(4)}")
