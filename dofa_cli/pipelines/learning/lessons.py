"""What there is to learn from: samples with their targets and places, from scenes or from chips."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import ClassTable
from dofa_cli.errors import LabelsUnreadable, OptionError, TooFewLabels, UnknownField
from dofa_cli.heads.head import Target, Task
from dofa_cli.pipelines.chips.chip_set import ChipSet, open_chips
from dofa_cli.pipelines.inference.encoder import Weights
from dofa_cli.pipelines.inputs.named import Key
from dofa_cli.pipelines.learning.draft import Index, Shares
from dofa_cli.pipelines.learning.folds import Division, Round, Sites, SplitBy, divide, divide_as_folded, divide_as_told
from dofa_cli.pipelines.learning.folds import strata_of_numbers as deciles
from dofa_cli.pipelines.learning.input_places import open_input_places
from dofa_cli.pipelines.learning.inputs import Inputs
from dofa_cli.pipelines.learning.label_table import Labelled, class_names
from dofa_cli.pipelines.learning.labelled_scenes import Place, choose_zoom, collect, joined_classes, open_places
from dofa_cli.pipelines.learning.request import TrainRequest
from dofa_cli.pipelines.learning.sampling import (
    MOST_PER_CLASS,
    MOST_TESTED,
    MOST_TRAINING,
    POOL_PER_CLASS,
    Points,
    draw,
    drawn_weights,
    hashed,
)
from dofa_cli.pipelines.learning.sites import chip_sites, scene_sites

DENSE_POOL = 500_000
"""Labelled pixels of a class that heads of windows are trained with at most."""
SMALLEST_STD = 1e-9


@dataclass(frozen=True)
class Drawn:
    """Positions of the samples of one round, the weight of each tested one, and labelled pixels by class (K,)."""

    train: Index
    validation: Index
    test: Index
    weight: NDArray[np.float64]
    shares: Shares


@dataclass(frozen=True)
class Lesson:
    """Samples (n,): where they lie, what is learnt of each, and what the user must know.

    ``targets`` are class indices, rows (n, K) of several classes, or numbers standardised by ``target``. ``places`` or
    ``chips`` are what they lie on; ``zooms`` are to be tried. ``per_class`` and ``in_all`` are how many train at most.
    ``inputs`` are those of a head of several, as each place has them in this order.
    """

    task: Task
    points: Points
    targets: NDArray[Any]
    sites: Sites
    rows: tuple[Labelled, ...]
    source: str
    classes: ClassTable | None
    target: Target | None
    places: tuple[Place, ...] = ()
    chips: ChipSet | None = None
    zooms: tuple[int, ...] = (1,)
    per_class: int = MOST_PER_CLASS
    in_all: int = MOST_TRAINING
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: tuple[Key, ...] = ()

    @property
    def several(self) -> bool:
        """Whether a sample may be of several classes."""
        return self.targets.ndim == 2

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the strata that splits are balanced by."""
        return () if self.classes is None else self.classes.names

    def divide(self, request: TrainRequest) -> Division:
        """Split as the list says, else by place or at random."""
        rows = [self.rows[scene] for scene in self.points.scene] if self.rows else []
        if request.split.by is SplitBy.AUTO and any(row.fold is not None for row in rows):
            return divide_as_folded([row.fold for row in rows], self.source)
        if request.split.by is SplitBy.AUTO and any(row.split is not None for row in rows):
            return divide_as_told([row.split for row in rows], self.sites, request.split, self.source)
        return divide(self.sites, request.split)

    def draw(self, one: Round, rounds: int) -> Drawn:
        """Draw the samples of one of several rounds."""
        test = draw(self.points, one.test, MOST_TESTED, MOST_TESTED // rounds)
        return Drawn(
            draw(self.points, one.train, self.per_class, self.in_all),
            draw(self.points, one.validation, self.per_class, self.in_all // 4),
            test,
            drawn_weights(self.points, one.test, test),
            self._shares(one.train),
        )

    def _shares(self, inside: NDArray[np.bool_]) -> Shares:
        """Return how many labelled pixels each class (K,) has among some points."""
        counts = np.bincount(self.points.stratum[inside], self.points.weight[inside], minlength=len(self.names))
        return np.asarray(counts, np.float64)


def scene_lesson(request: TrainRequest, inputs: Inputs, weights: Weights) -> Lesson:
    """Open scenes and labels, collect labelled pixels, and say where they lie."""
    places, notes, warnings = _open(request, inputs, weights.config.family)
    names = read_class_names(request.class_names) if request.class_names else None
    classes, lookups = (None, None) if inputs.task is Task.REGRESS else joined_classes(places, names)
    if classes is not None and len(classes) < 2:
        raise TooFewLabels(f"The labels hold one class only, '{classes.names[0]}'; a head needs two or more.")
    dense = not request.method.is_token_head
    points = collect(places, lookups, request.split.seed, DENSE_POOL if dense else POOL_PER_CLASS)
    zooms, zoom_notes = request.zooms, []
    if not zooms:
        zoom, said = choose_zoom(places, weights.config.patch_size)
        zooms, zoom_notes = (zoom,), [said] if said else []
    targets, target = _standardised(points.target, request) if classes is None else (points.target, None)
    reach = (request.window or weights.config.image_size) // min(zooms)
    return Lesson(
        inputs.task,
        points,
        targets,
        scene_sites(points, places, request.split, reach),
        tuple(inputs.rows[place.number] for place in places) if inputs.rows else (),
        inputs.listed.source if inputs.listed else str(request.labels),
        classes,
        target,
        places=tuple(places),
        zooms=zooms,
        per_class=request.max_per_class or (DENSE_POOL if dense else MOST_PER_CLASS if classes else MOST_TRAINING),
        in_all=DENSE_POOL * 100 if dense else MOST_TRAINING,
        notes=(*notes, *(inputs.listed.notes if inputs.listed else ()), *zoom_notes),
        warnings=warnings,
        inputs=inputs.keys,
    )


def _open(request: TrainRequest, inputs: Inputs, family: str) -> tuple[list[Place], tuple[str, ...], tuple[str, ...]]:
    """Open scenes, or places with several inputs, with their labels."""
    if not inputs.places:
        return open_places(inputs.scenes, request.options, request.label, family)
    pairs = [(place, labels) for place, (_, labels) in zip(inputs.places, inputs.scenes, strict=True)]
    return open_input_places(pairs, inputs.keys, request.options, request.label, family)


def chip_lesson(request: TrainRequest, inputs: Inputs, weights: Weights) -> Lesson:
    """Open the images of a list as chips of the network's native size."""
    assert inputs.listed is not None
    side = request.window or weights.config.image_size
    chips = open_chips([row.image for row in inputs.images], request.options, weights.config.family, side=side)
    rows = tuple(inputs.images[number] for number in chips.kept)
    classes, targets, target = _of_rows(rows, request, inputs.task)
    strata = _strata(targets, classes)
    count = np.arange(len(rows), dtype=np.int32)
    key = hashed(request.split.seed, count)
    zeros = np.zeros(len(rows), np.int32)
    groups = np.full(len(rows), -1, np.int64)
    points = Points(count, zeros, zeros, groups, targets, strata, key, np.ones(len(rows), np.float32))
    return Lesson(
        inputs.task,
        points,
        targets,
        chip_sites(points, [chips.grid(n) for n in range(len(chips))], request.split),
        rows,
        inputs.listed.source,
        classes,
        target,
        chips=chips,
        per_class=request.max_per_class or len(rows),
        in_all=4 * len(rows),
        notes=(*chips.notes, *inputs.listed.notes),
        warnings=chips.warnings,
    )


def read_class_names(path: str) -> dict[int, str]:
    """Read a CSV file with columns ``value`` and ``name``; values of one name are one class.

    Raises :class:`LabelsUnreadable` or :class:`UnknownField`.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsUnreadable(f"{path} cannot be read as a list of class names: {error}.") from None
    for wanted in ("value", "name"):
        if wanted not in columns:
            raise UnknownField(f"{path} has no column '{wanted}'; a list of class names has value and name.")
    if bad := [row["value"] for row in rows if not str(row["value"]).strip().isdigit()]:
        raise LabelsUnreadable(f"{path} has value '{bad[0]}', which is no whole number.")
    return {int(row["value"]): str(row["name"]).strip() for row in rows}


def _of_rows(
    rows: Sequence[Labelled], request: TrainRequest, task: Task
) -> tuple[ClassTable | None, NDArray[Any], Target | None]:
    """Return classes, targets and scaling of the labels of images."""
    if task is Task.REGRESS:
        targets, target = _standardised(np.array([row.label for row in rows], np.float32), request)
        return None, targets, target
    classes = ClassTable.named(class_names(rows))
    if len(classes) < 2:
        raise TooFewLabels(f"All {len(rows)} images are of class '{classes.names[0]}'; a head needs two or more.")
    at = {name: number for number, name in enumerate(classes.names)}
    if all(isinstance(row.label, str) for row in rows):
        return classes, np.array([at[str(row.label)] for row in rows], np.int16), None
    several = np.zeros((len(rows), len(classes)), np.float32)
    for number, row in enumerate(rows):
        several[number, [at[name] for name in row.label]] = 1  # type: ignore[union-attr]
    return classes, several, None


def _strata(targets: NDArray[Any], classes: ClassTable | None) -> NDArray[np.int16]:
    """Return what splits are balanced by: the class, the rarest of several classes, or the decile of a number."""
    if classes is None:
        return deciles(targets)
    if targets.ndim == 1:
        return targets.astype(np.int16)
    rarity = np.where(targets > 0, targets.sum(axis=0), np.inf)
    return np.asarray(rarity.argmin(axis=1), np.int16)


def _standardised(numbers: NDArray[Any], request: TrainRequest) -> tuple[NDArray[np.float32], Target]:
    mean, std = float(numbers.mean(dtype=np.float64)), float(numbers.std(dtype=np.float64))
    if std < SMALLEST_STD:
        raise TooFewLabels(f"All {len(numbers)} labels are {mean:g}; there is nothing to learn.")
    if not np.isfinite(std):
        raise OptionError("Labels hold numbers that are not finite.")
    target = Target(request.label.field or "value", mean, std, request.unit)
    return ((numbers - mean) / std).astype(np.float32), target
