"""Pictures of what a network sees of an image, and of what it makes of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.model.masked import Masking, hidden_patches, patchify, unpatchify
from dofa_cli.raster.writer import working_file
from dofa_cli.training.data import Batch
from dofa_cli.training.losses import restored
from dofa_cli.training.objective import Objective
from dofa_cli.training.proxies import proxy_for

SHOWN = 4
STRETCH = (2, 98)
GREY = 0.5


def reconstruct(objective: Objective, batch: Batch, masking: Masking) -> tuple[Tensor, Tensor]:
    """Return standardised pixels (N, bands, s, s) with hidden patches as predicted, and where those are (N, 1, s, s).

    Predictions are of patches standardised by themselves, so each takes mean and variance of the hidden patch.
    """
    network = objective.model
    pixels, patch = batch.pixels, network.patch_size
    grid = (pixels.shape[2] // patch, pixels.shape[3] // patch)
    with torch.no_grad():
        predicted = network(pixels, batch.wavelengths_um, masking).float()
    values = restored(predicted, hidden_patches(pixels, patch, masking), objective.groups(pixels))
    patches = patchify(pixels, patch)
    filled = patches.scatter(1, masking.hidden[..., None].expand_as(values), values)
    hidden = masking.mask[..., None].expand(-1, -1, patch * patch)
    return unpatchify(filled, patch, grid), unpatchify(hidden, patch, grid)


def draw_reconstructions(
    path: Path, objective: Objective, batch: Batch, masking: Masking, scale: tuple[Sequence[float], Sequence[float]]
) -> None:
    """Write a picture of some crops: as they are, as the network sees them, and as it completes them.

    ``scale`` holds mean and standard deviation of each band, which turn standardised values back into the values of
    training. Colours are those of the bands nearest to red, green and blue, or the first ones of radar.
    """
    from matplotlib.figure import Figure

    completed, hidden = reconstruct(objective, batch, masking)
    shown = [_colours(x[:SHOWN].cpu(), batch.wavelengths_um, scale) for x in (batch.pixels, completed)]
    low, high = np.percentile(shown[0], STRETCH, axis=(0, 1, 2))
    original, whole = (np.clip((x - low) / np.maximum(high - low, 1e-6), 0, 1) for x in shown)
    seen = np.where(hidden[:SHOWN].cpu().numpy().transpose(0, 2, 3, 1) > 0, GREY, original)
    figure = Figure(figsize=(7, 7 * len(original) / 3), layout="constrained")
    cells: Any = figure.subplots(len(original), 3, squeeze=False)
    for row, images in enumerate(zip(original, seen, whole, strict=True)):
        for cell, image in zip(cells[row], images, strict=True):
            cell.imshow(image, interpolation="nearest")
            cell.set_axis_off()
    for cell, title in zip(cells[0], (batch.source, "visible", "completed"), strict=True):
        cell.set_title(title)
    with working_file(path) as working:
        figure.savefig(working, dpi=100)


def _colours(
    pixels: Tensor, wavelengths_um: Sequence[float], scale: tuple[Sequence[float], Sequence[float]]
) -> NDArray[np.float32]:
    """Return values of training (n, s, s, 3) of standardised pixels (n, bands, s, s)."""
    bands = [0 if band is None else band for band in proxy_for(wavelengths_um).bands]
    mean, std = (torch.tensor(values)[:, None, None] for values in scale)
    values = (pixels.float() * std + mean)[:, bands]
    return np.asarray(values.permute(0, 2, 3, 1).numpy(), np.float32)
