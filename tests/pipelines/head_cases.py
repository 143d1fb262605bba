"""Heads of tokens that tests make for the small network and the Sentinel-2 scenes of ``tests/made.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dofa_cli.classes import ClassTable
from dofa_cli.heads.file import save_head
from dofa_cli.heads.head import Head, Method, Recipe, Target, Task
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.weights.checksum import sha256
from tests.made import TINY

CLASSES = ClassTable.of([1, 4, 9], {1: "water", 4: "Wälder & Büsche", 9: "fields"})
HEIGHT = Target("canopy height", mean=12.0, std=5.0, unit="m")


def recipe_for(scene: Path, **options: Any) -> Recipe:
    """Return what training on a Sentinel-2 scene would store."""
    asked = SceneOptions(sensor="sentinel2")
    prepared = prepare_scene(describe([str(scene)], asked), asked, TINY.family)
    usual = Recipe(
        sensor="sentinel2",
        product=prepared.product.id,
        bands=tuple(norm.band for norm in prepared.norms),
        wavelengths_um=prepared.wavelengths_um,
        normalization=tuple(norm.to_plain() for norm in prepared.norms),
        window=64,
        overlap=16,
        zoom=1,
    )
    return replace(usual, **options)


def linear_head(recipe: Recipe, weights: Path, classes: ClassTable | None = CLASSES) -> Head:
    """Return a random linear head of classes, or of a number where ``classes`` is ``None``."""
    outputs = 1 if classes is None else len(classes)
    generator = torch.Generator().manual_seed(1)
    return Head(
        task=Task.REGRESS if classes is None else Task.SEGMENT,
        method=Method.LINEAR,
        tensors={
            "weight": torch.randn(outputs, TINY.embed_dim, generator=generator),
            "bias": torch.zeros(outputs),
        },
        settings={},
        recipe=recipe,
        weights=weights.name,
        weights_sha256=sha256(weights),
        architecture=TINY.to_json(),
        classes=classes,
        target=HEIGHT if classes is None else None,
    )


def saved(head: Head, path: Path) -> Path:
    """Write a head and return its path."""
    save_head(path, head)
    return path
