"""What is known of a head on test labels: what they say, what it says, and the block of ground of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.areas import Areas, adjusted_areas
from dofa_cli.assess.confusion import Confusion
from dofa_cli.assess.measured import Measured
from dofa_cli.assess.regression import assess_numbers
from dofa_cli.assess.several import assess_several
from dofa_cli.assess.single import assess, assess_counts
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels
from dofa_cli.pipelines.learning.sampling import hashed
from dofa_cli.pipelines.mapping.apply_head import HeadFile

MOST_KEPT = 4_000_000
"""Labelled pixels kept one by one, for tests between heads and for numbers; of more, an even part is."""
BLOCKS_A_SCENE = 1 << 32


@dataclass(frozen=True)
class Samples:
    """Test samples (n,): reference and prediction as class indices or numbers, and blocks; sorted by ``key``.

    Of several labels an image, ``reference`` and ``predicted`` are (n, K): 0 or 1, and probabilities.
    """

    key: NDArray[np.uint64]
    reference: NDArray[Any]
    predicted: NDArray[Any]
    block: NDArray[np.int64] | None


@dataclass(frozen=True)
class Evidence:
    """A head's test: ``counted`` holds every labelled pixel, ``samples`` all or an even part of them.

    ``hectares`` (K,) are the areas of classes on the maps, ``facts`` lines for the report.
    """

    file: HeadFile
    samples: Samples
    counted: Confusion | None = None
    hectares: NDArray[np.float64] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> ClassTable | None:
        """The head's classes."""
        return self.file.head.classes

    def measured(self, seed: int) -> Measured:
        """Return the scores; :class:`TooFewLabels` when no label has a prediction."""
        samples, target = self.samples, self.file.head.target
        if self.classes is None:
            unit = target.unit if target else ""
            return assess_numbers(samples.reference, samples.predicted, blocks=samples.block, seed=seed, unit=unit)
        if self.file.head.several:
            return assess_several(samples.reference, samples.predicted, self.classes, seed=seed)
        if self.counted is None:
            return assess(samples.reference, samples.predicted, self.classes, blocks=samples.block, seed=seed)
        return assess_counts(self.counted, self.classes, spatial=samples.block is not None, seed=seed)

    def areas(self, seed: int) -> tuple[Areas | None, tuple[str, ...]]:
        """Return the areas of classes, corrected by the test labels, and why there are none."""
        if self.counted is None or self.classes is None or self.hectares is None:
            return None, ()
        blocks = self.counted.by_block
        try:
            by_block = blocks if len(blocks) > 1 else None
            found = adjusted_areas(self.counted.counts, self.hectares, self.classes, by_block=by_block, seed=seed)
        except TooFewLabels as error:
            return None, (str(error),)
        return found, ()


class Kept:
    """Samples added piece by piece; where they are too many, those with the smallest hashed places stay."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self.most, self.limit = most, np.uint64(2**64 - 1)
        self.parts: list[tuple[NDArray[Any], ...]] = []
        self.count = 0
        self.total = 0

    def add(
        self, scene: int, place: tuple[NDArray[Any], NDArray[Any]], pair: tuple[NDArray[Any], NDArray[Any]], block: Any
    ) -> None:
        """Add samples of a scene at (rows, columns), as (reference, prediction), each with its block."""
        rows, cols = place
        key = hashed(0, np.full(len(rows), scene), rows, cols)
        self.total += len(key)
        chosen = key <= self.limit
        self.parts.append(tuple(one[chosen] for one in (key, *pair, np.asarray(block))))
        self.count += int(chosen.sum())
        while self.count > self.most:
            self.limit = np.uint64(self.limit // np.uint64(2))
            self.parts = [tuple(one[part[0] <= self.limit] for one in part) for part in self.parts]
            self.count = sum(len(part[0]) for part in self.parts)

    def samples(self, *, spatial: bool) -> Samples:
        """Return what was kept, in the order of the hashed places."""
        if not self.parts:
            raise TooFewLabels("No labelled pixel lies inside the scenes.")
        key, reference, predicted, block = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        order = np.argsort(key, kind="stable")
        return Samples(key[order], reference[order], predicted[order], block[order] if spatial else None)

    @property
    def notes(self) -> Iterator[str]:
        """Say how many samples were left out."""
        if self.count < self.total:
            yield f"{self.count:,} of {self.total:,} labelled pixels, an even part, are compared one by one."
