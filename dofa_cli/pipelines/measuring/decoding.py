"""How fast files are decoded by GDAL alone, in threads with a handle each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from threading import Lock

import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from dofa_cli.errors import DamagedRaster
from dofa_cli.pipelines.measuring.made_scene import Codec, Made, write_scene
from dofa_cli.raster.header import FileBand
from dofa_cli.raster.source import GDAL_OPTIONS
from dofa_cli.raster.zarr_raster import open_raster

SIDE = 2048
BANDS = 4
ROWS = 1024
"""Rows read at once, at least."""
Job = tuple[str, tuple[int, ...], Window]
"""A file, bands of it, and what of them is read."""


@dataclass(frozen=True)
class DecodeRate:
    """10⁶ bytes of pixels a second from files of a kind, which the system holds in memory once they were read."""

    what: str
    threads: int
    mb_s: float


def codec_rates(folder: Path, threads: Sequence[int], budget: float, side: int = SIDE) -> list[DecodeRate]:
    """Decode a scene made in ``folder``, stored in each way, for about ``budget`` seconds each."""
    made = Made(tuple(f"b{number}" for number in range(1, BANDS + 1)), side, side)
    rates = []
    for codec in Codec:
        path = str(write_scene(folder / f"decode_{codec.value}.tif", made, codec))
        jobs = list(_strips(path, tuple(range(1, BANDS + 1))))
        rates += [DecodeRate(f"made here, {codec}", count, _rate(jobs, count, budget)) for count in threads]
    return rates


def file_rates(bands: Sequence[FileBand], threads: Sequence[int], budget: float) -> list[DecodeRate]:
    """Decode the files of a scene's ``bands``, from their first rows on, for about ``budget`` seconds each.

    Raises :class:`DamagedRaster` where one cannot be read.
    """
    files: dict[str, list[int]] = defaultdict(list)
    for band in bands:
        files[band.path].append(band.index)
    jobs = [job for path, indices in files.items() for job in _strips(path, tuple(indices))]
    return [DecodeRate("the scene's files", count, _rate(jobs, count, budget)) for count in threads]


def _strips(path: str, bands: tuple[int, ...]) -> Iterator[Job]:
    """Yield windows of whole rows of blocks."""
    with closing(open_raster(path)) as file:
        block = file.block_shapes[0][0]
        step = max(1, ROWS // block) * block
        for row in range(0, file.height, step):
            yield path, bands, Window(0, row, file.width, min(step, file.height - row))


def _rate(jobs: Sequence[Job], threads: int, budget: float) -> float:
    """Return 10⁶ bytes a second; every job opens its file anew, so that no block is found decoded."""
    taken, lock, ends = cycle(jobs), Lock(), time.perf_counter() + budget

    def read() -> int:
        count = 0
        while not count or time.perf_counter() < ends:
            with lock:
                job = next(taken)
            count += _pixel_bytes(*job)
        return count

    _pixel_bytes(*jobs[0])  # so that the first thread does not wait for the disk alone
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        nbytes = sum(pool.map(lambda _: read(), range(threads)))
    return nbytes / (time.perf_counter() - started) / 1e6


def _pixel_bytes(path: str, bands: tuple[int, ...], window: Window) -> int:
    try:
        with rasterio.Env(**GDAL_OPTIONS | {"GDAL_NUM_THREADS": 1}), closing(open_raster(path)) as file:
            return int(file.read(list(bands), window=window).nbytes)
    except RasterioError as error:
        raise DamagedRaster(f"Cannot read {path}: {error}") from None
