from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import OptionError, TooFewLabels
from dofa_cli.pipelines.learning.folds import (
    Sites,
    SplitOptions,
    check_classes,
    divide,
    divide_as_folded,
    divide_as_told,
    random_folds,
    strata_of_numbers,
)


def ground(side=60, block=10, guard=0, seed=0, classes=3):
    """A square of labelled pixels in blocks."""
    row, col = (axis.ravel() for axis in np.mgrid[0:side, 0:side])
    unit = row // block * 1000 + col // block
    stratum = np.random.default_rng(seed).integers(0, classes, side * side)
    place = np.zeros(len(row), int)
    return Sites(unit, stratum, np.ones(len(row)), "blocks", place, row, col, guard)


@given(st.integers(0, 5), st.sampled_from([None, 3, 5]))
def test_each_unit_is_on_one_side_and_no_sample_on_two(seed, cv):
    sites = ground(seed=seed)
    division = divide(sites, SplitOptions(cv=cv, seed=seed))
    for one in division.rounds:
        assert (one.train.astype(int) + one.validation + one.test == 1).all()
        for side in (one.train, one.validation, one.test):
            assert side.any()
        tested = set(sites.unit[one.test])
        assert tested.isdisjoint(sites.unit[~one.test])


def test_every_sample_is_tested_once_in_cross_validation():
    division = divide(ground(), SplitOptions(cv=4))
    assert (np.sum([one.test for one in division.rounds], axis=0) == 1).all()


def test_nothing_is_nearer_to_a_test_sample_than_the_guard():
    sites = ground(guard=4)
    one = divide(sites, SplitOptions()).rounds[0]
    side = one.train | one.validation
    gap = np.maximum(
        np.abs(sites.row[side][:, None] - sites.row[one.test]), np.abs(sites.col[side][:, None] - sites.col[one.test])
    )
    assert gap.min() > 4


def test_a_guard_shrinks_and_says_so_where_it_would_leave_too_little():
    division = divide(ground(guard=64), SplitOptions())
    assert division.rounds[0].train.sum() > 900
    assert "instead of 64" in division.notes[0]


def test_too_few_units_are_refused_with_a_remedy():
    sites = ground(side=20, block=15)
    with pytest.raises(TooFewLabels, match="--block"):
        divide(sites, SplitOptions(cv=5))


def test_a_table_decides_its_splits():
    sites = ground(side=10)
    told = ["test"] * 20 + ["validation"] * 20 + ["train"] * 59 + [None]
    division = divide_as_told(told, sites, SplitOptions(), "list.csv")
    one = division.rounds[0]
    assert (one.test.sum(), one.validation.sum(), one.train.sum()) == (20, 20, 60)
    with pytest.raises(TooFewLabels, match="no sample with split 'test'"):
        divide_as_told(["train"] * 100, sites, SplitOptions(), "list.csv")


def test_validation_is_taken_from_training_where_a_table_has_none():
    division = divide_as_told(["test"] * 20 + ["train"] * 80, ground(side=10), SplitOptions(), "list.csv")
    assert division.rounds[0].validation.sum() == 8
    assert "8 of the training samples" in division.notes[0]


def test_folds_of_a_table_take_turns():
    division = divide_as_folded([0, 1, 2, 3, None] * 4, "list.csv")
    assert len(division.rounds) == 4
    assert all(one.train[4::5].all() for one in division.rounds)
    with pytest.raises(TooFewLabels, match="names 2 folds"):
        divide_as_folded([0, 1] * 4, "list.csv")


def test_a_class_missing_from_a_side_is_named():
    sites = ground()
    only_in_test = np.where(divide(sites, SplitOptions()).rounds[0].test, 2, sites.stratum % 2)
    division = divide(sites, SplitOptions())
    told = list(check_classes(division, only_in_test, ["a", "b", "c"]))
    assert any("No train samples of c" in line for line in told)
    assert any("No test samples of a, b" in line for line in told)


def test_a_single_class_left_to_train_with_is_refused():
    division = divide(ground(), SplitOptions())
    with pytest.raises(TooFewLabels, match="Only class 'a'"):
        list(check_classes(division, np.where(division.rounds[0].test, 1, 0), ["a", "b"]))


def test_random_folds_hold_each_class_alike():
    strata = np.repeat([0, 1, 2], [100, 50, 10])
    fold = random_folds(strata, 5, seed=3)
    for stratum, expected in ((0, 20), (1, 10), (2, 2)):
        assert np.bincount(fold[strata == stratum]).tolist() == [expected] * 5


def test_numbers_are_spread_over_deciles():
    assert np.bincount(strata_of_numbers(np.random.default_rng(0).normal(size=200))).tolist() == [20] * 10


@pytest.mark.parametrize("wrong", [{"test_share": 0}, {"test_share": 0.6, "val_share": 0.5}, {"cv": 2}])
def test_shares_that_leave_nothing_are_refused(wrong):
    with pytest.raises(OptionError):
        SplitOptions(**wrong)
