"""Low-rank adapters of attention's layers (LoRA, arXiv 2106.09685): few numbers to train, none left at inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.model.vit import Block, Dofa

ADAPTED = ("qkv", "proj")
PREFIX = "lora."
"""Start of adapters' names in a head file: ``lora.blocks.3.attn.qkv.a``."""


class Adapted(nn.Module):
    """A frozen linear layer and its adapter: W x + b + (α / rank) · B A x, with A (rank, in) and B (out, rank).

    B starts at 0, so an untrained adapter changes nothing.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        return torch.as_tensor(self.linear(x) + F.linear(F.linear(x, self.a), self.b) * self.scale)


def add_adapters(dofa: Dofa, rank: int, alpha: float) -> None:
    """Put adapters on qkv and proj of every block, in place; only they are trained then."""
    dofa.requires_grad_(False)
    for block in _blocks(dofa):
        for name in ADAPTED:
            setattr(block.attn, name, Adapted(getattr(block.attn, name), rank, alpha))


def adapters(dofa: Dofa) -> dict[str, Tensor]:
    """Return the adapters' tensors under their names in a head file."""
    found = {}
    for number, block in enumerate(_blocks(dofa)):
        for name in ADAPTED:
            layer = getattr(block.attn, name)
            for part in ("a", "b"):
                found[f"{PREFIX}blocks.{number}.attn.{name}.{part}"] = getattr(layer, part).detach().cpu().clone()
    return found


def merged(weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor], scale: float) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and values of encoder weights with their adapters added: W + scale · B A.

    Raises :class:`KeyError` or :class:`RuntimeError` for adapters of other layers or shapes.
    """
    for name, a in tensors.items():
        if name.startswith(PREFIX) and name.endswith(".a"):
            layer = name.removeprefix(PREFIX).removesuffix(".a")
            weight = weights[f"{layer}.weight"]
            yield f"{layer}.weight", weight + scale * (tensors[f"{PREFIX}{layer}.b"] @ a).to(weight)


def _blocks(dofa: Dofa) -> list[Block]:
    return [block for block in dofa.blocks if isinstance(block, Block)]
