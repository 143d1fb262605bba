"""The values of a mosaic, window by window, from the sheets that lie there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.raster.grid import Window
from dofa_cli.raster.mosaic import Mosaic, Overlap, Sheet
from dofa_cli.raster.source import Grid, Source, close_handles, is_valid

OPEN_BYTES = 128 * 2**20
FEWEST_OPEN = 4
"""Files are kept open while the blocks that they hold fit these bytes, four in any case."""


@dataclass(frozen=True)
class MosaicBlocks:
    """Gives the values (rows, cols, bands) of any window of a mosaic.

    Sheets with scales are decoded. Sheets off the mosaic's pixels are resampled: whole numbers by the nearest pixel,
    others bilinearly and never across nodata.
    """

    mosaic: Mosaic
    _edges: NDArray[np.int64] = field(init=False)
    _opened: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Keep the sheets' places as one table, to find those under a window at once."""
        places = [(s.place.row, s.place.bottom, s.place.col, s.place.right) for s in self.mosaic.sheets]
        object.__setattr__(self, "_edges", np.array(places, np.int64).reshape(-1, 4))

    def __call__(self, window: Window) -> NDArray[Any]:
        """Read and combine the sheets under ``window``; :class:`DamagedRaster` names the file that fails."""
        found = self._mixed(window) if self.mosaic.overlap.mixes else self._laid(window)
        return found.transpose(1, 2, 0)

    def touching(self, window: Window) -> list[Sheet]:
        """Return the sheets under a window, in order."""
        row, bottom, col, right = self._edges.T
        hit = (row < window.bottom) & (bottom > window.row) & (col < window.right) & (right > window.col)
        return [self.mosaic.sheets[at] for at in np.flatnonzero(hit).tolist()]

    def _laid(self, window: Window) -> NDArray[Any]:
        """Lay the sheets one under the other: the uppermost valid value of each band stands."""
        result = self._empty(window)
        free = np.ones(result.shape, bool)
        sheets = self.touching(window)
        if self.mosaic.overlap is Overlap.LAST:
            sheets.reverse()
        for part, values, valid in self._read(sheets, window):
            take = free[:, *part] & valid
            result[:, *part][take] = values[take]
            free[:, *part] &= ~valid
            if not free.any():
                break
        return result

    def _mixed(self, window: Window) -> NDArray[Any]:
        """Combine all valid values; means are summed in double precision."""
        result = self._empty(window)
        count = np.zeros(result.shape, np.int32)
        total = np.zeros(result.shape, np.float64 if self.mosaic.overlap is Overlap.MEAN else result.dtype)
        join = {Overlap.MEAN: np.add, Overlap.MIN: np.minimum, Overlap.MAX: np.maximum}[self.mosaic.overlap]
        for part, values, valid in self._read(self.touching(window), window):
            held, seen = total[:, *part], count[:, *part]
            both, new = valid & (seen > 0), valid & (seen == 0)
            held[both] = join(held[both], values[both])
            held[new] = values[new]
            seen += valid
        known = count > 0
        combined = total[known] / count[known] if self.mosaic.overlap is Overlap.MEAN else total[known]
        result[known] = combined.astype(result.dtype)
        return result

    def _empty(self, window: Window) -> NDArray[Any]:
        return np.full(
            (self.mosaic.spec.bands, window.height, window.width), self.mosaic.spec.nodata, self.mosaic.spec.dtype
        )

    def _read(
        self, sheets: Sequence[Sheet], window: Window
    ) -> Iterator[tuple[tuple[slice, slice], NDArray[Any], NDArray[np.bool_]]]:
        """Yield of each sheet where it lies in the window, its values and which are valid (bands, rows, cols)."""
        for sheet in sheets:
            self._note_open(sheet)
            common = sheet.place.intersect(window)
            if sheet.exact:
                values, covered = self._source(sheet)[:, *common.relative_to(sheet.place).slices], None
            else:
                source = self._resampled(sheet)
                values, covered = source[:, *common.slices], source.of_validity()[:, *common.slices] > 0
            valid = np.broadcast_to(is_valid(values, self.mosaic.nodata), values.shape)
            valid = valid if covered is None else valid & covered
            yield common.relative_to(window).slices, _decoded(sheet, values), valid

    def _note_open(self, sheet: Sheet) -> None:
        """Close all files when many are open: each holds a decoded block of all its bands."""
        held = self.mosaic.spec.block**2 * self.mosaic.spec.bands * self.mosaic.dtype.itemsize
        if sheet.path not in self._opened and len(self._opened) >= max(FEWEST_OPEN, OPEN_BYTES // held):
            close_handles()
            self._opened.clear()
        self._opened.add(sheet.path)

    def _source(self, sheet: Sheet) -> Source:
        shape = (self.mosaic.spec.bands, sheet.place.height, sheet.place.width)
        return Source(
            sheet.path, tuple(range(1, self.mosaic.spec.bands + 1)), self.mosaic.dtype, shape, nodata=self.mosaic.nodata
        )

    def _resampled(self, sheet: Sheet) -> Source:
        grid: Grid = self.mosaic.spec.grid
        shape = (self.mosaic.spec.bands, grid.height, grid.width)
        bands = tuple(range(1, self.mosaic.spec.bands + 1))
        nearest = self.mosaic.dtype.kind != "f"
        return Source(sheet.path, bands, self.mosaic.dtype, shape, grid, self.mosaic.nodata, nearest=nearest)


def _decoded(sheet: Sheet, values: NDArray[Any]) -> NDArray[Any]:
    if sheet.scales is None or sheet.offsets is None:
        return values
    return values.astype(np.float32) * sheet.scales[:, None, None] + sheet.offsets[:, None, None]
