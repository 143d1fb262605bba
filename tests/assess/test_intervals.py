"""Intervals from resampled blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dofa_cli.assess.intervals import GROUPS, bootstrap, draws, explain, groups_of
from dofa_cli.assess.scores import overall_scores


def mean(sums):
    return {"mean": sums[..., 0] / sums[..., 1]}


@settings(max_examples=25)
@given(arrays(np.float64, st.tuples(st.integers(2, 9), st.just(3), st.just(3)), elements=st.integers(0, 40).map(float)))
def test_an_interval_holds_its_estimate(blocks):
    found = overall_scores(blocks.sum(axis=0))
    for name, (low, high) in bootstrap(blocks, overall_scores, seed=1).items():
        assert np.isnan(low) == np.isnan(high)
        assert np.isnan(low) or low <= found[name] <= high


def test_blocks_that_are_alike_tell_nothing_of_the_doubt():
    alike = np.tile([[[8.0, 2.0], [1.0, 9.0]]], (6, 1, 1))
    assert np.isnan(bootstrap(alike, overall_scores, seed=0)["overall_accuracy"]).all()


def test_the_same_seed_gives_the_same_interval():
    blocks = np.random.default_rng(0).random((9, 2, 2))
    first, again = (bootstrap(blocks, overall_scores, seed=5) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(3).normal(10, 2, 400)
    low, high = bootstrap(np.stack([values, np.ones(400)], axis=-1), mean, seed=0)["mean"]
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.25 * half)


def test_neighbours_that_are_alike_widen_the_interval():
    random = np.random.default_rng(0)
    place = np.repeat(np.arange(20), 100)
    values = random.normal(0, 1, 20)[place] + random.normal(0, 0.1, 2000)

    def width(blocks):
        groups = groups_of(2000, blocks, 0)
        sums = np.stack([np.bincount(groups, values), np.bincount(groups)], axis=-1)
        low, high = bootstrap(sums, mean, seed=0)["mean"]
        return high - low

    assert width(place) > 5 * width(None)


def test_one_block_has_no_interval():
    ends = bootstrap(np.ones((1, 2, 2)), overall_scores, seed=0)
    assert np.isnan(ends["kappa"]).all()
    assert "No intervals" in explain(1, spatial=True)


def test_few_blocks_are_said_to_be_too_few():
    assert "rough guess" in explain(4, spatial=True)
    assert "rough guess" not in explain(5, spatial=True)


def test_samples_without_blocks_are_dealt_evenly():
    many = np.bincount(groups_of(3 * GROUPS + 1, None, 0))
    assert len(many) == GROUPS
    assert set(many) == {3, 4}
    assert sorted(groups_of(7, None, 0)) == list(range(7))


def test_every_resample_draws_as_many_blocks_as_there_are():
    assert (draws(7, 0, 50).sum(axis=1) == 7).all()
