"""Weights that runs begin with."""

from __future__ import annotations

import torch

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import Dofa

POSITIONS = "pos_embed"


def transformer_of(width: int, depth: int, patch: int, cells: int) -> dict[str, torch.Tensor]:
    """A vision transformer's tensors under timm's names."""
    generator = torch.Generator().manual_seed(0)
    own = Dofa(DofaConfig(1, patch, width, depth, 3, patch * cells)).state_dict()
    taken = ("blocks.", "cls_token", POSITIONS, "norm.")
    state = {name: 0.1 * torch.randn(t.shape, generator=generator) for name, t in own.items() if name.startswith(taken)}
    state["patch_embed.proj.weight"] = 0.05 * torch.randn(width, 3, patch, patch, generator=generator)
    state["patch_embed.proj.bias"] = torch.zeros(width) + 0.01
    return state
