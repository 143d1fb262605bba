"""Time `dofa embed` against the plain loop, whole processes side by side, in every precision.

Usage: python benchmarks/embed_speed.py [--bands 3,9,13] [--windows 500] [--rounds 5] [--name NAME] [--batches 1,8]
                                        [--rows float32,bfloat16,int8]

DOFA v1 base with random weights, 224-pixel windows side by side. Every figure is windows a second over the whole
process: start, reading, network, writing. Ours run once over a small scene before, so that what is kept of a first
start (compiled networks, ranges of 8-bit numbers) is there; what that costs is told apart. Programs take turns; medians
are told. Results go to benchmarks/results/NAME.json and to the screen as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine

from dofa_cli.model.checkpoint import save_checkpoint
from dofa_cli.model.config import PUBLISHED
from dofa_cli.model.vit import random_dofa

HERE = Path(__file__).parent
WINDOW = 224
WARM_UP = 16
"""Windows of the small scene."""
KNOWN = {
    3: (0.665, 0.56, 0.49),
    9: (0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19),
    13: (0.443, 0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.842, 0.865, 0.945, 1.375, 1.61, 2.19),
}
BACKENDS = {"float32": "torch", "bfloat16": "torch", "int8": "openvino"}
"""What `--backend auto` takes for a large scene where everything is installed."""


@dataclass(frozen=True)
class Run:
    """One process: seconds of the clock, bytes at its peak, and what `dofa embed --json` said."""

    seconds: float
    peak: int
    report: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One program over one scene; seconds are medians, ``first_start`` those that a first run takes more.

    ``network``, ``waiting`` and ``assembling`` are seconds of stages, as the program's own clock tells them. The
    largest difference is relative to the largest token value; the cosine is the smallest between a token and the plain
    loop's.
    """

    windows_per_second: float
    slowest: float
    fastest: float
    peak_mb: float
    relative_error: float
    least_cosine: float
    first_start: float | None = None
    network: float | None = None
    waiting: float | None = None
    assembling: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bands", default="3,9,13")
    parser.add_argument("--windows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="embed_speed")
    parser.add_argument(
        "--batches", default="1,8", help="batches of the plain loop; the first's tokens are compared with"
    )
    parser.add_argument("--rows", default="float32,bfloat16,int8")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "windows": options.windows, "rounds": options.rounds, "bands": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "base.safetensors"
        save_checkpoint(random_dofa(PUBLISHED["v1_base"]), weights)
        for bands in map(int, options.bands.split(",")):
            rows = measure(Path(folder), weights, bands, options)
            results["bands"][bands] = {name: asdict(row) for name, row in rows.items()}
            print(table(bands, rows), flush=True)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{options.name}.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(folder: Path, weights: Path, bands: int, options: argparse.Namespace) -> dict[str, Row]:
    """Run each program once a round, in turn; report medians, and how close the tokens are to the plain loop's."""
    scene, count = write_scene(folder / f"scene{bands}.tif", bands, options.windows)
    small, _ = write_scene(folder / f"small{bands}.tif", bands, WARM_UP)
    um = ",".join(f"{value:g}" for value in wavelengths(bands))
    programs = {f"plain loop, batch {batch}": plain(weights, um, batch) for batch in options.batches.split(",")}
    programs |= {f"dofa embed, {precision}": ours(weights, um, precision) for precision in options.rows.split(",")}
    outputs = {name: folder / f"{number}.tif" for number, name in enumerate(programs)}
    first: dict[str, float] = {}
    for name in (name for name in programs if name.startswith("dofa")):
        twice = [started(programs[name], small, outputs[name]).seconds for _ in range(2)]
        first[name] = twice[0] - twice[1]
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, program in programs.items():
            runs[name].append(started(program, scene, outputs[name]))
    reference = read(outputs[next(iter(programs))])
    return {
        name: row_of(done, count, first.get(name), likeness(reference, read(outputs[name])))
        for name, done in runs.items()
    }


def row_of(runs: list[Run], count: int, first: float | None, like: tuple[float, float]) -> Row:
    """Summarise a program's runs over ``count`` windows."""
    seconds = [run.seconds for run in runs]
    stages = [run.report.get("stages", {}) for run in runs]
    middle = {name: statistics.median(one[name] for one in stages) for name in stages[0]}
    return Row(
        windows_per_second=count / statistics.median(seconds),
        slowest=count / max(seconds),
        fastest=count / min(seconds),
        peak_mb=max(run.peak for run in runs) / 1e6,
        relative_error=like[0],
        least_cosine=like[1],
        first_start=first,
        network=middle.get("infer"),
        waiting=middle.get("wait"),
        assembling=middle.get("assemble"),
    )


def plain(weights: Path, um: str, batch: str) -> list[str]:
    """Return the plain loop's command; scene and output come first."""
    return [sys.executable, str(HERE / "plain_loop.py"), "SCENE", str(weights), "OUTPUT", batch, um]


def ours(weights: Path, um: str, precision: str) -> list[str]:
    """Return our command."""
    program = [sys.executable, "-c", "from dofa_cli.cli.main import run; run()", "embed"]
    same = ["--overlap", "0", "--token-norm", "none", "--normalize", "none", "--overwrite", "--json"]
    how = ["--precision", precision, "--backend", BACKENDS[precision]]
    return [*program, "SCENE", "-o", "OUTPUT", "--weights", str(weights), "--wavelengths", um, *how, *same]


def started(command: list[str], scene: Path, output: Path) -> Run:
    """Run a program over a scene to its end."""
    places = {"SCENE": str(scene), "OUTPUT": str(output)}
    before = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as faults:
        process = subprocess.Popen([places.get(word, word) for word in command], stdout=said, stderr=faults)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        faults.seek(0)
        if process.returncode:
            sys.exit(faults.read())
        text = said.read()
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(seconds, peak, json.loads(text) if text.startswith("{") else {})


def write_scene(path: Path, bands: int, windows: int) -> tuple[Path, int]:
    """Write a random scene of about ``windows`` whole windows, stored band by band."""
    cols = max(1, round(windows**0.5))
    rows = -(-windows // cols)
    rng = np.random.default_rng(0)
    size = {"height": rows * WINDOW, "width": cols * WINDOW, "count": bands, "dtype": "int16"}
    layout = {
        "interleave": "band",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "zstd",
        "zstd_level": 1,
    }
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 300000, 0, -10, 5800020)}
    with rasterio.open(path, "w", driver="GTiff", **size, **layout, **place) as file:
        for index in range(1, bands + 1):
            file.write(rng.integers(-2, 3, (rows * WINDOW, cols * WINDOW)).astype(np.int16), index)
    return path, rows * cols


def wavelengths(bands: int) -> tuple[float, ...]:
    return KNOWN.get(bands) or tuple(np.linspace(0.418, 2.445, bands).round(4))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read().reshape(file.count, -1)


def likeness(reference: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return the largest difference relative to the largest token value, and the smallest cosine between tokens."""
    cosine = (reference * found).sum(0) / np.linalg.norm(reference, axis=0) / np.linalg.norm(found, axis=0)
    return float(np.abs(reference - found).max() / np.abs(reference).max()), float(cosine.min())


def table(bands: int, rows: dict[str, Row]) -> str:
    """Show one scene's rows."""
    best = max(row.windows_per_second for name, row in rows.items() if name.startswith("plain"))
    lines = [
        f"\n{bands} bands              windows/s  (range)         × plain  peak MB  rel. error  cosine ≥  "
        "network s  waiting s  COG s  first start s"
    ]
    for name, row in rows.items():
        own = (row.network, row.waiting, row.assembling, row.first_start)
        lines.append(
            f"{name:22} {row.windows_per_second:7.2f}  ({row.slowest:.2f} to {row.fastest:.2f})"
            f"  {row.windows_per_second / best:7.2f}  {row.peak_mb:7,.0f}  {row.relative_error:10.1e}"
            f"  {row.least_cosine:.6f}" + "".join("" if one is None else f"  {one:8.1f}" for one in own)
        )
    return "\n".join(lines)


def machine() -> dict[str, str | int]:
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return {
        "cpu": model,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
