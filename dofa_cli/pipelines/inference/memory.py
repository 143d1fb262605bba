"""How much memory a run may take, and how it is divided among tiles, read-ahead and batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from dask.utils import parse_bytes

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.inference.free_memory import room
from dofa_cli.raster.grid import TilePlan

SHARE = 0.6
"""Share of the machine's memory that a run may plan with where no limit is given."""
LEAST_PER_TILE = 2


@dataclass(frozen=True)
class Division:
    """How a run divides its memory: windows a side of a tile, tiles read ahead, windows a forward."""

    per_tile: int
    ahead: int
    batch: int


@dataclass(frozen=True)
class Demand:
    """What a run's memory follows from, in bytes (estimates).

    ``fixed`` is the process with its caches and weights, ``window`` a window in a forward, ``cell`` a tile's cell with
    its pixels and results, ``raw_cell`` a cell's pixels as they are read.
    """

    plan: TilePlan
    fixed: int
    window: int
    cell: int
    raw_cell: int

    def total(self, division: Division) -> int:
        """Return the bytes that a division takes."""
        cells = self.tile_cells(division.per_tile)
        tiles = cells * (self.cell + self.raw_cell * (division.ahead + 1))
        return self.fixed + division.batch * self.window + tiles

    def tile_cells(self, per_tile: int) -> int:
        """Return the cells of a tile with all of its windows."""
        plan = self.plan
        side = per_tile * (plan.window - plan.overlap) + plan.window
        rows, cols = (max(plan.window, min(side, size)) for size in (plan.grid.rows, plan.grid.cols))
        return rows * cols


@dataclass(frozen=True)
class Fixed:
    """What a user has settled, and memory therefore may not: ``--shard`` the tile, ``--batch-size`` the batch."""

    tile: bool = False
    batch: bool = False


def divide(demand: Demand, usual: Division, limit: int | None, fixed: Fixed = Fixed()) -> Division:
    """Return the ``usual`` division, or the largest that stays within ``limit`` bytes.

    Tile and read-ahead never change a result; the batch's shape may, in the last digits, so it is lowered for a
    ``limit`` that was asked for alone. Without one (``None``) the tile follows from the machine's whole memory, which
    is the same when an interrupted run goes on, and the read-ahead from what is free now. Raises :class:`OptionError`
    with the least that is needed.
    """
    if limit is None:
        return _by_machine(demand, usual, fixed)
    steps = list(_steps(usual, fixed, lower_batch=not fixed.batch))
    found = next((one for one in steps if demand.total(one) <= limit), None)
    if found is None:
        least = min(demand.total(one) for one in steps)
        raise OptionError(
            f"--memory-limit {shown(limit)} is too little: this run needs about {shown(least)} at least. Raise it, or "
            "lower --window, --batch-size or --shard."
        )
    return found


def batch_within(limit: int | None, fixed: int, window: int, batch: int) -> int:
    """Return ``batch``, halved until it stays within ``limit`` bytes.

    ``fixed`` and ``window`` are bytes as in :class:`Demand`. Raises :class:`OptionError` with the least that is needed.
    """
    while limit is not None and batch > 1 and fixed + batch * window > limit:
        batch = ceil(batch / 2)
    if limit is not None and fixed + batch * window > limit:
        raise OptionError(
            f"--memory-limit {shown(limit)} is too little: this run needs about {shown(fixed + window)} at least."
        )
    return batch


def _by_machine(demand: Demand, usual: Division, fixed: Fixed) -> Division:
    steps = list(_steps(usual, fixed, lower_batch=False))
    memory = room()
    tile = next((one for one in steps if demand.total(one) <= SHARE * memory.total), steps[-1])
    aheads = (replace(tile, ahead=ahead) for ahead in range(tile.ahead, 0, -1))
    return next((one for one in aheads if demand.total(one) <= memory.free), replace(tile, ahead=0))


def _steps(usual: Division, fixed: Fixed, *, lower_batch: bool) -> Iterator[Division]:
    """Yield divisions that take less and less: smaller tiles, then no read-ahead, then smaller batches."""
    step = usual
    yield step
    while not fixed.tile and step.per_tile > LEAST_PER_TILE:
        step = replace(step, per_tile=max(LEAST_PER_TILE, (step.per_tile - 1) // 2 * 2))
        yield step
    while step.ahead:
        step = replace(step, ahead=step.ahead - 1)
        yield step
    while lower_batch and step.batch > 1:
        step = replace(step, batch=ceil(step.batch / 2))
        yield step
    if not fixed.tile and step.per_tile > 1:
        yield replace(step, per_tile=1)


def read_size(text: str) -> int:
    """Return the bytes that ``4GB``, ``1.5GiB`` or a plain number of bytes stands for.

    Raises :class:`OptionError` for what is no size above 0.
    """
    try:
        size = int(parse_bytes(text)) if any(sign.isdigit() for sign in text) else 0
    except ValueError:
        size = 0
    if size <= 0:
        raise OptionError(f"--memory-limit '{text}' is no size. Write it like 4GB, 1.5GiB or 800MB.")
    return size


def shown(size: int) -> str:
    """Return bytes for people, in thousands."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
