"""What a map shows of a head's logits, block by block: classes, probabilities, confidence or numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import UNLABELLED, ClassTable
from dofa_cli.heads.head import Target
from dofa_cli.pipelines.inference.interpolate import Values, interpolate
from dofa_cli.pipelines.inference.shards import MapParts
from dofa_cli.pipelines.mapping.majority import majority
from dofa_cli.raster.grid import Window

STRIP_BYTES = 32 * 2**20
"""Most bytes of logits at once: blocks of many classes are worked on in strips of rows."""
STEPS = 250
SHARE_NODATA = 255
"""Shares from 0 to 1 in a byte: value / 250, and 255 where there is none."""


class Smooth(StrEnum):
    """What is done against single odd pixels: nothing, or the majority of 3 × 3 or 5 × 5."""

    NONE = "none"
    MAJORITY = "majority"
    MAJORITY_5 = "majority-5"

    @property
    def side(self) -> int:
        """Side of the square in pixels."""
        return {"none": 1, "majority": 3, "majority-5": 5}[self.value]


class Confidence(StrEnum):
    """How sure a map is, from 0 to 1: the two best classes' difference, or 1 − entropy / ln K."""

    MARGIN = "margin"
    ENTROPY = "entropy"


class ShareType(StrEnum):
    """How shares from 0 to 1 are stored: as value / 250 in a byte, or as they are."""

    UINT8 = "uint8"
    FLOAT32 = "float32"

    @property
    def nodata(self) -> float:
        """The value of pixels without a share."""
        return SHARE_NODATA if self is ShareType.UINT8 else float("nan")

    def store(self, shares: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[Any]:
        """Encode shares (bands, height, width) as (height, width, bands), nodata where they are not known."""
        if self is ShareType.UINT8:
            codes = np.where(known, np.rint(shares * STEPS), SHARE_NODATA).astype(np.uint8)
        else:
            codes = np.where(known, shares, np.float32(np.nan))
        return codes.transpose(1, 2, 0)


@dataclass(frozen=True)
class Decoder:
    """Read a map's parts as what its head means. All functions give blocks (height, width, bands) of scene pixels.

    ``height`` and ``width`` are the scene's, in pixels.
    """

    parts: MapParts
    height: int
    width: int

    def classes(self, window: Window, table: ClassTable, smooth: Smooth = Smooth.NONE) -> NDArray[Any]:
        """Return raster values of the likeliest classes, nodata where there is none."""
        reach = smooth.side // 2
        around = Window(
            window.row - reach, window.col - reach, window.height + 2 * reach, window.width + 2 * reach
        ).intersect(Window(0, 0, self.height, self.width))
        found = np.concatenate([_likeliest(values) for values in self._strips(around)])
        if reach:
            found = majority(found, smooth.side)[window.relative_to(around).slices]
        return table.raster(found)[..., None]

    def shares(self, window: Window, stored: ShareType) -> NDArray[Any]:
        """Return each class's probability, one band a class."""
        return np.concatenate([stored.store(softmax(part.values), part.known) for part in self._strips(window)])

    def confidence(self, window: Window, kind: Confidence, stored: ShareType) -> NDArray[Any]:
        """Return how sure the map is, one band."""
        parts = ((_confidence(softmax(part.values), kind)[None], part.known) for part in self._strips(window))
        return np.concatenate([stored.store(found, known) for found, known in parts])

    def numbers(self, window: Window, target: Target) -> NDArray[np.float32]:
        """Return predicted numbers in the target's unit, one band."""
        parts = (
            np.where(part.known, part.values[0] * np.float32(target.std) + np.float32(target.mean), target.nodata)
            for part in self._strips(window)
        )
        return np.concatenate(list(parts))[..., None].astype(np.float32)

    def _strips(self, window: Window) -> Iterator[Values]:
        row_bytes = 4 * max(1, self.depth) * window.width
        step = max(1, STRIP_BYTES // row_bytes)
        for row in range(window.row, window.bottom, step):
            yield interpolate(self.parts, Window(row, window.col, min(step, window.bottom - row), window.width))

    @property
    def depth(self) -> int:
        """Values a sub-cell holds: classes, or 1 for a number."""
        return int(np.load(self.parts.values[0].path, mmap_mode="r").shape[-1])


def _likeliest(found: Values) -> NDArray[np.int16]:
    return np.where(found.known, found.values.argmax(axis=0), UNLABELLED).astype(np.int16)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map logits (K, height, width) to probabilities."""
    shares: NDArray[np.float32] = np.exp(logits - logits.max(axis=0))
    shares /= shares.sum(axis=0)
    return shares


def _confidence(shares: NDArray[np.float32], kind: Confidence) -> NDArray[np.float32]:
    """Map probabilities (K, height, width) to a share; a single class is certain."""
    if len(shares) == 1:
        return np.ones(shares.shape[1:], np.float32)
    if kind is Confidence.MARGIN:
        first, second = _two_largest(shares)
        return first - second
    surprise = -shares * np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    return np.asarray(1 - surprise.sum(axis=0) / np.float32(log(len(shares))), np.float32).clip(0, 1)


def _two_largest(shares: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    first, second = np.maximum(shares[0], shares[1]), np.minimum(shares[0], shares[1])
    for share in shares[2:]:
        second = np.maximum(second, np.minimum(first, share))
        first = np.maximum(first, share)
    return first, second
