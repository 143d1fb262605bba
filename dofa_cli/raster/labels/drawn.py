"""Labels drawn as polygons, lines or points, burnt into pixels window by window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from dofa_cli.classes import UNLABELLED, ClassTable
from dofa_cli.errors import TooFewLabels
from dofa_cli.raster.grid import Window
from dofa_cli.raster.labels.block import NO_GROUP, LabelBlock, LabelOptions, blank
from dofa_cli.raster.labels.fields import Coded, choose_field, coded, numbers
from dofa_cli.raster.labels.legend import FEATURES, Found, settle
from dofa_cli.raster.labels.placing import Placed, place
from dofa_cli.raster.labels.vectors import Features, read_features
from dofa_cli.raster.source import Grid


@dataclass(frozen=True)
class DrawnLabels:
    """Polygons in pixels of the scene (x right, y down), each with a class index or a number.

    A pixel is labelled when its centre lies inside; not when polygons of different values claim it. Those that are
    ``tiny``, single pixels that stand for something smaller, label what no others claim.
    """

    shapes: NDArray[Any]
    values: NDArray[Any]
    tiny: NDArray[np.bool_]
    height: int
    width: int
    classes: ClassTable | None
    notes: tuple[str, ...]
    smallest_px: float | None
    tree: shapely.STRtree = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the polygons."""
        object.__setattr__(self, "tree", shapely.STRtree(self.shapes))

    def extent(self) -> Window:
        """Return the rectangle around all polygons, cut to the scene."""
        left, top, right, bottom = shapely.total_bounds(self.shapes)
        row, col = int(np.floor(top)), int(np.floor(left))
        around = Window(row, col, int(np.ceil(bottom)) - row, int(np.ceil(right)) - col)
        return around.intersect(Window(0, 0, self.height, self.width))

    def read(self, window: Window) -> LabelBlock:
        """Return the labels under ``window``: values and the numbers of the polygons."""
        block = blank(window.height, window.width, numeric=self.classes is None)
        found = self.tree.query(shapely.box(window.col, window.row, window.right, window.bottom))
        if not len(found) or window.is_empty:
            return block
        for part in (found[self.tiny[found]], found[~self.tiny[found]]):
            self._label(block, part[np.lexsort((part, self.values[part]))], window)
        return block

    def _label(self, block: LabelBlock, order: NDArray[np.int64], window: Window) -> None:
        """Burn polygons of ascending values into ``block``, over what it holds."""
        if not len(order):
            return
        # Later ones overwrite, so that the two directions leave the highest and the lowest value on a pixel.
        highest, lowest = self._burnt(order, window), self._burnt(order[::-1], window)
        claimed = highest >= 0
        agreed = claimed & (self.values[highest] == self.values[lowest])
        empty = blank(window.height, window.width, numeric=self.classes is None)
        block.values[claimed], block.group[claimed] = empty.values[claimed], empty.group[claimed]
        block.values[agreed], block.group[agreed] = self.values[highest[agreed]], highest[agreed]

    def _burnt(self, order: NDArray[np.int64], window: Window) -> NDArray[np.int32]:
        """Return the last polygon of ``order`` over each pixel's centre, −1 where there is none."""
        burnt = rasterize(
            [(self.shapes[at], int(at)) for at in order],
            (window.height, window.width),
            fill=NO_GROUP,
            transform=Affine.translation(window.col, window.row),
            dtype="int32",
        )
        return np.asarray(burnt, np.int32)


def open_drawn_labels(path: str, grid: Grid, options: LabelOptions) -> DrawnLabels:
    """Read a vector file for a scene on ``grid``.

    Raises :class:`LabelsUnreadable`, :class:`UnknownField`, :class:`LabelsMiss`, :class:`LabelError` or
    :class:`TooFewLabels`.
    """
    features = read_features(path, grid)
    name, notes = choose_field(features.table, options.field, path, numeric=options.numeric)
    if options.numeric:
        values: NDArray[Any] = numbers(features.table, name, path)
        known, classes = np.isfinite(values), None
    else:
        values, classes, told = _class_indices(features, name, options)
        known, notes = values != UNLABELLED, notes + told
    placed = _labelled(place(features, grid, options.buffer_m), known, path)
    notes += placed.notes
    of_shape = values[placed.feature]
    return DrawnLabels(
        placed.shapes,
        of_shape,
        placed.tiny,
        grid.height,
        grid.width,
        classes,
        notes + _conflicts(placed.shapes[~placed.tiny], of_shape[~placed.tiny]),
        _typical_width(features, placed),
    )


def _class_indices(
    features: Features, name: str, options: LabelOptions
) -> tuple[NDArray[np.int16], ClassTable, tuple[str, ...]]:
    """Return each feature's class index, the classes, and notes."""
    everything = coded(features.column_of_all(name), name, features.path)
    here = coded(features.table, name, features.path)
    values, counts = np.unique(everything.values[everything.known], return_counts=True)
    tally = dict(zip(values.tolist(), counts.tolist(), strict=True))
    legend = settle(Found(features.path, FEATURES, tally, everything.names, is_text=everything.is_text), options)
    indices = np.where(here.known, legend.indices(_as_in(everything, here)), UNLABELLED).astype(np.int16)
    empty = int((~everything.known).sum())
    note = (f"{empty} features in {features.path} have nothing in '{name}' and count as unlabelled.",) if empty else ()
    return indices, legend.table, note + legend.notes


def _as_in(everything: Coded, here: Coded) -> NDArray[np.int64]:
    """Return the numbers of names as in the whole file, where only a part of it was read."""
    if not everything.is_text or everything.names == here.names:
        return here.values
    number = {name: value for value, name in everything.names.items()}
    table = np.array([0, *(number[here.names[value]] for value in sorted(here.names))], np.int64)
    return table[here.values]


def _labelled(placed: Placed, known: NDArray[np.bool_], path: str) -> Placed:
    """Keep the shapes of features that have a label."""
    keep = known[placed.feature]
    if not keep.any():
        raise TooFewLabels(f"No feature of {path} inside the scene has a label.")
    return Placed(placed.shapes[keep], placed.feature[keep], placed.tiny[keep], placed.notes)


def _typical_width(features: Features, placed: Placed) -> float | None:
    """Return the median width of polygons in pixels, as 4 · area / perimeter: the side of a square."""
    drawn = shapely.get_dimensions(features.geometry[placed.feature]) == 2
    if not drawn.any():
        return None
    shapes = placed.shapes[drawn]
    return float(np.median(4 * shapely.area(shapes) / shapely.length(shapes)))


def _conflicts(shapes: NDArray[Any], values: NDArray[Any]) -> tuple[str, ...]:
    """Tell how many shapes of different values overlap, and on about how many pixels."""
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    differ = (first < second) & (values[first] != values[second])
    area = shapely.area(shapely.intersection(shapes[first[differ]], shapes[second[differ]]))
    total = float(area.sum())
    if total < 0.5:
        return ()
    pairs = int((area > 0).sum())
    return (f"{pairs} pairs of labels of different classes overlap on about {total:.0f} pixels, left unlabelled.",)
