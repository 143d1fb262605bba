"""Images of several sensors to batches of one sensor each, the same for the same seed and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.errors import OptionError
from dofa_cli.raster.grid import Window
from dofa_cli.raster.scene import Pixels
from dofa_cli.training.augment import SYMMETRIES, fitted, turned, whole_patches
from dofa_cli.training.proxies import Proxy, proxy_for

BATCH_VALUES = 48 * 2**20
"""Most pixel values of a batch, over all bands: images of many bands come in smaller batches."""
GROUP = 32
"""Crops of a batch that are enlarged by the same factor, all at once."""
CROPS_A_READ = 8
TILE_SIDES = 3
"""From a scene that is read from disk, crops are taken in groups, out of tiles of so many crop sides."""
MOST_TRIES = 40
"""Crops tried for each one wanted before a source is given up as having too few valid pixels."""


@dataclass(frozen=True)
class Image:
    """One scene: ``read`` gives the values under a window of pixels, ``standardise`` makes them the network's input."""

    name: str
    height: int
    width: int
    read: Callable[[Window], Pixels]
    standardise: Callable[[Pixels], Tensor]
    in_memory: bool = True


@dataclass(frozen=True)
class Source:
    """Images of one sensor with the same bands; ``held_out`` ones only measure the loss.

    ``zoom`` enlarges pixels, ``shrink`` is how many times the usual side a crop may cover. ``batch`` replaces the
    run's, ``most_bands`` is how many bands a batch shows, ``masked`` and ``taught`` are shares of it as in
    :class:`CropRules`.
    """

    name: str
    sensor: str
    bands: tuple[str, ...]
    wavelengths_um: tuple[float, ...]
    images: tuple[Image, ...]
    held_out: tuple[Image, ...] = ()
    zoom: int = 1
    shrink: float = 1.0
    batch: int | None = None
    most_bands: int | None = None
    masked: float | None = None
    taught: float | None = None

    @cached_property
    def proxy(self) -> Proxy:
        """Three of its bands for a teacher."""
        return proxy_for(self.wavelengths_um)

    def largest(self, rules: CropRules) -> int:
        """Pixels along the side of the largest crop: a reduced one is no larger than the largest image."""
        usual = rules.side(self.zoom)
        room = max(min(image.height, image.width) for image in (*self.images, *self.held_out))
        return max(usual, min(int(usual * self.shrink), room))


@dataclass(frozen=True)
class CropRules:
    """How crops of ``size`` pixels are taken.

    ``masked`` is the share of them that is predicted, ``proxies`` the share that a teacher sees; the other fields are
    those of the run's ``[data]`` settings.
    """

    size: int
    patch: int
    min_scale: float = 1.0
    min_valid: float = 0.9
    turn: bool = True
    drop_bands: float = 0.0
    masked: float = 1.0
    proxies: float = 0.0

    def side(self, zoom: int) -> int:
        """Pixels of an image along one side of the usual crop."""
        return ceil(self.size / zoom)


@dataclass(frozen=True)
class Batch:
    """Standardised crops of one source, ``pixels`` (N, bands, s, s).

    ``valid`` (N, L) tells patches without invalid pixels, ``None`` when all are. ``proxy`` (n, 3, s, s) with
    ``proxy_um`` is what a teacher sees of the first n crops; there may be more of them than of ``pixels``.
    """

    source: str
    pixels: Tensor
    wavelengths_um: tuple[float, ...]
    valid: Tensor | None
    proxy: Tensor
    proxy_um: tuple[float, ...]

    @property
    def count(self) -> int:
        """Crops drawn."""
        return max(len(self.pixels), len(self.proxy))

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        valid = None if self.valid is None else self.valid.to(device, non_blocking=True)
        pixels, proxy = (x.to(device, non_blocking=True) for x in (self.pixels, self.proxy))
        return replace(self, pixels=pixels, valid=valid, proxy=proxy)


def batch_size(source: Source, usual: int, size: int) -> int:
    """Return how many crops of ``size`` pixels a batch of a source holds."""
    bands = min(source.most_bands or len(source.bands), len(source.bands))
    return max(1, min(source.batch or usual, BATCH_VALUES // (bands * size * size)))


def draw_batch(
    source: Source, images: Sequence[Image], count: int, rules: CropRules, rng: np.random.Generator
) -> Batch:
    """Draw ``count`` crops from ``images`` of a source, each at a random place and turn.

    Crops of one group have the same random size before they are enlarged to that of the network. Raises
    :class:`OptionError` when next to no crop has enough valid pixels.
    """
    pixels = torch.empty(count, len(source.bands), rules.size, rules.size)
    valid = torch.ones(count, (rules.size // rules.patch) ** 2, dtype=torch.bool)
    largest = source.largest(rules)
    smallest = ceil(rules.side(source.zoom) * rules.min_scale**0.5)
    for first in range(0, count, GROUP):
        slots = slice(first, min(first + GROUP, count))
        side = int(rng.integers(smallest, largest + 1))
        crops = _crops(source, images, slots.stop - slots.start, _Cut(side, largest, rules), rng)
        _fill(pixels[slots], valid[slots], crops, rules)
    shown = _shown_bands(len(source.bands), source.most_bands, rules.drop_bands, rng)
    masked = ceil(count * (source.masked or rules.masked))
    taught = 0 if not rules.proxies else ceil(count * (rules.proxies if source.taught is None else source.taught))
    return Batch(
        source=source.name,
        pixels=pixels[:masked] if len(shown) == len(source.bands) else pixels[:masked, shown],
        wavelengths_um=tuple(source.wavelengths_um[band] for band in shown),
        valid=None if valid[:masked].all() else valid[:masked],
        proxy=source.proxy.of(pixels[:taught]),
        proxy_um=source.proxy.wavelengths_um,
    )


@dataclass(frozen=True)
class _Crop:
    """Values and validity of one crop as they lie in the image, and what standardises them."""

    block: Pixels
    standardise: Callable[[Pixels], Tensor]


@dataclass(frozen=True)
class _Cut:
    """Crops of ``side`` pixels, out of scenes on disk in tiles as suit the ``largest``."""

    side: int
    largest: int
    rules: CropRules


def _fill(pixels: Tensor, valid: Tensor, crops: Sequence[_Crop], rules: CropRules) -> None:
    """Standardise and enlarge crops of one size into ``pixels`` (n, bands, s, s) and ``valid`` (n, L)."""
    by_rule: dict[int, list[int]] = {}
    for slot, crop in enumerate(crops):
        by_rule.setdefault(id(crop.standardise), []).append(slot)
    for slots in by_rule.values():
        blocks = [crops[slot].block for slot in slots]
        column = Pixels(
            np.concatenate([block.values for block in blocks], axis=1),  # (bands, n · r, r)
            np.concatenate([block.valid for block in blocks]),
        )
        side = blocks[0].values.shape[-1]
        x = crops[slots[0]].standardise(column).view(-1, len(slots), side, side)
        pixels[slots] = fitted(x.transpose(0, 1), rules.size)
        if not column.valid.all():
            whole = torch.from_numpy(column.valid).view(len(slots), 1, side, side)
            valid[slots] = whole_patches(whole, rules.size, rules.patch)


def _crops(source: Source, images: Sequence[Image], count: int, cut: _Cut, rng: np.random.Generator) -> list[_Crop]:
    """Draw ``count`` crops with enough valid pixels."""
    chances = _chances(images, max(cut.side, cut.rules.side(source.zoom)))
    found: list[_Crop] = []
    for _ in range(MOST_TRIES * count):
        image = images[int(np.searchsorted(chances, rng.random(), side="right"))]
        for block in _blocks(image, cut, rng):
            if block.valid.mean() >= cut.rules.min_valid:
                found.append(_Crop(block, image.standardise))
        if len(found) >= count:
            return found[:count]
    raise OptionError(
        f"Source '{source.name}': next to no crop of {cut.side} pixels has {cut.rules.min_valid:.0%} valid pixels. "
        "Lower min_valid in [data], or give the source more zoom."
    )


def _chances(images: Sequence[Image], side: int) -> NDArray[np.float64]:
    """Return cumulative chances of images, in proportion to the crops that fit side by side."""
    room = np.array([(image.height // side) * (image.width // side) for image in images], np.float64)
    return np.cumsum(room / room.sum())[:-1]


def _blocks(image: Image, cut: _Cut, rng: np.random.Generator) -> Iterator[Pixels]:
    """Yield the pixels of one crop of an image in memory, or of several out of one tile of a scene on disk."""
    tile, crops = Window(0, 0, image.height, image.width), 1
    if not image.in_memory:
        tile, crops = _window(image.height, image.width, TILE_SIDES * cut.largest, rng), CROPS_A_READ
    read = image.read(tile)
    for _ in range(crops):
        rows, cols = _window(tile.height, tile.width, cut.side, rng).slices
        turn = int(rng.integers(SYMMETRIES)) if cut.rules.turn else 0
        yield Pixels(turned(read.values[:, rows, cols], turn), turned(read.valid[rows, cols], turn))


def _window(height: int, width: int, side: int, rng: np.random.Generator) -> Window:
    tall, wide = min(side, height), min(side, width)
    return Window(int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1)), tall, wide)


def _shown_bands(count: int, most: int | None, drop: float, rng: np.random.Generator) -> list[int]:
    """Choose the bands that a batch shows: at most ``most``, and without up to a share ``drop`` of them."""
    kept = min(count, most or count)
    kept -= int(rng.integers(int(drop * kept) + 1)) if drop else 0
    return list(range(count)) if kept == count else sorted(rng.permutation(count)[:kept].tolist())


def random_numbers(*key: Any) -> np.random.Generator:
    """Return numpy's random generator for a key such as (seed, step, part, rank)."""
    return np.random.default_rng([int(part) for part in key])
