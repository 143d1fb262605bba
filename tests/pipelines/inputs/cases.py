"""Places with several inputs that tests make for themselves: optical, radar, dates, and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine

from tests.made import TRAINED, TRANSFORM, reflectance, write_raster

HEIGHT, WIDTH = 192, 224
BLOCK = 32
"""Side in pixels of the squares of one class."""


def squares(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return classes 0 and 1 in squares (height, width)."""
    rng = np.random.default_rng(seed)
    coarse = rng.permutation(np.arange(-(-height // BLOCK) * -(-width // BLOCK)) % 2)
    coarse = coarse.reshape(-(-height // BLOCK), -(-width // BLOCK))
    return np.kron(coarse, np.ones((BLOCK, BLOCK), int))[:height, :width]


def optical(path: Path, classes: np.ndarray | None = None, seed: int = 0, **profile: object) -> str:
    """Write nine bands like Sentinel-2's; the classes, if given, are where it is brighter."""
    values = reflectance(9, HEIGHT, WIDTH, seed).astype(float)
    if classes is not None:
        values += 1500 * classes
    return str(write_raster(path, values.astype(np.uint16), TRAINED, **profile))


def radar(path: Path, classes: np.ndarray, pixel: float = 10, **profile: object) -> str:
    """Write backscatter in dB like Sentinel-1's, stronger where the class is 1, at a pixel size in metres."""
    step = pixel / 10
    rows = (np.arange(int(HEIGHT / step)) * step).astype(int)
    cols = (np.arange(int(WIDTH / step)) * step).astype(int)
    rng = np.random.default_rng(9)
    base = np.where(classes[rows][:, cols], -6.0, -14.0) + rng.normal(0, 0.5, (2, len(rows), len(cols)))
    base[1] -= 6
    origin = TRANSFORM @ Affine.scale(step)
    return str(write_raster(path, base.astype(np.float32), ("VV", "VH"), **{"transform": origin, **profile}))


def labels(path: Path, classes: np.ndarray) -> str:
    """Write classes 0 and 1 as 3 and 7."""
    return str(write_raster(path, (classes * 4 + 3)[None].astype(np.uint8)))
