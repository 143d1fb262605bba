"""Which labelled pixels a head is trained and tested with: drawn by a hash of their place, spread over polygons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.raster.grid import Window

POOL_PER_CLASS = 100_000
"""Labelled pixels of a class that are kept to draw from; of more, a uniform part is."""
STRIP_PIXELS = 4 * 2**20
"""Pixels of labels read at once."""
MOST_PER_CLASS = 5_000
MOST_TRAINING = 30_000
MOST_TESTED = 60_000
"""Samples at most, by default: of a class to train with, of all to train with, and of all to test with."""


@dataclass(frozen=True)
class Points:
    """Labelled pixels (n,): number of their ``scene``, ``row`` and ``col`` there, and the polygon or point ``group``.

    ``group`` is -1 for labels from rasters. ``target`` is a class index or a number. ``stratum`` is the class, 0 for
    numbers. ``weight`` is how many labelled pixels one stands for.
    """

    scene: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    group: NDArray[np.int64]
    target: NDArray[Any]
    stratum: NDArray[np.int16]
    key: NDArray[np.uint64]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.row)

    def at(self, chosen: NDArray[Any]) -> Points:
        """Return the points at positions, or where a mask is true."""
        return Points(*(getattr(self, field.name)[chosen] for field in fields(self)))


class Pool:
    """Labelled pixels of all scenes, at most ``most`` of each class: those whose hashed places are smallest.

    What is kept does not depend on the order in which pixels come, or on how they are cut into blocks.
    """

    def __init__(self, seed: int, most: int = POOL_PER_CLASS) -> None:
        self.seed, self.most = seed, most
        self.held: list[Points] = []
        self.waiting = 0
        self.totals: dict[int, int] = {}

    def add(self, scene: int, window: Window, values: NDArray[Any], group: NDArray[Any], first_group: int = 0) -> None:
        """Add labels (height, width) read under ``window``: class indices (-1: none) or numbers (NaN: none).

        Polygons are numbered from ``first_group``.
        """
        numbers = np.issubdtype(values.dtype, np.floating)
        rows, cols = np.nonzero(np.isfinite(values) if numbers else values >= 0)
        if not len(rows):
            return
        found, polygon = values[rows, cols], group[rows, cols].astype(np.int64)
        at_rows, at_cols = (rows + window.row).astype(np.int32), (cols + window.col).astype(np.int32)
        scenes = np.full(len(rows), scene, np.int32)
        stratum = np.zeros(len(rows), np.int16) if numbers else found.astype(np.int16)
        for name, count in zip(*np.unique(stratum, return_counts=True), strict=True):
            self.totals[int(name)] = self.totals.get(int(name), 0) + int(count)
        key = hashed(self.seed, scenes, at_rows, at_cols)
        polygon = np.where(polygon < 0, -1, polygon + first_group)
        ones = np.ones(len(rows), np.float32)
        self.held.append(_reduced(Points(scenes, at_rows, at_cols, polygon, found, stratum, key, ones), self.most))
        self.waiting += len(self.held[-1])
        if self.waiting > 2 * self.most * len(self.totals):
            self.held = [_reduced(_joined(self.held), self.most)]
            self.waiting = 0

    def points(self) -> Points | None:
        """Return what is kept, in the order of scene, row and column, each weighted by what it stands for."""
        if not self.held:
            return None
        kept = _reduced(_joined(self.held), self.most)
        counts = np.bincount(kept.stratum, minlength=max(self.totals) + 1)
        totals = np.array([self.totals.get(name, 0) for name in range(len(counts))])
        weight = (totals / np.maximum(counts, 1))[kept.stratum].astype(np.float32)
        order = np.lexsort((kept.col, kept.row, kept.scene))
        return replace(kept, weight=weight).at(order)


def strips(extent: Window) -> Iterator[Window]:
    """Cut a window into strips of at most :data:`STRIP_PIXELS`."""
    height = max(1, STRIP_PIXELS // max(1, extent.width))
    for row in range(extent.row, extent.bottom, height):
        yield Window(row, extent.col, min(height, extent.bottom - row), extent.width)


def hashed(seed: int, *numbers: NDArray[Any]) -> NDArray[np.uint64]:
    """Return 64 evenly spread bits for each tuple of whole numbers (the finaliser of SplitMix64, applied in turn)."""
    state = np.full(len(numbers[0]), np.uint64(seed & 0xFFFFFFFFFFFFFFFF))
    for number in numbers:
        state = (state ^ number.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def draw(points: Points, inside: NDArray[np.bool_], per_class: int, in_all: int) -> NDArray[np.int64]:
    """Return the positions of at most ``per_class`` points of each class, ``in_all`` at most, among those ``inside``.

    Polygons take turns, so that large ones do not stand for a class alone. Classes that have fewer than their share
    leave room for others.
    """
    at = np.flatnonzero(inside)
    strata = points.stratum[at]
    counts = np.bincount(strata) if len(at) else np.zeros(0, np.int64)
    share = shared_out(np.minimum(counts, per_class), in_all)
    parts = [_turns(points, at[strata == name], int(share[name])) for name in np.flatnonzero(counts)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))


def shared_out(counts: NDArray[Any], in_all: int) -> NDArray[np.int64]:
    """Return how many of each class to take: all where they fit, else the large classes cut to one level."""
    counts = counts.astype(np.int64)
    if counts.sum() <= in_all:
        return counts
    low, high = 0, int(counts.max())
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if np.minimum(counts, level).sum() <= in_all else (low, level - 1)
    return np.asarray(np.minimum(counts, max(low, 1)))


def drawn_weights(points: Points, inside: NDArray[np.bool_], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much each point of ``drawn`` counts, so that classes count as all those ``inside`` do; mean 1."""
    size = int(points.stratum.max()) + 1
    wanted = np.bincount(points.stratum[inside], points.weight[inside], minlength=size)
    found = np.bincount(points.stratum[drawn], minlength=size)
    weight = (wanted / np.maximum(found, 1))[points.stratum[drawn]]
    return np.asarray(weight / weight.mean()) if len(weight) else weight


def _turns(points: Points, at: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return ``count`` of the positions ``at``: the first of every polygon, then the second of each."""
    if len(at) <= count:
        return at
    key, group = points.key[at], points.group[at]
    order = np.lexsort((key, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=group[order[0]] - 1))
    turn = np.arange(len(at)) - np.repeat(starts, np.diff(np.append(starts, len(at))))
    turn[group[order] < 0] = 0  # labels from rasters have no polygons: their keys alone decide
    return np.asarray(at[order[np.lexsort((key[order], turn))[:count]]])


def _joined(parts: Iterable[Points]) -> Points:
    held = list(parts)
    return Points(*(np.concatenate([getattr(one, field.name) for one in held]) for field in fields(Points)))


def _reduced(points: Points, most: int) -> Points:
    """Keep the ``most`` points of each class that have the smallest keys."""
    counts = np.bincount(points.stratum)
    if counts.max(initial=0) <= most:
        return points
    order = np.lexsort((points.key, points.stratum))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return points.at(order[rank < most])
