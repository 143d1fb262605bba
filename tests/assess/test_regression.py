"""Numbers against numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from dofa_cli.assess.regression import assess_numbers
from dofa_cli.errors import TooFewLabels

numbers = st.floats(-1e4, 1e4).map(lambda value: round(value, 3))


@given(arrays(np.float64, st.tuples(st.just(2), st.integers(3, 30)), elements=numbers))
def test_scores_are_those_of_scikit_learn(drawn):
    reference, predicted = drawn
    values = assess_numbers(reference, predicted).values
    assert values["rmse"] == pytest.approx(metrics.root_mean_squared_error(reference, predicted))
    assert values["mae"] == pytest.approx(metrics.mean_absolute_error(reference, predicted))
    assert values["bias"] == pytest.approx((predicted - reference).mean(), abs=1e-6)
    if np.ptp(reference) > 0.01:
        assert values["r2"] == pytest.approx(metrics.r2_score(reference, predicted), rel=1e-6, abs=1e-9)


def test_perfect_numbers_have_no_error_and_a_constant_reference_no_r2():
    measured = assess_numbers(np.arange(50.0), np.arange(50.0))
    assert measured.values == {"rmse": 0, "mae": 0, "r2": 1, "bias": 0}
    assert np.isnan(assess_numbers(np.full(9, 3.3), np.arange(9.0)).values["r2"])


def test_r2_of_numbers_far_from_zero_is_right():
    reference = 1e6 + np.linspace(0, 1, 200)
    predicted = reference + np.random.default_rng(0).normal(0, 0.1, 200)
    assert assess_numbers(reference, predicted).values["r2"] == pytest.approx(metrics.r2_score(reference, predicted))


def test_missing_numbers_do_not_count_and_are_told():
    measured = assess_numbers(
        np.array([1, 2, np.nan, 4]), np.array([1, np.nan, 3, 4]), blocks=np.array([0, 0, 1, 1]), unit="t/ha"
    )
    assert measured.samples == 2
    assert measured.notes[0].startswith("1 test numbers")
    assert measured.written("rmse").endswith(" t/ha")
    assert measured.pairs.tolist() == [[1, 4], [1, 4]]


def test_no_number_at_all_is_an_error():
    with pytest.raises(TooFewLabels, match="number"):
        assess_numbers(np.array([np.nan]), np.array([1.0]))
