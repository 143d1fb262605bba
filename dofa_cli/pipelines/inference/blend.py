"""Overlapping windows to one seamless tile: separable weights that never reach zero, accumulated in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from dofa_cli.raster.grid import TilePlan, Window


def ramp(window: int, overlap: int, device: torch.device | None = None) -> Tensor:
    """Return weights (window,): 1 in the middle, falling linearly over ``overlap`` cells to 1 / (overlap + 1)."""
    position = torch.arange(1, window + 1, dtype=torch.float32, device=device)
    nearest_edge = torch.minimum(position, position.flip(0))
    return (nearest_edge / (overlap + 1)).clamp(max=1.0)


class Blend:
    """Weighted mean of windows' results over the cells of one tile, ``detail`` results along each side of a cell."""

    def __init__(self, plan: TilePlan, core: Window, dim: int, device: torch.device, detail: int = 1) -> None:
        self.detail = detail
        self.core = core = core.scaled(detail)
        edge = ramp(plan.window * detail, plan.overlap * detail, device)
        self.weight = edge[:, None, None] * edge[None, :, None]  # (n, n, 1)
        self.total = torch.zeros(core.height, core.width, dim, device=device)
        self.weights = torch.zeros(core.height, core.width, 1, device=device)

    def add(self, cells: Window, tokens: Tensor) -> None:
        """Add one window's results (n·n, D) in row-major order, in any float type, lying on ``cells``."""
        cells = cells.scaled(self.detail)
        common = cells.intersect(self.core)
        inner = common.relative_to(cells).slices
        outer = common.relative_to(self.core).slices
        weight = self.weight[inner]
        square = tokens.view(cells.height, cells.width, -1)
        self.total[outer] += square[inner].float() * weight
        self.weights[outer] += weight

    def mean(self) -> Tensor:
        """Return the blended results (height, width, D); NaN where no window was added."""
        return self.total / self.weights
