"""The shards of a place with several inputs: the tokens of all under a tile joined, and what a head makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.heads.build import token_head
from dofa_cli.heads.head import Head
from dofa_cli.heads.joining import Joining, is_there
from dofa_cli.pipelines.inference.recipe import RunRecipe, encoder_again, recipe_of, reopened, weights_again
from dofa_cli.pipelines.inference.run import Run, Say
from dofa_cli.pipelines.inference.shards import beside, part_name, save_all, to_numpy
from dofa_cli.pipelines.inference.stream import MapTile, TileStream
from dofa_cli.pipelines.inputs.joined_run import JoinedRun
from dofa_cli.pipelines.mapping.recipes import HeadName, head_again
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.raster.grid import Tile

CELLS = 512
"""Cells that a head maps at once: always as many, so that what one gets does not depend on the shard around it."""
MISSING = "missing_{}"
"""Count of valid cells in which an input, by its number, is missing."""


class JoinedHead:
    """A head of several inputs, ready for tokens on a device."""

    def __init__(self, head: Head, device: torch.device) -> None:
        self.joining = Joining.of(head).to(device)
        self.head = token_head(head).to(device)
        self.device = device

    @property
    def outputs(self) -> int:
        """Values a cell."""
        return self.head.goal.outputs

    def __call__(self, parts: Sequence[Tensor | None]) -> Tensor:
        """Map each input's tokens (rows, cols, D) to logits (rows, cols, K), NaN where all are missing."""
        with torch.inference_mode():
            joined = self.joining([None if part is None else part.to(self.device) for part in parts])
            flat = joined.flatten(0, 1)
            result = flat.new_full((len(flat), self.outputs), torch.nan)
            at = is_there(flat).nonzero()[:, 0]
            for first in range(0, len(at), CELLS):
                some = at[first : first + CELLS]
                batch = flat.new_zeros(CELLS, flat.shape[1])
                batch[: len(some)] = flat[some]
                result[some] = self.head.logits(batch).float()[: len(some)]
        return result.view(*joined.shape[:2], self.outputs)


class JoinedWork:
    """The tiles of a place as shards; ``say`` hears of a batch that had to be halved."""

    def __init__(self, settled: JoinedRun, head: Head, say: Say = lambda _: None) -> None:
        self.settled, self.say = settled, say
        self.head = JoinedHead(head, settled.given[0].encoder.device)
        self.on_windows: Callable[[int], object] = lambda _: None

    @property
    def count(self) -> int:
        """The number of tiles."""
        return self.settled.plan.tile_count

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        """Run tiles in order, each through all inputs; each that is yielded is saved."""
        streams = [None if run is None else self._stream(run) for run in self.settled.runs]
        given = [stream for stream in streams if stream is not None]
        wanted = set(numbers)
        tiles = [tile for tile in self.settled.plan.tiles() if tile.number in wanted]
        started = time.perf_counter()
        for found in zip(*(stream.map_tiles(tiles) for stream in given), strict=True):
            parts = iter(found)
            done = self._saved([None if stream is None else next(parts) for stream in streams], given[0], folder)
            counts = done.counts | self._counted(given, found[0].tile) | {"seconds": time.perf_counter() - started}
            yield Finished(done.number, done.files, counts)
            started = time.perf_counter()

    def _stream(self, run: Run) -> TileStream:
        stream = run.stream(self.on_windows)
        stream.batcher.say = self.say
        return stream

    def _saved(self, parts: Sequence[MapTile | None], stream: TileStream, folder: Path) -> Finished:
        """Save the logits of a tile, and where no input has a valid pixel."""
        one = next(part for part in parts if part is not None)
        values = stream.clock.timed("infer", self.head, [None if part is None else part.values for part in parts])
        valid = torch.stack([part.valid.cpu() for part in parts if part is not None]).any(dim=0)
        name = part_name(one.tile.number)
        arrays: dict[str, NDArray[Any]] = {name: to_numpy(values)}
        if not valid.all():
            arrays[beside(name, "valid")] = valid.numpy()[..., None]
        files = stream.clock.timed("write", save_all, folder, arrays)
        known = is_there(values).cpu()
        counts: dict[str, float] = {"seen_cells": known.numel(), "valid_cells": int(known.sum())}
        for number, part in enumerate(parts):
            there = torch.zeros_like(known) if part is None else is_there(part.values).cpu()
            counts[MISSING.format(number)] = int((known & ~there).sum())
        return Finished(one.tile.number, files, counts)

    def _counted(self, streams: Sequence[TileStream], tile: Tile) -> dict[str, float]:
        """Return what the streams counted since the last tile."""
        laps = [stream.clock.lap() for stream in streams]
        seconds = {name: sum(lap[name] for lap in laps) for name in laps[0]}
        first = streams[0]
        return seconds | {
            "halved": int(any(stream.batcher.was_halved for stream in streams)),
            "outside": int(not first.scene.touches_area(first.grid.pixels(tile.core))),
            "windows": sum(stream.own_windows(tile) for stream in streams),
        }


@dataclass(frozen=True)
class JoinedRecipe:
    """The logits of a place with several inputs, as another process opens them."""

    key: str
    runs: tuple[RunRecipe | None, ...]
    memory: int
    head: HeadName

    @classmethod
    def of(cls, key: str, run: JoinedRun, head: HeadName) -> JoinedRecipe:
        """Describe settled inputs and a head."""
        return cls(key, tuple(None if one is None else recipe_of(one) for one in run.runs), run.memory, head)

    def open(self) -> JoinedWork:
        """Open all inputs, network and head; weights are loaded once a process."""
        runs = tuple(None if one is None else _opened(one) for one in self.runs)
        return JoinedWork(JoinedRun(runs, self.memory), head_again(self.head).head)


def _opened(recipe: RunRecipe) -> Run:
    network = recipe.network
    return reopened(recipe, weights_again(network.path, network.name, network.sha256), encoder_again(network))
