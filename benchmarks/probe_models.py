"""What is probed: each row of the table turns standardised images into vectors, or into one vector a pixel.

A network sees images resampled to ``side`` pixels (``zoom`` × their own). Dense features come window by window, blended
and interpolated to pixels as ``dofa segment`` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.model.checkpoint import load_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import Precision, arithmetic, choose_device, choose_precision
from dofa_cli.model.masked import load_published, random_masked
from dofa_cli.model.vit import Dofa, FoldedDofa, random_dofa
from dofa_cli.pipelines.inference.blend import Blend
from dofa_cli.raster.grid import CellGrid, Window, plan_tiles
from dofa_cli.training.ablation import FixedMaskedDofa
from dofa_cli.training.config import RunConfig
from dofa_cli.training.proxies import proxy_for
from dofa_cli.training.state import read_state
from dofa_cli.training.teachers import efficientnet

BATCH = 64
Fold = Callable[[Sequence[float]], FoldedDofa]


class Features(Protocol):
    """A row of the table."""

    name: str
    chip_zooms: tuple[float, ...]
    pixel_zooms: tuple[float, ...]

    def vectors(self, images: Sequence[Tensor], waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Map images (bands, H, W) of one size each to vectors (N, D)."""

    def pixels(self, image: Tensor, waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Map an image (bands, H, W) to one vector a pixel (H, W, D)."""


@dataclass(frozen=True)
class Network:
    """A DOFA encoder, folded for the wavelengths at hand."""

    name: str
    model: Dofa
    fold: Fold
    chip_zooms: tuple[float, ...] = (1, 2)
    pixel_zooms: tuple[float, ...] = (1, 2, 4)

    def vectors(self, images: Sequence[Tensor], waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Pool the tokens of whole images, resampled to ``zoom`` times the network's native side."""
        side = round(self.model.config.image_size * zoom)
        folded, found = self.fold(waves), []
        for first in range(0, len(images), BATCH):
            batch = torch.stack([resampled(image, side) for image in images[first : first + BATCH]])
            found.append(self._run(lambda x: self.model.pool(folded(x).patches.float()), batch))
        return torch.cat(found).numpy()

    def pixels(self, image: Tensor, waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Blend the normed tokens of overlapping windows of the native side, and interpolate them to pixels."""
        folded, patch = self.fold(waves), self.model.config.patch_size
        _, height, width = image.shape
        grid = CellGrid(height, width, patch, round(zoom))
        window = self.model.config.native_cells
        plan = plan_tiles(grid, window, window // 4, inward=True, per_tile=10**6)
        fine = enlarged(image, grid, max(grid.rows, window), max(grid.cols, window))
        blend = Blend(plan, Window(0, 0, grid.rows, grid.cols), self.model.config.embed_dim, torch.device("cpu"))
        numbers = [number for tile in plan.tiles() for number in tile.windows]
        for first in range(0, len(numbers), BATCH):
            chunk = [plan.window_cells(number) for number in numbers[first : first + BATCH]]
            crops = torch.stack([fine[(slice(None), *cells.scaled(patch).slices)] for cells in chunk])
            tokens = self._run(lambda x: self.model.norm(folded(x).patches.float()), crops)
            for cells, one in zip(chunk, tokens, strict=True):
                blend.add(cells, one)
        return at_pixels(blend.mean(), patch / zoom, height, width)

    def _run(self, forward: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        device = choose_device("cpu")
        with torch.inference_mode(), arithmetic(device, choose_precision(Precision.AUTO, device)):
            return forward(pixels).float()


@dataclass(frozen=True)
class Colours:
    """Mean, standard deviation and quartiles of each band; of a pixel its own values."""

    name: str = "colour statistics"
    chip_zooms: tuple[float, ...] = (1,)
    pixel_zooms: tuple[float, ...] = (1,)

    def vectors(self, images: Sequence[Tensor], waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Summarise each band of each image: 5 numbers a band."""
        return np.stack([_summary(image.flatten(1).numpy()) for image in images])

    def pixels(self, image: Tensor, waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Return the pixels as they are."""
        return image.permute(1, 2, 0).numpy()


@dataclass(frozen=True)
class Teacher:
    """The teacher of the training, on red, green and blue."""

    name: str = "teacher (EfficientNet-Lite0)"
    chip_zooms: tuple[float, ...] = (1.5, 2.5)
    pixel_zooms: tuple[float, ...] = ()

    def vectors(self, images: Sequence[Tensor], waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Return its mean features of images of 64 · ``zoom`` pixels."""
        network, proxy, found = efficientnet(), proxy_for(waves), []
        for first in range(0, len(images), BATCH):
            batch = torch.stack([resampled(image, round(64 * zoom)) for image in images[first : first + BATCH]])
            found.append(network.feature(proxy.of(batch)))
        return torch.cat(found).numpy()

    def pixels(self, image: Tensor, waves: Sequence[float], zoom: float) -> NDArray[np.float32]:
        """Refuse: a teacher of photographs has no vectors of pixels."""
        raise NotImplementedError


def trained(name: str, path: Path) -> Network:
    """Open weights, or the last state of a run of fixed embeddings."""
    if path.suffix == ".pt":
        return fixed(name, path)
    model = load_checkpoint(path).model
    return Network(name, model, model.fold)


def untrained(name: str, config: DofaConfig, seed: int = 0) -> Network:
    """Make the same network with random weights and fixed sine-cosine positions, as a run begins with."""
    model = random_dofa(config, seed)
    return Network(name, model, model.fold)


def fixed(name: str, path: Path) -> Network:
    """Open a run with one patch embedding per sensor."""
    content = read_state(path)
    config = RunConfig.model_validate_json(content["config"])
    shape = DofaConfig.from_json(content["dofa_config"])
    state = content["average"] or content["model"]
    lists = sorted(
        {tuple(float(part) / 1000 for part in one.split(".")[1].split("_")) for one in state if "fixed." in one}
    )
    width = state["projector.weight"].shape[0] if "projector.weight" in state else None

    def make(*parts: object) -> FixedMaskedDofa:
        return FixedMaskedDofa(*parts, lists=lists)  # type: ignore[arg-type]

    model = random_masked(shape, config.decoder.shape(shape), width, 0, make)
    load_published(model, state)
    return Network(name, model.encoder.eval(), model.folded)


def resampled(image: Tensor, side: int) -> Tensor:
    """Resample an image (bands, H, W) to ``side`` × ``side`` pixels, averaging where it shrinks."""
    if image.shape[1:] == (side, side):
        return image
    return F.interpolate(image[None], (side, side), mode="bilinear", antialias=True, align_corners=False)[0]


def enlarged(image: Tensor, grid: CellGrid, rows: int, cols: int) -> Tensor:
    """Zoom an image and pad it with zeros to ``rows`` × ``cols`` whole cells."""
    size = (grid.height * grid.zoom, grid.width * grid.zoom)
    fine = image if grid.zoom == 1 else F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
    return F.pad(fine, (0, cols * grid.patch - size[1], 0, rows * grid.patch - size[0]))


def at_pixels(tokens: Tensor, cell: float, height: int, width: int) -> NDArray[np.float32]:
    """Interpolate tokens (rows, cols, D) of cells of ``cell`` pixels to pixels (height, width, D)."""
    rows, cols, _ = tokens.shape
    size = (round(rows * cell), round(cols * cell))
    found = F.interpolate(tokens.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False)[0]
    return found[:, :height, :width].permute(1, 2, 0).numpy()


def _summary(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    quartiles = np.quantile(bands, (0.25, 0.5, 0.75), axis=1)
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1), *quartiles]).astype(np.float32)
