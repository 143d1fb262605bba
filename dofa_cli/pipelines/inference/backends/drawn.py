"""Standardised windows drawn from a scene, to learn from what its pixels do to a network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from dofa_cli.pipelines.inference.stream import Number, TileStream
from dofa_cli.pipelines.scenes.prepare import Prepared
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.grid import Tile, TilePlan, Window

MOST_BYTES = 256 * 2**20
"""Most memory for drawn windows: of hundreds of bands there are fewer."""
SEARCH = 8
"""Times as many windows are tried where none of those that were drawn has a valid pixel."""
CPU = torch.device("cpu")


class _Collector:
    """Stands where a network would, and keeps the windows that come."""

    def __init__(self, patch_size: int) -> None:
        self.patch_size, self.dim, self.detail, self.device = patch_size, 1, 1, CPU
        self.windows: list[Tensor] = []

    def tokens(self, pixels: Tensor) -> Tensor:
        """Keep windows (N, bands, s, s); return zeros (N, L, 1)."""
        self.windows.append(pixels.clone())
        return torch.zeros(len(pixels), (pixels.shape[-1] // self.patch_size) ** 2, 1)


def draw_windows(prepared: Prepared, plan: TilePlan, count: int) -> Tensor:
    """Return up to ``count`` windows (n, bands, s, s) with valid pixels, spread evenly over the scene.

    They depend on scene and plan alone. n is 0 where no valid pixel was found.
    """
    side = plan.window * plan.grid.patch
    fitting = MOST_BYTES // (4 * len(prepared.norms) * side**2)
    count = max(1, min(count, fitting))
    found = _collected(prepared, plan, _spread(plan, count))
    if not found:
        found = _collected(prepared, plan, _spread(plan, SEARCH * count))[:count]
    return torch.cat(found) if found else torch.zeros(0, len(prepared.norms), side, side)


def spread(total: int, count: int) -> list[int]:
    """Return up to ``count`` of the numbers below ``total``, evenly spread."""
    return sorted({int(at) for at in np.linspace(0, total - 1, min(count, total)).round()})


def _spread(plan: TilePlan, count: int) -> list[Number]:
    """Return the numbers of windows spread over the plan, in order."""
    cols = len(plan.col_starts)
    return [(index // cols, index % cols) for index in spread(plan.window_count, count)]


def _collected(prepared: Prepared, plan: TilePlan, numbers: Iterable[Number]) -> list[Tensor]:
    collector = _Collector(plan.grid.patch)
    whole = Window(0, 0, plan.grid.rows, plan.grid.cols)
    tiles = [Tile(at, plan.window_cells(number).intersect(whole), (number,)) for at, number in enumerate(numbers)]
    stream = TileStream(prepared.scene, plan, Standardiser(prepared.norms, CPU, reuse=True), collector, batch=1)
    for _ in stream.token_tiles(tiles):
        pass
    return collector.windows
