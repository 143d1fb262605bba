"""Heads side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from dofa_cli.assess.compare import Comparison, duels, mcnemar, side_by_side
from dofa_cli.assess.regression import assess_numbers
from dofa_cli.assess.single import assess


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(first, second):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


@given(st.integers(400, 5000), st.integers(700, 5000))
def test_mcnemar_of_many_samples_is_the_chi_square_test(first, second):
    statistic = max(abs(first - second) - 1, 0) ** 2 / (first + second)
    assert mcnemar(first, second) == pytest.approx(chi2.sf(statistic, 1), rel=1e-6)


def test_a_duel_counts_what_one_alone_gets_right():
    reference = np.array([0, 0, 1, 1, 2, -1, 2])
    heads = {"a": np.array([0, 0, 1, 0, 0, 0, -1]), "b": np.array([0, 1, 0, 1, 0, 1, 2])}
    (duel,) = duels(reference, heads)
    assert (duel.first, duel.second, duel.only_first, duel.only_second) == ("a", "b", 2, 1)
    assert duel.difference == pytest.approx(1 / 5)
    assert duel.interval.low <= duel.difference <= duel.interval.high


def test_three_heads_meet_in_three_duels_and_equal_ones_do_not_differ(samples):
    reference, predicted, blocks = samples
    met = duels(reference, {"a": predicted, "b": reference, "c": predicted}, blocks=blocks)
    assert [(duel.first, duel.second) for duel in met] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert met[1].p_value == 1
    assert met[0].difference < 0
    assert met[0].interval.high < 0
    assert "a against b" in met[0].sentence()


def test_the_best_scores_are_marked(classes, samples):
    reference, predicted, _ = samples
    held = side_by_side({"weak": assess(reference, predicted, classes), "ideal": assess(reference, reference, classes)})
    assert held.columns[:2] == ("head", "overall accuracy")
    assert {row for row, _ in held.best} == {1}
    assert "1.000*" in held.text().splitlines()[2]
    assert Comparison(held).duels == ()


def test_the_smallest_error_is_the_best():
    truth = np.linspace(0, 9, 40)
    held = side_by_side({"far": assess_numbers(truth, truth - 3), "near": assess_numbers(truth, truth + 1)})
    assert {row for row, _ in held.best} == {1}
    assert held.columns == ("head", "RMSE", "MAE", "R²", "bias")
