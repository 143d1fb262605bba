"""Signals as in a program started from a shell, also where the tests run in the background."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(autouse=True)
def heard_signals():
    """Let SIGINT be heard: programs started in the background inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
