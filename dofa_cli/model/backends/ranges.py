"""8-bit arithmetic: how far the inputs of the linear layers reach, and a network that suits such numbers better."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from dofa_cli.model.device import Precision, arithmetic
from dofa_cli.model.vit import Block, Dofa, FoldedDofa

BALANCE = 0.5
"""Share of the differences between channels that goes from a layer's input to its weights (SmoothQuant's alpha)."""
LEVELS = 255
"""Steps of an 8-bit number, and twice the largest 8-bit weight plus one."""
LARGEST_WEIGHT = 127
_watching = Lock()


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest input of every linear layer, as the bytes of a safetensors file.

    Entries are named ``BLOCK.LAYER`` (``qkv``, ``proj``, ``fc1``, ``fc2``) and hold (2, channels) behind a norm,
    (2, 1) elsewhere.
    """

    data: bytes

    @classmethod
    def of(cls, found: dict[str, Tensor]) -> Ranges:
        """Keep tensors (2, channels) by layer."""
        return cls(save(found))

    @property
    def limits(self) -> dict[str, Tensor]:
        """The tensors (2, channels) by layer."""
        return load(self.data)

    @property
    def digest(self) -> str:
        """The sha256 of the ranges."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Step:
    """How a layer's input becomes 8-bit numbers: those from ``low`` to ``high``, which lie around 0."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The difference of neighbouring numbers."""
        return max(self.high - self.low, torch.finfo(torch.float32).tiny * LEVELS) / LEVELS

    @property
    def zero(self) -> int:
        """The number that stands for 0."""
        return min(LEVELS, max(0, round(-self.low / self.scale)))


@dataclass(frozen=True)
class Balanced:
    """A network that gives the same tokens, its channels made alike, and the steps of its layers' inputs."""

    model: Dofa
    steps: dict[str, Step]


def layers(model: Dofa) -> Iterator[tuple[str, nn.Linear, nn.LayerNorm | None]]:
    """Yield the linear layers by name, each with the norm in front of it."""
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        yield f"{number}.qkv", block.attn.qkv, block.norm1
        yield f"{number}.proj", block.attn.proj, None
        yield f"{number}.fc1", block.mlp.fc1, block.norm2
        yield f"{number}.fc2", block.mlp.fc2, None


def measure_ranges(folded: FoldedDofa, batches: Iterable[Tensor]) -> Ranges:
    """Return the ranges over batches (N, bands, s, s) that go through a plain float32 network."""
    found: dict[str, Tensor] = {}
    with _watching, _watched(folded.model, found), arithmetic(torch.device("cpu"), Precision.FLOAT32):
        for pixels in batches:
            folded(pixels)
    return Ranges.of(found)


@contextmanager
def _watched(model: Dofa, found: dict[str, Tensor]) -> Iterator[None]:
    """Widen the limits in ``found`` by every input of the layers while the body runs."""

    def watch(name: str, whole: bool) -> Any:
        def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].reshape(-1, 1) if whole else inputs[0].flatten(0, -2)
            limits = torch.stack(torch.aminmax(rows, dim=0)).float().clone()
            before = found.get(name)
            if before is not None:
                limits = torch.stack([before[0].minimum(limits[0]), before[1].maximum(limits[1])])
            found[name] = limits

        return look

    hooks = [layer.register_forward_pre_hook(watch(name, norm is None)) for name, layer, norm in layers(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def balanced(model: Dofa, ranges: Ranges) -> Balanced:
    """Copy a network, its norms' channels scaled down where they reach far and the weights behind them up.

    One step serves a whole layer, so that a single far-reaching channel would cost all others their precision. The
    method is SmoothQuant's (arXiv 2211.10438).
    """
    made = copy.deepcopy(model, {id(model.patch_embed): model.patch_embed}).requires_grad_(False)
    limits, steps = ranges.limits, {}
    for name, layer, norm in layers(made):
        low, high = limits[name]
        if norm is not None:
            scale = _channel_scale(torch.maximum(low.abs(), high.abs()), layer.weight)
            norm.weight.div_(scale)
            norm.bias.div_(scale)
            layer.weight.mul_(scale)
            low, high = low / scale, high / scale
        steps[name] = Step(min(0.0, float(low.min())), max(0.0, float(high.max())))
    return Balanced(made, steps)


def _channel_scale(reach: Tensor, weight: Tensor) -> Tensor:
    """Return what a channel's input is divided by, from its ``reach`` (channels,) and its weights (out, channels)."""
    heaviest = weight.abs().amax(dim=0)
    scale = reach**BALANCE / heaviest.clamp(min=torch.finfo(torch.float32).tiny) ** (1 - BALANCE)
    usable = (reach > 0) & (heaviest > 0) & scale.isfinite()
    return torch.where(usable, scale, torch.ones_like(scale))


def weight_scale(weight: Tensor) -> Tensor:
    """Return the step (out,) of each row of 8-bit weights (out, in)."""
    return weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny * LEVELS) / LARGEST_WEIGHT
