"""Confusion matrices, added up piece by piece and block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Confusion:
    """Counts of samples by reference (rows) and predicted class (columns), one matrix a block.

    ``classes`` is their number K. ``unlabelled`` counts samples without a reference, ``unmapped`` those that have one
    but no prediction; neither is in the matrices.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.unlabelled = 0
        self.unmapped = 0
        self._blocks: dict[int, Floats] = {}

    def add(
        self,
        reference: NDArray[Any],
        predicted: NDArray[Any],
        *,
        blocks: NDArray[Any] | int = 0,
        weights: NDArray[Any] | None = None,
    ) -> None:
        """Add samples: class indices of any one shape, negative where there is none; the block of each, and its weight.

        Blocks are whole numbers of any size; one number stands for all samples.
        """
        labelled = np.asarray(reference) >= 0
        kept = labelled & (np.asarray(predicted) >= 0)
        self.unlabelled += int((~labelled).sum())
        self.unmapped += int((labelled & ~kept).sum())
        found, at = np.unique(np.broadcast_to(blocks, kept.shape)[kept], return_inverse=True)
        rows, columns = (np.asarray(indices)[kept].astype(np.int64) for indices in (reference, predicted))
        assert max(rows.max(initial=0), columns.max(initial=0)) < self.classes
        cells = (at * self.classes + rows) * self.classes + columns
        many = None if weights is None else np.asarray(weights, np.float64)[kept]
        counts = np.bincount(cells, many, minlength=len(found) * self.classes**2)
        for block, matrix in zip(found, counts.reshape(-1, self.classes, self.classes), strict=True):
            self._blocks[int(block)] = self._blocks.get(int(block), 0) + matrix.astype(np.float64)

    @property
    def by_block(self) -> Floats:
        """The matrices (blocks, K, K), in the order of block numbers."""
        matrices = [self._blocks[block] for block in sorted(self._blocks)]
        return np.stack(matrices) if matrices else np.zeros((0, self.classes, self.classes))

    @property
    def counts(self) -> Floats:
        """The matrix of all blocks together (K, K)."""
        return np.asarray(self.by_block.sum(axis=0))


def confusion(reference: NDArray[Any], predicted: NDArray[Any], classes: int) -> Floats:
    """Return the counts (K, K) of class indices: rows are the reference, columns the prediction."""
    counted = Confusion(classes)
    counted.add(reference, predicted)
    return counted.counts
