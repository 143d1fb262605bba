"""Networks that are opened once while many scenes follow each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

MOST = 4
"""Networks held: weights, and encoders for a few lists of wavelengths on them."""
T = TypeVar("T")


class _Kept:
    """What is held, the longest unused first; nothing outside :func:`networks_kept`."""

    def __init__(self) -> None:
        self.users = 0
        self.lock = RLock()
        self.held: OrderedDict[Hashable, Any] = OrderedDict()


_kept = _Kept()


@contextmanager
def networks_kept() -> Iterator[None]:
    """Hold what :func:`kept` opens while the body runs; threads share it."""
    with _kept.lock:
        _kept.users += 1
    try:
        yield
    finally:
        with _kept.lock:
            _kept.users -= 1
            if not _kept.users:
                _kept.held.clear()


def kept(key: Hashable, opened: Callable[[], T]) -> T:
    """Return what is held under ``key``, else what ``opened`` gives; ``key`` must tell it from all others.

    What is held is shared, so it must not be changed by those who use it.
    """
    if not _kept.users:
        return opened()
    with _kept.lock:
        if key not in _kept.held:
            _kept.held[key] = opened()
        _kept.held.move_to_end(key)
        while len(_kept.held) > MOST:
            _kept.held.popitem(last=False)
        found: T = _kept.held[key]
        return found
