"""One scene's work, cut into shards, and how another process opens the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dofa_cli.pipelines.shards.store import Finished


class ShardWork(Protocol):
    """One scene's work in shards numbered 0 to ``count`` − 1.

    ``on_windows`` is told how many windows were just finished; it may be set before :meth:`run`.
    """

    on_windows: Callable[[int], object]

    @property
    def count(self) -> int:
        """The number of shards."""

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        """Work on some shards in order, reading ahead; the files of each that is yielded are final in ``folder``."""


class Recipe(Protocol):
    """Everything another process needs to open the same work: small, and can be pickled.

    Recipes of one ``key`` open the same work. What was settled before the first shard travels along and is not
    settled again.
    """

    @property
    def key(self) -> str:
        """A name for the work."""

    def open(self) -> ShardWork:
        """Open scene and network in the calling process; weights are loaded once a process."""
