"""Heads of whole images that tests make: what they say of an image can be told beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dofa_cli.classes import ClassTable
from dofa_cli.heads.head import Head, Target, Task
from tests.pipelines.head_cases import linear_head, recipe_for, saved

SIDE = 64


def image_head(
    scene: Path, weights: Path, folder: Path, classes: ClassTable | None, bias: list[float], **fields: Any
) -> Path:
    """Write a linear head whose logits are ``bias`` whatever it sees, unless ``scale`` lets the image play a part."""
    scale, name = fields.pop("scale", 0.0), fields.pop("name", "head.pt")
    head: Head = linear_head(recipe_for(scene, level="window", chip=SIDE), weights, classes)
    tensors = {"weight": head.tensors["weight"] * scale, "bias": torch.tensor(bias)}
    task = Task.CLASSIFY if classes is not None else Task.REGRESS
    return saved(replace(head, task=task, tensors=tensors, **fields), folder / name)


BIOMASS = Target("biomass", mean=10.0, std=2.0, unit="t/ha")
