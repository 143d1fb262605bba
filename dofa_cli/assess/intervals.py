"""95 % intervals: scores of the test labels as they would be, had other blocks of ground been labelled.

Neighbouring labels are alike, so single ones tell less than they seem to. What is drawn again and again, with
replacement, is therefore whole blocks: a percentile bootstrap (Efron & Tibshirani 1993, chapter 13) over blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], dict[str, Floats]]
"""From sums of blocks (resamples, …) to scores by name (resamples, …)."""
LEVEL = 0.95
RESAMPLES = 1000
FEWEST = 5
"""Intervals of fewer blocks are too narrow to be trusted."""
GROUPS = 500
"""Samples without blocks are dealt into at most so many groups."""
_AT_ONCE = 50
_AGREE = 1e-9
"""Scores that differ by less, as a share of themselves, differ by rounding."""


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of a 95 % interval."""

    low: float
    high: float


def groups_of(count: int, blocks: NDArray[Any] | None, seed: int) -> NDArray[np.int64]:
    """Return the group 0 … B−1 of each of ``count`` samples: its block or, without blocks, one dealt at random.

    Up to :data:`GROUPS` samples are groups by themselves. Groups of independent samples are drawn in place of single
    ones, which gives nearly the same interval and costs no more for a million of them.
    """
    if blocks is not None:
        return np.unique(np.asarray(blocks).ravel(), return_inverse=True)[1].astype(np.int64)
    dealt = np.arange(count) % GROUPS
    return np.random.default_rng(seed).permutation(dealt).astype(np.int64)


def draws(blocks: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Return how often each block is drawn in each resample, (resamples, blocks); rows sum to ``blocks``."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), resamples)


def bootstrap(sums: Floats, statistic: Statistic, seed: int) -> dict[str, Floats]:
    """Return intervals (…, 2) of the scores that ``statistic`` makes of sums of blocks; ``sums`` are (blocks, …).

    An interval always holds the score of all blocks together. It is NaN where that is NaN, with fewer than two blocks,
    and where all resamples agree (nothing of a class is found in any block, or it lies in one block only): then blocks
    tell nothing of the doubt. A class drops out of the resamples that lack it, and out of their means, so that
    intervals of means over rare classes lean to one side.
    """
    whole = statistic(sums.sum(axis=0, keepdims=True))
    if len(sums) < 2:
        return {name: np.full((*value.shape[1:], 2), np.nan) for name, value in whole.items()}
    drawn = list(_resampled(sums, statistic, seed))
    return {name: limits(np.concatenate([one[name] for one in drawn]), whole[name][0]) for name in whole}


def limits(values: Floats, estimate: Floats) -> Floats:
    """Return the middle 95 % of ``values`` (resamples, …) as (…, 2), widened to hold ``estimate`` (…).

    It is NaN where the estimate is, or where all values agree.
    """
    outside = 50 * (1 - LEVEL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that no resample holds has no limits
        low, high = np.nanpercentile(values, [outside, 100 - outside], axis=0)
    low, high = np.fmin(low, estimate), np.fmax(high, estimate)
    told = high - low > _AGREE * np.maximum(np.abs(low), np.abs(high))
    return np.where(told[..., None], np.stack([low, high], axis=-1), np.nan)


def _resampled(sums: Floats, statistic: Statistic, seed: int) -> Iterator[dict[str, Floats]]:
    """Yield the scores of some resamples at a time, so that large matrices fit into memory."""
    flat = sums.reshape(len(sums), -1)
    counts = draws(len(sums), seed).astype(np.float64)
    for first in range(0, len(counts), _AT_ONCE):
        some = counts[first : first + _AT_ONCE]
        yield statistic((some @ flat).reshape(len(some), *sums.shape[1:]))


def explain(blocks: int, *, spatial: bool) -> str:
    """Say in a sentence what the intervals rest on, and how far they can be trusted."""
    unit = "blocks" if spatial else "random groups of samples"
    if blocks < 2:
        return f"No intervals: the test labels lie in one {'block' if spatial else 'group'} only."
    said = f"95 % intervals: bootstrap over {blocks} {unit}, {RESAMPLES} resamples."
    warned = f" With fewer than {FEWEST} they are too narrow: take them as a rough guess."
    return said + warned if blocks < FEWEST else said
