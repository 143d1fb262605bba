"""Several labels a sample: an image may be of many classes at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.intervals import bootstrap, draws, explain, groups_of, limits
from dofa_cli.assess.measured import Kind, Measured, class_rows, listed, plain_intervals
from dofa_cli.assess.scores import Scores, ratio
from dofa_cli.assess.single import RARE
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
THRESHOLD = 0.5
"""Labels of a higher probability are given."""
RESAMPLES = 200
"""Resamples for average precision, which must look at every sample again."""


def assess_several(
    reference: NDArray[Any],
    probabilities: NDArray[Any],
    classes: ClassTable,
    *,
    blocks: NDArray[Any] | None = None,
    seed: int = 0,
) -> Measured:
    """Return scores and intervals of samples' labels (n, K), true or false, and their probabilities (n, K).

    F1 is that of labels of probability ≥ 0.5; average precision needs no threshold. Raises :class:`TooFewLabels`
    without samples, or when none has a label.
    """
    truth, chances = np.asarray(reference, bool), np.asarray(probabilities, np.float64)
    if not truth.any():
        raise TooFewLabels("No test sample has a label. Give a table of which some rows name classes.")
    given = chances >= THRESHOLD
    groups = groups_of(len(truth), blocks, seed)
    sums = _sums(truth, given, groups)
    whole = sums.sum(axis=0)
    ordered = Ordered(truth, chances)
    ranked, ends = ordered.scores(np.ones(len(truth))), _ranked_intervals(ordered, groups, seed)
    single = {**_class_scores(whole), "average_precision": ranked["average_precision"]}
    overall = {**_overall_scores(whole), **{name: ranked[name] for name in _RANKED}}
    each_end = {**bootstrap(sums, _class_scores, seed), "average_precision": ends["average_precision"]}
    all_ends = {**bootstrap(sums, _overall_scores, seed), **{name: ends[name] for name in _RANKED}}
    return Measured(
        Kind.SEVERAL,
        len(truth),
        {name: float(value) for name, value in overall.items()},
        plain_intervals(all_ends),
        explain(len(sums), spatial=blocks is not None),
        tuple(_notes(truth, given, classes)),
        class_rows(classes, (truth.sum(axis=0), given.sum(axis=0)), single, each_end),
    )


_RANKED = ("mean_average_precision", "micro_average_precision")


def _sums(truth: Bools, given: Bools, groups: NDArray[np.int64]) -> Floats:
    """Return counts (blocks, K + 1, 3): hits, labels of the reference and labels given, by class.

    The last row holds exact matches and, twice, samples.
    """
    exact = (truth == given).all(axis=1)[:, None]
    hits = np.hstack([truth & given, exact])
    every = np.ones_like(exact)
    terms = np.stack([hits, np.hstack([truth, every]), np.hstack([given, every])], axis=-1)
    sums = np.zeros((int(groups.max()) + 1, *terms.shape[1:]))
    np.add.at(sums, groups, terms)
    return sums


def _class_scores(sums: Floats) -> Scores:
    """Return precision, recall and F1 (…, K) of sums (…, K + 1, 3)."""
    hits, reference, given = np.moveaxis(sums[..., :-1, :], -1, 0)
    return {
        "precision": ratio(hits, given),
        "recall": ratio(hits, reference),
        "f1": ratio(2 * hits, np.where(reference > 0, reference + given, 0)),
    }


def _overall_scores(sums: Floats) -> Scores:
    """Return F1 of all labels together (micro), its mean over labels that occur (macro), the share of exact rows."""
    hits, reference, given = np.moveaxis(sums[..., :-1, :], -1, 0)
    held = reference > 0
    each = np.where(held, _class_scores(sums)["f1"], 0).sum(axis=-1)
    return {
        "micro_f1": ratio(2 * hits.sum(axis=-1), (reference + given).sum(axis=-1)),
        "macro_f1": ratio(each, held.sum(axis=-1)),
        "exact_match": ratio(sums[..., -1, 0], sums[..., -1, 1]),
    }


class Ordered:
    """Samples sorted once by probability, so that average precision under other weights costs no sorting."""

    def __init__(self, truth: Bools, chances: Floats) -> None:
        count, classes = truth.shape
        flat = np.repeat(np.arange(count), classes)
        columns = [(truth[:, at], chances[:, at], np.arange(count)) for at in range(classes)]
        self._ranked = [_rank(*column) for column in (*columns, (truth.ravel(), chances.ravel(), flat))]

    def scores(self, weights: Floats) -> Scores:
        """Return average precision by class (K,), its mean over labels that occur, and that of all together.

        It is the mean precision at each recall, Σ (Rₙ − Rₙ₋₁) Pₙ over thresholds (Zhu 2004, University of Waterloo).
        """
        values = np.array([_average_precision(*ranked, weights) for ranked in self._ranked])
        held = np.isfinite(values[:-1])
        return {
            "average_precision": values[:-1],
            "mean_average_precision": ratio(values[:-1][held].sum(), held.sum()),
            "micro_average_precision": values[-1],
        }


def _rank(truth: Bools, chances: Floats, samples: NDArray[np.int64]) -> tuple[Bools, NDArray[Any], NDArray[np.int64]]:
    """Return truth and sample numbers by falling probability, and where each run of equal probabilities ends."""
    order = np.argsort(-chances, kind="stable")
    falls = np.flatnonzero(np.diff(chances[order]))
    return truth[order], samples[order], np.append(falls, len(order) - 1)


def _average_precision(truth: Bools, samples: NDArray[Any], ends: NDArray[np.int64], weights: Floats) -> float:
    each = weights[samples]
    hits, given = np.cumsum(each * truth)[ends], np.cumsum(each)[ends]
    if not hits[-1]:
        return float("nan")
    return float((np.diff(hits, prepend=0) * ratio(hits, given))[given > 0].sum() / hits[-1])


def _ranked_intervals(ordered: Ordered, groups: NDArray[np.int64], seed: int) -> Scores:
    blocks = int(groups.max()) + 1
    whole = ordered.scores(np.ones(len(groups)))
    if blocks < 2:
        return {name: np.full((*np.shape(value), 2), np.nan) for name, value in whole.items()}
    drawn = [ordered.scores(counts[groups].astype(np.float64)) for counts in draws(blocks, seed, RESAMPLES)]
    return {name: limits(np.stack([one[name] for one in drawn]), value) for name, value in whole.items()}


def _notes(truth: Bools, given: Bools, classes: ClassTable) -> Iterator[str]:
    named, many = np.asarray(classes.names, object), truth.sum(axis=0)
    absent, unseen = named[many == 0], named[(many > 0) & ~given.any(axis=0)]
    rare = named[(many > 0) & (many < RARE)]
    if len(absent):
        yield f"Without test samples, so left out of the means: {listed(absent)}."
    if len(unseen):
        yield f"In the test samples, but never given: {listed(unseen)}."
    if len(rare):
        yield f"Fewer than {RARE} test samples, so scores are unsure: {listed(rare)}."
