"""One class a sample: a map against its reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.confusion import Confusion
from dofa_cli.assess.intervals import bootstrap, explain, groups_of
from dofa_cli.assess.measured import Kind, Measured, class_rows, listed, plain_intervals
from dofa_cli.assess.scores import class_scores, overall_scores
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels

Floats = NDArray[np.float64]
RARE = 30
"""Scores of classes with fewer test samples are said to be unsure."""


def assess(
    reference: NDArray[Any],
    predicted: NDArray[Any],
    classes: ClassTable,
    *,
    blocks: NDArray[Any] | None = None,
    seed: int = 0,
) -> Measured:
    """Return scores and intervals of class indices, negative where there is none; ``blocks`` are those of the samples.

    Raises :class:`TooFewLabels` when no sample has both a reference and a prediction.
    """
    count = int(np.size(reference))
    counted = Confusion(len(classes))
    counted.add(np.ravel(reference), np.ravel(predicted), blocks=groups_of(count, blocks, seed))
    return assess_counts(counted, classes, spatial=blocks is not None, seed=seed)


def assess_counts(counted: Confusion, classes: ClassTable, *, spatial: bool = True, seed: int = 0) -> Measured:
    """Return scores and intervals of what was counted, block by block; ``spatial`` says that blocks lie on the ground.

    Raises :class:`TooFewLabels` when nothing was counted.
    """
    sums, total = counted.by_block, counted.counts
    if not total.sum():
        raise TooFewLabels("No test label has a prediction. Give labels that lie on valid pixels of the scene.")
    overall = {name: float(value) for name, value in overall_scores(total).items()}
    margins = (total.sum(axis=1), total.sum(axis=0))
    return Measured(
        Kind.CLASSES,
        round(float(total.sum())),
        overall,
        plain_intervals(bootstrap(sums, overall_scores, seed)),
        explain(len(sums), spatial=spatial),
        tuple(_notes(counted, total, classes)),
        class_rows(classes, margins, class_scores(total), bootstrap(sums, class_scores, seed)),
        total,
    )


def _notes(counted: Confusion, total: Floats, classes: ClassTable) -> Iterator[str]:
    reference, predicted = total.sum(axis=1), total.sum(axis=0)
    named = np.asarray(classes.names, object)
    missing = named[(reference == 0) & (predicted > 0)]
    absent = named[(reference == 0) & (predicted == 0)]
    unseen = named[(reference > 0) & (predicted == 0)]
    rare = named[(reference > 0) & (reference < RARE)]
    if len(missing):
        yield f"Predicted, but without test labels, so left out of the means: {listed(missing)}."
    if len(absent):
        yield f"Neither in the test labels nor predicted: {listed(absent)}."
    if len(unseen):
        yield f"In the test labels, but never predicted: {listed(unseen)}."
    if len(rare):
        yield f"Fewer than {RARE} test labels, so scores are unsure: {listed(rare)}."
    if (reference > 0).sum() == 1:
        yield "The test labels are all of one class: accuracy says little."
    if counted.unmapped:
        yield f"{counted.unmapped:,} test labels lie where there is no prediction; they do not count."
