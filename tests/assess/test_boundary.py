"""Borders of maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dofa_cli.assess.boundary import boundary_counts, boundary_f1

maps = arrays(np.int16, (7, 9), elements=st.integers(-1, 2))


def halves(at):
    return np.where(np.arange(20) < at, 0, 1) * np.ones((10, 1), int)


@given(maps)
def test_a_map_has_its_own_borders(drawn):
    found = boundary_f1(drawn, drawn, 3)
    assert np.isnan(found) or found == 1


@given(maps, maps)
def test_borders_found_and_borders_right_change_places_with_the_maps(one, other):
    there, back = boundary_counts(one, other, 3).counts, boundary_counts(other, one, 3).counts
    assert (there == back[[2, 3, 0, 1]]).all()


def test_a_border_within_the_tolerance_is_right_and_one_beyond_it_is_not():
    assert boundary_f1(halves(10), halves(12), 2, tolerance_px=2) == 1
    assert boundary_f1(halves(10), halves(13), 2, tolerance_px=2) == 0


def test_half_of_a_border_found_is_half_of_recall():
    reference, predicted = np.tile(halves(10), (4, 1)), np.tile(halves(10), (4, 1))
    predicted[20:] = 0
    counts = boundary_counts(reference, predicted, 2, tolerance_px=0)
    assert counts.counts[:2, 1].tolist() == [40, 20]
    assert counts.f1[1] == pytest.approx(2 * 0.5 * (20 / 29) / (0.5 + 20 / 29))  # 9 pixels border on the row below


def test_the_rim_of_labels_is_no_border():
    reference = np.full((9, 9), -1)
    reference[2:7, 2:7] = 1
    assert boundary_counts(reference, np.ones((9, 9), int), 2).counts.sum() == 0
    assert np.isnan(boundary_f1(reference, np.ones((9, 9), int), 2))


def test_a_border_that_the_map_lacks_scores_nothing_and_tiles_add_up():
    flat = np.zeros((10, 20), int)
    assert boundary_f1(halves(10), flat, 2) == 0
    right = boundary_counts(halves(10), halves(10), 2)
    assert (right + boundary_counts(halves(10), flat, 2)).mean_f1 == pytest.approx(2 / 3)
