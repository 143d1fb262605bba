"""The most memory that this process has held at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
PEAK = "VmHWM:"
FORGET_PEAK = "5"
"""What the Linux kernel takes as the wish to begin the peak anew (proc_pid_clear_refs(5))."""


def peak_memory() -> int | None:
    """Return the process' peak resident memory in bytes since its start, ``None`` where no system tells it."""
    with suppress(OSError):
        lines = STATUS.read_text().splitlines()
        found = next((line for line in lines if line.startswith(PEAK)), None)
        if found is not None:
            return int(found.split()[1]) * 1024  # it is told in KiB
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> bool:
    """Begin the peak anew, at what is held now; return whether the system can (only Linux does)."""
    try:
        CLEAR.write_text(FORGET_PEAK)
    except OSError:
        return False
    return True
