"""Which patches are hidden: drawn anew for every sample, the same for the same seed and step."""

from __future__ import annotations

import numpy as np
import torch

from dofa_cli.model.masked import Masking


def random_masking(samples: int, patches: int, ratio: float, generator: torch.Generator) -> Masking:
    """Hide ``ratio`` of each sample's patches: those whose random number is among the larger ones.

    The number that stays visible is rounded down, as published, but at least one stays and at least one is hidden.
    """
    order = torch.rand(samples, patches, generator=generator).argsort(dim=1)
    visible = min(max(int(patches * (1 - ratio)), 1), patches - 1)
    return Masking(order[:, :visible], order[:, visible:])


def generator_of(*key: int) -> torch.Generator:
    """Return a random generator for a key such as (seed, step, rank); keys that differ give independent numbers."""
    state = np.random.SeedSequence([abs(part) for part in key]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
