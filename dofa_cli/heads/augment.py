"""Turn windows and their labels together; images from above have no up, so all symmetries of the square serve."""

from __future__ import annotations

import torch
from torch import Tensor

SYMMETRIES = 8


def turned(x: Tensor, number: int) -> Tensor:
    """Return a symmetry 0 to 7 of x (…, s, s): bit 0 mirrors columns, bit 1 rows, bit 2 the diagonal."""
    mirrored = x.flip([axis for bit, axis in ((1, -1), (2, -2)) if number & bit])
    return mirrored.transpose(-1, -2) if number & 4 else mirrored


def turned_together(pixels: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn each image of pixels (N, bands, s, s) at random, and its target with it where that is a map (N, s, s)."""
    numbers = torch.randint(SYMMETRIES, (len(pixels),), generator=generator).tolist()
    turned_pixels = torch.stack([turned(one, number) for one, number in zip(pixels, numbers, strict=True)])
    if target.dim() < 3:
        return turned_pixels, target
    return turned_pixels, torch.stack([turned(one, number) for one, number in zip(target, numbers, strict=True)])


def brightened(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Stretch and shift each image of standardised pixels (N, bands, s, s) by up to ``share`` of a deviation."""
    gain, offset = (2 * torch.rand(2, len(pixels), 1, 1, 1, generator=generator) - 1) * share
    return torch.addcmul(offset, pixels, 1 + gain)
