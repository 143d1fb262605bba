"""What training found: scores of the held-out samples, maps of the folds, the worst mistakes, on file and in short."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dofa_cli import __version__
from dofa_cli.assess.confusion import Confusion
from dofa_cli.assess.intervals import groups_of
from dofa_cli.assess.measured import Measured
from dofa_cli.assess.page import page
from dofa_cli.assess.regression import assess_numbers
from dofa_cli.assess.report import Assessment, Folds, Split
from dofa_cli.assess.several import assess_several
from dofa_cli.assess.single import assess_counts
from dofa_cli.heads.fit import Fitted
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.learning.draft import Draft, Index
from dofa_cli.pipelines.learning.folds import Division, Round
from dofa_cli.pipelines.learning.learners import Attempt
from dofa_cli.pipelines.learning.lessons import Drawn, Lesson
from dofa_cli.pipelines.learning.mistakes import worst_mistakes
from dofa_cli.pipelines.learning.request import TrainRequest
from dofa_cli.raster.writer import explained, working_file

MAP_SIDE = 400
"""Longer side of a map of folds in pixels."""


@dataclass(frozen=True)
class Result:
    """What training gave: the head's tensors, and probabilities or numbers (n, K) of the tested samples ``at`` (n,)."""

    attempt: Attempt
    fitted: Fitted
    measured: Measured
    drawn: tuple[Drawn, ...]
    at: Index
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class TrainReport:
    """What was trained and how good it is; ``samples`` are those of each part, ``zoom`` that of the head."""

    head: str
    task: str
    method: str
    zoom: int
    classes: tuple[str, ...]
    split: str
    samples: dict[str, int]
    settings: dict[str, Any]
    assessment: Assessment
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object with all scores."""
        fields = ("head", "task", "method", "zoom", "classes", "split", "samples", "settings", "notes", "warnings")
        return to_json({name: getattr(self, name) for name in fields} | {"report": self.assessment.to_plain()})

    def summary(self) -> list[str]:
        """Say in a few lines how good the head is, and by what."""
        counts = ", ".join(f"{many:,} {part}" for part, many in self.samples.items())
        return [f"{self.assessment.measured.headline()}", f"Samples: {counts}; {self.split}."]


def measure(
    lesson: Lesson, at: Index, outputs: NDArray[np.float32], weight: NDArray[np.float64], seed: int
) -> Measured:
    """Score probabilities or standardised numbers (n, K) of the samples ``at`` (n,); NaN is no prediction."""
    on_ground = lesson.sites.place is not None or lesson.places != ()
    blocks = lesson.sites.unit[at]
    known = np.isfinite(outputs[:, 0])
    if lesson.target is not None:
        truth, given = (
            values * lesson.target.std + lesson.target.mean for values in (lesson.targets[at], outputs[:, 0])
        )
        return assess_numbers(truth, given, blocks=blocks, seed=seed, unit=lesson.target.unit)
    assert lesson.classes is not None
    if lesson.several:
        return assess_several(lesson.targets[at][known] > 0, outputs[known], lesson.classes, seed=seed)
    counted = Confusion(len(lesson.classes))
    predicted = np.where(known, outputs.argmax(axis=1), -1)
    groups = groups_of(len(at), blocks if on_ground else None, seed)
    counted.add(lesson.targets[at], predicted, blocks=groups, weights=weight)
    return assess_counts(counted, lesson.classes, spatial=on_ground, seed=seed)


def report_on(
    request: TrainRequest, lesson: Lesson, division: Division, result: Result, notes: tuple[str, ...]
) -> TrainReport:
    """Collect what the report says."""
    draft = result.attempt.learner.draft
    rounds = len(result.drawn)
    kept = "trained on all labels after the test" if rounds > 1 else "the one that was tested"
    split = Split(f"{division.how}; the head kept is {kept}", _counts(lesson, result))
    assessment = Assessment(
        name=request.head.name,
        task=draft.task.value,
        measured=result.measured,
        classes=lesson.classes,
        split=split,
        folds=_folds(lesson, division),
        mistakes=worst_mistakes(lesson, result.at, result.outputs),
        facts=_facts(draft, request),
        notes=(*notes, *lesson.warnings),
        command=request.command,
        versions={"dofa": __version__, "python": platform.python_version(), "torch": torch.__version__},
    )
    samples = {part: int(sum(counts)) for part, counts in split.counts.items()}
    return TrainReport(
        head=str(request.head),
        task=draft.task.value,
        method=draft.method.value,
        zoom=result.attempt.zoom,
        classes=lesson.names,
        split=split.description,
        samples=samples,
        settings=dict(result.fitted.settings),
        assessment=assessment,
        notes=notes,
        warnings=lesson.warnings,
    )


def write_reports(request: TrainRequest, assessment: Assessment) -> None:
    """Write the report as JSON and as a page, each whole or not at all."""
    _, plain, html = request.outputs
    for path, text in ((plain, assessment.to_json()), (html, page([assessment]))):
        with working_file(path) as working, explained(path):
            working.write_text(text, encoding="utf-8")


def _counts(lesson: Lesson, result: Result) -> dict[str, list[int]]:
    """Return the number of samples of each part, by class; those of a cross-validation are means of its rounds."""
    counts = {}
    for part in ("train", "validation", "test"):
        found = [_by_class(lesson, getattr(one, part)) for one in result.drawn]
        counts[part] = np.mean(found, axis=0).round().astype(int).tolist()
    return counts


def _by_class(lesson: Lesson, at: Index) -> NDArray[np.int64]:
    if lesson.classes is None:
        return np.array([len(at)])
    if lesson.several:
        return np.asarray(lesson.targets[at].sum(axis=0).astype(np.int64))
    return np.bincount(lesson.targets[at], minlength=len(lesson.classes))


def _folds(lesson: Lesson, division: Division) -> Folds | None:
    """Draw which fold each place belongs to."""
    if lesson.chips is not None:
        return None
    maps = {}
    for number, place in enumerate(lesson.places):
        mine = np.flatnonzero(lesson.points.scene == number)
        if len(mine):
            name = place.name if place.name not in maps else f"{place.name} ({number})"
            maps[name] = _map(lesson, division, mine, (place.grid.height, place.grid.width))
    return Folds(maps, _roles(division))


def _map(lesson: Lesson, division: Division, mine: Index, shape: tuple[int, int]) -> NDArray[np.int16]:
    step = max(1, -(-max(shape) // MAP_SIDE))
    drawn = np.full((-(-shape[0] // step), -(-shape[1] // step)), -1, np.int16)
    drawn[lesson.points.row[mine] // step, lesson.points.col[mine] // step] = division.fold[mine]
    return drawn


def _roles(division: Division) -> dict[int, str]:
    """Name the part that each fold plays; in a cross-validation all take turns."""
    numbers = [int(fold) for fold in np.unique(division.fold) if fold >= 0]
    if len(division.rounds) > 1:
        return {fold: f"tested in round {at + 1}" for at, fold in enumerate(numbers)}
    return {fold: _role(division.rounds[0], division.fold == fold) for fold in numbers}


def _role(one: Round, inside: NDArray[np.bool_]) -> str:
    shares = {part: int((getattr(one, part) & inside).sum()) for part in ("train", "validation", "test")}
    return max(shares, key=lambda part: shares[part])


def _facts(draft: Draft, request: TrainRequest) -> dict[str, str]:
    recipe = draft.recipe
    facts = {
        "method": draft.method.value,
        "weights": f"{draft.weights.name} (sha256 {draft.weights.sha256[:12]}…)",
        "sensor": f"{recipe.sensor}, product {recipe.product}",
        "bands": ", ".join(recipe.bands),
        "window": f"{recipe.window} px, overlap {recipe.overlap} px, zoom {recipe.zoom}",
        "class weights": draft.weighting,
        "seed": str(draft.seed),
    }
    if recipe.inputs:
        facts["sensor"] = "; ".join(f"{one.name}, product {one.product}" for one in recipe.inputs)
        facts["bands"] = "; ".join(", ".join(one.bands) for one in recipe.inputs)
        facts["inputs joined by"] = recipe.combine
    if recipe.chip:
        facts["window"] = f"images resampled to {recipe.chip} × {recipe.chip} px"
    if request.max_per_class:
        facts["training samples of a class at most"] = f"{request.max_per_class:,}"
    return facts
