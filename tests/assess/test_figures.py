"""Figures: they are PNG files that show what they are given."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from dofa_cli.assess.figures import (
    compact,
    confusion_figure,
    f1_figure,
    fold_figure,
    png,
    scatter_figure,
    short,
    thinned,
)
from dofa_cli.assess.regression import assess_numbers
from dofa_cli.classes import distinct_colours


def opened(data):
    return np.round(imread(BytesIO(data))[..., :3] * 255).astype(int)


def share(image, colour):
    return (np.abs(image - colour).max(axis=-1) <= 2).mean()


def test_a_picture_comes_back_as_it_was():
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    assert (opened(png(image)) == image).all()


@pytest.mark.parametrize("size", [1, 2, 13])
def test_matrices_of_any_size_are_drawn_blue_where_right_and_orange_where_wrong(size):
    names = [f"class $ {number}" for number in range(size)]
    right, wrong = (opened(confusion_figure(one, names)) for one in (np.eye(size), np.roll(np.eye(size), 1, axis=0)))
    assert max(right.shape) < 2000
    assert share(right, (8, 48, 107)) > 0.5 / size / 4
    if size > 1:
        assert share(wrong, (166, 54, 3)) > 0.5 / size / 4


def test_classes_that_nobody_holds_take_no_room():
    small, padded = np.ones((3, 3)), np.pad(np.ones((3, 3)), ((0, 30), (0, 30)))
    names = ["a", "b", "c"] + ["some long unused name"] * 30
    assert (opened(confusion_figure(padded, names)) == opened(confusion_figure(small, names[:3]))).all()


def test_bars_have_the_colours_of_the_map(assessment):
    image = opened(f1_figure(assessment.measured.rows))
    assert all(share(image, row.colour) > 0.01 for row in assessment.measured.rows)


def test_a_map_of_folds_shows_every_fold_and_leaves_the_rest_white(assessment):
    image = opened(fold_figure(assessment.folds.maps["a.tif"], assessment.folds.roles))
    assert all(share(image, colour) > 0.1 for colour in distinct_colours(2))


def test_a_fold_of_one_pixel_stays_seen_in_a_large_map():
    folds = np.full((2100, 900), -1)
    folds[1234, 567] = 4
    thin = thinned(folds)
    assert max(thin.shape) <= 700
    assert (thin == 4).sum() == 1
    assert (thinned(folds[:500, :500]) == folds[:500, :500]).all()


@pytest.mark.parametrize("count", [1, 50, 4000])
def test_numbers_are_drawn_as_points_or_as_density(count):
    truth = np.random.default_rng(0).random(count)
    image = opened(scatter_figure(assess_numbers(truth, truth), "height"))
    assert (image < 250).any(axis=-1).mean() > 0.005


def test_long_names_and_counts_are_shortened():
    assert short("Double crop winter wheat and soybeans") == "Double crop win…d soybeans"
    assert short("oats") == "oats"
    assert [compact(count) for count in (0.25, 9, 830.4, 9999, 12345, 999999, 3.4e6)] == [
        "0.2", "9", "830", "9999", "12k", "1000k", "3.4M",
    ]  # fmt: skip


def test_cells_of_very_many_classes_are_not_written_into(monkeypatch):
    written = opened(confusion_figure(np.eye(4), list("abcd")))
    monkeypatch.setattr("dofa_cli.assess.figures.MOST_WRITTEN", 3)
    bare = opened(confusion_figure(np.eye(4), list("abcd")))
    assert written.shape == bare.shape
    assert share(bare, (8, 48, 107)) > share(written, (8, 48, 107))
