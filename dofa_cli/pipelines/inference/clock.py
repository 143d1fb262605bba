"""Where the time of a run goes: seconds by stage, kept apart by thread and summed over shards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
BEHIND = "read"
"""What other threads do while the loop goes on."""
LOOP = ("wait", "prepare", "infer", "blend", "write")
"""What the loop itself does, one at a time."""
LAST = "assemble"
"""What is done with all shards at the end."""
STAGES = (BEHIND, *LOOP, LAST)


class Clock:
    """Seconds spent in named stages.

    ``read`` is the time that the reading thread spends, ``wait`` the loop's for pixels that are not there yet,
    ``prepare`` standardising and cutting windows, ``infer`` the network, ``blend`` the mean of windows, and ``write``
    the rest of the loop: encoding results and saving parts. Inside a stage another may open; each gets its own time
    alone, so that the loop's stages add up to the loop. ``synchronise`` waits for the device at the end of ``infer``;
    without it a graphics card's work is counted where its results are first needed.
    """

    def __init__(self, synchronise: Callable[[], object] = lambda: None) -> None:
        self.synchronise = synchronise
        self._seconds = dict.fromkeys(STAGES[:-1], 0.0)
        self._lock = threading.Lock()
        self._open = threading.local()

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds of a stage that were measured elsewhere; threads may call this at once."""
        with self._lock:
            self._seconds[stage] += seconds

    def note_read(self, seconds: float) -> None:
        """Count seconds of a reading thread."""
        self.add(BEHIND, seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the body's seconds as a stage; the stage around it, in the same thread, stands still meanwhile."""
        names = self._names()
        self._turn(names)
        names.append(name)
        try:
            yield
        finally:
            if name == "infer":
                self.synchronise()
            self._turn(names)
            names.pop()

    def timed(self, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function inside a stage."""
        with self.stage(name):
            return function(*args, **kwargs)

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``; the seconds that each takes to come are counted as a stage."""
        waiting = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(waiting)
                except StopIteration:
                    return
            yield item

    def lap(self) -> dict[str, float]:
        """Return the counts ``STAGE_s`` of a shard's record since the last lap."""
        with self._lock:
            taken = {f"{name}_s": seconds for name, seconds in self._seconds.items()}
            self._seconds = dict.fromkeys(self._seconds, 0.0)
        return taken

    def _names(self) -> list[str]:
        """Return the stages that the calling thread has open, the innermost last."""
        if not hasattr(self._open, "names"):
            self._open.names = []
        names: list[str] = self._open.names
        return names

    def _turn(self, names: list[str]) -> None:
        """Count the time since the last turn to the stage that is open."""
        now = time.perf_counter()
        if names:
            self.add(names[-1], now - self._open.since)
        self._open.since = now


def stage_seconds(counts: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by stage from sums over shards; stages that were not measured are left out."""
    return {name: float(counts[f"{name}_s"]) for name in STAGES if f"{name}_s" in counts}
