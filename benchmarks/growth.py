"""Time of `dofa embed` as work grows: from 1 to 200 scenes, from 1 to 64 shards of one scene, and a shard's overhead.

Usage: python benchmarks/growth.py [--scenes 1,8,64,200] [--sides 1,2,4,8] [--empty 500] [--name growth]

Everything runs in one process on one thread of the network, after a run to warm up, so that what is held on to shows.
Processor seconds are told beside those of the clock, which others on the machine stretch. Scenes are 9 bands of made-up
ground; the network is dofa-tiny. The overhead is that of shards without work: storing a small array, its record, the
look for what is missing. Results go to benchmarks/results/NAME.json and to the screen as tables.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import torch
from affine import Affine

from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.many.verbs import embed_many
from dofa_cli.pipelines.shards.files import save_array
from dofa_cli.pipelines.shards.manifest import Manifest
from dofa_cli.pipelines.shards.session import Course, session
from dofa_cli.pipelines.shards.store import Finished

HERE = Path(__file__).parent
BANDS = ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")
SCENE, WINDOW, STRIDE, PER_SHARD = 128, 64, 48, 4
"""Side of one of many scenes; dofa-tiny's windows and their distance, in pixels; windows a side of a shard."""
OPTIONS: dict[str, Any] = {"weights": "dofa-tiny", "sensor": "sentinel2", "device": "cpu", "precision": "float32"}


@dataclass(frozen=True)
class Times:
    """Seconds of the clock and of the processors."""

    clock: float
    processor: float


@dataclass(frozen=True)
class SceneRow:
    """A run over ``scenes``: seconds a scene, MB of the process and its open files afterwards."""

    scenes: int
    clock: float
    processor: float
    resident_mb: float
    open_files: int


@dataclass(frozen=True)
class ShardRow:
    """One scene in ``shards``: seconds a km²."""

    shards: int
    windows: int
    km2: float
    clock: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default="1,8,64,200")
    parser.add_argument("--sides", default="1,2,4,8", help="shards a side of a scene")
    parser.add_argument("--empty", type=int, default=500, help="shards without work")
    parser.add_argument("--name", default="growth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "scenes": [asdict(row) for row in scene_rows(folder, numbers(options.scenes))],
            "shards": [asdict(row) for row in shard_rows(folder, numbers(options.sides))],
            "overhead_ms": overhead(folder, options.empty),
        }
    print(f"\nOverhead of a shard without work: {results['overhead_ms']:.2f} ms of the clock")
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{options.name}.json").write_text(json.dumps(results, indent=1) + "\n")


def scene_rows(folder: Path, counts: Sequence[int]) -> Iterator[SceneRow]:
    """Embed ever more scenes in one process."""
    print("| scenes | s a scene | processor s a scene | resident MB | open files |\n|---|---|---|---|---|")
    scenes = folder / "scenes"
    scenes.mkdir()
    paths = [str(write_scene(scenes / f"{number:04d}.tif", SCENE, number)) for number in range(max(counts))]
    many(paths[:2], folder / "warm")
    for count in counts:
        took = timed(lambda count=count: many(paths[:count], folder / f"out{count}"))
        gc.collect()
        process = psutil.Process()
        row = SceneRow(
            count, took.clock / count, took.processor / count, process.memory_info().rss / 1e6, process.num_fds()
        )
        print(
            f"| {row.scenes} | {row.clock:.3f} | {row.processor:.3f} | {row.resident_mb:,.0f} | {row.open_files} |",
            flush=True,
        )
        yield row


def many(paths: Sequence[str], out: Path) -> None:
    """Embed scenes into a new folder."""
    embed_many(paths, out, **OPTIONS).check()


def shard_rows(folder: Path, sides: Sequence[int]) -> Iterator[ShardRow]:
    """Embed scenes of ever more shards."""
    print("\n| shards | windows | km² | s a km² | processor s a km² |\n|---|---|---|---|---|")
    for side in sides:
        scene = write_scene(folder / "large.tif", side * PER_SHARD * STRIDE + WINDOW - STRIDE, side)
        output = folder / "large_patch.tif"
        took = timed(lambda scene=scene, output=output: embed(scene, output, shard=PER_SHARD, **OPTIONS))
        output.unlink()
        report = embed(scene, output, shard=PER_SHARD, dry_run=True, **OPTIONS)
        assert report.area_km2 is not None
        row = ShardRow(
            report.shards,
            report.windows,
            report.area_km2,
            took.clock / report.area_km2,
            took.processor / report.area_km2,
        )
        print(
            f"| {row.shards} | {row.windows:,} | {row.km2:,.1f} | {row.clock:.3f} | {row.processor:.3f} |", flush=True
        )
        yield row


class NoWork:
    """Shards that hold one small array each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.on_windows: Callable[[int], object] = lambda _: None

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        """Write the arrays."""
        values = np.zeros((8, 8, 24), np.float32)
        for number in numbers:
            name = f"{number:06d}.npy"
            yield Finished(number, {name: save_array(folder, name, values)}, {"windows": 1})


class NoRecipe:
    """What names :class:`NoWork`; nobody opens it elsewhere."""

    def __init__(self, key: str) -> None:
        self.key = key

    def open(self) -> NoWork:
        """Open nothing."""
        raise NotImplementedError


def overhead(folder: Path, count: int) -> float:
    """Return milliseconds a shard of what shards cost beside their work, the arrays of a plain loop taken off."""

    def in_shards(number: int) -> None:
        output = folder / f"empty{number}.tif"
        with session(output, Manifest("embed", (), "", "", {}), Course()) as parts:
            parts.complete(NoRecipe(parts.key), NoWork(count))

    def in_a_loop() -> None:
        place = folder / "plain"
        place.mkdir()
        for number in range(count):
            np.save(place / f"{number}.npy", np.zeros((8, 8, 24), np.float32))
        shutil.rmtree(place)

    in_shards(0)
    return 1000 * (timed(lambda: in_shards(1)).clock - timed(in_a_loop).clock) / count


def write_scene(path: Path, side: int, seed: int) -> Path:
    """Write a square scene of smooth ground, 10 m pixels."""
    rng = np.random.default_rng(seed)
    ground = rng.normal(1300, 300, (len(BANDS), side, side)).clip(1).astype(np.uint16)
    profile = {"driver": "GTiff", "crs": "EPSG:32633", "transform": Affine(10, 0, 300000, 0, -10, 5800020)}
    shape = {"count": len(BANDS), "height": side, "width": side, "dtype": "uint16"}
    with rasterio.open(path, "w", tiled=True, blockxsize=256, blockysize=256, **shape, **profile) as file:
        file.write(ground)
        file.descriptions = BANDS
    return path


def timed(work: Callable[[], object]) -> Times:
    """Run something and time it."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Times(time.perf_counter() - clock, time.process_time() - processor)


def numbers(text: str) -> list[int]:
    """Read 1,2,3."""
    return [int(one) for one in text.split(",")]


if __name__ == "__main__":
    main()
