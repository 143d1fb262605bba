"""End a long run between two steps: when its time is up, or when somebody asks by a signal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class Stop:
    """Whether to end: ``deadline`` is a time of the clock that counts seconds, ``signal`` the one that was received."""

    deadline: float | None
    signal: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether time is up or somebody asked."""
        return self.signal is not None or (self.deadline is not None and time.perf_counter() >= self.deadline)


@contextmanager
def stop_signals(minutes: float | None) -> Iterator[Stop]:
    """Turn the first Ctrl-C or termination into a wish to stop; a second one acts as it would have."""
    stop = Stop(None if minutes is None else time.perf_counter() + 60 * minutes)
    before: dict[int, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
