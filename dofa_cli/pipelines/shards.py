"""Run a scene tile by tile into part files, each written whole; the unit that later work resumes and distributes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.errors import OutputUnwritable
from dofa_cli.pipelines.stream import TileStream
from dofa_cli.raster.grid import TilePlan
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


def to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Bring a float32 tensor to numpy."""
    return tensor.float().cpu().numpy()
