"""Small networks and pixels for backends."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import Dofa, FoldedDofa, random_dofa

RGB = (0.665, 0.56, 0.49)
CPU = torch.device("cpu")
CONFIGS = {version: DofaConfig(version, 8, 48, 2, 4, 32) for version in (1, 2)}


def network(version: int = 1, far: float = 1.0) -> Dofa:
    """A random network whose norms are not plain; one channel of each reaches ``far`` as far, to no effect."""
    model = random_dofa(CONFIGS[version]).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith(("bias", "gamma")):
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + (0.5 if "weight" in name else 0.0))
    for block in model.blocks:
        for norm, layer in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.fc1)):
            norm.weight[0] *= far
            norm.bias[0] *= far
            layer.weight[:, 0] /= far
    return model


def folded(model: Dofa) -> FoldedDofa:
    """Fold a network for three bands."""
    return model.fold(RGB).eval()


def pixels(count: int = 4, side: int = 32, seed: int = 0) -> Tensor:
    """Random standardised windows (count, 3, side, side)."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def cosine(found: Tensor, wanted: Tensor) -> float:
    """The least cosine similarity of tokens."""
    return float(torch.cosine_similarity(found, wanted, dim=-1).min())


class Shelf:
    """Keeps files in a folder and counts those that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, 0

    def __call__(self, name: str, make) -> Path:
        """Return the file of a name."""
        path = self.folder / name
        if not path.exists():
            self.made += 1
            make(path)
        return path
