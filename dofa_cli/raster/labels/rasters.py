"""Label rasters on any grid, shown by the nearest pixel on the grid of a scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import LARGEST, UNLABELLED, ClassTable
from dofa_cli.errors import LabelError, LabelsMiss, LabelsUnreadable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.header import FileBand, Header, read_header
from dofa_cli.raster.labels.block import NO_GROUP, LabelBlock, LabelOptions, whereabouts
from dofa_cli.raster.labels.legend import MOST_CLASSES, PIXELS, Found, Legend, ignored, settle, too_many
from dofa_cli.raster.scene import overlap
from dofa_cli.raster.source import Grid, Source, is_valid
from dofa_cli.raster.style import read_style

BLOCK = 1024
"""Side of the blocks in which a raster is surveyed, in pixels."""
_LARGEST_WHOLE = 2**31
_AS_NUMBERS = "Those look like numbers: use --task regress."


@dataclass(frozen=True)
class RasterLabels:
    """Labels from the first band of ``source``, which lies on the scene's grid.

    ``legend`` is ``None`` for numbers, which are multiplied by ``scale`` and moved by ``offset`` as the file says;
    ``unlabelled`` are numbers that the user ignores.
    """

    source: Source
    legend: Legend | None
    within: Window
    notes: tuple[str, ...]
    smallest_px: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unlabelled: frozenset[int] = frozenset()

    @property
    def classes(self) -> ClassTable | None:
        """The classes, ``None`` for numbers."""
        return None if self.legend is None else self.legend.table

    def extent(self) -> Window:
        """Return the rectangle around all labelled pixels."""
        return self.within

    def read(self, window: Window) -> LabelBlock:
        """Return the labels under ``window``; :class:`DamagedRaster` where the file cannot be read."""
        values, valid = _read(self.source, window)
        group = np.full(values.shape, NO_GROUP, np.int32)
        if self.legend is not None:
            found = self.legend.indices(_whole(values, valid, self.source.path))
            return LabelBlock(np.where(valid, found, UNLABELLED).astype(np.int16), group)
        valid = valid & ~np.isin(values, list(self.unlabelled))
        numbers = values.astype(np.float64) * self.scale + self.offset
        return LabelBlock(np.where(valid, numbers, np.nan).astype(np.float32), group)


def open_raster_labels(path: str, grid: Grid, options: LabelOptions) -> RasterLabels:
    """Open a label raster for a scene on ``grid``.

    Its values are streamed once, to know the classes in the scene. Raises :class:`LabelsMiss`, :class:`LabelError` or
    :class:`LabelsUnreadable`.
    """
    header = read_header(path)
    band = _label_band(header)
    source, notes = _on_scene(header, band, grid)
    survey = _survey(source, numeric=options.numeric)
    if survey.within is None:
        raise LabelsMiss(f"{path} holds no labelled pixel inside the scene ({whereabouts(grid.bounds, grid.crs)}).")
    style = read_style(path)
    found = Found(path, PIXELS, survey.counts, style.names, style.colours)
    if options.numeric:
        unlabelled = frozenset(ignored(found, options))
        return RasterLabels(source, None, survey.within, notes, None, band.scale, band.offset, unlabelled)
    legend = settle(found, options)
    width = survey.width_of(legend.values.tolist())
    return RasterLabels(source, legend, survey.within, notes + legend.notes, width)


def _label_band(header: Header) -> FileBand:
    """Return the band that holds the labels: the only one."""
    if len(header.bands) != 1:
        raise LabelsUnreadable(
            f"{header.path} has {len(header.bands)} bands; labels need one. "
            f"Name that of the labels as vrt://{header.path}?bands=1"
        )
    return header.bands[0]


def _on_scene(header: Header, band: FileBand, grid: Grid) -> tuple[Source, tuple[str, ...]]:
    own = header.grid
    shape = (1, grid.height, grid.width)
    source = Source(
        header.path, (band.index,), band.dtype, shape, nodata=band.nodata, masked=header.has_mask, nearest=True
    )
    if own.crs is not None and grid.crs is not None:
        if header.is_affine and not overlap(own, grid):
            raise LabelsMiss(
                f"{header.path} does not touch the scene: it covers {whereabouts(own.bounds, own.crs)}, "
                f"the scene {whereabouts(grid.bounds, grid.crs)}."
            )
        return (source if header.is_affine and own.is_same(grid) else replace(source, grid=grid)), ()
    if (own.height, own.width) != (grid.height, grid.width):
        raise LabelsMiss(_unplaced(header, grid))
    return source, () if own.crs == grid.crs else (_assumed(header),)


def _unplaced(header: Header, grid: Grid) -> str:
    own, lacking = header.grid, header.path if header.grid.crs is None else "The scene"
    return (
        f"{lacking} has no coordinate system, and {header.path} ({own.height} × {own.width} pixels) has "
        f"another size than the scene ({grid.height} × {grid.width}). Give it one with: gdal_edit.py -a_srs EPSG:… FILE"
    )


def _assumed(header: Header) -> str:
    lacking, other = (header.path, "the scene") if header.grid.crs is None else ("The scene", header.path)
    return f"{lacking} has no coordinate system; its pixels are taken to be those of {other}, which has the same size."


@dataclass
class _Survey:
    """What streaming a raster told: pixels and starts of runs by value, and the rectangle around valid pixels."""

    counts: Counter[int] = field(default_factory=Counter)
    starts: Counter[int] = field(default_factory=Counter)
    within: Window | None = None

    def width_of(self, kept: list[int]) -> float | None:
        """Return the mean length in pixels of runs along rows and columns: about how wide an object is."""
        starts = sum(self.starts[value] for value in kept)
        return 2 * sum(self.counts[value] for value in kept) / starts if starts else None


def _survey(source: Source, *, numeric: bool) -> _Survey:
    survey = _Survey()
    for window in _blocks(source):
        values, valid = _read(source, window)
        if not valid.any():
            continue
        survey.within = _around(survey.within, window, valid)
        if not numeric:
            _count(survey, _whole(values, valid, source.path), valid)
            if len(survey.counts) > 2 * MOST_CLASSES:
                raise too_many(source.path, _AS_NUMBERS)
    return survey


def _blocks(source: Source) -> Iterator[Window]:
    _, height, width = source.shape
    for row in range(0, height, BLOCK):
        for col in range(0, width, BLOCK):
            yield Window(row, col, min(BLOCK, height - row), min(BLOCK, width - col))


def _read(source: Source, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = source[(slice(None), *window.slices)][0]
    valid = np.broadcast_to(is_valid(values, source.nodata), values.shape)
    if source.tells_validity:
        valid = valid & (source.of_validity()[(slice(None), *window.slices)][0] > 0)
    return values, valid


def _whole(values: NDArray[Any], valid: NDArray[np.bool_], path: str) -> NDArray[np.int64]:
    if np.issubdtype(values.dtype, np.floating):
        broken = values[valid & ((values != np.round(values)) | (np.abs(values) > _LARGEST_WHOLE))]
        if broken.size:
            raise LabelError(f"{path} holds the value {broken[0]:g}; classes are whole numbers. {_AS_NUMBERS}")
    return np.where(valid, values, 0).astype(np.int64)


def _count(survey: _Survey, values: NDArray[np.int64], valid: NDArray[np.bool_]) -> None:
    survey.counts.update(_tally(values[valid]))
    for axis in (0, 1):
        before_values, before_valid = np.roll(values, 1, axis), np.roll(valid, 1, axis)
        same = before_valid & (before_values == values)
        same[(slice(None),) * axis + (0,)] = False
        survey.starts.update(_tally(values[valid & ~same]))


def _tally(values: NDArray[np.int64]) -> dict[int, int]:
    if values.size and values.min() >= 0 and values.max() <= LARGEST:  # several times faster than sorting
        counts = np.bincount(values)
        found = np.flatnonzero(counts)
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _around(known: Window | None, window: Window, valid: NDArray[np.bool_]) -> Window:
    rows, cols = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    row, col = window.row + int(rows[0]), window.col + int(cols[0])
    bottom, right = window.row + int(rows[-1]) + 1, window.col + int(cols[-1]) + 1
    if known is not None:
        row, col = min(row, known.row), min(col, known.col)
        bottom, right = max(bottom, known.bottom), max(right, known.right)
    return Window(row, col, bottom - row, right - col)
