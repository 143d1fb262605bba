"""How fast memory is copied: the machine's, a graphics card's, and between the two."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dofa_cli.pipelines.measuring.timing import measured

COPIED_BYTES = 256 * 2**20
"""More than processors' caches hold."""


@dataclass(frozen=True)
class CopyRate:
    """10⁹ bytes a second: within one memory those read and those written, between two those that are moved."""

    what: str
    gb_s: float


def copy_rates(device: torch.device, budget: float, nbytes: int = COPIED_BYTES) -> list[CopyRate]:
    """Copy ``nbytes`` for about ``budget`` seconds in each way that concerns a device."""
    cpu = torch.device("cpu")
    source, target = (torch.ones(nbytes, dtype=torch.uint8) for _ in range(2))
    rows = [CopyRate("memory", 2 * _rate(target, source, cpu, budget))]
    if device.type == "cuda":
        there, other = (torch.ones(nbytes, dtype=torch.uint8, device=device) for _ in range(2))
        pinned = source.pin_memory()
        rows += [
            CopyRate("device memory", 2 * _rate(other, there, device, budget)),
            CopyRate("to the device", _rate(there, pinned, device, budget)),
            CopyRate("from the device", _rate(pinned, there, device, budget)),
        ]
    return rows


def _rate(target: torch.Tensor, source: torch.Tensor, device: torch.device, budget: float) -> float:
    """Return 10⁹ bytes a second that go from one tensor to the other."""
    seconds = measured(lambda: target.copy_(source, non_blocking=True), device, budget).best
    return source.nbytes / seconds / 1e9
