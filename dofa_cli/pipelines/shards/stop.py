"""Stop a run by Ctrl-C or termination so that it can be continued."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from dofa_cli.errors import Interrupted

GO_ON = "What is finished is kept; the same command goes on from there."


class Stop:
    """Whether somebody asked by a signal; one for the whole process, as signals are."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.listeners = 0

    @property
    def is_asked(self) -> bool:
        """Whether a first signal has come."""
        return self.signal is not None


_stop = Stop()


def stop_asked() -> bool:
    """Whether the process was asked to stop, inside :func:`stoppable`."""
    return _stop.is_asked


def check_stop() -> None:
    """Raise :class:`Interrupted` if the process was asked to stop."""
    if _stop.is_asked:
        raise Interrupted(f"Stopped by {_name()}. {GO_ON}")


@contextmanager
def stoppable(say: Callable[[str], object] = lambda _: None) -> Iterator[None]:
    """Turn the first Ctrl-C or termination into a wish that :func:`check_stop` heeds; a second one stops at once.

    Both end in :class:`Interrupted`. Inside another ``stoppable`` it is the outer one's affair; outside the main
    thread, which alone hears signals, it only passes on. A wish that comes when all is done is forgotten.
    """
    if _stop.listeners or threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        if _stop.is_asked:
            raise KeyboardInterrupt
        _stop.signal = number
        with suppress(RuntimeError):  # where the signal came in the middle of writing to the same stream
            say(f"{_name()}: stopping after the shard at work. Once more stops at once.")

    _stop.listeners, _stop.signal = 1, None
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped at once by {_name()}. {GO_ON}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.listeners, _stop.signal = 0, None


@contextmanager
def not_stoppable() -> Iterator[None]:
    """Leave signals as they are inside: for runs whose output is thrown away, so that nothing could be continued."""
    _stop.listeners += 1
    try:
        yield
    finally:
        _stop.listeners -= 1


def _name() -> str:
    return "a signal" if _stop.signal is None else signal.Signals(_stop.signal).name
