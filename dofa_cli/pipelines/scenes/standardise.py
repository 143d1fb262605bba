"""From pixels in the file's units to the network's input: the one place where numpy becomes torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dofa_cli.raster.grid import CellGrid, Window
from dofa_cli.raster.scene import Pixels
from dofa_cli.sensors.normalise import BandNorm
from dofa_cli.sensors.scale import Curve

DECIBELS_TO_LOG = math.log(10) / 20


@dataclass(frozen=True)
class Plane:
    """Standardised zoomed pixels (bands, height, width) under whole cells; invalid ones are 0 and not ``valid``."""

    pixels: Tensor
    valid: Tensor


class Standardiser:
    """Apply each band's pixel scale, mean and standard deviation on ``device``, in float32.

    With ``reuse``, results share one piece of memory: the next call overwrites what the last one returned.
    """

    def __init__(self, norms: Sequence[BandNorm], device: torch.device, *, reuse: bool = False) -> None:
        self.device = device
        self.reuse = reuse
        self.room = torch.empty(0, device=device)
        self.curves = [(norm.scale.curve, norm.scale.inner) for norm in norms]
        self.whole = [index for index, norm in enumerate(norms) if norm.scale.whole]
        self.gain = self._column([norm.scale.gain for norm in norms])
        self.offset = self._column([norm.scale.offset for norm in norms])
        self.low = self._column([norm.scale.low for norm in norms])
        self.high = self._column([norm.scale.high for norm in norms])
        mean = self._column([norm.mean or 0.0 for norm in norms])
        self.slope = 1 / self._column([1.0 if norm.std is None else norm.std for norm in norms])
        self.shift = -mean * self.slope
        self.rescales = bool((self.gain != 1).any() or (self.offset != 0).any())
        self.clips = bool(self.low.isfinite().any() or self.high.isfinite().any())

    def __call__(self, block: Pixels) -> Tensor:
        """Map values (bands, height, width) to standardised float32, invalid pixels to 0 (the band's mean)."""
        x = self.to_training_scale(
            self._empty(block.values.shape).copy_(torch.from_numpy(block.values).to(self.device))
        )
        torch.addcmul(self.shift, x, self.slope, out=x)
        return x if block.valid.all() else x.masked_fill_(~torch.from_numpy(block.valid).to(self.device), 0.0)

    def to_training_scale(self, x: Tensor) -> Tensor:
        """Map values (bands, height, width) in place to the scale of training; each line is a pass over memory."""
        for band, (curve, inner) in enumerate(self.curves):
            if curve is Curve.SQRT:
                x[band].mul_(inner).clamp_(min=0).sqrt_()
            elif curve is Curve.DECIBEL:
                x[band].mul_(inner * DECIBELS_TO_LOG).exp_()
        if self.rescales:
            torch.addcmul(self.offset, x, self.gain, out=x)
        for band in self.whole:
            x[band].floor_()
        return x.clamp_(self.low, self.high) if self.clips else x

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return float32 memory: fresh pages of the size of a tile cost as much time as the arithmetic."""
        if not self.reuse:
            return torch.empty(shape, device=self.device)
        if self.room.numel() < math.prod(shape):
            self.room = torch.empty(math.prod(shape), device=self.device)
        return self.room[: math.prod(shape)].view(shape)

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device).view(-1, 1, 1)


def plane_under(cells: Window, grid: CellGrid, block: Pixels, x: Tensor) -> Plane:
    """Zoom standardised pixels ``x``, read under ``cells`` with :func:`margin`, and lay them on the whole cells.

    What lies outside the scene is 0 and invalid.
    """
    wanted = grid.zoomed(cells)
    scene = Window(0, 0, grid.height * grid.zoom, grid.width * grid.zoom)
    inside = wanted.intersect(scene)
    valid = torch.from_numpy(block.valid).to(x.device)
    if grid.zoom > 1:
        x, valid = enlarge(x, valid, grid.zoom, grid.pixels(cells, margin(grid.zoom)), inside)
    if inside == wanted:
        return Plane(x, valid)
    pixels = x.new_zeros(len(x), wanted.height, wanted.width)
    full_valid = torch.zeros(wanted.height, wanted.width, dtype=torch.bool, device=x.device)
    rows, cols = inside.relative_to(wanted).slices
    pixels[:, rows, cols] = x
    full_valid[rows, cols] = valid
    return Plane(pixels, full_valid)


def margin(zoom: int) -> int:
    """Pixels to read around a block so that its zoomed values do not depend on where it was cut."""
    return 1 if zoom > 1 else 0


def enlarge(x: Tensor, valid: Tensor, zoom: int, source: Window, fine: Window) -> tuple[Tensor, Tensor]:
    """Resample ``x`` (bands, height, width) over pixels ``source`` bilinearly to the zoomed pixels ``fine``.

    Weights depend on absolute positions only and leave invalid pixels out; validity is the nearest pixel's.
    """
    share = valid.to(x.dtype)
    stacked = torch.cat([x * share, share[None]])
    for axis, (start, stop, origin) in (
        (1, (fine.row, fine.bottom, source.row)),
        (2, (fine.col, fine.right, source.col)),
    ):
        stacked = _interpolate(stacked, axis, torch.arange(start, stop, dtype=torch.float64), zoom, origin)
    rows = torch.arange(fine.row, fine.bottom, device=x.device) // zoom - source.row
    cols = torch.arange(fine.col, fine.right, device=x.device) // zoom - source.col
    nearest = valid[rows][:, cols]
    values = stacked[:-1] / stacked[-1].clamp(min=torch.finfo(x.dtype).tiny)
    return values.masked_fill_(~nearest, 0.0), nearest


def _interpolate(x: Tensor, axis: int, positions: Tensor, zoom: int, origin: int) -> Tensor:
    """Interpolate linearly along one axis at zoomed ``positions`` (their centres)."""
    centres = (positions + 0.5) / zoom - 0.5
    low = centres.floor()
    weight = (centres - low).to(x)
    last = x.shape[axis] - 1
    first, second = ((low + step - origin).long().clamp(0, last).to(x.device) for step in (0, 1))
    shape = [-1 if dim == axis else 1 for dim in range(x.dim())]
    weight = weight.view(shape)
    return x.index_select(axis, first) * (1 - weight) + x.index_select(axis, second) * weight
