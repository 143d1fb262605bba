"""Scores of a confusion matrix whose rows are the reference and whose columns are the map.

All functions take matrices (…, K, K), so that those of many resamples are scored at once. A score that divides by
nothing is NaN: precision of a class that is never predicted, recall of one that has no reference. F1 and IoU of the
latter are NaN too, since nothing tells how well it is found; where it is predicted, the other classes lose recall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scores = dict[str, Floats]


def class_scores(matrix: Floats) -> Scores:
    """Return precision, recall, F1 and IoU of each class, (…, K).

    Precision is user's accuracy and recall is producer's accuracy (Congalton 1991, Remote Sensing of Environment 37);
    F1 is their harmonic mean (van Rijsbergen 1979) and IoU is Jaccard's index of the two sets of samples (1912).
    """
    hits, reference, predicted = _margins(matrix)
    either = np.where(reference > 0, reference + predicted, 0)
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, reference),
        "f1": ratio(2 * hits, either),
        "iou": ratio(hits, either - hits),
    }


def overall_scores(matrix: Floats) -> Scores:
    """Return overall and balanced accuracy, kappa, mean IoU and mean F1, each (…).

    Means are over the classes that the reference holds. Kappa is (p − e) / (1 − e), with e the agreement that the
    margins give by chance (Cohen 1960, Educational and Psychological Measurement 20), NaN where e is 1. Balanced
    accuracy is mean recall (Brodersen et al. 2010, ICPR).
    """
    hits, reference, predicted = _margins(matrix)
    total = reference.sum(axis=-1)
    agreed = ratio(hits.sum(axis=-1), total)
    chance = ratio((reference * predicted).sum(axis=-1), total**2)
    each = class_scores(matrix)
    held = reference > 0
    return {
        "overall_accuracy": agreed,
        "mean_iou": _mean(each["iou"], held),
        "mean_f1": _mean(each["f1"], held),
        "balanced_accuracy": _mean(each["recall"], held),
        "kappa": ratio(agreed - chance, 1 - chance),
    }


def _margins(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the diagonal, and how many samples are of each class by reference and by prediction."""
    hits = np.asarray(np.diagonal(matrix, axis1=-2, axis2=-1), np.float64)
    return hits, np.asarray(matrix.sum(axis=-1)), np.asarray(matrix.sum(axis=-2))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, NaN where there is no whole."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _mean(values: Floats, held: NDArray[np.bool_]) -> Floats:
    return ratio(np.where(held, values, 0).sum(axis=-1), held.sum(axis=-1))
