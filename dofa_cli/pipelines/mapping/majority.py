"""A majority filter on class indices: single pixels give way to what surrounds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import UNLABELLED


def majority(indices: NDArray[np.int16], side: int) -> NDArray[np.int16]:
    """Return the most frequent class of the square of ``side`` pixels around each pixel (height, width).

    Pixels without a class stay so and count for none. Where classes tie, a pixel keeps its own if that is among them,
    else takes the first.
    """
    most = np.zeros(indices.shape, np.uint16)
    result = indices.copy()
    for one in np.unique(indices[indices != UNLABELLED]):
        own = indices == one
        votes = 2 * _in_square(own, side) + own
        ahead = votes > most
        result[ahead], most[ahead] = one, votes[ahead]
    result[indices == UNLABELLED] = UNLABELLED
    return result


def _in_square(own: NDArray[np.bool_], side: int) -> NDArray[np.uint16]:
    """Count the true pixels of the square around each pixel."""
    counts = own.astype(np.uint16)
    for axis in (0, 1):
        counts = _in_line(counts, side, axis)
    return counts


def _in_line(counts: NDArray[np.uint16], side: int, axis: int) -> NDArray[np.uint16]:
    reach = side // 2
    pad = [(reach, reach) if one == axis else (0, 0) for one in (0, 1)]
    padded, size = np.pad(counts, pad), counts.shape[axis]
    total = np.zeros_like(counts)
    for step in range(side):
        total += padded.take(range(step, step + size), axis)
    return total
