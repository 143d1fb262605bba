"""Scores by name, and thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from dofa_cli.assess.regression import assess_numbers
from dofa_cli.assess.single import assess
from dofa_cli.assess.thresholds import check_threshold, metric_named, value_of
from dofa_cli.errors import BelowThreshold, OptionError


@pytest.fixture
def measured(classes):
    return assess(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), classes)


def test_scores_are_found_by_name_and_by_what_people_type(measured):
    assert value_of(measured, "overall_accuracy") == 0.75
    assert metric_named(measured, "mIoU") == "mean_iou"
    assert metric_named(measured, "Mean F1") == "mean_f1"


def test_a_name_that_is_nearly_right_is_suggested(measured):
    with pytest.raises(OptionError, match="did you mean 'overall_accuracy'"):
        value_of(measured, "overal_acuracy")


def test_a_score_of_another_task_is_refused_with_those_there_are(measured):
    with pytest.raises(OptionError, match="There are overall_accuracy, mean_iou"):
        value_of(measured, "zzz")


def test_a_score_at_the_threshold_passes_and_one_under_it_does_not(measured):
    check_threshold(measured, "overall_accuracy", 0.75)
    with pytest.raises(BelowThreshold, match=r"0\.750, under the threshold of 0\.76"):
        check_threshold(measured, "accuracy", 0.76)


def test_errors_must_stay_under_the_threshold_whatever_their_sign():
    numbers = assess_numbers(np.arange(9.0), np.arange(9.0) - 2)
    check_threshold(numbers, "rmse", 2.1)
    for name in ("rmse", "bias"):
        with pytest.raises(BelowThreshold, match=r"over the threshold of 1\.5"):
            check_threshold(numbers, name, 1.5)


def test_a_score_that_is_not_defined_reaches_no_threshold(classes):
    one_class = assess(np.zeros(5, int), np.zeros(5, int), classes)
    with pytest.raises(BelowThreshold, match="not defined"):
        check_threshold(one_class, "kappa", 0)
