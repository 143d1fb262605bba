"""Read a scene tile by tile, a few tiles ahead of the consumer, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from os import cpu_count

import dask

from dofa_cli.raster.grid import Window
from dofa_cli.raster.scene import Pixels, Scene

AHEAD = 2
"""Tiles read before they are asked for."""


def read_window(scene: Scene, window: Window, threads: int | None = None) -> Pixels:
    """Read the pixels under ``window``; :class:`~dofa_cli.errors.DamagedRaster` names the file that fails."""
    blocks = dask.compute(*scene.lazy(window), scheduler="threads", num_workers=threads or cpu_count())
    return scene.judge(window, *blocks)


def read_windows(scene: Scene, windows: Iterable[Window], ahead: int = AHEAD) -> Iterator[Pixels]:
    """Yield the pixels under each window in order, reading up to ``ahead`` windows in the background."""
    pending: deque[Future[Pixels]] = deque()
    waiting = iter(windows)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as pool:
        try:
            pending.extend(pool.submit(read_window, scene, window) for window in islice(waiting, ahead))
            while pending:
                pixels = pending.popleft().result()
                pending.extend(pool.submit(read_window, scene, window) for window in islice(waiting, 1))
                yield pixels
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
