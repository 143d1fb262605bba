"""What an assessment measures, in one form for classes, several labels and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.intervals import Interval
from dofa_cli.classes import ClassTable, Rgb

Floats = NDArray[np.float64]


class Kind(StrEnum):
    """What is compared: one class a sample, several labels a sample, or numbers."""

    CLASSES = "classes"
    SEVERAL = "several"
    NUMBERS = "numbers"


@dataclass(frozen=True)
class Metric:
    """How a score is written, and whether more of it is better."""

    title: str
    larger_is_better: bool = True


METRICS = {
    "overall_accuracy": Metric("overall accuracy"),
    "mean_iou": Metric("mean IoU"),
    "mean_f1": Metric("mean F1"),
    "balanced_accuracy": Metric("balanced accuracy"),
    "kappa": Metric("kappa"),
    "boundary_f1": Metric("boundary F1"),
    "micro_f1": Metric("F1, all labels together"),
    "macro_f1": Metric("F1, mean of labels"),
    "micro_average_precision": Metric("average precision, all labels together"),
    "mean_average_precision": Metric("mean average precision"),
    "exact_match": Metric("all labels right"),
    "rmse": Metric("RMSE", larger_is_better=False),
    "mae": Metric("MAE", larger_is_better=False),
    "r2": Metric("R²"),
    "bias": Metric("bias", larger_is_better=False),
    "precision": Metric("precision (user's accuracy)"),
    "recall": Metric("recall (producer's accuracy)"),
    "f1": Metric("F1"),
    "iou": Metric("IoU"),
    "average_precision": Metric("average precision"),
}
"""Every score by its name."""


@dataclass(frozen=True)
class ClassRow:
    """Scores of one class: how many samples are of it by ``reference`` and by ``predicted``, scores and intervals."""

    name: str
    colour: Rgb
    reference: float
    predicted: float
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class Measured:
    """Scores by name with their 95 % intervals; NaN where a score is not defined.

    ``samples`` were compared. ``confusion`` (K, K) has the reference in rows and is ``None`` but for
    :attr:`Kind.CLASSES`; ``pairs`` (2, n) are some reference and predicted numbers of :attr:`Kind.NUMBERS`.
    ``uncertainty`` says what the intervals rest on, ``notes`` what the reader must know (classes missing, rare…).
    """

    kind: Kind
    samples: int
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]
    uncertainty: str
    notes: tuple[str, ...] = ()
    rows: tuple[ClassRow, ...] = ()
    confusion: Floats | None = None
    pairs: Floats | None = field(default=None, repr=False)
    unit: str = ""

    def with_value(self, name: str, value: float) -> Measured:
        """Return a copy that has one more score, without an interval."""
        return replace(self, values={**self.values, name: float(value)})

    def headline(self) -> str:
        """Return the first two scores with their intervals, on one line."""
        told = list(self.values)[:2]
        return ", ".join(f"{METRICS[name].title} {self.written(name)}" for name in told)

    def written(self, name: str) -> str:
        """Return a score and its interval as text: ``0.871 (0.84 to 0.90) t/ha``."""
        unit = f" {self.unit}" if self.unit and name != "r2" else ""
        return with_interval(self.values[name], self.intervals.get(name)) + unit


def with_interval(value: float, interval: Interval | None) -> str:
    """Return a number with its interval in brackets where there is one."""
    if interval is None or not np.isfinite([interval.low, interval.high]).all():
        return number(value)
    return f"{number(value)} ({number(interval.low)} to {number(interval.high)})"


def number(value: float) -> str:
    """Return a score in three decimals, large numbers in four digits, a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    return f"{value + 0.0:.3f}" if abs(value) < 10 else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def class_rows(
    classes: ClassTable,
    margins: tuple[Floats, Floats],
    scores: Mapping[str, Floats],
    intervals: Mapping[str, Floats],
) -> tuple[ClassRow, ...]:
    """Return a row a class of arrays: ``margins`` (K,) by reference and prediction, scores (K,), intervals (K, 2)."""
    return tuple(
        ClassRow(
            name,
            classes.colours[at],
            float(margins[0][at]),
            float(margins[1][at]),
            {score: float(values[at]) for score, values in scores.items()},
            {score: _interval(ends[at]) for score, ends in intervals.items() if np.isfinite(ends[at]).all()},
        )
        for at, name in enumerate(classes.names)
    )


def plain_intervals(intervals: Mapping[str, Floats]) -> dict[str, Interval]:
    """Return those of arrays (2,) that are numbers."""
    return {name: _interval(ends) for name, ends in intervals.items() if np.isfinite(ends).all()}


def _interval(ends: Floats) -> Interval:
    return Interval(float(ends[0]), float(ends[1]))


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names with commas, the number of those left out at the end."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
