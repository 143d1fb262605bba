"""How well the borders of classes lie, counted tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from dofa_cli.assess.scores import ratio

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
TOLERANCE_PX = 2.0
"""Borders this far apart, in pixels, are taken as one."""


@dataclass(frozen=True)
class BoundaryCounts:
    """Border pixels by class, (4, K): reference, those of them found, map, those of them right. They add up."""

    counts: Floats

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(self.counts + other.counts)

    @property
    def f1(self) -> Floats:
        """Boundary F1 of each class (K,): NaN where the reference has no border of it, 0 where the map has none.

        The harmonic mean of the shares of border pixels that have a border of the same class on the other side within
        the tolerance (Csurka et al. 2013, BMVC).
        """
        reference, found, given, right = self.counts
        recall, precision = ratio(found, reference), np.nan_to_num(ratio(right, given))
        return np.where(reference > 0, np.nan_to_num(ratio(2 * recall * precision, recall + precision)), np.nan)

    @property
    def mean_f1(self) -> float:
        """The mean over classes with a border in the reference, NaN where there is none."""
        values = self.f1[np.isfinite(self.f1)]
        return float(values.mean()) if len(values) else float("nan")


def boundary_counts(
    reference: NDArray[Any], predicted: NDArray[Any], classes: int, tolerance_px: float = TOLERANCE_PX
) -> BoundaryCounts:
    """Count border pixels of two maps (height, width) of class indices, negative where there is none.

    A border pixel has one of another class beside, over or under it. Where either map has no class there are no
    borders, so that the rim of a labelled polygon is none. Borders at the edge of a tile see that tile only.
    """
    known = (np.asarray(reference) >= 0) & (np.asarray(predicted) >= 0)
    truth, given = (_borders(np.asarray(classes_), known) for classes_ in (reference, predicted))
    counts = np.zeros((4, classes))
    for index in range(classes):
        true, drawn = truth & (reference == index), given & (predicted == index)
        counts[:, index] = true.sum(), _near(true, drawn, tolerance_px), drawn.sum(), _near(drawn, true, tolerance_px)
    return BoundaryCounts(counts)


def boundary_f1(
    reference: NDArray[Any], predicted: NDArray[Any], classes: int, tolerance_px: float = TOLERANCE_PX
) -> float:
    """Return the mean boundary F1 over classes, as :func:`boundary_counts` counts them."""
    return boundary_counts(reference, predicted, classes, tolerance_px).mean_f1


def _borders(indices: NDArray[Any], known: Bools) -> Bools:
    """Return the pixels that have a neighbour of another class, both known."""
    down = (indices[1:] != indices[:-1]) & known[1:] & known[:-1]
    right = (indices[:, 1:] != indices[:, :-1]) & known[:, 1:] & known[:, :-1]
    found = np.zeros(indices.shape, bool)
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found


def _near(these: Bools, others: Bools, tolerance_px: float) -> int:
    """Return how many of ``these`` pixels have one of the ``others`` within the tolerance."""
    if not (these.any() and others.any()):
        return 0
    return int((distance_transform_edt(~others)[these] <= tolerance_px).sum())
