"""Signals as a wish to stop."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from dofa_cli.errors import Interrupted
from dofa_cli.pipelines.shards.stop import check_stop, not_stoppable, stop_asked, stoppable

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_wish_and_handlers_come_back(number):
    before = signal.getsignal(number)
    said: list[str] = []
    asked = []

    @stoppable(said.append)
    def work() -> None:
        check_stop()
        os.kill(os.getpid(), number)
        asked.append(stop_asked())
        check_stop()

    with pytest.raises(Interrupted, match=number.name) as stopped:
        work()
    assert asked == [True]
    assert "the same command goes on" in str(stopped.value)
    assert len(said) == 1
    assert signal.getsignal(number) is before
    assert not stop_asked()


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_stops_at_once(second):
    reached = []

    @stoppable()
    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)
        reached.append(True)

    with pytest.raises(Interrupted, match="at once"):
        work()
    assert not reached


def test_a_wish_that_comes_too_late_is_forgotten():
    with stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    check_stop()


def test_inside_another_the_outer_one_hears():
    asked = []

    @stoppable()
    def work() -> None:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
        asked.append(stop_asked())
        check_stop()

    with pytest.raises(Interrupted):
        work()
    assert asked == [True]


def test_other_threads_leave_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def work() -> None:
        with stoppable():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_runs_that_nobody_could_continue_are_left_to_signals():
    with pytest.raises(KeyboardInterrupt), not_stoppable(), stoppable():
        os.kill(os.getpid(), signal.SIGINT)
