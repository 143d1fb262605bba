"""From a head's values on sub-cells to the scene's own pixels: bilinear, without regard to how the scene was cut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from dofa_cli.pipelines.inference.shards import MapParts
from dofa_cli.raster.grid import Window
from dofa_cli.raster.writer import gather


@dataclass(frozen=True)
class Values:
    """Values (K, height, width) at pixels, and where they are ``known``: at valid pixels with a known cell near."""

    values: NDArray[np.float32]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Axis:
    """The two nodes around each of n positions along one axis, and the second one's weight, all (n,).

    ``start`` and ``length`` are of positions that ascend.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float32]

    @property
    def start(self) -> int:
        """The first node in use."""
        return int(self.first[0])

    @property
    def length(self) -> int:
        """Nodes from the first to the last in use."""
        return int(self.second[-1]) + 1 - self.start


def nodes_around(pixels: range | NDArray[np.integer], *, size: int, zoom: int, lead: int, sub_cell: float) -> Axis:
    """Return the sub-cells whose centres lie around the centres of ``pixels`` (n,) of a scene ``size`` pixels long.

    ``sub_cell`` is a sub-cell's side and ``lead`` the grid's offset in zoomed pixels. The scene's outermost sub-cells
    stand for what is beyond.
    """
    outermost = floor(lead / sub_cell), ceil((size * zoom + lead) / sub_cell) - 1
    centres = (np.asarray(pixels, np.float64) + 0.5) * zoom + lead
    position = (centres / sub_cell - 0.5).clip(*outermost)
    first = np.floor(position).astype(np.int64)
    return Axis(first, np.minimum(first + 1, outermost[1]), (position - first).astype(np.float32))


def interpolate(parts: MapParts, window: Window) -> Values:
    """Interpolate a map's values at the scene's pixels under ``window``; unknown cells are left out.

    Each pixel's value depends on the four sub-cells around its centre alone, so that blocks meet without a seam.
    """
    grid = parts.grid
    around = partial(nodes_around, zoom=grid.zoom, sub_cell=grid.patch / parts.detail)
    rows = around(range(window.row, window.bottom), size=grid.height, lead=grid.lead_row)
    cols = around(range(window.col, window.right), size=grid.width, lead=grid.lead_col)
    nodes = gather(parts.values_by_place, Window(rows.start, cols.start, rows.length, cols.length))
    values, near = between(np.ascontiguousarray(nodes.transpose(2, 0, 1)), rows, cols)
    return Values(values, near & parts.valid(window))


def between(nodes: NDArray[np.float32], rows: Axis, cols: Axis) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Interpolate nodes (K, R, C), NaN where unknown, to (K, height, width); also where any of the four is known."""
    known: NDArray[np.bool_] = np.asarray(np.isfinite(nodes).all(axis=0))
    if known.all():
        return _along(_along(nodes, rows, 1), cols, 2), np.ones((len(rows.first), len(cols.first)), bool)
    filled = np.where(known, nodes, np.float32(0))
    share = _along(_along(known[None].astype(np.float32), rows, 1), cols, 2)
    whole = _all_four(known, rows, cols)  # here the sum of the weights is 1, and dividing might round
    values = _along(_along(filled, rows, 1), cols, 2)
    near = share[0] > 0
    np.divide(values, share, out=values, where=np.broadcast_to(near & ~whole, values.shape))
    return values, near


def _along(nodes: NDArray[np.float32], axis: Axis, dim: int) -> NDArray[np.float32]:
    shape = [1, 1, 1]
    shape[dim] = -1
    weight = axis.weight.reshape(shape)
    first, second = (nodes.take(at - axis.start, dim) for at in (axis.first, axis.second))
    first *= 1 - weight
    second *= weight
    first += second
    return first


def _all_four(known: NDArray[np.bool_], rows: Axis, cols: Axis) -> NDArray[np.bool_]:
    both = known[rows.first - rows.start] & known[rows.second - rows.start]
    return np.asarray(both[:, cols.first - cols.start] & both[:, cols.second - cols.start])
