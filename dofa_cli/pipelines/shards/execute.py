"""Who runs the shards that are missing: this process, or others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dofa_cli.pipelines.shards.stop import check_stop
from dofa_cli.pipelines.shards.store import Finished, PartStore
from dofa_cli.pipelines.shards.work import Recipe, ShardWork


class Executor(Protocol):
    """Runs shards wherever it likes; each finished one is recorded in the store and told to ``on_done``."""

    def run(
        self,
        recipe: Recipe,
        work: ShardWork,
        numbers: Sequence[int],
        store: PartStore,
        on_done: Callable[[Finished], object],
    ) -> None:
        """Return when all shards are recorded.

        ``work`` is already open in this process. Raises :class:`~dofa_cli.errors.Interrupted` after a signal.
        """


class InProcess:
    """Runs shards one after another in this process; a signal is heeded between two of them."""

    def run(
        self,
        recipe: Recipe,  # noqa: ARG002 - for executors whose work is done elsewhere
        work: ShardWork,
        numbers: Sequence[int],
        store: PartStore,
        on_done: Callable[[Finished], object],
    ) -> None:
        """Run ``work`` itself; ``recipe`` is not needed."""
        for done in work.run(numbers, store.path):
            store.finish(done)
            on_done(done)
            check_stop()
