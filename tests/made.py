"""Scenes and weights that tests make for themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from dofa_cli.model.checkpoint import save_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import random_dofa

TINY = DofaConfig(version=1, patch_size=16, embed_dim=24, depth=2, num_heads=3, image_size=64)
UTM = "EPSG:32633"
TRANSFORM = Affine(10, 0, 300000, 0, -10, 5800020)
TRAINED = ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")


def tiny_weights(path: Path, config: DofaConfig = TINY) -> Path:
    """Write a small random network."""
    save_checkpoint(random_dofa(config), path)
    return path


def reflectance(bands: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random digital numbers like Sentinel-2's (bands, height, width), uint16, never 0."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:height, 0:width] / 40
    waves = [np.sin(rows * rng.uniform(0.5, 2) + cols * rng.uniform(0.5, 2) + rng.uniform(0, 6)) for _ in range(bands)]
    noise = rng.normal(0, 60, (bands, height, width))
    return (1300 + 500 * np.stack(waves) + noise).clip(1).astype(np.uint16)


def write_raster(path: Path, values: np.ndarray, names: tuple[str, ...] = (), **profile: object) -> Path:
    """Write (bands, height, width) as a GeoTIFF, in UTM unless the profile says otherwise."""
    fields = {"crs": UTM, "transform": TRANSFORM, "driver": "GTiff", **profile}
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with rasterio.open(path, "w", **shape, **fields) as file:
        file.write(values)
        for index, name in enumerate(names, 1):
            file.set_band_description(index, name)
    return path


def sentinel2_scene(path: Path, height: int = 150, width: int = 170, **profile: object) -> Path:
    """Write a 9-band Sentinel-2 stack with band names."""
    return write_raster(path, reflectance(9, height, width), TRAINED, **profile)
