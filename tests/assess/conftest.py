"""Samples that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import pytest

from dofa_cli.assess.report import Assessment, Folds, Mistake, Split
from dofa_cli.assess.single import assess
from dofa_cli.classes import ClassTable


@pytest.fixture
def classes() -> ClassTable:
    return ClassTable.of([3, 7, 20], {3: "field", 7: "<script>alert('x')</script>", 20: "wood & water"})


@pytest.fixture
def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return reference and predicted indices, and the block of each of 600 samples."""
    random = np.random.default_rng(7)
    reference = random.integers(0, 3, 600)
    predicted = np.where(random.random(600) < 0.7, reference, random.integers(0, 3, 600))
    return reference, predicted, random.integers(0, 12, 600)


@pytest.fixture
def assessment(classes, samples) -> Assessment:
    reference, predicted, blocks = samples
    folds = np.full((40, 60), -1)
    folds[:20, :30], folds[20:, 30:] = 0, 1
    return Assessment(
        "land.pt",
        "segment",
        assess(reference, predicted, classes, blocks=blocks),
        classes,
        Split("Blocks of 640 m, a guard of 224 pixels.", {"train": (50, 60, 70), "test": (200, 190, 210)}),
        Folds({"a.tif": folds}, {0: "train", 1: "test"}, {0: {"samples": 300, "kappa": 0.5}}),
        mistakes=(Mistake(np.zeros((8, 9, 3), np.uint8), "field", "wood & water", "row 4, col 5"),),
        facts={"method": "linear"},
        left_out=("3 polygons without a class",),
        command="dofa train land.pt --labels 'a<b>.gpkg'",
        versions={"dofa": "1.0"},
    )
