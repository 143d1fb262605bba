"""Chips: images that are one sample each, as standardised tensors of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.errors import DamagedRaster, SceneError
from dofa_cli.pipelines.chips.rule import ChipRule, ruled, settle_rule
from dofa_cli.pipelines.inference.encoder import Encoder
from dofa_cli.pipelines.pretraining.drawable import Candidate, Paths, Ruled
from dofa_cli.pipelines.scenes.prepare import Learnt, SceneOptions
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_windows
from dofa_cli.raster.sample import sample_scene
from dofa_cli.raster.scene import Pixels, read_headers
from dofa_cli.raster.source import Grid
from dofa_cli.sensors.normalise import BandNorm

CPU = torch.device("cpu")
READERS = 4
"""Threads that decode chips."""
HELD_BYTES = 512 * 2**20
"""Decoded chips kept in memory, so that several passes over a small set decode each once."""
SHRUNK_SIDES = 4
"""Images more than twice this many chip sides wide are averaged down to it strip by strip before they are resampled."""
STRIP_VALUES = 32 * 2**20
"""Values of one such strip."""
HALF = 0.5
"""Share of a resampled pixel, or of a cell, that must be valid."""


@dataclass(frozen=True)
class Batch:
    """Chips ready for the network: ``pixels`` (N, bands, side, side), ``valid`` (N, side, side) as shares of 0 to 1."""

    pixels: Tensor
    valid: Tensor

    def cell_weights(self, patch: int) -> Tensor:
        """Return 1 for cells (N, L) of which half is valid, else 0; all 1 for a chip that has no such cell."""
        share = F.avg_pool2d(self.valid[:, None], patch).flatten(1)
        weight = (share >= HALF).float()
        weight[weight.sum(dim=1) == 0] = 1
        return weight


class ChipSet:
    """Images of one sensor, standardised by one rule a band and resampled to ``side`` × ``side`` pixels.

    ``kept`` are the positions, in the list of paths that was asked for, of the chips that can be read; ``left_out``
    says of the others, by path, why not.
    """

    def __init__(
        self,
        chips: Sequence[Ruled],
        rule: ChipRule,
        side: int,
        kept: Sequence[int],
        left_out: dict[str, str],
    ) -> None:
        self.chips, self.rule, self.side = tuple(chips), rule, side
        self.kept, self.left_out = tuple(kept), dict(left_out)
        self.standardise = Standardiser(self.norms, CPU)
        self.room = HELD_BYTES
        self.held: dict[int, Pixels] = {}

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.chips)

    @property
    def norms(self) -> tuple[BandNorm, ...]:
        """One rule a band."""
        return self.rule.norms

    @property
    def wavelengths_um(self) -> tuple[float, ...]:
        """What the weights are given, in µm."""
        return tuple(norm.wavelength_um for norm in self.norms)

    @property
    def sensor(self) -> str:
        """The sensor's id."""
        return self.rule.sensor

    @property
    def product(self) -> str:
        """The product's id."""
        return self.rule.product

    @property
    def paths(self) -> tuple[Paths, ...]:
        """The files of each chip."""
        return tuple(chip.candidate.paths for chip in self.chips)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out, and how many chips were left out."""
        return (*self.rule.notes, *_left_out_line(self.left_out, len(self)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong with all of them."""
        return self.rule.warnings

    def grid(self, index: int) -> Grid:
        """Return where a chip lies."""
        chip = self.chips[index]
        return chip.prepared.scene.grid if chip.is_own else chip.candidate.headers[0].grid

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return chips (N, bands, side, side), invalid pixels 0, which is the band's mean."""
        return self.read(indices).pixels

    def read(self, indices: Sequence[int]) -> Batch:
        """Return chips and their valid shares, decoded in a few threads."""
        with ThreadPoolExecutor(min(READERS, max(1, len(indices)))) as pool:
            pairs = list(pool.map(self._resampled, indices))
        return Batch(torch.stack([x for x, _ in pairs]), torch.stack([valid for _, valid in pairs]))

    def _resampled(self, index: int) -> tuple[Tensor, Tensor]:
        return resampled(*self._native(index), self.side)

    def _native(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a chip's standardised pixels (bands, height, width) and valid shares (height, width)."""
        if index not in self.held and self._factor(index) > 1:
            return shrunk(self.chips[index], self.standardise, self._factor(index))
        pixels = self.held.get(index) or self.chips[index].pixels()
        return self.standardise(pixels), torch.from_numpy(pixels.valid).float()

    def _factor(self, index: int) -> int:
        return min(self.chips[index].size) // (SHRUNK_SIDES * self.side)

    def check(self, index: int) -> str:
        """Read a chip once, keep it where memory allows, and say what is wrong with it (nothing: an empty text).

        Of a large image only a sample is read.
        """
        try:
            if self._factor(index) > 1:
                return "without valid pixels" if sample_scene(self.chips[index].scene()).is_empty else ""
            pixels = self.chips[index].pixels()
        except DamagedRaster:
            return "damaged"
        if not pixels.valid.any():
            return "without valid pixels"
        size = pixels.values.nbytes + pixels.valid.nbytes
        if size <= self.room:
            self.room -= size
            self.held[index] = pixels
        return ""

    def only(self, indices: Sequence[int]) -> ChipSet:
        """Return the set with these chips only, by the same rule."""
        part = ChipSet(
            [self.chips[i] for i in indices], self.rule, self.side, [self.kept[i] for i in indices], self.left_out
        )
        part.held = {new: self.held[old] for new, old in enumerate(indices) if old in self.held}
        part.room = self.room
        return part


def open_chips(
    paths: Sequence[str | Paths],
    options: SceneOptions,
    family: str,
    *,
    side: int,
    learnt: Learnt | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> ChipSet:
    """Open images, each a path or the paths of one scene's files, as chips of ``side`` pixels.

    Each is read once: damaged ones and those without a valid pixel are left out and named in ``left_out``. A head's
    own rules are ``learnt``. Raises :class:`SceneError` where no
    image is left, and what :func:`~dofa_cli.pipelines.chips.rule.settle_rule` raises.
    """
    asked: list[Paths] = [(one,) if isinstance(one, str) else tuple(one) for one in paths]
    left_out: dict[str, str] = {}
    candidates = dict(_candidates(asked, left_out))
    if not candidates:
        raise SceneError(_none_left(left_out))
    rule = settle_rule(list(candidates.values()), options, family, learnt)
    chips = {at: chip for at, candidate in candidates.items() if (chip := ruled(candidate, rule))}
    left_out |= {asked[at][0]: "damaged" for at in candidates if at not in chips}
    everything = ChipSet(list(chips.values()), rule, side, list(chips), left_out)
    return _checked(everything, progress)


def chip_vectors(chips: ChipSet, encoder: Encoder, batch: int = 32) -> NDArray[np.float32]:
    """Return one pooled vector a chip (n, D), float32, means over the cells that are valid."""
    parts = [np.zeros((0, encoder.dim), np.float32)]
    for numbers in _slices(len(chips), batch):
        found = chips.read(numbers)
        pixels = found.pixels.new_zeros(batch, *found.pixels.shape[1:])
        pixels[: len(numbers)] = found.pixels
        weight = found.valid.new_ones(batch, (chips.side // encoder.patch_size) ** 2)
        weight[: len(numbers)] = found.cell_weights(encoder.patch_size)
        vectors = encoder.vectors(pixels.to(encoder.device), weight.to(encoder.device))
        parts.append(vectors[: len(numbers)].float().cpu().numpy())
    return np.concatenate(parts)


def resampled(x: Tensor, valid: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Resample pixels (bands, height, width) and valid shares (height, width) to ``side`` × ``side``.

    Bilinear, smoothed where it shrinks; invalid pixels have no weight. Pixels that are less than half valid become 0.
    """
    if x.shape[1:] == (side, side):
        return x * (valid >= HALF), valid
    stacked = torch.cat([x * valid, valid[None]])[None]
    out = F.interpolate(stacked, size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0]
    share = out[-1].clamp(0, 1)
    return torch.where(share >= HALF, out[:-1] / share.clamp(min=HALF), 0.0), share


def shrunk(chip: Ruled, standardise: Standardiser, factor: int) -> tuple[Tensor, Tensor]:
    """Return a large image as means over squares of ``factor`` pixels, read strip by strip, and their valid shares."""
    scene, (height, width) = chip.scene(), chip.size
    rows = max(1, STRIP_VALUES // (len(chip.norms) * width * factor)) * factor
    strips = [Window(row, 0, min(rows, height - row), width) for row in range(0, height, rows)]
    parts = [_means(standardise(block), block.valid, factor) for block in read_windows(scene, strips)]
    return torch.cat([x for x, _ in parts], dim=1), torch.cat([valid for _, valid in parts])


def _means(x: Tensor, valid: NDArray[np.bool_], factor: int) -> tuple[Tensor, Tensor]:
    """Average blocks of a strip; the last ones may be narrower."""
    share = torch.from_numpy(valid).float()
    stacked = torch.cat([x * share, share[None]])[None]
    summed = F.avg_pool2d(stacked, factor, ceil_mode=True, count_include_pad=False)[0]
    return summed[:-1] / summed[-1].clamp(min=torch.finfo(x.dtype).tiny), summed[-1]


def _candidates(asked: Sequence[Paths], left_out: dict[str, str]) -> Iterator[tuple[int, Candidate]]:
    """Yield chips whose headers can be read, with their positions; others are noted in ``left_out``."""

    def opened(paths: Paths) -> Candidate | str:
        try:
            return Candidate(paths, tuple(read_headers(paths)))
        except SceneError as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as pool:
        for at, found in enumerate(pool.map(opened, asked)):
            if isinstance(found, Candidate):
                yield at, found
            else:
                left_out[asked[at][0]] = found


def _checked(chips: ChipSet, progress: Callable[[int], object]) -> ChipSet:
    """Return the chips that can be read."""
    reasons = []
    with ThreadPoolExecutor(READERS) as pool:
        for reason in pool.map(chips.check, range(len(chips))):
            reasons.append(reason)
            progress(1)
    left_out = chips.left_out | {chips.paths[n][0]: reason for n, reason in enumerate(reasons) if reason}
    good = [n for n, reason in enumerate(reasons) if not reason]
    if not good:
        raise SceneError(_none_left(left_out))
    chips.left_out = left_out
    return chips.only(good)


def _none_left(left_out: dict[str, str]) -> str:
    first, reason = next(iter(left_out.items()), ("", "no images were named"))
    return f"None of the {len(left_out)} images can be used. The first, {first}: {reason}"


def _left_out_line(left_out: dict[str, str], used: int) -> tuple[str, ...]:
    if not left_out:
        return ()
    first = next(iter(left_out))
    more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return (f"{len(left_out)} of {used + len(left_out)} images left out: {first} ({left_out[first]}){more}",)


def _slices(count: int, size: int) -> Iterator[list[int]]:
    for first in range(0, count, size):
        yield list(range(first, min(first + size, count)))
