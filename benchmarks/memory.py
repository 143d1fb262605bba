"""Peak memory of `dofa embed` and `dofa segment` over scenes of very different size.

Usage: python benchmarks/memory.py [--sizes 2048x2048,8192x8192,32768x32768,2048x100000] [--verbs embed,segment]
                                   [--dimensions 24] [--memory-limit 2GB] [--name memory]

Scenes have 9 bands and are sparse: one strip of ground along their whole width, a square in each corner, the rest
nodata. So they are read, cut and written whole, but the network runs over little of them. Every figure is the peak
resident memory of a process of its own (rows x columns in pixels). Results go to benchmarks/results/NAME.json and to
the screen as a table; the last column is the peak over that of the second size, the first that fills more than a tile.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window

from dofa_cli.classes import ClassTable
from dofa_cli.heads.file import save_head
from dofa_cli.heads.head import Head, Method, Recipe, Task
from dofa_cli.model.checkpoint import load_checkpoint, save_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import random_dofa
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.weights.checksum import sha256

HERE = Path(__file__).parent
SIZES = "2048x2048,8192x8192,32768x32768,2048x100000"
BANDS = ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")
PIECE = 512
"""Side of the file's blocks, rows of the strip of ground, and side of the squares in the corners."""
TRANSFORM = Affine(10, 0, 300000, 0, -10, 5800020)
RUN = """
import json, resource, sys
scene, weights, head, output, limit = sys.argv[1:]
options = {"overwrite": True} | ({"memory_limit": int(limit)} if int(limit) else {})
if head:
    from dofa_cli.pipelines.segment import segment
    report = segment(scene, output, head=head, weights=weights, **options)
    foretold = report.facts.memory_bytes
else:
    from dofa_cli.pipelines.embed import embed
    report = embed(scene, output, sensor="sentinel2", weights=weights, **options)
    foretold = report.memory_bytes
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"peak": peak, "foretold": foretold, "seconds": report.seconds}))
"""


@dataclass(frozen=True)
class Row:
    """One measured run: bytes and seconds."""

    verb: str
    height: int
    width: int
    peak: int
    foretold: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help="rows x columns")
    parser.add_argument("--verbs", default="embed,segment")
    parser.add_argument("--dimensions", type=int, default=24)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--memory-limit", default="")
    parser.add_argument("--name", default="memory")
    options = parser.parse_args()
    sizes = [tuple(map(int, one.split("x"))) for one in options.sizes.split(",")]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = tiny_weights(folder / "weights.safetensors", options.dimensions)
        for height, width in sizes:
            scene = write_scene(folder / "scene.tif", height, width)
            head = linear_head(folder / "head.pt", scene, weights, options.classes)
            for verb in options.verbs.split(","):
                rows.append(measure(verb, scene, weights, head, limit_of(options.memory_limit)))
                print(line(rows), flush=True)
            scene.unlink()
    results = {"machine": machine(), **vars(options), "rows": [asdict(row) for row in rows]}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{options.name}.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(verb: str, scene: Path, weights: Path, head: Path, limit: int) -> Row:
    """Run a verb in a process of its own."""
    output = scene.with_name("out.tif")
    arguments = [str(scene), str(weights), str(head) if verb == "segment" else "", str(output), str(limit)]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    output.unlink()
    with rasterio.open(scene) as file:
        return Row(verb, file.height, file.width, **json.loads(done.stdout))


def write_scene(path: Path, height: int, width: int) -> Path:
    """Write a sparse scene of 9 bands: a strip of ground in the middle and squares in the corners."""
    shape = {"height": height, "width": width, "count": len(BANDS), "dtype": "uint16", "nodata": 0}
    layout = {"tiled": True, "blockxsize": PIECE, "blockysize": PIECE, "compress": "zstd", "SPARSE_OK": True}
    rng = np.random.default_rng(0)
    ground = rng.normal(1300, 300, (len(BANDS), PIECE, PIECE)).clip(1).astype(np.uint16)
    middle = height // 2 // PIECE * PIECE
    places = [(middle, col) for col in range(0, width, PIECE)]
    places += [(row, col) for row in (0, height - PIECE) for col in (0, width - PIECE)]
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=TRANSFORM, BIGTIFF="YES", **shape, **layout
    ) as file:
        file.descriptions = BANDS
        for row, col in places:
            part = ground[:, : min(PIECE, height - row), : min(PIECE, width - col)]
            file.write(part, window=Window(col, row, part.shape[2], part.shape[1]))
    return path


def tiny_weights(path: Path, dimensions: int) -> Path:
    """Write a small random network."""
    save_checkpoint(
        random_dofa(DofaConfig(1, 16, dimensions, 1, max(1, dimensions // 64) if dimensions > 64 else 3)), path
    )
    return path


def linear_head(path: Path, scene: Path, weights: Path, classes: int) -> Path:
    """Write a random head of tokens for the scene's bands."""
    config = load_checkpoint(weights).model.config
    asked = SceneOptions(sensor="sentinel2")
    prepared = prepare_scene(describe([str(scene)], asked), asked, config.family)
    recipe = Recipe(
        sensor="sentinel2",
        product=prepared.product.id,
        bands=tuple(norm.band for norm in prepared.norms),
        wavelengths_um=prepared.wavelengths_um,
        normalization=tuple(norm.to_plain() for norm in prepared.norms),
        window=config.image_size,
        overlap=config.image_size // 4 // 16 * 16,
        zoom=1,
    )
    generator = torch.Generator().manual_seed(1)
    head = Head(
        task=Task.SEGMENT,
        method=Method.LINEAR,
        tensors={
            "weight": torch.randn(classes, config.embed_dim, generator=generator),
            "bias": torch.zeros(classes),
        },
        settings={},
        recipe=recipe,
        weights=weights.name,
        weights_sha256=sha256(weights),
        architecture=config.to_json(),
        classes=ClassTable.of(list(range(1, classes + 1)), {n: f"class {n}" for n in range(1, classes + 1)}),
        target=None,
    )
    save_head(path, head)
    return path


def limit_of(text: str) -> int:
    """Return a limit in bytes, 0 for none."""
    from dofa_cli.pipelines.inference.memory import read_size

    return read_size(text) if text else 0


def line(rows: list[Row]) -> str:
    """Return the last row as a line of the table, with its header before the first."""
    row = rows[-1]
    same = [one for one in rows if one.verb == row.verb]
    base = same[min(1, len(same) - 1)]
    head = "| verb | rows × columns | peak MB | foretold MB | seconds | of the second |\n|---|---|---|---|---|---|\n"
    cells = f"{row.height:,} × {row.width:,} | {row.peak / 1e6:,.0f} | {row.foretold / 1e6:,.0f} | {row.seconds:,.1f}"
    return f"{head if len(rows) == 1 else ''}| {row.verb} | {cells} | {row.peak / base.peak:.2f} |"


def machine() -> dict[str, Any]:
    """Say what it was measured on."""
    return {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
