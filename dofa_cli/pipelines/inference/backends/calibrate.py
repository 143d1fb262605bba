"""The ranges that 8-bit arithmetic needs: measured once for weights and wavelengths, kept for all later scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import torch
from safetensors import SafetensorError
from torch import Tensor

from dofa_cli.model.backends.ranges import Ranges, layers, measure_ranges
from dofa_cli.model.vit import FoldedDofa
from dofa_cli.pipelines.inference.backends.kept_files import fetch, keep
from dofa_cli.pipelines.inference.encoder import Weights, fingerprint
from dofa_cli.pipelines.inference.kept import kept

CALIBRATION_WINDOWS = 32
BATCH = 4
Draw = Callable[[int], Tensor]
"""Gives up to as many standardised windows (n, bands, s, s), spread over what is to be run; 0 where all is nodata."""


def ranges_for(weights: Weights, wavelengths_um: Sequence[float], side: int, draw: Draw) -> Ranges:
    """Return the ranges of weights at these wavelengths for windows of ``side`` pixels.

    The first scene that asks has them measured on its windows; those after it, and its own shards on any machine, use
    the same.
    """
    key = ("ranges", weights.checkpoint.model, tuple(wavelengths_um), side)
    return kept(key, partial(_kept_ranges, weights, wavelengths_um, side, draw))


def _kept_ranges(weights: Weights, wavelengths_um: Sequence[float], side: int, draw: Draw) -> Ranges:
    folded = weights.checkpoint.model.fold(wavelengths_um).eval()
    name = f"{hashlib.sha256(f'{fingerprint(folded)} {side}'.encode()).hexdigest()}.ranges"
    before = fetch(name)
    if before is not None and _fit(Ranges(before), folded):
        return Ranges(before)
    windows = draw(CALIBRATION_WINDOWS)
    if not len(windows):  # nothing but nodata: any ranges serve, and none are kept
        bands = len(wavelengths_um)
        return measure_ranges(folded, [torch.randn(1, bands, side, side, generator=torch.Generator().manual_seed(0))])
    found = measure_ranges(folded, torch.split(windows, BATCH))
    keep(name, found.data)
    return found


def _fit(ranges: Ranges, folded: FoldedDofa) -> bool:
    """Whether kept ranges are whole and name the layers of a network."""
    try:
        return set(ranges.limits) == {name for name, _, _ in layers(folded.model)}
    except SafetensorError:
        return False
