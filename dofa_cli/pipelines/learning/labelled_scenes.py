"""Scenes with labelled pixels: opened by one rule, their classes joined, their labels collected, their places told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform, transform_bounds

from dofa_cli.classes import UNLABELLED, ClassTable, Rgb
from dofa_cli.errors import LabelsMiss, SceneError, TooFewLabels
from dofa_cli.pipelines.chips.rule import ChipRule, ruled, settle_rule
from dofa_cli.pipelines.learning.sampling import Points, Pool, strips
from dofa_cli.pipelines.pretraining.drawable import Candidate, Paths
from dofa_cli.pipelines.scenes.prepare import BandCheck, Prepared, SceneOptions
from dofa_cli.raster.labels import Labels, open_labels
from dofa_cli.raster.scene import read_headers
from dofa_cli.raster.source import Grid

ZOOMS = (1, 2, 4, 8)
"""Zooms that are chosen among."""


@dataclass(frozen=True)
class LabelOptions:
    """How to read labels; fields are the command line's options of the same names."""

    field: str | None = None
    ignore: tuple[int | str, ...] = ()
    nodata: int | None = None
    numeric: bool = False
    buffer_m: float | None = None

    def open(self, path: str, grid: Grid, classes: ClassTable | None = None) -> Labels:
        """Open labels on a scene's grid, as indices of ``classes`` where these are given."""
        return open_labels(
            path,
            grid,
            field=self.field,
            ignore=self.ignore,
            nodata=self.nodata,
            numeric=self.numeric,
            classes=classes,
            buffer_m=self.buffer_m,
        )


@dataclass(frozen=True)
class Sight:
    """A scene ready to stream, and the ``files`` that it is read from."""

    prepared: Prepared
    files: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A scene that labels lie on, ready to stream, and the ``files`` that it is read from.

    ``number`` is its position in what was asked for, ``ground`` one that scenes share which overlap. Where a head has
    several inputs, ``inputs`` holds all of them on the same pixels, ``None`` for those that this place lacks, and
    ``prepared`` is the one that settled the pixels.
    """

    prepared: Prepared
    files: tuple[str, ...]
    labels: Labels
    labels_path: str
    number: int
    ground: int = 0
    inputs: tuple[Sight | None, ...] = ()

    @property
    def name(self) -> str:
        """What to call the scene."""
        return Path(self.prepared.scene.paths[0]).name

    @property
    def grid(self) -> Grid:
        """The pixels' grid."""
        return self.prepared.scene.grid


def open_places(
    pairs: Sequence[tuple[Paths, str]], scene: SceneOptions, labels: LabelOptions, family: str
) -> tuple[list[Place], tuple[str, ...], tuple[str, ...]]:
    """Open scenes and their labels, given as (files, labels); return them with notes and warnings.

    All scenes share one rule a band. Scenes that their labels miss are left out and counted, unless that leaves none.
    """
    candidates = [Candidate(files, tuple(read_headers(files, scene.warp, scene.resolution))) for files, _ in pairs]
    rule = settle_rule(candidates, scene, family)
    sights = [Sight(ruled_scene(one, rule), tuple(header.path for header in one.headers)) for one in candidates]
    places = labelled([(sight, ()) for sight in sights], [path for _, path in pairs], labels)
    return places.found, (*rule.notes, *places.notes), tuple(dict.fromkeys(rule.warnings))


@dataclass(frozen=True)
class Labelled:
    """Places that labels lie on, and what to say of them."""

    found: list[Place]
    notes: tuple[str, ...]


def labelled(
    sights: Sequence[tuple[Sight, tuple[Sight | None, ...]]], paths: Sequence[str], labels: LabelOptions
) -> Labelled:
    """Open the labels at ``paths`` on the pixels of scenes, each given with the inputs that go with it.

    Scenes that their labels miss are left out and counted; :class:`LabelsMiss` where that leaves none.
    """
    places: list[Place] = []
    missed: list[LabelsMiss] = []
    for number, ((sight, inputs), path) in enumerate(zip(sights, paths, strict=True)):
        try:
            found = labels.open(path, sight.prepared.scene.grid)
        except LabelsMiss as error:
            missed.append(error)
            continue
        places.append(Place(sight.prepared, sight.files, found, path, number, inputs=inputs))
    if not places:
        raise missed[0]
    notes = list(dict.fromkeys(note for place in places for note in place.labels.notes))
    if missed:
        notes.append(f"{len(missed)} of {len(paths)} scenes left out, which the labels do not touch.")
    grounds = _grounds([place.grid for place in places])
    placed = [replace(place, ground=ground) for place, ground in zip(places, grounds, strict=True)]
    return Labelled(placed, tuple(notes))


def ruled_scene(candidate: Candidate, rule: ChipRule) -> Prepared:
    """Return a scene with the rules that all share; :class:`SceneError` for one that cannot be read."""
    found = ruled(candidate, rule)
    if found is None:
        raise SceneError(f"{candidate.name} cannot be read.")
    checks = [BandCheck(norm, c.mean, c.std) for norm, c in zip(rule.norms, found.prepared.checks, strict=True)]
    return replace(found.prepared.on(found.scene()), checks=tuple(checks))


def joined_classes(
    places: Sequence[Place], names: dict[int, str] | None = None
) -> tuple[ClassTable, list[NDArray[np.int16]]]:
    """Join the classes of all places by name; return them, and for each place the joined index of its own classes.

    ``names`` are the user's, by value: values of one name become one class, with the smallest of their values. Where
    one value has several names, values are counted anew from 1.
    """
    by_name: dict[str, tuple[int, Rgb]] = {}
    tables = [place.labels.classes for place in places if place.labels.classes is not None]
    for table in tables:
        for value, name, colour in zip(table.values, table.names, table.colours, strict=True):
            called = (names or {}).get(value, name)
            by_name[called] = min(by_name.get(called, (value, colour)), (value, colour))
    values = [value for value, _ in by_name.values()]
    if len(set(values)) < len(values):
        joined = ClassTable.named(list(by_name))
    else:
        told = {value: name for name, (value, _) in by_name.items()}
        own = len({colour for _, colour in by_name.values()}) == len(by_name)
        joined = ClassTable.of(values, told, dict(by_name.values()) if own else None)
    at = {name: number for number, name in enumerate(joined.names)}
    lookups = [
        np.array([at[(names or {}).get(v, n)] for v, n in zip(table.values, table.names, strict=True)], np.int16)
        for table in tables
    ]
    return joined, lookups


def collect(
    places: Sequence[Place], lookups: Sequence[NDArray[np.int16]] | None, seed: int, most_per_class: int
) -> Points:
    """Read the labels of all places; :class:`TooFewLabels` if there is no labelled pixel."""
    pool = Pool(seed, most_per_class)
    first_groups: dict[str, int] = {}
    for number, place in enumerate(places):
        first = first_groups.setdefault(place.labels_path, len(first_groups) << 32)
        for window in strips(place.labels.extent()):
            block = place.labels.read(window)
            values = block.values
            if lookups is not None:
                values = np.where(values < 0, UNLABELLED, lookups[number][np.maximum(values, 0)]).astype(np.int16)
            pool.add(number, window, values, block.group, first)
    points = pool.points()
    if points is None:
        raise TooFewLabels("The labels hold no pixel inside the scenes. Points can be widened with --buffer.")
    return points


def choose_zoom(places: Sequence[Place], patch: int) -> tuple[int, str | None]:
    """Return the smallest zoom whose cells are no larger than the typical labelled object, and what to say of it."""
    sizes = [place.labels.smallest_px for place in places if place.labels.smallest_px]
    if not sizes:
        return 1, None
    size = float(np.median(sizes))
    zoom = next((zoom for zoom in ZOOMS if patch / zoom <= size), ZOOMS[-1])
    cell = f"cells of {patch / zoom:g} pixels"
    if patch / zoom > size:
        return zoom, f"Warning: labelled objects are about {size:.1f} pixels wide, smaller than {cell} at zoom {zoom}."
    return zoom, f"Zoom {zoom}: {cell}, labelled objects are about {size:.0f} pixels wide."


def on_ground(points: Points, places: Sequence[Place]) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[Any]]:
    """Return for each point the number of its ground, and row and column in pixels of the first scene there."""
    ground = np.array([place.ground for place in places], np.int32)[points.scene]
    row, col = points.row.astype(np.int64), points.col.astype(np.int64)
    for number, place in enumerate(places):
        reference = places[place.ground].grid
        if number != place.ground and not place.grid.is_same(reference):
            mine = points.scene == number
            row[mine], col[mine] = _in_pixels_of(reference, place.grid, row[mine], col[mine])
    return ground, row, col


def _in_pixels_of(
    reference: Grid, grid: Grid, rows: NDArray[Any], cols: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    xs, ys = _mapped(grid.transform, cols + 0.5, rows + 0.5)
    if grid.crs != reference.crs and grid.crs is not None and reference.crs is not None:
        xs, ys = (np.asarray(axis, np.float64) for axis in transform(grid.crs, reference.crs, xs, ys)[:2])
    found_cols, found_rows = _mapped(~reference.transform, xs, ys)
    return np.floor(found_rows).astype(np.int64), np.floor(found_cols).astype(np.int64)


def _mapped(step: Affine, xs: NDArray[Any], ys: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return step.a * xs + step.b * ys + step.c, step.d * xs + step.e * ys + step.f


def _grounds(grids: Sequence[Grid]) -> list[int]:
    """Return a number a scene: those which overlap share that of the first of them."""
    bounds = [_bounds(grid) for grid in grids]
    grounds = list(range(len(grids)))
    for number, mine in enumerate(bounds):
        for other in range(number):
            if _touch(mine, bounds[other]) and grounds[other] != grounds[number]:
                low, high = sorted((grounds[other], grounds[number]))
                grounds = [low if ground == high else ground for ground in grounds]
    return grounds


def _bounds(grid: Grid) -> tuple[float, float, float, float] | None:
    """Return west, south, east and north in degrees; ``None`` without coordinates."""
    if grid.crs is None:
        return None
    try:
        west, south, east, north = transform_bounds(grid.crs, CRS.from_epsg(4326), *grid.bounds)
    except CRSError:  # a local system that nothing ties to the earth
        return None
    return west, south, east, north


def _touch(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return False
    share_x = min(one[2], other[2]) - max(one[0], other[0])
    share_y = min(one[3], other[3]) - max(one[1], other[1])
    return share_x > 0 and share_y > 0
