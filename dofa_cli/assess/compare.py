"""Several heads on the same samples: scores side by side, and whether a difference is more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.intervals import Interval, bootstrap, groups_of
from dofa_cli.assess.measured import METRICS, Measured, number, plain_intervals
from dofa_cli.assess.scores import ratio

Floats = NDArray[np.float64]
EXACT = 1000
"""McNemar's test counts every outcome for so few samples on which two heads differ."""


@dataclass(frozen=True)
class Table:
    """Scores of heads side by side: a row a head, a column a score; ``best`` are the (row, column) of the best ones."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]

    def text(self) -> str:
        """Return the table in aligned columns, the best scores marked with a star."""
        cells = [list(self.columns)]
        cells += [
            [cell + ("*" if (row, column) in self.best else " ") * (column > 0) for column, cell in enumerate(line)]
            for row, line in enumerate(self.rows)
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
        )


@dataclass(frozen=True)
class Duel:
    """Two heads on the same samples.

    ``only_first`` and ``only_second`` count samples that one of them alone gets right; ``p_value`` is McNemar's.
    ``difference`` is the overall accuracy of the first less that of the second, with its interval over blocks: trust
    that rather than ``p_value`` where samples lie side by side, since the test takes them to be independent.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    p_value: float
    difference: float
    interval: Interval | None

    def sentence(self) -> str:
        """Say it in words."""
        ends = self.interval
        told = f" (95 % interval {ends.low:+.3f} to {ends.high:+.3f})" if ends else ""
        return (
            f"{self.first} against {self.second}: overall accuracy {self.difference:+.3f}{told}; right alone on "
            f"{self.only_first:,} and {self.only_second:,} samples, McNemar p = {self.p_value:.2g}."
        )


@dataclass(frozen=True)
class Comparison:
    """Several heads: their scores side by side, and each pair of them."""

    table: Table
    duels: tuple[Duel, ...] = ()


def side_by_side(measured: Mapping[str, Measured]) -> Table:
    """Return the scores that all heads have."""
    first = next(iter(measured.values()))
    names = [name for name in first.values if all(name in one.values for one in measured.values())]
    rows = tuple((head, *(number(one.values[name]) for name in names)) for head, one in measured.items())
    best = frozenset(_best(list(measured.values()), names))
    return Table(("head", *(METRICS[name].title for name in names)), rows, best)


def _best(measured: list[Measured], names: list[str]) -> Iterator[tuple[int, int]]:
    for column, name in enumerate(names, start=1):
        values = np.array([one.values[name] for one in measured])
        merit = values if METRICS[name].larger_is_better else -np.abs(values)
        yield from ((row, column) for row in np.flatnonzero(merit == np.nanmax(merit, initial=-np.inf)).tolist())


def duels(
    reference: NDArray[Any],
    predictions: Mapping[str, NDArray[Any]],
    *,
    blocks: NDArray[Any] | None = None,
    seed: int = 0,
) -> tuple[Duel, ...]:
    """Compare every two heads on the samples (class indices) that have a reference and a prediction of both."""
    truth = np.ravel(reference)
    place = groups_of(len(truth), blocks, seed)
    return tuple(_duel(truth, place, one, other, seed) for one, other in combinations(predictions.items(), 2))


def _duel(
    truth: NDArray[Any],
    place: NDArray[np.int64],
    one: tuple[str, NDArray[Any]],
    other: tuple[str, NDArray[Any]],
    seed: int,
) -> Duel:
    first, second = np.ravel(one[1]), np.ravel(other[1])
    kept = (truth >= 0) & (first >= 0) & (second >= 0)
    right, also = (first == truth)[kept], (second == truth)[kept]
    terms = np.stack([right & ~also, also & ~right, np.ones_like(right)], axis=-1)
    sums = np.zeros((int(place.max(initial=0)) + 1, 3))
    np.add.at(sums, place[kept], terms)
    sums = sums[sums[:, 2] > 0]
    ends = plain_intervals(bootstrap(sums, _difference, seed))
    ahead, behind, _ = sums.sum(axis=0)
    difference = float(_difference(sums.sum(axis=0))["difference"])
    p_value = mcnemar(int(ahead), int(behind))
    return Duel(one[0], other[0], int(ahead), int(behind), p_value, difference, ends.get("difference"))


def _difference(sums: Floats) -> dict[str, Floats]:
    return {"difference": ratio(sums[..., 0] - sums[..., 1], sums[..., 2])}


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value that two heads are equally good, from the samples that one alone gets right.

    The exact binomial test up to :data:`EXACT` such samples, above that the χ² test with continuity correction
    (McNemar 1947, Psychometrika 12; Edwards 1948).
    """
    differ = only_first + only_second
    if differ > EXACT:
        return math.erfc(math.sqrt(max(abs(only_first - only_second) - 1, 0) ** 2 / differ / 2))
    tail = sum(math.comb(differ, wins) for wins in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / int(2**differ))
