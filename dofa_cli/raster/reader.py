"""Read a scene tile by tile, a few tiles ahead of the consumer, in bounded memory, decoding each block once."""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice, product
from os import cpu_count
from typing import Any

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from dofa_cli.raster.grid import Window
from dofa_cli.raster.scene import Pixels, Scene

AHEAD = 2
"""Tiles read before they are asked for."""
CACHE_BYTES = 256 * 2**20
"""Decoded blocks kept for the tiles that follow."""
TOGETHER_BYTES = 64 * 2**20
"""Blocks decoded at once, in parallel."""
BUSY = 0.6
"""Share of the cores' time from which on reading ahead could only take it from others."""
ARENA_MAX = -8
"""Number of glibc's setting of how many heaps threads may open (malloc.h)."""

Place = tuple[int, int, int]
"""Number of a block along bands, rows and columns."""


def read_window(scene: Scene, window: Window, threads: int | None = None) -> Pixels:
    """Read the pixels under ``window``; :class:`~dofa_cli.errors.DamagedRaster` names the file that fails."""
    share_one_heap()
    blocks = dask.compute(*scene.lazy(window), scheduler="threads", num_workers=threads or cpu_count())
    return scene.judge(window, *blocks)


def read_windows(
    scene: Scene,
    windows: Iterable[Window],
    ahead: int = AHEAD,
    on_read: Callable[[float], object] = lambda _: None,
    *,
    shares_cores: bool = False,
) -> Iterator[Pixels]:
    """Yield the pixels under each window in order, reading up to ``ahead`` windows in the background (0: none).

    ``windows`` are taken as they are read. Where the caller's work ``shares_cores`` with the reading, windows are read
    in turn with it for as long as decoding keeps the cores busy: side by side, each would only slow the other down.
    """
    share_one_heap()
    whole = Window(0, 0, scene.height, scene.width)
    layers = [BlockCache(array) for array in scene.lazy(whole)]

    def read(window: Window) -> Pixels:
        started = time.perf_counter()
        pixels = scene.judge(window, *(layer.read(window) for layer in layers))
        on_read(time.perf_counter() - started)
        return pixels

    waiting = iter(windows)
    busy = not ahead or shares_cores
    while busy and (window := next(waiting, None)) is not None:
        before = time.perf_counter(), time.process_time()
        pixels = read(window)
        busy = not ahead or _busy_since(*before)
        yield pixels
    pending: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as pool:
        try:
            pending.extend(pool.submit(read, window) for window in islice(waiting, ahead))
            while pending:
                pixels = pending.popleft().result()
                pending.extend(pool.submit(read, window) for window in islice(waiting, 1))
                yield pixels
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _busy_since(clock: float, used: float) -> bool:
    """Whether nearly all cores were busy since ``clock`` and ``used`` were the process' seconds."""
    return time.process_time() - used > BUSY * (cpu_count() or 1) * (time.perf_counter() - clock)


@cache
def share_one_heap() -> bool:
    """Let all threads allocate from one heap, before the first of them reads.

    Blocks are allocated by threads that decode and freed by others; with a heap for each, glibc keeps holes in all of
    them, and memory creeps up for hundreds of tiles. Returns whether the C library took it (only glibc does).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(ARENA_MAX, 1))


class BlockCache:
    """A lazy array (bands, height, width) or (height, width) whose blocks are decoded whole, in parallel.

    Tiles hardly ever end where blocks do; up to ``most_bytes`` of blocks are kept, so that neighbours find them.
    """

    def __init__(self, array: da.Array, most_bytes: int = CACHE_BYTES) -> None:
        self.flat = array.ndim == 2
        self.array = array[None] if self.flat else array
        self.edges = [np.cumsum((0, *sizes)) for sizes in self.array.chunks]
        self.most_bytes = most_bytes
        self.held: dict[Place, NDArray[Any]] = {}
        self.bytes = 0

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values under ``window``."""
        result = np.empty((self.array.shape[0], window.height, window.width), self.array.dtype)
        for place, block in self._blocks(window):
            bands, *corner = (int(edges[number]) for edges, number in zip(self.edges, place, strict=True))
            lies = Window(*corner, *block.shape[1:])
            common = lies.intersect(window)
            rows, cols = common.relative_to(window).slices
            result[bands : bands + len(block), rows, cols] = block[:, *common.relative_to(lies).slices]
        return result[0] if self.flat else result

    def _blocks(self, window: Window) -> Iterator[tuple[Place, NDArray[Any]]]:
        """Yield the blocks that ``window`` touches: first those that are held, then the others as they are decoded."""
        touched = [_touched(edges, part) for edges, part in zip(self.edges[1:], window.slices, strict=True)]
        wanted = [(band, row, col) for band, row, col in product(range(len(self.edges[0]) - 1), *touched)]
        missing = [place for place in wanted if place not in self.held]
        for place in wanted:
            if place in self.held:
                yield place, self.held[place]
        for group in self._groups(missing):
            lazy = [self.array.blocks[place] for place in group]
            for place, block in zip(group, dask.compute(*lazy, scheduler="threads"), strict=True):
                yield place, block
                self._hold(place, block, window)

    def _groups(self, places: list[Place]) -> Iterator[list[Place]]:
        """Cut a list of blocks into those decoded together."""
        largest = self.array.itemsize * int(np.prod([max(sizes) for sizes in self.array.chunks], dtype=np.int64))
        count = max(2, TOGETHER_BYTES // max(1, largest))
        for first in range(0, len(places), count):
            yield places[first : first + count]

    def _hold(self, place: Place, block: NDArray[Any], window: Window) -> None:
        """Keep a block; drop others where there are too many."""
        self.held[place] = block
        self.bytes += block.nbytes
        while self.bytes > self.most_bytes:
            least = min(self.held, key=lambda one: self._worth(one, window))
            self.bytes -= self.held.pop(least).nbytes

    def _worth(self, place: Place, window: Window) -> tuple[int, int, int]:
        """Order blocks by when windows in reading order need them again, the last one first.

        Those behind ``window`` are the least worth; then those at its lower edge, of which the next row of windows
        needs the first ones first; then those at its right edge, which the next window needs.
        """
        _, row, col = place
        if self.edges[1][row + 1] <= window.row:
            return 0, row, col
        if self.edges[2][col + 1] > window.right:
            return 2, row, -col
        if self.edges[1][row + 1] > window.bottom:
            return 1, row, -col
        return 0, row, col


def _touched(edges: NDArray[np.int64], part: slice) -> range:
    """Return the numbers of the blocks along an axis that hold something of ``part``."""
    first = int(np.searchsorted(edges, part.start, side="right")) - 1
    return range(first, int(np.searchsorted(edges, part.stop, side="left")))
