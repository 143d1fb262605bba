"""A scene's tiles as shards: run through the network in order, each saved as part files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.pipelines.inference.encoder import CellModel
from dofa_cli.pipelines.inference.quantise import Encoding, Int8Scale
from dofa_cli.pipelines.inference.recipe import RunRecipe, encoder_again, reopened, weights_again
from dofa_cli.pipelines.inference.run import Level, Run, Say
from dofa_cli.pipelines.inference.stream import TileStream
from dofa_cli.pipelines.inference.zarr_parts import save_region
from dofa_cli.pipelines.shards.files import save_array
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.raster.grid import CellGrid, Tile, TilePlan, Window
from dofa_cli.raster.parts import Part, PartIndex

Files = dict[str, tuple[int, int]]
"""Bytes and CRC-32 of part files by name."""
Saved = tuple[Tile, Files, dict[str, float]]
"""A tile whose files are final, and counts of what it holds."""
Save = Callable[[TileStream, Iterable[Tile], Path], Iterator[Saved]]
"""Runs tiles through a stream and saves each in a folder."""


class TileWork:
    """The tiles of a run as shards; ``save`` says what is kept of each, ``model`` is a head in place of the encoder.

    ``say`` hears of a batch that had to be halved.
    """

    def __init__(self, run: Run, save: Save, model: CellModel | None = None, say: Say = lambda _: None) -> None:
        self.settled, self.save, self.model, self.say = run, save, model, say
        self.on_windows: Callable[[int], object] = lambda _: None
        self.synchronise: Callable[[], object] = lambda: None  # for clocks that must tell a device's time exactly

    @property
    def count(self) -> int:
        """The number of tiles."""
        return self.settled.plan.tile_count

    def pixels(self, number: int) -> Window:
        """Return the scene's pixels under a shard."""
        plan = self.settled.plan
        return next(plan.grid.pixels(tile.core) for tile in plan.tiles() if tile.number == number)

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        """Run tiles in order, two read ahead; each that is yielded is saved."""
        stream = self.settled.stream(self.on_windows, model=self.model)
        stream.batcher.say, stream.clock.synchronise = self.say, self.synchronise
        wanted = set(numbers)
        tiles = (tile for tile in self.settled.plan.tiles() if tile.number in wanted)
        before, started = (0, 0), time.perf_counter()
        for tile, files, counts in stream.clock.each("write", self.save(stream, tiles, folder)):
            seen, valid = stream.seen_cells, stream.valid_cells
            counts |= {
                "halved": int(stream.batcher.was_halved),
                "outside": int(not stream.scene.touches_area(stream.grid.pixels(tile.core))),
                "windows": stream.own_windows(tile),
                "seen_cells": seen - before[0],
                "valid_cells": valid - before[1],
                "seconds": time.perf_counter() - started,
                **stream.clock.lap(),
            }
            yield Finished(tile.number, files, counts)
            before, started = (seen, valid), time.perf_counter()


@dataclass(frozen=True)
class EmbedRecipe:
    """The embeddings of a run as another process opens them; ``int8`` is the code that was fixed before.

    ``zarr`` is the store that shards are written to: a name in the folder of the parts, or an address.
    """

    key: str
    run: RunRecipe
    int8: Int8Scale | None
    zarr: str | None = None

    def open(self) -> TileWork:
        """Open scene and network; weights are loaded once a process."""
        network = self.run.network
        weights = weights_again(network.path, network.name, network.sha256)
        return embed_work(reopened(self.run, weights, encoder_again(network)), self.int8, self.zarr)


def embed_work(run: Run, int8: Int8Scale | None = None, zarr: str | None = None, say: Say = lambda _: None) -> TileWork:
    """Return the shards of embeddings: a tile's tokens, or the vectors of its windows.

    Tokens become part files, or regions of the store ``zarr``.
    """
    if run.level is not Level.PATCH:
        return TileWork(run, save_vectors, say=say)

    def save(stream: TileStream, tiles: Iterable[Tile], folder: Path) -> Iterator[Saved]:
        for tile, tokens in stream.token_tiles(tiles):
            encoding = Encoding(run.dtype, int8)
            values = encoding(to_numpy(tokens))
            counts = {} if int8 is None else {"clipped": encoding.clipped, "values": encoding.values}
            if zarr is None:
                yield tile, save_all(folder, {part_name(tile.number): values}), dict(counts)
            else:
                yield tile, save_region(zarr, folder, tile.core, values), dict(counts)

    return TileWork(run, save, say=say)


def save_vectors(stream: TileStream, tiles: Iterable[Tile], folder: Path) -> Iterator[Saved]:
    """Save the vectors (n, D) of each tile's windows, and their rows, columns and valid pixels (n, 3)."""
    for tile, found in stream.vector_tiles(tiles):
        places = np.empty((len(found.numbers), 3))
        places[:, :2] = np.array(found.numbers).reshape(-1, 2)
        places[:, 2] = to_numpy(found.valid_pixels)
        name = part_name(tile.number)
        yield tile, save_all(folder, {name: to_numpy(found.vectors), beside(name, "windows"): places}), {}


def save_map(stream: TileStream, tiles: Iterable[Tile], folder: Path) -> Iterator[Saved]:
    """Save what a model makes of each tile, and where the tile has holes."""
    for found in stream.map_tiles(tiles):
        name = part_name(found.tile.number)
        arrays: dict[str, NDArray[Any]] = {name: to_numpy(found.values)}
        if not found.valid.all():
            arrays[beside(name, "valid")] = found.valid.cpu().numpy()[..., None]
        yield found.tile, save_all(folder, arrays), {}


def save_all(folder: Path, arrays: dict[str, NDArray[Any]]) -> Files:
    """Save arrays under their names."""
    return {name: save_array(folder, name, values) for name, values in arrays.items()}


def part_name(number: int) -> str:
    """Return the name of a shard's array."""
    return f"{number:06d}.npy"


def beside(name: str, what: str) -> str:
    """Return the name of an array that goes with another."""
    return name.replace(".npy", f"_{what}.npy")


@dataclass(frozen=True)
class MapParts:
    """What a head made of a scene, on disk: ``values`` (rows, cols, K) float32 on sub-cells, NaN where unknown.

    ``detail`` is the number of sub-cells along a cell's side. ``holes`` are validities (height, width, 1) of the
    scene's pixels, of those tiles that are not valid throughout.
    """

    grid: CellGrid
    detail: int
    values: tuple[Part, ...]
    holes: tuple[Part, ...]

    @cached_property
    def values_by_place(self) -> PartIndex:
        """The values, to be found by cells."""
        return PartIndex(self.values)

    @cached_property
    def _holes_by_place(self) -> PartIndex:
        return PartIndex(self.holes)

    def valid(self, pixels: Window) -> NDArray[np.bool_]:
        """Return which of the scene's ``pixels`` are valid (height, width)."""
        result = np.ones((pixels.height, pixels.width), bool)
        for part in self._holes_by_place.under(pixels):
            common = part.cells.intersect(pixels)
            found = np.load(part.path, mmap_mode="r")[..., 0]
            result[common.relative_to(pixels).slices] = found[common.relative_to(part.cells).slices]
        return result


def token_parts(plan: TilePlan, folder: Path) -> list[Part]:
    """Return the part of every tile, as :func:`embed_work` saves them."""
    return [Part(folder / part_name(tile.number), tile.core) for tile in plan.tiles()]


def map_parts(plan: TilePlan, detail: int, folder: Path, finished: Iterable[Finished]) -> MapParts:
    """Return the parts of every tile, as :func:`save_map` saves them."""
    names = {name for done in finished for name in done.files}
    values, holes = [], []
    for tile in plan.tiles():
        name = part_name(tile.number)
        values.append(Part(folder / name, tile.core.scaled(detail)))
        if (hole := beside(name, "valid")) in names:
            holes.append(Part(folder / hole, plan.grid.pixels(tile.core)))
    return MapParts(plan.grid, detail, tuple(values), tuple(holes))


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Bring a float32 tensor to numpy."""
    return tensor.float().cpu().numpy()
