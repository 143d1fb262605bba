"""The peak is what was held at once, and can be begun anew where the system allows it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dofa_cli.pipelines.inference.peak import peak_memory

LARGE = 200 * 2**20
PROGRAM = f"""
from dofa_cli.pipelines.inference.peak import forget_peak, peak_memory
held = bytearray(b"x" * {LARGE})
before = peak_memory()
del held
print(forget_peak(), before, peak_memory())
"""


def test_the_peak_remembers_what_is_gone():
    held = np.ones(LARGE, np.uint8)
    assert held.sum() == LARGE
    at_most = peak_memory()
    del held
    assert LARGE < at_most <= peak_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can begin a peak anew")
def test_a_peak_that_is_forgotten_begins_at_what_is_held():
    """In a process of its own, whose memory no other test has told to keep what is freed."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    could, before, after = ran.stdout.split()
    if could == "False":
        pytest.skip("this system does not let a process begin its peak anew")
    assert int(after) < int(before) - LARGE // 2
