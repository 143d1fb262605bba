"""Numbers: predictions against reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.intervals import bootstrap, explain, groups_of
from dofa_cli.assess.measured import Kind, Measured, plain_intervals
from dofa_cli.errors import TooFewLabels

Floats = NDArray[np.float64]
SHOWN = 20000
"""Most pairs of numbers that are kept for a figure."""


def assess_numbers(
    reference: NDArray[Any],
    predicted: NDArray[Any],
    *,
    blocks: NDArray[Any] | None = None,
    seed: int = 0,
    unit: str = "",
) -> Measured:
    """Return RMSE, MAE, R² and bias with intervals; samples that are not finite on either side do not count.

    Raises :class:`TooFewLabels` when no sample is left.
    """
    truth, given = (np.ravel(numbers).astype(np.float64) for numbers in (reference, predicted))
    kept = np.isfinite(truth) & np.isfinite(given)
    if not kept.any():
        raise TooFewLabels("No test number has a prediction. Give labels that lie on valid pixels of the scene.")
    place = None if blocks is None else np.ravel(blocks)[kept]
    unmapped = int((np.isfinite(truth) & ~kept).sum())
    truth, given = truth[kept], given[kept]
    sums = _sums(truth, given, groups_of(len(truth), place, seed))
    some = np.sort(np.random.default_rng(seed).permutation(len(truth))[:SHOWN])
    return Measured(
        Kind.NUMBERS,
        len(truth),
        {name: float(value) for name, value in _scores(sums.sum(axis=0)).items()},
        plain_intervals(bootstrap(sums, _scores, seed)),
        explain(len(sums), spatial=blocks is not None),
        (f"{unmapped:,} test numbers lie where there is no prediction; they do not count.",) if unmapped else (),
        pairs=np.stack([truth[some], given[some]]),
        unit=unit,
    )


def _sums(truth: Floats, given: Floats, groups: NDArray[np.int64]) -> Floats:
    """Return what the scores are made of, (blocks, 6): n, Σe, Σ|e|, Σe², Σy, Σy².

    y is taken from its mean, so that its variance is no difference of two large numbers.
    """
    error, level = given - truth, truth - truth.mean()
    terms = (np.ones_like(truth), error, np.abs(error), error**2, level, level**2)
    return np.stack([np.bincount(groups, term) for term in terms], axis=-1)


def _scores(sums: Floats) -> dict[str, Floats]:
    """Return the scores of sums (…, 6). Bias is the mean of prediction − reference.

    R² is 1 − Σe² / Σ(y − mean)², NaN where the reference does not vary; it is negative for predictions worse than the
    mean.
    """
    count, error, distance, squares, level, levels = np.moveaxis(sums, -1, 0)
    spread = levels - level**2 / count
    varies = spread > 1e-12 * np.maximum(levels, 1e-300)
    share = np.divide(squares, spread, out=np.full(np.shape(spread), np.nan), where=varies)
    return {"rmse": np.sqrt(squares / count), "mae": distance / count, "r2": 1 - share, "bias": error / count}
