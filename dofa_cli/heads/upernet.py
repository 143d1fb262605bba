"""Decoders of windows: UPerNet (arXiv 1807.10221) on four levels, and a linear one on the last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.heads.pyramid import FeaturePyramid, convolution, pooled_to, tap_blocks
from dofa_cli.model.config import DofaConfig

POOLS = (1, 2, 3, 6)
DETAIL = 4
"""Sub-cells along a cell's side."""
PUBLISHED_CHANNELS = 512
PUBLISHED_WIDTH = 768
"""Width of the pyramid, and the narrowest encoder it was published with; below it a third of the encoder's width does,
or the decoder would take most of the time."""
AUXILIARY_LEVEL = 2
SMALLEST_VARIANCE = 1e-12


class Decoder(nn.Module):
    """What all decoders are: levels (N, D, h, w) after ``taps`` in, logits (N, K, detail · h, detail · w) out.

    Levels are un-normed, as published, and tokens of one network have much in common. So each channel of a level is
    standardised first, by a mean and deviation that are measured once before training (:meth:`measure`): a group norm
    would keep what all tokens share and shrink that in which they differ.
    """

    detail: int = DETAIL

    def __init__(self, taps: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.taps = taps
        self.register_buffer("mean", torch.zeros(len(taps), width))
        self.register_buffer("std", torch.ones(len(taps), width))

    @torch.no_grad()
    def measure(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Take each channel's mean and standard deviation from levels of training windows."""
        sums, count = torch.zeros(2, *self.get_buffer("mean").shape, dtype=torch.float64), 0
        for levels in batches:
            flat = torch.stack([level.double().transpose(0, 1).flatten(1) for level in levels])  # (taps, D, N · h · w)
            sums += torch.stack([flat.sum(dim=2), flat.square().sum(dim=2)]).cpu()
            count += flat.shape[2]
        total, squares = sums
        mean = total / count
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("std").copy_((squares / count - mean.square()).clamp(min=SMALLEST_VARIANCE).sqrt())

    def standardised(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return levels with mean 0 and deviation 1 in each channel, over the windows that were measured."""
        mean, std = (self.get_buffer(name)[:, None, :, None, None] for name in ("mean", "std"))
        return [(level - mean[index]) / std[index] for index, level in enumerate(levels)]

    def forward(self, levels: Sequence[Tensor], pixels: Tensor) -> Tensor:
        """Decode standardised levels; ``pixels`` (N, bands, s, s) are the standardised window itself."""
        raise NotImplementedError


class LinearDecoder(Decoder):
    """A linear layer that gives each cell's token ``detail``² logits of every class."""

    def __init__(self, config: DofaConfig, outputs: int) -> None:
        super().__init__((config.depth - 1,), config.embed_dim)
        self.classify = nn.Linear(config.embed_dim, outputs * self.detail**2)

    def forward(self, levels: Sequence[Tensor], pixels: Tensor) -> Tensor:  # noqa: ARG002 - as all decoders
        """Decode the last level."""
        logits: Tensor = self.classify(levels[-1].permute(0, 2, 3, 1))
        return F.pixel_shuffle(logits.permute(0, 3, 1, 2), self.detail)


class PyramidPooling(nn.Module):
    """Averages of the coarsest level over 1, 2², 3² and 6² cells, joined to it."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(convolution(width, channels, 1) for _ in POOLS)
        self.join = convolution(width + len(POOLS) * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, h, w) to (N, C, h, w)."""
        pooled = (branch(pooled_to(x, (cells, cells))) for branch, cells in zip(self.branches, POOLS, strict=True))
        return torch.as_tensor(self.join(torch.cat([x, *(enlarged(one, x) for one in pooled)], dim=1)))


class UPerNet(Decoder):
    """Feature pyramid with pyramid pooling on top; all levels are joined at the finest.

    With ``bands`` it also sees the spectrum: pixels averaged to sub-cells, beside the joined levels.
    """

    def __init__(self, config: DofaConfig, outputs: int, channels: int, dropout: float = 0.0, bands: int = 0) -> None:
        width = config.embed_dim
        super().__init__(tap_blocks(config.depth), width)
        self.pyramid = FeaturePyramid(width)
        self.pool = PyramidPooling(width, channels)
        self.laterals = nn.ModuleList(convolution(width, channels, 1) for _ in self.taps[:-1])
        self.smooth = nn.ModuleList(convolution(channels, channels) for _ in self.taps[:-1])
        self.join = convolution(len(self.taps) * channels, channels)
        self.spectrum = spectral_stem(bands, channels) if bands else None
        self.drop = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(channels * (2 if bands else 1), outputs, 1)

    def forward(self, levels: Sequence[Tensor], pixels: Tensor) -> Tensor:
        """Decode four levels."""
        finest, *_, coarsest = scaled = self.pyramid(levels)
        maps = [lateral(level) for lateral, level in zip(self.laterals, scaled[:-1], strict=True)]
        maps.append(self.pool(coarsest))
        for upper in range(len(maps) - 1, 0, -1):
            maps[upper - 1] = maps[upper - 1] + enlarged(maps[upper], maps[upper - 1])
        maps[:-1] = [smooth(level) for smooth, level in zip(self.smooth, maps[:-1], strict=True)]
        joined = self.join(torch.cat([enlarged(level, finest) for level in maps], dim=1))
        if self.spectrum is not None:
            grid = (int(finest.shape[2]), int(finest.shape[3]))
            joined = torch.cat([joined, self.spectrum(pooled_to(pixels, grid))], dim=1)
        return torch.as_tensor(self.classify(self.drop(joined)))


class Auxiliary(nn.Module):
    """A small head on one level that helps training along and is dropped after it."""

    def __init__(self, config: DofaConfig, outputs: int, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.convolve = convolution(config.embed_dim, max(1, channels // 2))
        self.drop = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(max(1, channels // 2), outputs, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map four levels to logits (N, K, h, w)."""
        return torch.as_tensor(self.classify(self.drop(self.convolve(levels[AUXILIARY_LEVEL]))))


def new_decoder(config: DofaConfig, outputs: int, settings: Mapping[str, Any], bands: int) -> Decoder:
    """Return the decoder that ``settings`` name, untrained."""
    if settings["decoder"] == "linear":
        return LinearDecoder(config, outputs)
    spectral = bands if settings["spectrum"] else 0
    return UPerNet(config, outputs, channels_of(config, settings), settings["dropout"], spectral)


def channels_of(config: DofaConfig, settings: Mapping[str, Any]) -> int:
    """Return the pyramid's width: the setting, the published 512, or a third of a small encoder's in whole eights."""
    if settings["channels"]:
        return int(settings["channels"])
    return PUBLISHED_CHANNELS if config.embed_dim >= PUBLISHED_WIDTH else -(-config.embed_dim // 24) * 8


def spectral_stem(bands: int, channels: int) -> nn.Sequential:
    """Return two convolutions over the pixels themselves."""
    return nn.Sequential(convolution(bands, channels, 1), convolution(channels, channels))


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Resample x (N, C, h, w) bilinearly to the rows and columns of ``like``."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
