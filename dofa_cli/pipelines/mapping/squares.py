"""A scene cut into equal squares, each one image for a head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil

import torch

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.chips.chip_set import Batch, resampled
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.grid import Window
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.reader import read_windows
from dofa_cli.raster.scene import Scene
from dofa_cli.raster.source import Grid

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(m|km|px)", re.IGNORECASE)


@dataclass(frozen=True)
class Squares:
    """Squares of ``rows`` × ``cols`` pixels over a grid, from its origin; the last ones may reach past it."""

    grid: Grid
    rows: int
    cols: int

    @property
    def height(self) -> int:
        """Squares down."""
        return ceil(self.grid.height / self.rows)

    @property
    def width(self) -> int:
        """Squares across."""
        return ceil(self.grid.width / self.cols)

    @property
    def windows(self) -> list[Window]:
        """Each square's pixels, whole also where they reach past the scene, row by row."""
        places = ((row, col) for row in range(self.height) for col in range(self.width))
        return [Window(row * self.rows, col * self.cols, self.rows, self.cols) for row, col in places]

    @property
    def coarse(self) -> Grid:
        """A raster with one pixel a square."""
        return Grid(
            self.grid.transform @ self.grid.transform.scale(self.cols, self.rows),
            self.grid.crs,
            self.height,
            self.width,
        )


def lay_squares(scene: Scene, size: str) -> Squares:
    """Lay squares of ``640m``, ``1km`` or ``64px`` over a scene.

    Metres are rounded to whole pixels and measured at the scene's centre. Raises :class:`OptionError` for sizes that
    cannot be understood, are below a pixel, or are metres on a scene without coordinates.
    """
    found = _SIZE.fullmatch(size.strip())
    if found is None or not float(found[1]) > 0:
        raise OptionError(f"--grid '{size}' is not a size such as 640m, 1km or 64px.")
    number, unit = float(found[1]), found[2].lower()
    if unit == "px":
        rows = cols = round(number)
    else:
        pixel = ground_pixel(scene.grid)
        if pixel is None:
            raise OptionError(f"--grid {size} needs a scene with coordinates; give pixels: --grid 64px.")
        metres = number * (1000 if unit == "km" else 1)
        rows, cols = round(metres / pixel.height), round(metres / pixel.width)
    if min(rows, cols) < 1:
        raise OptionError(f"--grid {size} is below the scene's pixel. Give a larger square.")
    return Squares(scene.grid, rows, cols)


def square_batches(
    scene: Scene, windows: Sequence[Window], standardise: Standardiser, side: int, batch: int
) -> Iterator[Batch]:
    """Yield squares resampled to ``side`` pixels, ``batch`` at a time; what lies outside the scene is invalid."""
    whole = Window(0, 0, scene.height, scene.width)
    pairs = zip(windows, read_windows(scene, [window.intersect(whole) for window in windows]), strict=True)
    while some := list(islice(pairs, batch)):
        chips = [_chip(window, standardise(block), torch.from_numpy(block.valid), side) for window, block in some]
        yield Batch(torch.stack([x for x, _ in chips]), torch.stack([valid for _, valid in chips]))


def _chip(window: Window, x: torch.Tensor, valid: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad a block at the scene's right and bottom edge to the whole square, and resample it."""
    rows, cols = window.height - x.shape[1], window.width - x.shape[2]
    if rows or cols:
        x = torch.nn.functional.pad(x, (0, cols, 0, rows))
        valid = torch.nn.functional.pad(valid, (0, cols, 0, rows))
    return resampled(x.cpu(), valid.float(), side)
