"""All that is known of how good a head is, as data: what a report page shows and a JSON file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.areas import Areas, Estimate
from dofa_cli.assess.intervals import Interval
from dofa_cli.assess.measured import ClassRow, Measured
from dofa_cli.classes import ClassTable

FORMAT = 1
"""Version of the JSON's form."""


@dataclass(frozen=True)
class Split:
    """How labels were split: in words, and the number of samples of each part, by class where there are classes.

    ``counts`` maps a part's name (train, validation, test…) to K numbers, or to a single one.
    """

    description: str
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Folds:
    """Spatial folds: maps (height, width) of fold numbers by scene, −1 where there is none; the role of each fold.

    ``scores`` are those of each fold where every one was tested on: fold → score by name, with ``samples``.
    """

    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    roles: Mapping[int, str] = field(default_factory=dict)
    scores: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """One of the worst mistakes: a small picture (height, width, 3) uint8, what it is, and what it was taken for."""

    image: NDArray[np.uint8]
    reference: str
    predicted: str
    caption: str = ""


@dataclass(frozen=True)
class Assessment:
    """One head's accuracy, and how it was measured.

    ``task`` is segment, classify or regress. ``facts`` are lines of the page (method, sensor, weights…), ``notes``
    what the reader must know beside the notes of ``measured``. ``left_out`` says which labels were not used, and why.
    """

    name: str
    task: str
    measured: Measured
    classes: ClassTable | None = None
    split: Split | None = None
    folds: Folds | None = None
    areas: Areas | None = None
    mistakes: tuple[Mistake, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """What the reader must know: of the run, of the scores, of the areas."""
        return self.notes + self.measured.notes + (self.areas.notes if self.areas else ())

    def to_plain(self) -> dict[str, Any]:
        """Return lists, numbers and text, ``None`` for what is not defined. Pictures and maps stay out."""
        plain = {
            "format": FORMAT,
            "name": self.name,
            "task": self.task,
            "kind": self.measured.kind.value,
            "samples": self.measured.samples,
            "unit": self.measured.unit,
            "scores": _scores(self.measured.values, self.measured.intervals),
            "uncertainty": self.measured.uncertainty,
            "classes": [_class(self, at, row) for at, row in enumerate(self.measured.rows)],
            "confusion": self._confusion(),
            "split": self._split(),
            "folds": self._folds(),
            "areas": _areas(self.areas),
            "mistakes": [
                {"reference": m.reference, "predicted": m.predicted, "caption": m.caption} for m in self.mistakes
            ],
            "facts": dict(self.facts),
            "left_out": list(self.left_out),
            "notes": list(self.all_notes),
            "command": self.command,
            "versions": dict(self.versions),
        }
        return {name: value for name, value in plain.items() if value not in (None, "", [], {})}

    def to_json(self) -> str:
        """Return :meth:`to_plain` as JSON text; whoever reads it needs no NaN."""
        return json.dumps(self.to_plain(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _confusion(self) -> dict[str, Any] | None:
        matrix = self.measured.confusion
        if matrix is None:
            return None
        counts = [[_number(count) for count in row] for row in matrix.tolist()]
        return {"rows": "reference", "columns": "predicted", "counts": counts}

    def _split(self) -> dict[str, Any] | None:
        if self.split is None:
            return None
        counts = {part: [int(many) for many in counts] for part, counts in self.split.counts.items()}
        return {"description": self.split.description, "samples": counts}

    def _folds(self) -> dict[str, Any] | None:
        if self.folds is None:
            return None
        scores = {
            str(fold): {name: _number(value) for name, value in values.items()}
            for fold, values in self.folds.scores.items()
        }
        return {"roles": {str(fold): role for fold, role in self.folds.roles.items()}, "scores": scores}


def _class(assessment: Assessment, at: int, row: ClassRow) -> dict[str, Any]:
    value = {} if assessment.classes is None else {"value": assessment.classes.values[at]}
    counts = {"reference": _number(row.reference), "predicted": _number(row.predicted)}
    return {"name": row.name, **value, **counts, "scores": _scores(row.values, row.intervals)}


def _scores(values: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | int | None]]:
    return {
        name: {"value": _number(value)}
        | ({"low": _number(intervals[name].low), "high": _number(intervals[name].high)} if name in intervals else {})
        for name, value in values.items()
    }


def _areas(areas: Areas | None) -> dict[str, Any] | None:
    if areas is None:
        return None
    rows = [
        {
            "name": row.name,
            "samples": _number(row.samples),
            "mapped_ha": _number(row.mapped_ha),
            "adjusted_ha": _estimate(row.adjusted_ha),
            "users_accuracy": _estimate(row.users),
            "producers_accuracy": _estimate(row.producers),
        }
        for row in areas.rows
    ]
    return {"overall_accuracy": _estimate(areas.overall), "uncertainty": areas.uncertainty, "classes": rows}


def _estimate(estimate: Estimate) -> dict[str, float | int | None]:
    ends = {"low": _number(estimate.low), "high": _number(estimate.high), "standard_error": _number(estimate.error)}
    return {"value": _number(estimate.value), **ends}


def _number(value: float) -> float | int | None:
    """Return a number that JSON knows: whole ones as such, ``None`` for NaN."""
    value = float(value)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
