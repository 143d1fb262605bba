"""Scores by name, and thresholds that an evaluation must meet."""

from __future__ import annotations

import math
from difflib import get_close_matches

from dofa_cli.assess.measured import METRICS, Measured, number
from dofa_cli.errors import BelowThreshold, OptionError

_SHORT = {
    "accuracy": "overall_accuracy",
    "oa": "overall_accuracy",
    "miou": "mean_iou",
    "iou": "mean_iou",
    "f1": "mean_f1",
    "map": "mean_average_precision",
}
"""What people type."""


def metric_named(measured: Measured, name: str) -> str:
    """Return the full name of a score that was measured: ``oa`` and ``Mean IoU`` are understood.

    Raises :class:`OptionError` with a suggestion when there is none of that name.
    """
    typed = name.strip().lower().replace("-", "_").replace(" ", "_")
    wanted = typed if typed in measured.values else _SHORT.get(typed, typed)
    if wanted in measured.values:
        return wanted
    near = get_close_matches(wanted, measured.values, n=1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    raise OptionError(f"No score '{name}': {meant}There are {', '.join(measured.values)}.")


def value_of(measured: Measured, name: str) -> float:
    """Return a score by its name, NaN where it is not defined; raises :class:`OptionError` for an unknown one."""
    return measured.values[metric_named(measured, name)]


def check_threshold(measured: Measured, name: str, threshold: float) -> None:
    """Raise :class:`BelowThreshold` when a score is worse than ``threshold``, or is not defined.

    Errors (``rmse``, ``mae``, ``bias`` of either sign) must not be above it, all other scores not under it.
    """
    name = metric_named(measured, name)
    metric, value = METRICS[name], measured.values[name]
    if math.isnan(value):
        raise BelowThreshold(f"{metric.title} is not defined for these labels, so it cannot reach {threshold:g}.")
    if metric.larger_is_better and value < threshold:
        raise BelowThreshold(f"{metric.title} is {number(value)}, under the threshold of {threshold:g}.")
    if not metric.larger_is_better and abs(value) > threshold:
        raise BelowThreshold(f"{metric.title} is {number(value)}, over the threshold of {threshold:g}.")
