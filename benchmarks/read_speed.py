"""How fast scenes are read for a run, beside the fastest plain read of the same files through GDAL.

Usage: python benchmarks/read_speed.py [FILE ...] [--side 8192] [--bands 9] [--rounds 5] [--name read_speed]

Without FILE, scenes are made and stored in several ways. Ours reads what `dofa embed` reads: every tile of the plan of
the base model (224 px windows, a quarter overlapping), with its margin, as pixels and their validity, two tiles ahead.
The plain read takes whole rows of blocks without a margin, mask or check, with one handle a thread; and in another way
the whole file in one thread while GDAL decodes in many; the faster counts. Both take turns, on as many threads as there
are cores; the median of the rounds is told, in 10^6 bytes of the file's pixels a second. Files are in the system's
memory, since each was read before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import rasterio
from rasterio.windows import Window as RasterWindow

from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.inference.plan import GridOptions, lay_out
from dofa_cli.pipelines.measuring.made_scene import Codec, Made, write_scene
from dofa_cli.raster.reader import read_windows
from dofa_cli.raster.scene import Scene, open_scene, read_headers
from dofa_cli.raster.source import GDAL_OPTIONS, close_handles

HERE = Path(__file__).parent
BASE = DofaConfig(1, 16, 768, 12, 12)
MARGIN = 1
ROWS = 512
"""Rows that a thread of the plain read takes at once, at least."""


@dataclass(frozen=True)
class Row:
    """Rates of one scene in 10^6 bytes a second: ours, and both plain ways."""

    scene: str
    mbytes: float
    ours: float
    plain_threads: float
    plain_gdal_threads: float

    @property
    def share(self) -> float:
        """Ours as a share of the faster plain way."""
        return self.ours / max(self.plain_threads, self.plain_gdal_threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="files, each a scene of its own")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--bands", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="read_speed")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, rasterio.Env(**GDAL_OPTIONS):
        made = Made(tuple(f"B{number}" for number in range(1, options.bands + 1)), options.side, options.side)
        paths = options.files or [write_scene(Path(folder) / f"{codec}.tif", made, codec) for codec in Codec]
        for path in map(str, paths):
            rows.append(measure(path, options.rounds))
            print(line(rows), flush=True)
    results = {"machine": machine(), "rounds": options.rounds, "rows": [asdict(row) for row in rows]}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{options.name}.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(path: str, rounds: int) -> Row:
    """Read a file in all ways, taking turns."""
    headers = read_headers([path])
    scene = open_scene(headers, headers[0].bands)
    nbytes = scene.pixels.nbytes
    ways: list[Callable[[], object]] = [lambda: ours(scene), lambda: in_threads(path), lambda: by_gdal(path)]
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):  # the first brings the file into memory
        for way, taken in zip(ways, times, strict=True):
            started = time.perf_counter()
            way()
            taken.append(time.perf_counter() - started)
            close_handles()
    rates = [nbytes / statistics.median(taken[1:]) / 1e6 for taken in times]
    return Row(Path(path).name, nbytes / 1e6, *rates)


def ours(scene: Scene) -> None:
    """Read every tile of a run."""
    plan = lay_out(scene, BASE, GridOptions(), whole_windows=False)
    tiles = (plan.grid.pixels(plan.span(tile.windows), MARGIN) for tile in plan.tiles())
    for _ in read_windows(scene, tiles):
        pass


def in_threads(path: str) -> None:
    """Read rows of blocks in threads, each with a handle of its own."""
    with rasterio.open(path) as file:
        step = max(1, ROWS // file.block_shapes[0][0]) * file.block_shapes[0][0]
        windows = [
            RasterWindow(0, row, file.width, min(step, file.height - row)) for row in range(0, file.height, step)
        ]
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda number: _read(path, windows[number::threads]), range(threads)))


def by_gdal(path: str) -> None:
    """Read rows of blocks in one thread, decoded by GDAL in as many as there are cores."""
    with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), rasterio.open(path, NUM_THREADS="ALL_CPUS") as file:
        step = max(1, ROWS // file.block_shapes[0][0]) * file.block_shapes[0][0]
        for row in range(0, file.height, step):
            file.read(window=RasterWindow(0, row, file.width, min(step, file.height - row)))


def _read(path: str, windows: Sequence[RasterWindow]) -> None:
    with rasterio.Env(GDAL_NUM_THREADS=1), rasterio.open(path) as file:
        for window in windows:
            file.read(window=window)


def line(rows: Sequence[Row]) -> str:
    """Return the newest row of the table, after its head where it is the first."""
    head = (
        "| scene | MB | ours MB/s | threads MB/s | GDAL's threads MB/s | ours / faster |\n|---|---|---|---|---|---|\n"
    )
    row = rows[-1]
    rates = f"{row.ours:,.0f} | {row.plain_threads:,.0f} | {row.plain_gdal_threads:,.0f} | {row.share:.2f} |"
    return f"{head if len(rows) == 1 else ''}| {row.scene} | {row.mbytes:,.0f} | {rates}"


def machine() -> dict[str, object]:
    """Describe the machine."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gdal": rasterio.__gdal_version__,
    }


if __name__ == "__main__":
    main()
