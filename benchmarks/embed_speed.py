"""Time `dofa embed` against the plain loop, whole processes side by side, and the network alone.

Usage: python benchmarks/embed_speed.py [--bands 3,9,13] [--windows 500] [--rounds 3] [--name NAME]

DOFA v1 base with random weights, 224-pixel windows side by side. Every figure is windows a second over the whole
process: start, reading, network, writing. Results go to benchmarks/results/NAME.json and to the screen as a table.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from dofa_cli.model.checkpoint import load_checkpoint, save_checkpoint
from dofa_cli.model.config import PUBLISHED
from dofa_cli.model.device import Precision, arithmetic, keep_freed_memory
from dofa_cli.model.linears import fold_for_inference, for_inference
from dofa_cli.model.vit import random_dofa

HERE = Path(__file__).parent
WINDOW = 224
MANY_BANDS = 30
KNOWN = {
    3: (0.665, 0.56, 0.49),
    9: (0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19),
    13: (0.443, 0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.842, 0.865, 0.945, 1.375, 1.61, 2.19),
}
Row = tuple[str, int | str]
OURS: dict[str, Row] = {"dofa embed, float32": ("dofa", "float32"), "dofa embed, bfloat16": ("dofa", "bfloat16")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bands", default="3,9,13")
    parser.add_argument("--windows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="embed_speed")
    parser.add_argument(
        "--batches", default="1,8", help="batch sizes of the plain loop; tokens are compared with the first"
    )
    options = parser.parse_args()
    rows = {f"plain loop, batch {batch}": ("plain", int(batch)) for batch in options.batches.split(",")} | OURS
    results = {"machine": machine(), "windows": options.windows, "rounds": options.rounds, "bands": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "base.safetensors"
        save_checkpoint(random_dofa(PUBLISHED["v1_base"]), weights)
        for bands in map(int, options.bands.split(",")):
            results["bands"][bands] = measure(Path(folder), weights, bands, options.windows, options.rounds, rows)
            print(table(bands, results["bands"][bands]), flush=True)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{options.name}.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(
    folder: Path, weights: Path, bands: int, windows: int, rounds: int, rows: dict[str, Row]
) -> dict[str, dict[str, float]]:
    """Time each row once a round, in turn; report medians, and how close the tokens are to the plain loop's."""
    scene, count = write_scene(folder / f"scene{bands}.tif", bands, windows)
    um = ",".join(f"{value:g}" for value in wavelengths(bands))
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    outputs = {row: folder / f"{number}.tif" for number, row in enumerate(rows)}
    for _ in range(rounds):
        for row, (kind, choice) in rows.items():
            command = commands(kind, choice, scene, weights, outputs[row], um)
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[row].append(time.perf_counter() - started)
    alone = network_alone(weights, wavelengths(bands), rows)
    reference = read(outputs[next(iter(rows))])
    return {
        row: {
            "windows_per_second": count / statistics.median(times),
            "slowest": count / max(times),
            "fastest": count / min(times),
            "network_alone": alone[row],
            **likeness(reference, read(outputs[row])),
        }
        for row, times in seconds.items()
    }


def commands(kind: str, choice: int | str, scene: Path, weights: Path, output: Path, um: str) -> list[str]:
    if kind == "plain":
        return [sys.executable, str(HERE / "plain_loop.py"), str(scene), str(weights), str(output), str(choice), um]
    program = [sys.executable, "-c", "from dofa_cli.cli.main import run; run()", "embed"]
    same = ["--overlap", "0", "--token-norm", "none", "--normalize", "none", "--overwrite", "--json"]
    return [*program, str(scene), "-o", str(output), "--weights", str(weights), "--wavelengths", um,
            "--precision", str(choice), *same]  # fmt: skip


def network_alone(weights: Path, um: tuple[float, ...], rows: dict[str, Row]) -> dict[str, float]:
    """Windows a second of the network on pixels in memory."""
    found = {}
    for row, (kind, choice) in rows.items():
        model = load_checkpoint(weights).model
        batch = choice if kind == "plain" else 4
        precision = Precision(choice) if kind == "dofa" else None
        if precision:
            keep_freed_memory()
        pixels = torch.randn(batch, len(um), WINDOW, WINDOW)
        if precision:
            model = for_inference(model, torch.device("cpu"), precision.dtype)
        folded = fold_for_inference(model, um, torch.device("cpu"), precision.dtype) if precision else model
        times = []
        for _ in range(max(4, 24 // batch)):
            started = time.perf_counter()
            if precision:
                with arithmetic(torch.device("cpu"), precision):
                    folded(pixels)
            else:
                with torch.inference_mode():
                    model(pixels, um)
            times.append(time.perf_counter() - started)
        found[row] = batch / statistics.median(times[1:])
    return found


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


def likeness(reference: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Largest difference relative to the largest token value, and the smallest cosine between tokens."""
    cosine = (reference * found).sum(0) / np.linalg.norm(reference, axis=0) / np.linalg.norm(found, axis=0)
    return {
        "relative_error": float(np.abs(reference - found).max() / np.abs(reference).max()),
        "least_cosine": float(cosine.min()),
    }


def table(bands: int, rows: dict[str, dict[str, float]]) -> str:
    best = max(entry["windows_per_second"] for row, entry in rows.items() if row.startswith("plain"))
    lines = [f"\n{bands} bands               windows/s  (range)        × plain  network alone  rel. error  cosine ≥"]
    for row, entry in rows.items():
        rate = entry["windows_per_second"]
        lines.append(
            f"{row:24} {rate:6.2f}  ({entry['slowest']:.2f} to {entry['fastest']:.2f})  {rate / best:7.2f}"
            f"  {entry['network_alone']:13.2f}  {entry['relative_error']:10.1e}  {entry['least_cosine']:.6f}"
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
