"""The cell grid of a scene, its windows, and its partition into tiles: pure integers.

Three lattices, all anchored to the scene's origin: *pixels* of the file, *zoomed pixels* (``zoom`` per pixel and axis)
and *cells* (``patch`` zoomed pixels and axis). A cell is one token of the network and one pixel of the output.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil


@dataclass(frozen=True)
class Window:
    """A rectangle on a lattice: rows [row, row + height), columns [col, col + width)."""

    row: int
    col: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def right(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for an array whose last two axes are rows and columns."""
        return slice(self.row, self.bottom), slice(self.col, self.right)

    def intersect(self, other: Window) -> Window:
        """Return the common rectangle (height or width 0 if there is none)."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height, width = min(self.bottom, other.bottom) - row, min(self.right, other.right) - col
        return Window(row, col, max(height, 0), max(width, 0))

    def relative_to(self, other: Window) -> Window:
        """Return this window in coordinates whose origin is ``other``'s."""
        return Window(self.row - other.row, self.col - other.col, self.height, self.width)

    def scaled(self, factor: int) -> Window:
        """Return the window on a lattice ``factor`` times as fine."""
        return Window(self.row * factor, self.col * factor, self.height * factor, self.width * factor)

    @property
    def is_empty(self) -> bool:
        """Whether the window holds nothing."""
        return not (self.height and self.width)


@dataclass(frozen=True)
class CellGrid:
    """The cells over a scene of ``height`` × ``width`` pixels.

    ``lead_row`` and ``lead_col`` are zoomed pixels between the grid's origin and the scene's (0 unless snapped).
    """

    height: int
    width: int
    patch: int
    zoom: int = 1
    lead_row: int = 0
    lead_col: int = 0

    @property
    def rows(self) -> int:
        """Cell rows; the last may reach past the scene."""
        return ceil((self.height * self.zoom + self.lead_row) / self.patch)

    @property
    def cols(self) -> int:
        """Cell columns; the last may reach past the scene."""
        return ceil((self.width * self.zoom + self.lead_col) / self.patch)

    def zoomed(self, cells: Window) -> Window:
        """Return the zoomed pixels under ``cells``, counted from the scene's origin (may be negative or outside)."""
        fine = cells.scaled(self.patch)
        return Window(fine.row - self.lead_row, fine.col - self.lead_col, fine.height, fine.width)

    def pixels(self, cells: Window, margin: int = 0) -> Window:
        """Return the file's pixels that touch ``cells``, ``margin`` more on each side, clipped to the scene."""
        fine = self.zoomed(cells)
        row, col = fine.row // self.zoom - margin, fine.col // self.zoom - margin
        bottom, right = ceil(fine.bottom / self.zoom) + margin, ceil(fine.right / self.zoom) + margin
        return Window(row, col, bottom - row, right - col).intersect(Window(0, 0, self.height, self.width))


def window_starts(cells: int, window: int, stride: int, *, inward: bool) -> tuple[int, ...]:
    """Return the first cell of each window along one axis of ``cells`` cells.

    Windows stand at multiples of ``stride``. With ``inward`` the last is shifted to end with the scene, so that its
    tokens see ground and not padding; without, it reaches past. A scene smaller than a window has one window.
    """
    count = ceil(max(cells - window, 0) / stride) + 1
    starts = [number * stride for number in range(count)]
    if inward:
        starts[-1] = max(cells - window, 0)
    return tuple(starts)


@dataclass(frozen=True)
class Tile:
    """A shard: the cells it yields (``core``) and the windows needed for them, as (row, col) numbers in the plan."""

    number: int
    core: Window
    windows: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TilePlan:
    """All windows of a scene and their partition into tiles.

    ``window`` and ``overlap`` are in cells, ``row_starts`` and ``col_starts`` the windows' first cells, ``per_tile``
    how many window rows and columns make up a tile. The windows do not depend on ``per_tile``. Cores begin at multiples
    of ``core_side`` cells, whatever the scene's size; the last of a row or column reaches to the grid's edge and may
    so be smaller, or larger by up to the overlap.
    """

    grid: CellGrid
    window: int
    overlap: int
    row_starts: tuple[int, ...]
    col_starts: tuple[int, ...]
    per_tile: int

    @property
    def core_side(self) -> int:
        """Cells a side of a tile's core, the last ones apart."""
        return self.per_tile * (self.window - self.overlap)

    @property
    def window_count(self) -> int:
        """Distinct windows in the scene."""
        return len(self.row_starts) * len(self.col_starts)

    @property
    def tile_count(self) -> int:
        """Tiles in the scene."""
        return ceil(len(self.row_starts) / self.per_tile) * ceil(len(self.col_starts) / self.per_tile)

    def window_cells(self, number: tuple[int, int]) -> Window:
        """Return the cells of window ``number`` = (row, col); it may reach past the grid."""
        return Window(self.row_starts[number[0]], self.col_starts[number[1]], self.window, self.window)

    def span(self, windows: tuple[tuple[int, int], ...]) -> Window:
        """Return the smallest rectangle of cells around ``windows``."""
        cells = [self.window_cells(number) for number in windows]
        row, col = min(c.row for c in cells), min(c.col for c in cells)
        return Window(row, col, max(c.bottom for c in cells) - row, max(c.right for c in cells) - col)

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles in row-major order; their cores partition the grid."""
        rows = self._cuts(self.row_starts, self.grid.rows)
        cols = list(self._cuts(self.col_starts, self.grid.cols))
        number = 0
        for row, bottom, window_rows in rows:
            for col, right, window_cols in cols:
                windows = tuple((r, c) for r in window_rows for c in window_cols)
                yield Tile(number, Window(row, col, bottom - row, right - col), windows)
                number += 1

    def _cuts(self, starts: tuple[int, ...], cells: int) -> Iterator[tuple[int, int, range]]:
        """Cut one axis: first cell, cell after the last, and the windows that touch it."""
        edges = [number * self.core_side for number in range(ceil(len(starts) / self.per_tile))]
        ends = [start + self.window for start in starts]
        for first, last in pairwise([*edges, cells]):
            yield first, last, range(bisect_right(ends, first), bisect_left(starts, last))


def plan_tiles(grid: CellGrid, window: int, overlap: int, *, inward: bool, per_tile: int) -> TilePlan:
    """Lay windows of ``window`` cells with ``overlap`` cells in common over a grid, ``per_tile`` a side to a tile."""
    stride = window - overlap
    rows = window_starts(grid.rows, window, stride, inward=inward)
    cols = window_starts(grid.cols, window, stride, inward=inward)
    return TilePlan(grid, window, overlap, rows, cols, per_tile)
