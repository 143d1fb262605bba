"""Four levels of a plain transformer, and a pyramid made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dofa_cli.model.vit import FoldedDofa

LEVELS = 4
NORM_GROUP = 8
"""Channels normalised together."""


def tap_blocks(depth: int) -> tuple[int, ...]:
    """Return the 0-based blocks to tap: published ones for depths 12, 24 and 32, else after each quarter.

    They are [3, 5, 7, 11] (base), [7, 11, 15, 23] (large), [7, 15, 23, 31] (huge).
    """
    quarters = tuple(-(-depth * part // LEVELS) - 1 for part in range(1, LEVELS + 1))
    return {12: (3, 5, 7, 11), 24: (7, 11, 15, 23)}.get(depth, quarters)


def levels_of(folded: FoldedDofa, pixels: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """Encode pixels (N, bands, s, s) and return the un-normed tokens after each tap as float32 maps (N, D, rows, cols).

    A shallow encoder may be tapped at the same block twice.
    """
    distinct = sorted(set(taps))
    tokens = folded(pixels, taps=distinct)
    rows, cols = tokens.grid
    maps = {
        tap: tapped.float().transpose(1, 2).unflatten(2, (rows, cols))
        for tap, tapped in zip(distinct, tokens.taps, strict=True)
    }
    return [maps[tap] for tap in taps]


class FeaturePyramid(nn.Module):
    """Rescale four maps of one size by 4, 2, 1 and ½, keeping their width (ViTDet's and mmsegmentation's way)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up4 = nn.Sequential(_doubled(width), norm(width), nn.GELU(), _doubled(width))
        self.up2 = _doubled(width)
        self.down2 = nn.MaxPool2d(2, ceil_mode=True)  # an odd last row or column stays

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map four maps (N, D, h, w) to the finest (N, D, 4 h, 4 w) … and coarsest (N, D, ⌈h / 2⌉, ⌈w / 2⌉)."""
        return [self.up4(levels[0]), self.up2(levels[1]), levels[2], self.down2(levels[3])]


def norm(channels: int) -> nn.Module:
    """Return a group norm.

    A batch norm's statistics would come from the few windows of a small batch, and none from a single one; a group norm
    does the same in training and after it, whatever the batch, also on maps of a single cell.
    """
    return nn.GroupNorm(channels // NORM_GROUP if channels % NORM_GROUP == 0 else 1, channels)


def _doubled(width: int) -> nn.Module:
    return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)


def convolution(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    """Return a convolution that keeps rows and columns, with norm and ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, norm(outputs), nn.ReLU())


def pooled_to(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average x (N, C, h, w) over a grid of cells."""
    return torch.nn.functional.adaptive_avg_pool2d(x, grid)
