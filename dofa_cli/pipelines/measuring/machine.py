"""What a machine is: processor, memory, graphics card, and the libraries that compute."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import psutil
import rasterio
import torch

from dofa_cli import __version__
from dofa_cli.pipelines.inference.free_memory import room

CPU_FACTS = Path("/proc/cpuinfo")
DRIVER_FACTS = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Machine:
    """A machine; ``cores`` are those that this process may use, memory is in bytes.

    ``device`` is what the network runs on. Of a graphics card ``driver`` is its version and ``device_memory`` its
    memory, ``None`` without one.
    """

    processor: str
    system: str
    cores: int
    threads: int
    memory: int
    device: str
    driver: str | None
    device_memory: int | None
    versions: dict[str, str]


def this_machine(device: torch.device) -> Machine:
    """Describe the machine and the device in use."""
    card = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return Machine(
        processor=processor(),
        system=platform.platform(),
        cores=cores(),
        threads=torch.get_num_threads(),
        memory=room().total,
        device="cpu" if card is None else card.name,
        driver=None if card is None else _driver(),
        device_memory=None if card is None else card.total_memory,
        versions=_versions(),
    )


def processor() -> str:
    """Return the processor's name as the system tells it."""
    try:
        lines = CPU_FACTS.read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class Others:
    """The share of the machine's processors that other programs took, once it was measured."""

    share: float = 0.0


@contextmanager
def others_measured() -> Iterator[Others]:
    """Measure how much of the processors other programs take while the body runs."""
    found = Others()
    busy, own, started = _busy_seconds(), time.process_time(), time.perf_counter()
    yield found
    capacity = (time.perf_counter() - started) * (psutil.cpu_count() or 1)
    found.share = max(0.0, _busy_seconds() - busy - (time.process_time() - own)) / max(capacity, 1e-9)


def _busy_seconds() -> float:
    """Return the seconds that all processors have computed since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def _driver() -> str | None:
    try:
        found = re.search(r"Module\D*(\d[\d.]*)", DRIVER_FACTS.read_text())
    except OSError:
        return None
    return found[1] if found else None


def _versions() -> dict[str, str]:
    found = {
        "dofa": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "dask": dask.__version__,
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
    }
    return found | ({"cuda": torch.version.cuda} if torch.version.cuda else {})
