"""Seconds of a call, repeated until they can be trusted, on processors and on graphics cards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

LEAST_ROUNDS = 3
SHORTEST_ROUND = 0.01
"""Seconds of a round: so long that neither the clock nor the start of a device's work counts."""


@dataclass(frozen=True)
class Seconds:
    """Seconds a call: the quickest round's, and the median."""

    best: float
    median: float


def measured(action: Callable[[], object], device: torch.device, budget: float) -> Seconds:
    """Call ``action`` again and again for about ``budget`` seconds, after one call to warm up."""
    return side_by_side([action], device, budget)[0]


def side_by_side(actions: Sequence[Callable[[], object]], device: torch.device, budget: float) -> list[Seconds]:
    """Measure ``actions`` in turn, for about ``budget`` seconds each, so that a busy machine slows all of them."""
    finish = synchroniser(device)
    for action in actions:
        action()
    finish()
    calls = [max(1, round(SHORTEST_ROUND / max(_seconds(action, 1, finish), 1e-9))) for action in actions]
    rounds: list[list[float]] = []
    ends = time.perf_counter() + budget * len(actions)
    while len(rounds) < LEAST_ROUNDS or time.perf_counter() < ends:
        rounds.append([_seconds(action, count, finish) for action, count in zip(actions, calls, strict=True)])
    return [Seconds(min(own), statistics.median(own)) for own in zip(*rounds, strict=True)]


def synchroniser(device: torch.device) -> Callable[[], object]:
    """Return what waits until a device has done all that it was given."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else lambda: None


def _seconds(action: Callable[[], object], calls: int, finish: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        action()
    finish()
    return (time.perf_counter() - started) / calls
