"""Run a scene tile by tile into part files, each written whole; the unit that later work resumes and distributes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.errors import OutputUnwritable
from dofa_cli.pipelines.inference.stream import TileStream
from dofa_cli.raster.grid import CellGrid, TilePlan, Window
from dofa_cli.raster.writer import Part, save_part

Encode = Callable[[NDArray[np.float32]], NDArray[Any]]


@contextmanager
def parts_folder(output: Path) -> Iterator[Path]:
    """Make a folder for part files beside ``output``, removed whatever happens."""
    folder = output.with_name(f".{output.name}.parts")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputUnwritable(f"Cannot write beside {output}: {error.strerror or error}.") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_token_parts(stream: TileStream, plan: TilePlan, folder: Path, encode: Encode) -> list[Part]:
    """Write each tile's blended tokens (rows, cols, D) as one part, encoded for the output."""
    parts = []
    for tile, tokens in stream.token_tiles(plan.tiles()):
        part = Part(folder / f"{tile.number:06d}.npy", tile.core)
        save_part(part.path, encode(to_numpy(tokens)))
        parts.append(part)
    return parts


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

    def valid(self, pixels: Window) -> NDArray[np.bool_]:
        """Return which of the scene's ``pixels`` are valid (height, width)."""
        result = np.ones((pixels.height, pixels.width), bool)
        for part in self.holes:
            common = part.cells.intersect(pixels)
            if not common.is_empty:
                found = np.load(part.path, mmap_mode="r")[..., 0]
                result[common.relative_to(pixels).slices] = found[common.relative_to(part.cells).slices]
        return result


def write_map_parts(stream: TileStream, plan: TilePlan, folder: Path) -> MapParts:
    """Write what a model makes of each tile, and where the tile has holes."""
    values, holes = [], []
    for found in stream.map_tiles(plan.tiles()):
        part = Part(folder / f"{found.tile.number:06d}.npy", found.tile.core.scaled(stream.model.detail))
        save_part(part.path, to_numpy(found.values))
        values.append(part)
        if not found.valid.all():
            hole = Part(folder / f"{found.tile.number:06d}_valid.npy", found.pixels)
            save_part(hole.path, found.valid.cpu().numpy()[..., None])
            holes.append(hole)
    return MapParts(plan.grid, stream.model.detail, tuple(values), tuple(holes))


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Bring a float32 tensor to numpy."""
    return tensor.float().cpu().numpy()
