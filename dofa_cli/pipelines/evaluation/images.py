"""Heads of whole images on test labels: one prediction an image, compared with the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import UNLABELLED, ClassTable
from dofa_cli.errors import LabelError, WrongHead
from dofa_cli.pipelines.evaluation.evidence import Evidence, Samples
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.learning.folds import TEST
from dofa_cli.pipelines.learning.label_table import Labelled, class_names
from dofa_cli.pipelines.mapping.apply_head import HeadFile, scene_options
from dofa_cli.pipelines.mapping.image_job import Job, open_images, predict_chips
from dofa_cli.pipelines.scenes.prepare import SceneOptions


@dataclass(frozen=True)
class ImageTest:
    """Images with their test labels, and how to read and predict them."""

    images: tuple[Labelled, ...]
    scene: SceneOptions
    model: ModelOptions
    say: Say


def try_on_images(file: HeadFile, test: ImageTest) -> Evidence:
    """Predict every image and pair it with its label.

    Where the list names a split, its test part counts alone. Raises :class:`LabelError` where no label is one of the
    head's classes.
    """
    rows, notes = _tested(test.images)
    paths = tuple((row.image,) for row in rows)
    sensors = {row.sensor for row in rows if row.sensor}
    given = test.scene if test.scene.sensor or len(sensors) != 1 else replace(test.scene, sensor=sensors.pop())
    chips, predictor = open_images(Job(paths, file, scene_options(file, given, paths[0]), test.model, test.say))
    found = predict_chips(chips, predictor)
    kept = [rows[at] for at in chips.kept]
    reference, predicted, unknown = _paired(file, kept, found.values, found.classes)
    notes += [*chips.notes, *chips.warnings, *unknown]
    samples = Samples(np.array(chips.kept, np.uint64), reference, predicted, None)
    return Evidence(file, samples, facts={"sensor": chips.sensor, "product": chips.product}, notes=tuple(notes))


def _tested(images: Sequence[Labelled]) -> tuple[list[Labelled], list[str]]:
    """Return the test part of a list that has one, else all of it."""
    part = [row for row in images if row.split == TEST]
    if not part:
        return list(images), []
    return part, [f"{len(part)} images of split 'test' are compared, of {len(images)} in the list."]


def _paired(
    file: HeadFile, rows: Sequence[Labelled], values: NDArray[np.float32], classes: NDArray[np.int16]
) -> tuple[NDArray[np.generic], NDArray[np.generic], list[str]]:
    """Return reference and prediction as the scores want them, and what was not understood."""
    table = file.head.classes
    if table is None:
        return np.array([_number(row, file) for row in rows]), values[:, 0], []
    unknown = _unknown(rows, table, file)
    if file.head.several:
        return np.stack([_several(row, table) for row in rows]), values, unknown
    index = {name: at for at, name in enumerate(table.names)}
    reference = [index.get(row.label, UNLABELLED) if isinstance(row.label, str) else UNLABELLED for row in rows]
    return np.array(reference, np.int16), classes, unknown


def _several(row: Labelled, table: ClassTable) -> NDArray[np.bool_]:
    names = {row.label} if isinstance(row.label, str) else set(row.label) if isinstance(row.label, tuple) else set()
    return np.array([name in names for name in table.names])


def _number(row: Labelled, file: HeadFile) -> float:
    try:
        return float(row.label)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise WrongHead(f"{file.path} predicts a number, but the label of {row.image} is '{row.label}'.") from None


def _unknown(rows: Sequence[Labelled], table: ClassTable, file: HeadFile) -> list[str]:
    """Name the labels that are none of the head's classes; :class:`LabelError` if all are."""
    named = class_names(rows)
    strange = [name for name in named if name not in table.names]
    if len(strange) == len(named):
        raise LabelError(
            f"No label is a class of {file.path}: the labels are {', '.join(named[:6])}, its classes "
            f"{', '.join(table.names[:6])}."
        )
    if not strange:
        return []
    counts = Counter(row.label for row in rows if isinstance(row.label, str))
    left = sum(counts[name] for name in strange)
    return [f"Labels that are no class of the head do not count: {', '.join(strange[:6])} ({left} images)."]
