"""The loop a user would write around the published model: generated kernels, float32, one batch of windows at a time.

Usage: python benchmarks/plain_loop.py SCENE WEIGHTS OUTPUT BATCH WAVELENGTHS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from dofa_cli.model.checkpoint import load_checkpoint

WINDOW, PATCH = 224, 16


def main(scene: str, weights: str, output: str, batch: int, wavelengths: list[float]) -> None:
    """Write un-normed patch tokens of side-by-side windows as a plain GeoTIFF."""
    model = load_checkpoint(Path(weights)).model
    with rasterio.open(scene) as file, torch.inference_mode():
        rows, cols = file.height // WINDOW, file.width // WINDOW
        side = WINDOW // PATCH
        tokens = np.zeros((model.config.embed_dim, rows * side, cols * side), np.float32)
        places = [(row, col) for row in range(rows) for col in range(cols)]
        for first in range(0, len(places), batch):
            chosen = places[first : first + batch]
            windows = [Window(col * WINDOW, row * WINDOW, WINDOW, WINDOW) for row, col in chosen]
            pixels = np.stack([file.read(window=window).astype(np.float32) for window in windows])
            found = model(torch.from_numpy(pixels), wavelengths).patches
            for (row, col), patches in zip(chosen, found, strict=True):
                square = patches.T.reshape(-1, side, side).numpy()
                tokens[:, row * side : (row + 1) * side, col * side : (col + 1) * side] = square
        profile = file.profile | {"count": len(tokens), "dtype": "float32", "height": rows * side, "width": cols * side}
        profile |= {"transform": file.transform @ rasterio.Affine.scale(PATCH), "blockxsize": 64, "blockysize": 64}
    with rasterio.open(output, "w", **profile) as file:
        file.write(tokens)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), [float(value) for value in sys.argv[5].split(",")])
