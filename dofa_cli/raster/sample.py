"""A small streamed sample of a scene: what its values look like, without reading it whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.scene import Scene

BLOCK = 256
BLOCKS_PER_SIDE = 3
MOST_VALUES = 8 * 10**6
"""Values kept over all bands; of hyperspectral scenes only every n-th pixel is."""
SEARCH_BLOCK = 64
SEARCH_PER_SIDE = 8


@dataclass(frozen=True)
class Sample:
    """Valid pixels of a scene: ``values`` (bands, pixels) as in the file, and the share of the sample that is valid."""

    values: NDArray[Any]
    valid_share: float

    @property
    def is_empty(self) -> bool:
        """Whether no valid pixel was found."""
        return self.values.size == 0

    def without_fill(self, fills: Iterable[float]) -> Sample:
        """Return the sample without pixels that hold one of ``fills`` in every band."""
        filled = np.zeros(self.values.shape[1], bool)
        for fill in fills:
            filled |= (self.values == fill).all(axis=0)
        return self if not filled.any() else Sample(self.values[:, ~filled], self.valid_share)

    def quantiles(self, share: float) -> NDArray[np.float64]:
        """Return one quantile a band."""
        return np.asarray(np.quantile(self.values, share, axis=1))


def sample_scene(scene: Scene) -> Sample:
    """Sample evenly spaced blocks: the whole of a small scene, 3 × 3 blocks of 256 pixels of a large one.

    The blocks depend on the scene's size alone. Where they hold no valid pixel, 8 × 8 smaller ones are tried.
    """
    sample = _read_blocks(scene, BLOCK, BLOCKS_PER_SIDE)
    return _read_blocks(scene, SEARCH_BLOCK, SEARCH_PER_SIDE) if sample.is_empty else sample


def _read_blocks(scene: Scene, side: int, count: int) -> Sample:
    rows, cols = _spread(scene.height, side, count), _spread(scene.width, side, count)
    whole = sum(height for _, height in rows) * sum(width for _, width in cols)
    thin = max(1, len(scene.bands) * whole // MOST_VALUES)
    parts, pixels, valid = [], 0, 0
    for (row, height), (col, width) in product(rows, cols):
        block = read_window(scene, Window(row, col, height, width))
        chosen = np.flatnonzero(block.valid)[::thin]
        parts.append(block.values.reshape(len(block.values), -1)[:, chosen])
        pixels += block.valid.size
        valid += int(block.valid.sum())
    return Sample(np.concatenate(parts, axis=1), valid / pixels)


def _spread(size: int, side: int, count: int) -> list[tuple[int, int]]:
    """Return first pixel and length of blocks spread along an axis, or the whole axis if it is short.

    Blocks start at multiples of their length, as the blocks of files do, so that few of those are decoded.
    """
    if size <= side * count:
        return [(0, size)]
    return [(number * (size - side) // (count - 1) // side * side, side) for number in range(count)]
