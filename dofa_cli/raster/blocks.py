"""Spatial blocks: which samples stand on which side of a split, and how far apart the sides are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import OptionError
from dofa_cli.raster.grid import Window
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.source import Grid

FOLDS = 5
PER_FOLD = 5
"""Blocks that a fold has on average, where the extent allows."""
FEWEST_PER_FOLD = 2
"""Blocks that a fold has on average at the least, though blocks be smaller than a window."""
LARGEST_WINDOWS = 4
"""Side of the largest block in windows: more and smaller blocks balance classes better."""
TABLE_PIXELS = 2**26
"""Largest extent of test samples for which distances are looked up in a table, of four bytes a pixel."""
_LENGTH = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(px|m|km)?\s*$")


@dataclass(frozen=True)
class Blocks:
    """Blocks of ``height`` × ``width`` pixels over ``extent``, numbered row by row."""

    extent: Window
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of blocks."""
        return ceil(self.extent.height / self.height)

    @property
    def cols(self) -> int:
        """Columns of blocks."""
        return ceil(self.extent.width / self.width)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return self.rows * self.cols

    def window(self, number: int) -> Window:
        """Return the pixels of block ``number``; the last of a row or column may be smaller."""
        row, col = divmod(number, self.cols)
        inside = Window(
            self.extent.row + row * self.height, self.extent.col + col * self.width, self.height, self.width
        )
        return inside.intersect(self.extent)

    def block_of(self, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.int64]:
        """Return the number of the block that each pixel lies in, that of the nearest for pixels outside."""
        row = np.floor((rows - self.extent.row) / self.height).clip(0, self.rows - 1)
        col = np.floor((cols - self.extent.col) / self.width).clip(0, self.cols - 1)
        return np.asarray(row * self.cols + col, np.int64)

    def units_of(self, rows: NDArray[Any], cols: NDArray[Any], groups: NDArray[Any] | None = None) -> NDArray[np.int64]:
        """Return the block of each sample, that of the group's centre for samples of a group (number ≥ 0).

        A whole polygon thus goes with one block, and with its neighbours.
        """
        if groups is None or not (groups >= 0).any():
            return self.block_of(rows, cols)
        inside = groups >= 0
        _, group = np.unique(groups[inside], return_inverse=True)
        size = np.bincount(group)
        units = self.block_of(rows, cols)
        centre_rows, centre_cols = (np.bincount(group, weights=axis[inside]) / size for axis in (rows, cols))
        units[inside] = self.block_of(centre_rows, centre_cols)[group]
        return units

    def fold_of(
        self,
        rows: NDArray[Any],
        cols: NDArray[Any],
        groups: NDArray[Any] | None = None,
        classes: NDArray[Any] | None = None,
        *,
        folds: int = FOLDS,
        seed: int = 0,
    ) -> NDArray[np.int8]:
        """Return the fold of each sample of one scene: whole blocks and groups, balanced over ``classes`` (indices)."""
        return folds_of(self.units_of(rows, cols, groups), classes, folds=folds, seed=seed)


def choose_blocks(extent: Window, window_px: float, *, folds: int = FOLDS) -> Blocks:
    """Return blocks for labels in ``extent``, for a network that sees ``window_px`` pixels at once.

    There are about five blocks a fold; a block is as large as a window to four windows. Where the extent is too small
    for that, blocks are smaller than a window, so that each fold still has two.
    """
    area = extent.height * extent.width
    side = min(sqrt(area / (PER_FOLD * folds)), LARGEST_WINDOWS * window_px)
    side = max(side, min(window_px, sqrt(area / (FEWEST_PER_FOLD * folds))))
    return Blocks(extent, _even(extent.height, side), _even(extent.width, side))


def stated_blocks(extent: Window, text: str, grid: Grid) -> Blocks:
    """Return blocks of a side that the user states: metres on the ground (``640``, ``640m``, ``2km``) or ``64px``.

    Raises :class:`OptionError` for anything else, and for metres without a coordinate system.
    """
    found = _LENGTH.match(text)
    if found is None or float(found[1]) == 0:
        raise OptionError(f"Block '{text}' is no length. Write metres, as in 640m, or pixels, as in 64px.")
    length, unit = float(found[1]), found[2] or "m"
    if unit == "px":
        return Blocks(extent, max(1, round(length)), max(1, round(length)))
    pixel = ground_pixel(grid)
    if pixel is None:
        raise OptionError(f"Block '{text}' is in metres, but the scene has no coordinate system. Give pixels: 64px.")
    metres = length * (1000 if unit == "km" else 1)
    return Blocks(extent, max(1, round(metres / pixel.height)), max(1, round(metres / pixel.width)))


def folds_of(
    units: NDArray[Any], classes: NDArray[Any] | None = None, *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.int8]:
    """Return the fold of each sample from its unit (block, tile or scene) and class index; −1 is no class."""
    _, unit = np.unique(units, return_inverse=True)
    labels = np.zeros(len(unit), np.int64) if classes is None else np.asarray(classes, np.int64)
    counts = np.zeros((int(unit.max(initial=-1)) + 1, int(labels.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (unit[labels >= 0], labels[labels >= 0]), 1)
    return assign_folds(counts, folds, seed)[unit]


def assign_folds(counts: NDArray[Any], folds: int, seed: int = 0) -> NDArray[np.int8]:
    """Return the fold of each unit, balanced over classes; ``counts`` is (units, classes), samples of each.

    A unit's size is the sum of its shares in the classes, so that those of rare classes are large. The largest go
    first, each into the fold f that leaves Σ lacking² over folds and classes smallest: that with the largest
    Σ lacking(f, class) · share(class), where a fold lacks 1/folds of a class at first. Ties are broken by ``seed``.
    With fewer units than folds, some folds stay empty.
    """
    rng = np.random.default_rng(seed)
    shares = counts / np.maximum(counts.sum(0), 1)
    lacking = np.full((folds, counts.shape[1]), 1 / folds)
    assigned = np.full(len(counts), -1, np.int8)
    size = np.zeros(folds, np.int64)
    for unit in np.lexsort((rng.random(len(counts)), -shares.sum(1).round(12))):
        wanted = (lacking @ shares[unit]).round(12)
        fold = int(np.lexsort((rng.random(folds), size, -wanted))[0])
        assigned[unit], size[fold] = fold, size[fold] + 1
        lacking[fold] -= shares[unit]
    return assigned


def apart(
    train_rows: NDArray[Any],
    train_cols: NDArray[Any],
    test_rows: NDArray[Any],
    test_cols: NDArray[Any],
    guard_px: float,
) -> NDArray[np.bool_]:
    """Return which training samples to keep: those more than ``guard_px`` rows or columns from every test sample."""
    if not len(test_rows) or not len(train_rows):
        return np.ones(len(train_rows), bool)
    train, test = np.stack((train_rows, train_cols)), np.stack((test_rows, test_cols))
    extent = int(np.prod(np.ptp(test, 1).astype(np.int64) + 1))
    on_pixels = np.issubdtype(train.dtype, np.integer) and np.issubdtype(test.dtype, np.integer)
    if on_pixels and extent <= TABLE_PIXELS:
        return _none_within(train.astype(np.int64), test.astype(np.int64), floor(guard_px))
    return _none_nearest(train, test, guard_px)


def _none_within(train: NDArray[np.int64], test: NDArray[np.int64], guard: int) -> NDArray[np.bool_]:
    """Count the test pixels (2, n) in the square around each training pixel, in a summed-area table."""
    origin, size = test.min(1, keepdims=True), np.ptp(test, 1)[:, None] + 1
    sums = np.zeros(size[:, 0] + 1, np.int32)
    sums[tuple(test - origin + 1)] = 1
    np.cumsum(np.cumsum(sums, 0, out=sums), 1, out=sums)
    above, before = (train - origin - guard).clip(0, size)
    below, behind = (train - origin + guard + 1).clip(0, size)
    return np.asarray(sums[below, behind] - sums[above, behind] - sums[below, before] + sums[above, before] == 0)


def _none_nearest(train: NDArray[Any], test: NDArray[Any], guard_px: float) -> NDArray[np.bool_]:
    """Look for the nearest test sample (2, n) in a tree, which takes positions between pixels and any extent."""
    from scipy.spatial import cKDTree

    places, back = np.unique(train.T.astype(np.float64), axis=0, return_inverse=True)
    tree = cKDTree(np.unique(test.T.astype(np.float64), axis=0))
    distance, _ = tree.query(places, p=np.inf, distance_upper_bound=np.nextafter(guard_px, np.inf))
    return np.asarray(~np.isfinite(distance))[back.reshape(-1)]


def _even(length: int, side: float) -> int:
    """Return a side close to ``side`` that divides ``length`` into nearly equal parts."""
    return max(1, ceil(length / max(1, round(length / side))))
