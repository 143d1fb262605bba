"""Small sources in memory, and a small network that learns from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.masked import DecoderConfig, MaskedDofa, random_masked
from dofa_cli.raster.grid import Window
from dofa_cli.raster.scene import Pixels
from dofa_cli.training.data import CropRules, Image, Source
from dofa_cli.training.schedule import Schedule, Stage

CONFIG = DofaConfig(1, patch_size=4, embed_dim=24, depth=2, num_heads=3, image_size=16)
DECODER = DecoderConfig(width=16, depth=1, num_heads=4)
RGB = (0.665, 0.56, 0.49)


def as_tensor(block: Pixels) -> torch.Tensor:
    """Standardise by doing nothing."""
    return torch.from_numpy(block.values.astype(np.float32))


def smooth(bands: int, height: int, width: int, seed: int) -> np.ndarray:
    """A picture whose hidden parts follow from the visible ones: waves, other ones in every band."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:height, 0:width] / 6
    return np.stack([np.sin(rows * rng.uniform(0.5, 1) + cols + band) for band in range(bands)]).astype(np.float32)


def image(values: np.ndarray, valid: np.ndarray | None = None, *, in_memory: bool = True, reads: Any = None) -> Image:
    """An image of an array; ``reads`` gathers the windows that are read."""
    valid = np.ones(values.shape[1:], bool) if valid is None else valid

    def read(window: Window) -> Pixels:
        if reads is not None:
            reads.append(window)
        return Pixels(values[:, *window.slices], valid[window.slices])

    return Image("image", *values.shape[1:], read, as_tensor, in_memory)


@pytest.fixture(scope="session")
def image_of() -> Callable[..., Image]:
    return image


@pytest.fixture(scope="session")
def source_of() -> Callable[..., Source]:
    """A source of smooth pictures."""

    def made(
        name: str = "rgb", waves: tuple[float, ...] = RGB, images: int = 4, side: int = 24, **fields: Any
    ) -> Source:
        pictures = tuple(image(smooth(len(waves), side, side, seed)) for seed in range(images))
        bands = tuple(f"b{number}" for number in range(len(waves)))
        return Source(name, name, bands, waves, fields.pop("pictures", pictures), **fields)

    return made


@pytest.fixture(scope="session")
def rules() -> CropRules:
    return CropRules(size=16, patch=4, min_scale=0.5)


@pytest.fixture(scope="session")
def schedule_of() -> Callable[..., Schedule]:
    def made(steps: int = 20, batch: int = 8, lr: float = 3e-3, distill: float = 0.0, **weights: float) -> Schedule:
        return Schedule((Stage("only", 0, steps, batch, lr, 2, 0.5, distill, weights or {"rgb": 1.0}),))

    return made


@pytest.fixture
def network_of() -> Callable[..., MaskedDofa]:
    def made(teacher_dim: int | None = None, seed: int = 0) -> MaskedDofa:
        return random_masked(CONFIG, DECODER, teacher_dim, seed)

    return made
