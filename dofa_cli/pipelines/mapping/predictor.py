"""A head and its encoder opened together: whole images in, one probability a class out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.classes import ClassTable
from dofa_cli.errors import WrongHead
from dofa_cli.heads.build import encoder_of, token_head
from dofa_cli.heads.head import Head, Task
from dofa_cli.model.device import choose_batch
from dofa_cli.pipelines.chips.chip_set import Batch
from dofa_cli.pipelines.inference.batching import Batcher
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.inference.kept import kept
from dofa_cli.pipelines.inference.memory import batch_within
from dofa_cli.pipelines.inference.plan import process_bytes, window_bytes
from dofa_cli.pipelines.inference.run import ModelOptions
from dofa_cli.pipelines.mapping.apply_head import HeadFile, head_weights


@dataclass(frozen=True)
class Predictions:
    """What a head says of n images: probabilities (n, K), or numbers (n, 1) in the target's unit.

    ``valid`` (n,) is each image's share of valid pixels; images without any have NaN.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.float32]

    @property
    def classes(self) -> NDArray[np.int16]:
        """The likeliest class of each image (n,), −1 where there is none."""
        known = np.isfinite(self.values).all(axis=1)
        return np.where(known, np.nan_to_num(self.values).argmax(axis=1), -1).astype(np.int16)


def check_images(file: HeadFile) -> None:
    """Refuse a head of pixels: :class:`WrongHead` says what it is for."""
    head = file.head
    if head.task is Task.SEGMENT or head.recipe.level == "patch":
        raise WrongHead(
            f"{file.path} is a head for every pixel ({head.task.value}, {head.method.value}), not for whole images. "
            f"Map with it: dofa segment SCENE --head {file.path}"
        )


def open_for(file: HeadFile, options: ModelOptions) -> Weights:
    """Open the weights that a head was trained with, changed as its training changed them.

    Raises what :func:`~dofa_cli.pipelines.mapping.apply_head.head_weights` raises.
    """
    weights = head_weights(file, options.weights)
    key = ("encoder of a head", file.sha256, weights.sha256)
    changed = kept(key, partial(encoder_of, file.head, weights.checkpoint.model))
    return replace(weights, checkpoint=replace(weights.checkpoint, model=changed))


class Predictor:
    """Pools chips to vectors and scores them, in batches of one shape.

    ``batch`` is the number of images a forward, ``side`` their side in pixels, ``bands`` those of each.
    """

    def __init__(self, head: Head, weights: Weights, encoder: Encoder, options: ModelOptions) -> None:
        self.head, self.weights, self.encoder = head, weights, encoder
        self.scorer = token_head(head).to(self.encoder.device)
        self.side, self.bands = side_of(head, weights), len(encoder.wavelengths_um)
        self.fixed_bytes = process_bytes(weights.config)
        self.image_bytes = 0  # a graphics card has memory of its own
        if self.encoder.device.type == "cpu":
            self.image_bytes = window_bytes(weights.config, self.bands, self.side // weights.config.patch_size)
        usual = options.batch_size or choose_batch(self.encoder.device)
        self.batch = batch_within(options.memory_limit, self.fixed_bytes, self.image_bytes, usual)
        self.batcher = Batcher(self.batch, self.encoder.device)

    @property
    def how(self) -> dict[str, str]:
        """Precision and backend, and in int8 the ranges."""
        ranges = self.encoder.ranges
        how = {"precision": self.encoder.precision.value, "backend": self.encoder.backend.name.value}
        return how | ({"int8_ranges": ranges.digest} if ranges else {})

    def __call__(self, batches: Iterator[Batch]) -> Predictions:
        """Predict batches of at most ``batch`` images each."""
        width = 1 if self.head.classes is None else len(self.head.classes)
        values, valid = [np.zeros((0, width), np.float32)], [np.zeros(0, np.float32)]
        for found in batches:
            values.append(self._scored(found))
            valid.append(found.valid.mean(dim=(1, 2)).cpu().numpy())
        return Predictions(np.concatenate(values), np.concatenate(valid))

    @property
    def memory_bytes(self) -> int:
        """What a run takes, in bytes (an estimate)."""
        return self.fixed_bytes + self.batch * self.image_bytes

    def seconds_an_image(self) -> float:
        """Time the network on random pixels, after one batch to warm up."""
        pixels = torch.randn(self.batch, self.bands, self.side, self.side)
        batch = Batch(pixels, torch.ones(self.batch, self.side, self.side))
        self._scored(batch)
        started = time.perf_counter()
        self._scored(batch)
        return (time.perf_counter() - started) / self.batch

    def _scored(self, found: Batch) -> NDArray[np.float32]:
        """Return probabilities or numbers of one batch (n, K), NaN for images without a valid pixel."""
        weights = found.cell_weights(self.encoder.patch_size)
        with torch.inference_mode():
            vectors = self.batcher.run(len(weights), partial(self._vectors, found.pixels, weights))
            logits = self.scorer.logits(vectors)
            result = self._meant(logits).cpu().numpy().astype(np.float32)
        result[found.valid.sum(dim=(1, 2)).cpu().numpy() == 0] = np.nan
        return result

    def _vectors(self, pixels: Tensor, weights: Tensor, some: range, size: int) -> Tensor:
        """Return the vectors (n, D) of ``some`` images (N, bands, s, s), run as a batch of ``size``."""
        images, device = slice(some.start, some.stop), self.encoder.device
        batch = pixels.new_zeros(size, *pixels.shape[1:])
        batch[: len(some)] = pixels[images]
        weight = torch.ones(size, weights.shape[1])
        weight[: len(some)] = weights[images]
        return self.encoder.vectors(batch.to(device), weight.to(device)).float()[: len(some)]

    def _meant(self, logits: Tensor) -> Tensor:
        target = self.head.target
        return self.scorer.probabilities(logits) if target is None else logits * target.std + target.mean


def side_of(head: Head, weights: Weights) -> int:
    """Return the side in pixels that images are resampled to: the head's, else the network's native one."""
    return head.recipe.chip or weights.config.image_size


def chosen(values: NDArray[np.float32], classes: ClassTable) -> list[str]:
    """Name the classes of images that may be of several (n, K): those with a probability of one half or more."""
    return ["|".join(name for name, share in zip(classes.names, row, strict=True) if share >= 0.5) for row in values]


def columns_of(predictions: Predictions, head: Head) -> dict[str, Any]:
    """Return the table's columns: class, value and a probability a class; the classes of several; or the number."""
    values = predictions.values
    if head.classes is None:
        return {head.target.name if head.target else "value": values[:, 0].astype(float)}
    shares = {f"p_{name}": values[:, at].astype(float) for at, name in enumerate(head.classes.names)}
    if head.several:
        return {"classes": chosen(values, head.classes), **shares}
    index = predictions.classes
    names = [head.classes.names[at] if at >= 0 else None for at in index]
    numbers = [head.classes.values[at] if at >= 0 else None for at in index]
    return {"class": names, "value": numbers, "probability": values.max(axis=1).astype(float), **shares}
