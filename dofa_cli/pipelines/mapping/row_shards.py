"""Images, or squares of a scene, as shards: what a head says of some hundred at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from dofa_cli.heads.build import encoder_of
from dofa_cli.pipelines.chips.chip_set import Batch, ChipSet
from dofa_cli.pipelines.inference.recipe import Network, encoder_on, weights_again
from dofa_cli.pipelines.inference.run import ModelOptions
from dofa_cli.pipelines.inference.shards import part_name, save_all
from dofa_cli.pipelines.mapping.predictor import Predictions, Predictor
from dofa_cli.pipelines.mapping.recipes import HeadName, head_again
from dofa_cli.pipelines.mapping.squares import Squares, square_batches
from dofa_cli.pipelines.scenes.prepare import Prepared
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.pipelines.shards.store import Finished

ROWS_A_SHARD = 256
"""Images or squares of a shard, about: a whole number of batches."""
Read = Callable[[Sequence[int]], Iterator[Batch]]
"""Gives images by their numbers, in batches of the predictor's size."""


class RowWork:
    """``rows`` images or squares as shards of whole batches, so that no result depends on which shards are run."""

    def __init__(self, rows: int, read: Read, predictor: Predictor) -> None:
        self.rows, self.read, self.predictor = rows, read, predictor
        self.batches = max(1, ROWS_A_SHARD // predictor.batch)
        self.on_windows: Callable[[int], object] = lambda _: None

    @property
    def count(self) -> int:
        """The number of shards."""
        return -(-self.rows // self._size)

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        """Predict shards in order; each leaves probabilities and valid shares, (n, K + 1) float32."""
        batches = self.read([row for number in numbers for row in self._rows(number)])
        for number in numbers:
            started = time.perf_counter()
            found = self.predictor(islice(batches, self.batches))
            files = save_all(folder, {part_name(number): np.column_stack([found.values, found.valid])})
            self.on_windows(len(found.valid))
            counts = {
                "rows": len(found.valid),
                "windows": len(found.valid),
                "seconds": time.perf_counter() - started,
                "halved": int(self.predictor.batcher.was_halved),
            }
            yield Finished(number, files, counts)

    @property
    def _size(self) -> int:
        return self.batches * self.predictor.batch

    def _rows(self, number: int) -> range:
        return range(number * self._size, min((number + 1) * self._size, self.rows))


def predictions_of(folder: Path, finished: Iterable[Finished]) -> Predictions:
    """Read what :class:`RowWork` left of all shards."""
    stored = np.concatenate([np.load(folder / part_name(done.number)) for done in finished])
    return Predictions(stored[:, :-1], stored[:, -1])


def image_work(chips: ChipSet, predictor: Predictor) -> RowWork:
    """Return the shards of images."""
    size = predictor.batch

    def read(rows: Sequence[int]) -> Iterator[Batch]:
        return (chips.read(rows[first : first + size]) for first in range(0, len(rows), size))

    return RowWork(len(chips), read, predictor)


def square_work(prepared: Prepared, squares: Squares, predictor: Predictor) -> RowWork:
    """Return the shards of a scene's squares."""
    standardise = Standardiser(prepared.norms, predictor.encoder.device)
    windows = squares.windows

    def read(rows: Sequence[int]) -> Iterator[Batch]:
        some = [windows[row] for row in rows]
        return square_batches(prepared.scene, some, standardise, predictor.side, predictor.batch)

    return RowWork(len(windows), read, predictor)


@dataclass(frozen=True)
class Judge:
    """A predictor in words: a head's file, its encoder and the number of images a forward."""

    head: HeadName
    network: Network
    batch: int


@dataclass(frozen=True)
class ImageRecipe:
    """Images and a head as another process opens them; ``chips`` hold no pixels."""

    key: str
    chips: ChipSet
    judge: Judge

    def open(self) -> RowWork:
        """Open network and head; images are read as their shards come."""
        return image_work(self.chips, _predictor(self.judge))


@dataclass(frozen=True)
class SquareRecipe:
    """A scene's squares and a head as another process opens them."""

    key: str
    prepared: Prepared
    squares: Squares
    judge: Judge

    def open(self) -> RowWork:
        """Open scene, network and head."""
        return square_work(self.prepared, self.squares, _predictor(self.judge))


def without_pixels(chips: ChipSet) -> ChipSet:
    """Return a set of images without the pixels that it keeps in memory."""
    return ChipSet(chips.chips, chips.rule, chips.side, chips.kept, chips.left_out)


@lru_cache(maxsize=1)
def _predictor(judge: Judge) -> Predictor:
    """Open a predictor once a process."""
    network, head = judge.network, head_again(judge.head).head
    weights = weights_again(network.path, network.name, network.sha256)
    changed = replace(weights, checkpoint=replace(weights.checkpoint, model=encoder_of(head, weights.checkpoint.model)))
    return Predictor(head, changed, encoder_on(network, changed), ModelOptions(batch_size=judge.batch))
