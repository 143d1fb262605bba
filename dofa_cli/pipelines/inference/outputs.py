"""A run's tiles to its output file: a Cloud Optimized GeoTIFF of tokens, or GeoParquet of vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.pipelines.inference.plan import output_grid
from dofa_cli.pipelines.inference.quantise import INT8_NODATA, Encoding, Int8Scale, OutputDtype, fit_int8
from dofa_cli.pipelines.inference.run import Level, Run
from dofa_cli.pipelines.inference.shards import parts_folder, to_numpy, write_token_parts
from dofa_cli.pipelines.inference.stream import Number, TileStream
from dofa_cli.raster.grid import Tile, TilePlan, Window
from dofa_cli.raster.vector import footprint, write_geoparquet
from dofa_cli.raster.writer import RasterSpec, half_precision, write_cog

CALIBRATION_WINDOWS = 64
"""Windows run before the first tile to fix the 8-bit range."""


def scene_name(paths: Sequence[str]) -> str:
    """Name a scene after its file, or after the words that the names of its files begin with."""
    words = [PurePath(path).stem.split("_") for path in paths]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "_".join(column[0] for column in shared) or "_".join(words[0])


def write_raster(run: Run, stream: TileStream) -> float | None:
    """Write blended tokens as a COG; return the share of values that the 8-bit range clipped, if it is in use."""
    encoding = Encoding(run.dtype, _calibrate(run) if run.dtype is OutputDtype.INT8 else None)
    with parts_folder(run.output) as folder:
        parts = write_token_parts(stream, run.plan, folder, encoding)
        write_cog(run.output, parts, _raster_spec(run, encoding))
    return encoding.clipped_share


def _raster_spec(run: Run, encoding: Encoding) -> RasterSpec:
    storage: dict[str, Any] = {"dtype": "float32"}
    tags = run.tags | {"storage": run.dtype.value}
    if run.dtype is OutputDtype.FLOAT16:
        storage = half_precision()
    if encoding.int8 is not None:
        code = encoding.int8
        storage = {"dtype": "int8", "scales": code.scale.tolist(), "offsets": code.offset.tolist()}
        tags["quantization"] = json.dumps(code.to_tags() | {"clipped_share": encoding.clipped_share})
    return RasterSpec(
        grid=output_grid(run.prepared.scene, run.plan),
        bands=run.encoder.dim,
        nodata=INT8_NODATA if encoding.int8 is not None else float("nan"),
        descriptions=[f"dim_{number}" for number in range(run.encoder.dim)],
        tags=tags,
        **storage,
    )


def _calibrate(run: Run) -> Int8Scale:
    """Fix the 8-bit range from windows spread over the scene, or from the first valid ones where those are nodata."""
    numbers = [(row, col) for row in range(len(run.plan.row_starts)) for col in range(len(run.plan.col_starts))]
    spread = np.unique(np.linspace(0, len(numbers) - 1, CALIBRATION_WINDOWS).round().astype(int))
    found = list(_valid_tokens(run, [numbers[index] for index in spread]))
    return fit_int8(found or list(islice(_valid_tokens(run, numbers), CALIBRATION_WINDOWS)), run.encoder.dim)


def _valid_tokens(run: Run, numbers: Sequence[Number]) -> Iterator[NDArray[np.float32]]:
    """Yield the tokens (n, D) of those of the windows that hold valid cells."""
    tiles = [Tile(n, _inside(run.plan, number), (number,)) for n, number in enumerate(numbers)]
    for _, tokens in run.stream(batch=1).token_tiles(tiles):
        rows = to_numpy(tokens).reshape(-1, run.encoder.dim)
        if np.isfinite(rows).any():
            yield rows


def _inside(plan: TilePlan, number: Number) -> Window:
    return plan.window_cells(number).intersect(Window(0, 0, plan.grid.rows, plan.grid.cols))


def write_table(run: Run, stream: TileStream) -> None:
    """Write one row a window, or one for the scene: its windows' mean, weighted by valid area."""
    numbers: list[Number] = []
    vectors: list[NDArray[np.float32]] = [np.zeros((0, run.encoder.dim), np.float32)]
    weights: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
    for _, found in stream.vector_tiles(run.plan.tiles()):
        numbers.extend(found.numbers)
        vectors.append(to_numpy(found.vectors))
        weights.append(to_numpy(found.valid_pixels))
    scene, grid = run.prepared.scene, run.plan.grid
    values, weight = np.concatenate(vectors), np.concatenate(weights)
    if run.level is Level.SCENE:
        pixels, share = [Window(0, 0, scene.height, scene.width)], weight.sum() / grid.zoom**2
        values = (weight @ values / weight.sum() if weight.any() else np.full(run.encoder.dim, np.nan))[None]
        columns: dict[str, Sequence[Any]] = {"valid_share": [float(share) / (scene.height * scene.width)]}
    else:
        pixels = [grid.pixels(run.plan.window_cells(number)) for number in numbers]
        area = [max(p.height * p.width, 1) * grid.zoom**2 for p in pixels]
        columns = {
            "window_row": [row for row, _ in numbers],
            "window_col": [col for _, col in numbers],
            "valid_share": [min(1.0, float(w) / a) for w, a in zip(weight, area, strict=True)],
        }
    columns["source"] = [run.tags["source"]] * len(pixels)
    tags = run.tags | {"source_crs": scene.grid.crs.to_string() if scene.grid.crs else "none"}
    write_geoparquet(
        run.output,
        values.astype(np.float32),
        [footprint(p, scene.grid) for p in pixels],
        scene.grid,
        columns=columns,
        metadata={"dofa": json.dumps(tags)},
        taken=scene.taken,
    )
