from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import BandMismatch, DamagedRaster, NoSpace, RunError, SomeFailed
from dofa_cli.pipelines.cluster.ledger import Ledger, Limits, neighbours

LIMITS = Limits(least=60, times=10, first=1800)


@given(st.sets(st.integers(0, 200)), st.integers(1, 9))
def test_runs_of_neighbours_hold_every_shard_once_and_none_is_too_long(numbers, longest):
    runs = neighbours(list(numbers), longest)
    assert sorted(number for run in runs for number in run) == sorted(numbers)
    assert all(len(run) <= longest for run in runs)
    assert all(run == tuple(range(run[0], run[0] + len(run))) for run in runs)


def test_a_shard_is_given_up_after_its_third_failure_and_not_before():
    ledger = Ledger(range(3), LIMITS)
    assert ledger.fail(1, DamagedRaster("block"))
    assert ledger.fail(1, DamagedRaster("block"))
    assert ledger.missing == {0, 1, 2}
    assert not ledger.fail(1, DamagedRaster("block"))
    assert (ledger.missing, list(ledger.failed)) == ({0, 2}, [1])


@pytest.mark.parametrize("error", [BandMismatch("bands"), NoSpace("full")])
def test_what_no_attempt_mends_is_not_tried_again(error):
    ledger = Ledger(range(3), LIMITS)
    assert not ledger.fail(1, error)
    assert ledger.is_final(error)


def test_a_shard_counts_once_however_often_it_is_finished():
    ledger = Ledger(range(2), LIMITS)
    assert [ledger.finish(0, 1.0), ledger.finish(0, 1.0), ledger.finish(7)] == [True, False, False]
    assert ledger.missing == {1}


def test_a_shard_that_was_given_up_and_is_finished_late_is_no_failure():
    ledger = Ledger(range(1), LIMITS)
    for _ in range(3):
        ledger.fail(0, RunError("slow"))
    assert ledger.finish(0)
    ledger.raise_failures(1, {})
    assert not ledger.failed


def test_patience_is_a_multiple_of_the_usual_time_within_limits():
    ledger = Ledger(range(9), LIMITS)
    assert ledger.patience == 1800
    for number, seconds in enumerate((1, 2, 1)):
        ledger.finish(number, seconds)
    assert ledger.patience == 60
    for number, seconds in enumerate((30, 31, 32, 30), start=3):
        ledger.finish(number, seconds)
    assert ledger.patience == 300


def test_failures_are_told_with_shard_place_and_error():
    ledger = Ledger(range(10), LIMITS)
    for number in range(5):
        for _ in range(3):
            ledger.fail(number, DamagedRaster(f"a.tif, block {number}"))
    with pytest.raises(SomeFailed, match="5 of 10 shards failed") as told:
        ledger.raise_failures(10, {0: " (rows 0-8)"})
    assert "failed: shard 0 (rows 0-8): a.tif, block 0 | shard 1: a.tif" in str(told.value)
    assert "And 2 more" in str(told.value)
    assert "\n" not in str(told.value)
