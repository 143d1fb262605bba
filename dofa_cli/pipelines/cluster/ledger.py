"""The account of one run on a cluster: which shards are missing, how often each failed, how long one may take."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from dofa_cli.errors import (
    BandMismatch,
    DofaError,
    GridError,
    HeadError,
    NoBands,
    OptionError,
    OutputError,
    RunDiffers,
    ScaleMismatch,
    SensorError,
    SomeFailed,
    WeightsError,
)

ATTEMPTS = 3
"""Failures after which a shard is given up."""
SHOWN = 3
"""Failed shards that a message describes; the others are counted."""
FINAL = (
    OptionError,
    NoBands,
    BandMismatch,
    ScaleMismatch,
    GridError,
    SensorError,
    WeightsError,
    HeadError,
    OutputError,
    RunDiffers,
)
"""Errors that every shard would meet, and that another attempt would not mend."""


@dataclass(frozen=True)
class Limits:
    """How long a shard may take, in seconds: ``times`` the usual one, ``least`` at least; ``first`` while none is."""

    least: float = 60.0
    times: float = 10.0
    first: float = 1800.0


class Ledger:
    """Shards ``missing``, given up (``failed``), and seconds that others took."""

    def __init__(self, numbers: Iterable[int], limits: Limits) -> None:
        self.missing = set(numbers)
        self.failed: dict[int, DofaError] = {}
        self.failures: Counter[int | None] = Counter()
        self.limits = limits
        self.seconds: deque[float] = deque(maxlen=1000)

    def finish(self, number: int, seconds: float | None = None) -> bool:
        """Book a finished shard; ``False`` where it was booked before. One that was given up counts after all."""
        if seconds is not None:
            self.seconds.append(seconds)
        known = number in self.missing or number in self.failed
        self.missing.discard(number)
        self.failed.pop(number, None)
        return known

    def fail(self, number: int | None, error: DofaError) -> bool:
        """Book a failure of a shard, or without a number of opening the work; whether to try again."""
        self.failures[number] += 1
        if number is not None and number not in self.missing:
            return False
        again = not self.is_final(error) and self.failures[number] < ATTEMPTS
        if number is not None and not again:
            self.missing.discard(number)
            self.failed[number] = error
        return again

    @staticmethod
    def is_final(error: DofaError) -> bool:
        """Whether every shard would meet this error, at every attempt."""
        return isinstance(error, FINAL)

    @property
    def patience(self) -> float:
        """Seconds after which a shard at work counts as hanging."""
        if not self.seconds:
            return self.limits.first
        return max(self.limits.least, self.limits.times * median(self.seconds))

    def left_of(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Return those of some shards that are missing, in their order."""
        return tuple(number for number in numbers if number in self.missing)

    def raise_failures(self, total: int, where: dict[int, str]) -> None:
        """Raise :class:`SomeFailed` if any shard of ``total`` was given up; ``where`` describes the shards' places."""
        if not self.failed:
            return
        shown = [f"shard {number}{where.get(number, '')}: {error}" for number, error in sorted(self.failed.items())]
        more = f" And {len(shown) - SHOWN} more." if len(shown) > SHOWN else ""
        raise SomeFailed(
            f"{len(shown)} of {total} shards failed: {' | '.join(shown[:SHOWN])}{more} "
            "The others are kept; the same command tries these again."
        )


def neighbours(numbers: Sequence[int], longest: int) -> list[tuple[int, ...]]:
    """Cut shard numbers into runs of consecutive ones of at most ``longest``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and len(runs[-1]) < longest and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [tuple(run) for run in runs]
