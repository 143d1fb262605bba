"""Draw how a run completes images of any sensor, seen in training or not.

Usage: python benchmarks/dofa_tiny/reconstruct.py RUN PICTURE.png SENSOR=PATTERN
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.masked import load_published, random_masked
from dofa_cli.pipelines.pretraining.corpus import open_source
from dofa_cli.raster.grid import Window
from dofa_cli.training.config import Data, RunConfig, SourceConfig
from dofa_cli.training.data import Batch, CropRules
from dofa_cli.training.masking import random_masking
from dofa_cli.training.objective import Objective
from dofa_cli.training.pictures import SHOWN, draw_reconstructions
from dofa_cli.training.state import read_state

HIDDEN = 0.75


def main(run: Path, picture: Path, wanted: str) -> None:
    sensor, _, pattern = wanted.partition("=")
    objective, shape = opened(run)
    rules = CropRules(shape.image_size, shape.patch_size)
    source = open_source(SourceConfig(sensor=sensor, path=pattern), Data(held_out=0), rules, shape.family, 2**31)
    scale = [norm.mean or 0.0 for norm in source.norms], [norm.std or 1.0 for norm in source.norms]
    pixels = torch.stack([crop(source.source.images, number, shape.image_size) for number in range(SHOWN)])
    batch = Batch(sensor, pixels, source.source.wavelengths_um, None, pixels[:0], ())
    masking = random_masking(len(pixels), shape.native_cells**2, HIDDEN, torch.Generator().manual_seed(0))
    draw_reconstructions(picture, objective, batch, masking, scale)
    print(f"{picture}: {pixels.shape[1]} bands")


def opened(run: Path) -> tuple[Objective, DofaConfig]:
    """Open the network of a run with its decoder, averaged where the run averages."""
    content = read_state(run / "last.pt")
    config, shape = RunConfig.model_validate_json(content["config"]), DofaConfig.from_json(content["dofa_config"])
    state = content["average"] or content["model"]
    taught = state["projector.weight"].shape[0] if "projector.weight" in state else None
    model = random_masked(shape, config.decoder.shape(shape), taught, 0)
    load_published(model, state)
    return Objective(model.eval(), config.distill.block, by_band=config.training.targets == "band"), shape


def crop(images: tuple, number: int, side: int) -> torch.Tensor:
    """Cut a crop from the images in turn; several of one image lie along its diagonal."""
    image = images[number * len(images) // SHOWN]
    share = (number + 0.5) / SHOWN if len(images) < SHOWN else 0.5
    row, col = (int((size - side) * share) for size in (image.height, image.width))
    return image.standardise(image.read(Window(row, col, side, side))).clone()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
