"""Part files of a result: where each lies, and which of them lie under a window."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from dofa_cli.raster.grid import Window


@dataclass(frozen=True)
class Part:
    """A finished piece of the result: an array (rows, cols, bands) in a ``.npy`` file, lying on ``cells``."""

    path: Path
    cells: Window


class PartIndex:
    """Finds the parts under a window without looking at each: they lie in bands of rows, side by side in each band."""

    def __init__(self, parts: Iterable[Part]) -> None:
        bands: dict[tuple[int, int], list[Part]] = {}
        for part in parts:
            bands.setdefault((part.cells.row, part.cells.bottom), []).append(part)
        self.bands = {rows: sorted(band, key=attrgetter("cells.col")) for rows, band in bands.items()}
        self.starts = {rows: [part.cells.col for part in band] for rows, band in self.bands.items()}

    def under(self, cells: Window) -> list[Part]:
        """Return the parts that share something with ``cells``."""
        found = []
        for (row, bottom), band in self.bands.items():
            if row < cells.bottom and bottom > cells.row:
                starts = self.starts[row, bottom]
                first = max(0, bisect_right(starts, cells.col) - 2)  # neighbours may overlap by some columns
                found += [part for part in band[first : bisect_left(starts, cells.right)] if _touch(part.cells, cells)]
        return found


def _touch(one: Window, other: Window) -> bool:
    return not one.intersect(other).is_empty
