"""Scores of confusion matrices, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from dofa_cli.assess.scores import class_scores, overall_scores

matrices = arrays(np.float64, (4, 4), elements=st.integers(0, 30).map(float))


def samples_of(matrix):
    """Return reference and predicted indices that give the matrix."""
    rows, columns = np.indices(matrix.shape)
    many = matrix.astype(int).ravel()
    return np.repeat(rows.ravel(), many), np.repeat(columns.ravel(), many)


def test_a_matrix_by_hand():
    matrix = np.array([[40.0, 10.0], [5.0, 45.0]])
    each, overall = class_scores(matrix), overall_scores(matrix)
    assert each["precision"] == pytest.approx([40 / 45, 45 / 55])
    assert each["recall"] == pytest.approx([0.8, 0.9])
    assert each["iou"] == pytest.approx([40 / 55, 45 / 60])
    assert each["f1"] == pytest.approx([80 / 95, 90 / 105])
    assert overall["overall_accuracy"] == pytest.approx(0.85)
    assert overall["kappa"] == pytest.approx((0.85 - 0.5) / 0.5)
    assert overall["mean_iou"] == pytest.approx((40 / 55 + 45 / 60) / 2)


@given(matrices.filter(lambda matrix: matrix.sum() > 0))
def test_scores_are_those_of_scikit_learn(matrix):
    reference, predicted = samples_of(matrix)
    held = np.unique(reference)
    each, overall = class_scores(matrix), overall_scores(matrix)
    how = {"labels": range(4), "average": None, "zero_division": np.nan}
    assert each["precision"] == pytest.approx(metrics.precision_score(reference, predicted, **how), nan_ok=True)
    assert each["recall"] == pytest.approx(metrics.recall_score(reference, predicted, **how), nan_ok=True)
    some = {"labels": held, "average": None, "zero_division": 0}
    assert each["f1"][held] == pytest.approx(metrics.f1_score(reference, predicted, **some))
    assert each["iou"][held] == pytest.approx(metrics.jaccard_score(reference, predicted, **some))
    mean = {"labels": held, "average": "macro", "zero_division": 0}
    assert overall["mean_f1"] == pytest.approx(metrics.f1_score(reference, predicted, **mean))
    assert overall["mean_iou"] == pytest.approx(metrics.jaccard_score(reference, predicted, **mean))
    assert overall["balanced_accuracy"] == pytest.approx(metrics.recall_score(reference, predicted, **mean))
    assert overall["overall_accuracy"] == pytest.approx(metrics.accuracy_score(reference, predicted))


@given(matrices.filter(lambda matrix: (matrix.sum(axis=1) > 0).sum() > 1))
def test_kappa_is_that_of_scikit_learn(matrix):
    expected = metrics.cohen_kappa_score(*samples_of(matrix))
    assert overall_scores(matrix)["kappa"] == pytest.approx(expected, abs=1e-9)


@given(matrices, st.permutations(range(4)))
def test_other_order_of_classes_gives_the_same_scores_in_that_order(matrix, order):
    turned = matrix[np.ix_(order, order)]
    for name, values in class_scores(matrix).items():
        assert class_scores(turned)[name] == pytest.approx(values[list(order)], nan_ok=True)
    for name, value in overall_scores(matrix).items():
        assert overall_scores(turned)[name] == pytest.approx(value, nan_ok=True)


@given(arrays(np.float64, 4, elements=st.integers(1, 50).map(float)))
def test_a_perfect_map_scores_one_everywhere(many):
    assert all(value == pytest.approx(1) for value in overall_scores(np.diag(many)).values())
    assert all(values == pytest.approx(1) for values in class_scores(np.diag(many)).values())


@given(arrays(np.float64, 4, elements=st.integers(1, 50).map(float)))
def test_a_map_that_knows_nothing_of_the_reference_has_no_kappa(many):
    assert overall_scores(np.outer(many, many[::-1]))["kappa"] == pytest.approx(0, abs=1e-9)


def test_classes_without_reference_or_prediction_are_undefined_and_leave_the_means_alone():
    matrix = np.array([[9.0, 0, 1], [3, 0, 0], [0, 0, 0]])
    each, overall = class_scores(matrix), overall_scores(matrix)
    assert np.isnan(each["precision"]).tolist() == [False, True, False]
    assert np.isnan(each["recall"]).tolist() == [False, False, True]
    assert np.isnan(each["iou"]).tolist() == np.isnan(each["f1"]).tolist() == [False, False, True]
    assert overall["mean_iou"] == pytest.approx((9 / 13 + 0) / 2)
    assert overall["balanced_accuracy"] == pytest.approx(0.45)


def test_many_matrices_are_scored_at_once():
    stack = np.random.default_rng(0).integers(0, 9, (2, 5, 3, 3)).astype(float)
    for name, values in overall_scores(stack).items():
        assert values.shape == (2, 5)
        assert values[1, 2] == pytest.approx(overall_scores(stack[1, 2])[name], nan_ok=True)
    assert class_scores(stack)["iou"].shape == (2, 5, 3)
