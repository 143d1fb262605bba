"""A run's tiles to its output file: a Cloud Optimized GeoTIFF of tokens, or GeoParquet of vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.pipelines.inference.plan import output_grid
from dofa_cli.pipelines.inference.quantise import INT8_NODATA, Int8Scale, OutputDtype, fit_int8
from dofa_cli.pipelines.inference.run import Level, Run
from dofa_cli.pipelines.inference.shards import beside, part_name, to_numpy, token_parts
from dofa_cli.pipelines.inference.stream import Number
from dofa_cli.pipelines.shards.stop import check_stop
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.raster.grid import Tile, TilePlan, Window
from dofa_cli.raster.vector import footprint, write_geoparquet
from dofa_cli.raster.writer import RasterSpec, half_precision, write_cog


class FileFormat(StrEnum):
    """How a raster is stored: a Cloud Optimized GeoTIFF, or a sharded Zarr store."""

    COG = "cog"
    ZARR = "zarr"


CALIBRATION_WINDOWS = 64
"""Windows run before the first tile to fix the 8-bit range."""


def scene_name(paths: Sequence[str]) -> str:
    """Name a scene after its file, or after the words that the names of its files begin with."""
    words = [PurePath(path).stem.split("_") for path in paths]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "_".join(column[0] for column in shared) or "_".join(words[0])


@dataclass(frozen=True)
class Embedded:
    """Finished shards of a run: where they lie, in order, with the 8-bit code in use."""

    run: Run
    folder: Path
    finished: Sequence[Finished]
    int8: Int8Scale | None

    @property
    def clipped_share(self) -> float | None:
        """Share of values outside the 8-bit range, or ``None`` for other types."""
        if self.int8 is None:
            return None
        clipped, values = (sum(done.counts[name] for done in self.finished) for name in ("clipped", "values"))
        return clipped / max(values, 1)


def write_raster(path: Path, made: Embedded) -> None:
    """Write blended tokens as a COG at ``path``; heeds the wish to stop."""
    spec = raster_spec(made.run, made.int8, made.clipped_share)
    write_cog(path, token_parts(made.run.plan, made.folder), spec, check_stop)


def raster_spec(run: Run, code: Int8Scale | None, clipped_share: float | None = None) -> RasterSpec:
    """Return what a raster of tokens looks like; ``clipped_share`` is known after the last shard."""
    storage: dict[str, Any] = {"dtype": "float32"}
    tags = run.tags | {"storage": run.dtype.value}
    if run.dtype is OutputDtype.FLOAT16:
        storage = half_precision()
    if code is not None:
        storage = {"dtype": "int8", "scales": code.scale.tolist(), "offsets": code.offset.tolist()}
        tags["quantization"] = json.dumps(code.to_tags() | {"clipped_share": clipped_share})
    return RasterSpec(
        grid=output_grid(run.prepared.scene, run.plan),
        bands=run.encoder.dim,
        nodata=INT8_NODATA if code is not None else float("nan"),
        descriptions=[f"dim_{number}" for number in range(run.encoder.dim)],
        tags=tags,
        **storage,
    )


def calibrate(run: Run) -> Int8Scale:
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


def write_table(path: Path, made: Embedded) -> None:
    """Write one row a window, or one for the scene: its windows' mean, weighted by valid area."""
    run = made.run
    names = [part_name(done.number) for done in made.finished]
    values = np.concatenate([np.load(made.folder / name) for name in names])
    places = np.concatenate([np.load(made.folder / beside(name, "windows")) for name in names])
    weight = places[:, 2].astype(np.float32)
    scene, grid = run.prepared.scene, run.plan.grid
    if run.level is Level.SCENE:
        pixels, share = [Window(0, 0, scene.height, scene.width)], weight.sum() / grid.zoom**2
        values = (weight @ values / weight.sum() if weight.any() else np.full(run.encoder.dim, np.nan))[None]
        columns: dict[str, Sequence[Any]] = {"valid_share": [float(share) / (scene.height * scene.width)]}
    else:
        numbers = [(int(row), int(col)) for row, col, _ in places]
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
        path,
        values.astype(np.float32),
        [footprint(p, scene.grid) for p in pixels],
        scene.grid,
        columns=columns,
        metadata={"dofa": json.dumps(tags)},
        taken=scene.taken,
    )
