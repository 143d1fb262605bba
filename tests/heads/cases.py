"""Small heads, encoders and samples that the tests of heads share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dofa_cli.classes import ClassTable
from dofa_cli.heads.head import Head, Method, Recipe, Target, Task
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import Dofa, random_dofa

CONFIG = DofaConfig(1, 8, 24, 2, 2, 32)
WAVES = (0.66, 0.56, 0.49)
CLASSES = ClassTable.of([1, 4, 9], {1: "water", 4: "Wald, licht", 9: "grass"})
RECIPE = Recipe(
    sensor="sentinel2",
    product="l1c",
    bands=("B04", "B03", "B02"),
    wavelengths_um=WAVES,
    normalization=({"mean": 1.5, "std": 2.0}, {"mean": 0.5, "std": 1.0}, {"mean": 0.0, "std": 3.0}),
    window=32,
    overlap=8,
    zoom=2,
)


def tiny() -> Dofa:
    """Return an untrained encoder whose blocks do something, ready for inference."""
    return random_dofa(CONFIG).eval().requires_grad_(False)


def head_of(method: Method, tensors: dict[str, Tensor], settings: dict[str, Any] | None = None, **fields: Any) -> Head:
    """Wrap tensors as a head of three classes on the tiny encoder."""
    given: dict[str, Any] = {
        "task": Task.SEGMENT,
        "recipe": RECIPE,
        "weights": "tiny",
        "weights_sha256": "a" * 64,
        "architecture": CONFIG.to_json(),
        "classes": CLASSES,
    }
    return Head(method=method, tensors=tensors, settings=settings or {}, **{**given, **fields})


def number_head(method: Method, tensors: dict[str, Tensor], settings: dict[str, Any] | None = None) -> Head:
    """Wrap tensors as a head that predicts a number."""
    target = Target("height", 12.0, 3.0, "m")
    return head_of(method, tensors, settings, classes=None, target=target, task=Task.REGRESS)


class Listed:
    """Samples held in memory."""

    def __init__(self, pixels: Tensor, targets: Tensor) -> None:
        self.pixels, self.targets = pixels, targets

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.pixels[list(indices)], self.targets[list(indices)]


def striped_windows(number: int = 4, side: int = 32) -> Listed:
    """Windows whose right part is brighter; classes 0 and 2, and a first row that is unlabelled."""
    generator = torch.Generator().manual_seed(3)
    pixels = 0.1 * torch.randn(number, 3, side, side, generator=generator)
    targets = torch.zeros(number, side, side, dtype=torch.int64)
    for index in range(number):
        border = 8 + 4 * index
        pixels[index, :, :, border:] += 1.5
        targets[index, :, border:] = 2
    targets[:, 0] = -1
    return Listed(pixels, targets)
