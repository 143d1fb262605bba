"""Several labels a sample, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from dofa_cli.assess.several import Ordered, assess_several
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_scores_are_those_of_scikit_learn(seed, count):
    random = np.random.default_rng(seed)
    truth = random.random((count, 4)) < [0.5, 0.3, 0.1, 0.6]
    truth[0] = True
    chances = (random.random((count, 4)) * 8).round() / 8  # many are equal
    values = Ordered(truth, chances).scores(np.ones(count))
    assert values["average_precision"] == pytest.approx(metrics.average_precision_score(truth, chances, average=None))
    assert values["micro_average_precision"] == pytest.approx(
        metrics.average_precision_score(truth, chances, average="micro")
    )
    weights = random.integers(1, 4, count)
    assert Ordered(truth, chances).scores(weights.astype(float))["mean_average_precision"] == pytest.approx(
        metrics.average_precision_score(truth, chances, average="macro", sample_weight=weights)
    )


def test_f1_is_that_of_scikit_learn_and_intervals_hold_it(classes):
    random = np.random.default_rng(1)
    truth, chances = random.random((300, 3)) < 0.4, random.random((300, 3))
    measured = assess_several(truth, chances, classes)
    for kind in ("micro", "macro"):
        assert measured.values[f"{kind}_f1"] == pytest.approx(metrics.f1_score(truth, chances >= 0.5, average=kind))
    assert measured.values["exact_match"] == pytest.approx(metrics.accuracy_score(truth, chances >= 0.5))
    for name, ends in measured.intervals.items():
        assert ends.low <= measured.values[name] <= ends.high
    assert set(measured.intervals) == set(measured.values)
    expected = metrics.precision_score(truth, chances >= 0.5, average=None)
    assert [row.values["precision"] for row in measured.rows] == pytest.approx(expected)


def test_a_label_without_samples_is_named_and_left_out_of_the_means():
    table = ClassTable.of(range(3), {0: "a", 1: "b", 2: "nowhere"})
    truth = np.tile([[1, 0, 0], [0, 1, 0]], (40, 1))
    measured = assess_several(truth, truth * 0.9, table, blocks=np.arange(80) % 8)
    assert measured.values["macro_f1"] == measured.values["mean_average_precision"] == 1
    assert np.isnan(measured.rows[2].values["average_precision"])
    assert measured.notes == ("Without test samples, so left out of the means: nowhere.",)


def test_samples_without_any_label_are_an_error(classes):
    with pytest.raises(TooFewLabels, match="label"):
        assess_several(np.zeros((5, 3)), np.zeros((5, 3)), classes)
