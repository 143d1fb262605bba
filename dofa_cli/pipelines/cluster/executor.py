"""Shards on Dask workers: a cluster of this machine's processes, or one that runs already."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.cluster.ledger import Limits
from dofa_cli.pipelines.cluster.link import Connect, Link
from dofa_cli.pipelines.cluster.local import start_local
from dofa_cli.pipelines.cluster.scene_run import SceneRun
from dofa_cli.pipelines.shards.store import Finished, PartStore
from dofa_cli.pipelines.shards.work import Recipe, ShardWork

PATIENCE = 300.0
"""Seconds to wait for a scheduler that is gone, or for any worker."""
CONNECT_SECONDS = 10
_HOST_AND_PORT = re.compile(r"[\w.\-]+:\d{1,5}")
LOGS = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")

Say = Callable[[str], object]


class DaskExecutor:
    """Runs shards on the workers of a cluster; several threads may call :meth:`run` at once.

    The shards of all scenes form one list of tasks, those of the scene that came first in front.
    """

    def __init__(self, link: Link, limits: Limits | None = None) -> None:
        self.link, self.limits = link, limits or Limits()
        self._ranks = itertools.count()

    def run(
        self,
        recipe: Recipe,
        work: ShardWork,
        numbers: Sequence[int],
        store: PartStore,
        on_done: Callable[[Finished], object],
    ) -> None:
        """Return when all shards are recorded by the workers.

        A lost or hanging worker's shards go to others. Raises :class:`~dofa_cli.errors.SomeFailed` when all others are
        done and some failed three times, :class:`~dofa_cli.errors.WorkersLost`,
        :class:`~dofa_cli.errors.Interrupted`, or what a worker met that no other attempt would mend.
        """
        if not numbers:
            return
        scene = SceneRun(self.link, recipe, store.path.absolute(), next(self._ranks), self.limits)
        ledger = scene.carry_out(numbers, on_done)
        ledger.raise_failures(len(numbers), {number: _place(work, number) for number in ledger.failed})


@contextmanager
def open_cluster(
    workers: int | None = None,
    scheduler: str | Path | None = None,
    *,
    say: Say = lambda _: None,
    patience: float = PATIENCE,
    limits: Limits | None = None,
) -> Iterator[DaskExecutor]:
    """Start ``workers`` processes on this machine, or join the cluster of ``scheduler``, for as long as the body runs.

    ``scheduler`` is an address such as ``tcp://10.0.0.1:8786``, or the path of a scheduler file. The address of the
    dashboard goes to ``say``. A scheduler or all workers may be away for ``patience`` seconds. Raises
    :class:`~dofa_cli.errors.OptionError`, or :class:`~dofa_cli.errors.WorkersLost` where nothing answers.
    """
    if (workers is None) == (scheduler is None):
        raise OptionError("Give either --workers, for this machine, or --scheduler, for a cluster that runs.")
    with ExitStack() as stack, _quiet():
        if scheduler is None:
            assert workers is not None
            cluster = stack.enter_context(start_local(workers))
            connect, where = _client_of(address=cluster.scheduler_address), "this machine"
        else:
            connect, where = _joining(str(scheduler)), str(scheduler)
        link = Link(connect, where, say, patience)
        stack.callback(link.close)
        _introduce(link, say)
        yield DaskExecutor(link, limits)


def _joining(scheduler: str) -> Connect:
    """Return how to connect to an address, or to whatever address a scheduler file holds when it is read.

    Raises :class:`~dofa_cli.errors.OptionError` for an address of a kind that Dask does not know.
    """
    from distributed.comm.registry import get_backend

    if _HOST_AND_PORT.fullmatch(scheduler) and not Path(scheduler).exists():
        scheduler = f"tcp://{scheduler}"
    kind, found, _ = scheduler.partition("://")
    if not found:
        return _client_of(scheduler_file=scheduler)
    try:
        get_backend(kind)
    except ValueError:
        raise OptionError(f"--scheduler {scheduler}: no kind of address '{kind}'. Write tcp://HOST:PORT.") from None
    return _client_of(address=scheduler)


def _client_of(**where: str) -> Connect:
    def connect() -> Any:
        from distributed import Client

        if "scheduler_file" in where and not Path(where["scheduler_file"]).is_file():
            raise FileNotFoundError("no such file")  # Dask would wait for it without end
        start: Any = Client
        return start(**where, timeout=CONNECT_SECONDS, set_as_default=False)

    return connect


def _introduce(link: Link, say: Say) -> None:
    """Tell who is there, and where to watch them."""
    threads = link.workers()
    waiting = "" if threads else f"; waiting for one for up to {link.patience:.0f} s"
    say(f"{len(threads)} worker{'s' if len(threads) != 1 else ''} at {link.where}{waiting}")
    if many := sum(count > 1 for count in threads.values()):
        of = f"{many} of {len(threads)} workers"
        say(f"Warning: several threads, of which one computes, in {of}. Start them with --nthreads 1.")
    address = link.client.dashboard_link
    if importlib.util.find_spec("bokeh"):
        say(f"Dask dashboard: {address}")
    else:
        say(f"Dask status page: {address.removesuffix('/status')}/info/main/workers.html (the dashboard needs bokeh)")


def _place(work: ShardWork, number: int) -> str:
    """Describe a shard's window, where the work tells it."""
    pixels = getattr(work, "pixels", None)
    if pixels is None:
        return ""
    window = pixels(number)
    return f" (rows {window.row}-{window.bottom}, columns {window.col}-{window.right})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log, tracebacks of lost connections among it, from the terminal; the run says what matters."""
    import distributed  # noqa: F401 - it sets its log up when imported

    loggers = [logging.getLogger(name) for name in LOGS]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
