"""Stream a scene through the network: tiles are read ahead, cut into windows, batched at a fixed shape."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dofa_cli.pipelines.inference.batching import Batcher, tile_memory
from dofa_cli.pipelines.inference.blend import Blend
from dofa_cli.pipelines.inference.clock import Clock
from dofa_cli.pipelines.inference.encoder import CellModel, WindowModel
from dofa_cli.pipelines.inference.plan import TOKEN_CACHE_BYTES
from dofa_cli.pipelines.scenes.standardise import Plane, Standardiser, margin, plane_under
from dofa_cli.raster.grid import CellGrid, Tile, TilePlan, Window
from dofa_cli.raster.reader import AHEAD, read_windows
from dofa_cli.raster.scene import Pixels, Scene

Number = tuple[int, int]
"""Row and column of a window in the plan."""
Forward = Callable[[Tensor, Sequence[Number]], Tensor]
"""Maps a batch of windows, the first of which have these numbers, to results (batch, …)."""
SHARE_ROUNDING = 1e-3
"""Pixels by which a cell may miss its share: 0.15 of 100 pixels is more than 15 in float32."""


@dataclass(frozen=True)
class Loaded:
    """A tile ready for the network: standardised pixels and validity of the cells of ``span``.

    ``valid_pixels`` counts a cell's valid zoomed pixels, ``valid`` says which cells hold enough of them.
    """

    tile: Tile
    span: Window
    plane: Plane
    valid_pixels: Tensor
    valid: Tensor

    def cells(self, window: Window, values: Tensor) -> Tensor:
        """Cut ``values`` (rows, cols of the span) to the cells of ``window``."""
        return values[window.relative_to(self.span).slices]


@dataclass(frozen=True)
class MapTile:
    """A tile's blended results (rows · detail, cols · detail, D), and which pixels of the scene are valid.

    ``valid`` (height, width) lies on ``pixels``, the scene's pixels that touch the tile.
    """

    tile: Tile
    values: Tensor
    pixels: Window
    valid: Tensor


@dataclass(frozen=True)
class WindowVectors:
    """Vectors (n, D) of a tile's windows that hold valid cells, the windows' numbers, and their valid zoomed pixels."""

    numbers: tuple[Number, ...]
    vectors: Tensor
    valid_pixels: Tensor


class TokenCache:
    """Tokens of windows that reach into a later tile, the oldest dropped when ``most_bytes`` are held."""

    def __init__(self, most_bytes: int = TOKEN_CACHE_BYTES) -> None:
        self.most_bytes = most_bytes
        self.held: OrderedDict[Number, Tensor] = OrderedDict()
        self.bytes = 0

    def get(self, number: Number) -> Tensor | None:
        """Return a window's tokens if they are still held."""
        return self.held.get(number)

    def put(self, number: Number, tokens: Tensor) -> None:
        """Hold a window's tokens."""
        if number not in self.held:
            self.held[number] = tokens.clone()
            self.bytes += tokens.nbytes
        while self.bytes > self.most_bytes:
            self.bytes -= self.held.popitem(last=False)[1].nbytes


class TileStream:
    """Run a scene's tiles through a model.

    Batches hold ``batch`` windows, padded to that shape and never across tiles, so that a window's tokens do not depend
    on how the scene was cut; where memory runs out they are halved. Up to ``ahead`` tiles are read before they are
    needed. ``on_windows`` is called with the number of windows finished.
    """

    def __init__(
        self,
        scene: Scene,
        plan: TilePlan,
        standardiser: Standardiser,
        model: CellModel,
        *,
        batch: int,
        min_valid: float = 0.5,
        ahead: int = AHEAD,
        on_windows: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.scene, self.plan, self.grid = scene, plan, plan.grid
        self.standardiser, self.model = standardiser, model
        self.min_valid, self.ahead, self.on_windows = min_valid, ahead, on_windows
        self.batcher = Batcher(batch, model.device)
        self.cache = TokenCache()
        self.clock = Clock()
        self.slots: Tensor | None = None  # the batch, written anew for every forward
        self.seen_cells = 0
        self.valid_cells = 0

    def token_tiles(self, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Tensor]]:
        """Yield each tile with its blended tokens (rows, cols, D), NaN where a cell holds too few valid pixels."""
        for tile, loaded in self._load(tiles):
            yield tile, self._nothing(tile) if loaded is None else self._blended(loaded)

    def map_tiles(self, tiles: Iterable[Tile]) -> Iterator[MapTile]:
        """Yield each tile with what :meth:`token_tiles` gives, and the validity of the scene's pixels under it."""
        for tile, loaded in self._load(tiles):
            pixels = self.grid.pixels(tile.core)
            if loaded is None:
                nowhere = torch.zeros(pixels.height, pixels.width, dtype=torch.bool)
                yield MapTile(tile, self._nothing(tile), pixels, nowhere)
            else:
                yield MapTile(tile, self._blended(loaded), pixels, self._valid_pixels(loaded, pixels))

    def _blended(self, loaded: Loaded) -> Tensor:
        detail = self.model.detail
        with tile_memory(self.model.device), self.clock.stage("blend"):
            blend = Blend(self.plan, loaded.tile.core, self.model.dim, self.model.device, detail)
            for number, tokens in self._tokens(loaded):
                blend.add(self.plan.window_cells(number), tokens)
            result = blend.mean()
            lost = ~loaded.cells(loaded.tile.core, loaded.valid)
            result[lost.repeat_interleave(detail, 0).repeat_interleave(detail, 1)] = torch.nan
        return result

    def _valid_pixels(self, loaded: Loaded, pixels: Window) -> Tensor:
        """Return the validity (height, width) of the scene's ``pixels``: all zoomed pixels of one have the same."""
        fine = self.grid.zoomed(loaded.span)
        rows = torch.arange(pixels.row, pixels.bottom) * self.grid.zoom - fine.row
        cols = torch.arange(pixels.col, pixels.right) * self.grid.zoom - fine.col
        valid = loaded.plane.valid
        return valid[rows.clamp(min=0).to(valid.device)][:, cols.clamp(min=0).to(valid.device)]

    def vector_tiles(self, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, WindowVectors]]:
        """Yield each tile with one vector a window, pooled over its valid cells."""
        for tile, loaded in self._load(tiles):
            if loaded is None:
                yield tile, WindowVectors((), torch.zeros(0, self.model.dim), torch.zeros(0))
                continue
            numbers = tuple(n for n in loaded.tile.windows if self._of_window(loaded, n, loaded.valid).any())
            parts = [self._run(loaded, numbers, partial(self._pooled, loaded))] if numbers else []
            self.on_windows(len(loaded.tile.windows))
            counts = [self._of_window(loaded, n, loaded.valid_pixels).sum() for n in numbers]
            vectors = torch.cat(parts) if parts else torch.zeros(0, self.model.dim)
            yield (
                loaded.tile,
                WindowVectors(numbers, vectors, torch.stack(counts) if counts else torch.zeros(0)),
            )

    def _pooled(self, loaded: Loaded, batch: Tensor, numbers: Sequence[Number]) -> Tensor:
        assert isinstance(self.model, WindowModel), "vectors are asked of models that have them"
        return self.model.vectors(batch, self._cell_weights(loaded, numbers, len(batch)))

    def _cell_weights(self, loaded: Loaded, numbers: Sequence[Number], batch: int) -> Tensor:
        """Return 1 for valid cells and 0 for others (batch, L); all 1 in the batch's empty slots."""
        weight = torch.ones(batch, self.plan.window**2, device=self.model.device)
        for slot, number in enumerate(numbers):
            weight[slot] = self._of_window(loaded, number, loaded.valid).flatten()
        return weight

    def _load(self, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Loaded | None]]:
        """Yield each tile with its pixels, ``None`` for one outside the area of interest, of which nothing is read."""
        coming: deque[tuple[Tile, Window | None]] = deque()

        def wanted() -> Iterator[Window]:
            for tile in tiles:
                inside = self.scene.touches_area(self.grid.pixels(tile.core))
                span = self.plan.span(tile.windows) if inside else None
                coming.append((tile, span))
                if span is not None:
                    yield self.grid.pixels(span, margin(self.grid.zoom))

        with tile_memory(self.model.device):
            on_cpu = self.model.device.type == "cpu"
            blocks = read_windows(self.scene, wanted(), self.ahead, self.clock.note_read, shares_cores=on_cpu)
            for block in self.clock.each("wait", blocks):
                yield from self._outside(coming)
                tile, span = coming.popleft()
                assert span is not None, "those without were taken out before"
                yield tile, self.clock.timed("prepare", self._prepare, tile, span, block)
            yield from self._outside(coming)

    def _outside(self, coming: deque[tuple[Tile, Window | None]]) -> Iterator[tuple[Tile, None]]:
        """Take the first tiles out that lie outside the area, and count what they hold."""
        while coming and coming[0][1] is None:
            tile, _ = coming.popleft()
            self.seen_cells += tile.core.height * tile.core.width
            self.on_windows(self.own_windows(tile))
            yield tile, None

    def _nothing(self, tile: Tile) -> Tensor:
        """Return what a tile without a valid pixel gives (rows · detail, cols · detail, D)."""
        detail = self.model.detail
        return torch.full((tile.core.height * detail, tile.core.width * detail, self.model.dim), torch.nan)

    def _prepare(self, tile: Tile, span: Window, block: Pixels) -> Loaded:
        plane = plane_under(span, self.grid, block, self.standardiser(block))
        patch = self.grid.patch
        counts = plane.valid.view(span.height, patch, span.width, patch).sum(dim=(1, 3))
        inside = pixels_inside(span, self.grid).to(counts.device)
        enough = (counts > 0) & (counts >= self.min_valid * inside - SHARE_ROUNDING)
        loaded = Loaded(tile, span, plane, counts, enough)
        self.seen_cells += tile.core.height * tile.core.width
        self.valid_cells += int(loaded.cells(tile.core, enough).sum())
        return loaded

    def _tokens(self, loaded: Loaded) -> Iterator[tuple[Number, Tensor]]:
        """Yield (number, tokens) in plan order for windows with valid pixels, from the cache where it has them."""
        wanted = [n for n in loaded.tile.windows if self._of_window(loaded, n, loaded.valid_pixels).any()]
        held = {n: tokens for n in wanted if (tokens := self.cache.get(n)) is not None}
        missing = [n for n in wanted if n not in held]
        self.on_windows(self._own(loaded.tile, loaded.tile.windows) - self._own(loaded.tile, missing))
        for chunk in _chunks(missing, self.batcher.size):
            found = self._run(loaded, chunk, lambda batch, _: self.model.tokens(batch))
            for number, tokens in zip(chunk, found, strict=True):
                held[number] = tokens
                if self._reaches_on(loaded.tile, number):
                    self.cache.put(number, tokens)
            self.on_windows(self._own(loaded.tile, chunk))
        yield from ((number, held[number]) for number in wanted)

    def _run(self, loaded: Loaded, numbers: Sequence[Number], forward: Forward) -> Tensor:
        """Run windows in batches of the fixed shape and return the results of each."""

        def attempt(some: range, size: int) -> Tensor:
            chosen = numbers[some.start : some.stop]
            batch = self.clock.timed("prepare", self._filled, loaded, chosen, size)
            return self.clock.timed("infer", forward, batch, chosen)[: len(chosen)]

        return self.batcher.run(len(numbers), attempt)

    def _filled(self, loaded: Loaded, numbers: Sequence[Number], size: int) -> Tensor:
        """Return a batch of ``size`` windows with the pixels of ``numbers``, and 0 in the slots that are left."""
        side = self.plan.window * self.grid.patch
        if self.slots is None or len(self.slots) != size:
            self.slots = None  # before more is asked for
            self.slots = loaded.plane.pixels.new_empty(size, len(loaded.plane.pixels), side, side)
        batch = self.slots
        batch[len(numbers) :] = 0
        for slot, number in enumerate(numbers):
            fine = self.plan.window_cells(number).relative_to(loaded.span).scaled(self.grid.patch)
            rows, cols = fine.slices
            batch[slot] = loaded.plane.pixels[:, rows, cols]
        return batch

    def _of_window(self, loaded: Loaded, number: Number, values: Tensor) -> Tensor:
        return loaded.cells(self.plan.window_cells(number), values)

    def _reaches_on(self, tile: Tile, number: Number) -> bool:
        cells = self.plan.window_cells(number)
        return cells.bottom > tile.core.bottom or cells.right > tile.core.right

    def own_windows(self, tile: Tile) -> int:
        """Count the windows that start in ``tile``: every window starts in one tile, so each is counted once."""
        return self._own(tile, tile.windows)

    def _own(self, tile: Tile, numbers: Sequence[Number]) -> int:
        corners = [Window(cells.row, cells.col, 1, 1) for cells in map(self.plan.window_cells, numbers)]
        return sum(not corner.intersect(tile.core).is_empty for corner in corners)


def pixels_inside(cells: Window, grid: CellGrid) -> Tensor:
    """Count the zoomed pixels of each cell (rows, cols) that lie inside the scene."""
    fine = grid.zoomed(cells)
    rows = _inside(fine.row, cells.height, grid.patch, grid.height * grid.zoom)
    cols = _inside(fine.col, cells.width, grid.patch, grid.width * grid.zoom)
    return rows[:, None] * cols[None, :]


def _inside(first: int, cells: int, patch: int, size: int) -> Tensor:
    starts = first + patch * torch.arange(cells)
    return ((starts + patch).clamp(max=size) - starts.clamp(min=0)).clamp(min=0)


def _chunks(numbers: Sequence[Number], size: int) -> Iterator[Sequence[Number]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
