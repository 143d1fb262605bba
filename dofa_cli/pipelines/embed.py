"""``dofa embed``: a scene in, georeferenced embeddings out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from dofa_cli.errors import OptionError
from dofa_cli.model.device import Precision, choose_batch
from dofa_cli.pipelines.encoder import Encoder, TokenNorm, Weights, open_weights
from dofa_cli.pipelines.plan import Cost, GridOptions, check_grid_options, cost, lay_out, output_grid
from dofa_cli.pipelines.prepare import Normalize, Prepared, SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.progress import window_progress
from dofa_cli.pipelines.provenance import provenance, rules
from dofa_cli.pipelines.quantise import INT8_NODATA, Encoding, OutputDtype, fit_int8
from dofa_cli.pipelines.shards import parts_folder, to_numpy, write_token_parts
from dofa_cli.pipelines.standardise import Standardiser
from dofa_cli.pipelines.stream import Number, TileStream
from dofa_cli.raster.area import crop_to_area
from dofa_cli.raster.grid import Tile, TilePlan, Window
from dofa_cli.raster.source import GDAL_OPTIONS
from dofa_cli.raster.vector import footprint, write_geoparquet
from dofa_cli.raster.writer import RasterSpec, check_output, check_space, half_precision, write_cog

CALIBRATION_WINDOWS = 64
"""Windows run before the first tile to fix the 8-bit range."""
TIMED_BATCHES = 2


class Level(StrEnum):
    """What one embedding stands for."""

    PATCH = "patch"
    WINDOW = "window"
    SCENE = "scene"

    @property
    def suffix(self) -> str:
        """File name ending of the output."""
        return ".tif" if self is Level.PATCH else ".parquet"


@dataclass(frozen=True)
class Run:
    """Everything settled before the first window is inferred."""

    prepared: Prepared
    weights: Weights
    encoder: Encoder
    plan: TilePlan
    batch: int
    level: Level
    dtype: OutputDtype
    min_valid: float
    output: Path

    @property
    def cost(self) -> Cost:
        """What the run will take."""
        return cost(self.prepared.scene, self.plan, self.weights.config, self.dtype, self.batch)

    @property
    def tags(self) -> dict[str, str]:
        """Provenance of the output."""
        facts = provenance(
            self.prepared, self.weights, self.encoder, self.plan, min_valid=self.min_valid, level=self.level.value
        )
        return facts.tags

    def stream(self, on_windows: Callable[[int], object] = lambda _: None, batch: int | None = None) -> TileStream:
        """Return a stream of the scene through the network, in batches of the run's size or of ``batch``."""
        return TileStream(
            self.prepared.scene,
            self.plan,
            Standardiser(self.prepared.norms, self.encoder.device),
            self.encoder,
            batch=batch or self.batch,
            min_valid=self.min_valid,
            on_windows=on_windows,
        )


@dataclass(frozen=True)
class Report:
    """What was, or with a dry run would be, done. Sizes in cells, bytes and seconds; ``rules`` has one entry a band."""

    output: str
    written: bool
    level: str
    height: int
    width: int
    dimensions: int
    windows: int
    seconds: float
    area_km2: float | None
    memory_bytes: int
    output_bytes: int
    valid_share: float | None
    clipped_share: float | None
    sensor: str
    product: str
    rules: list[dict[str, Any]]
    standardised: list[dict[str, Any]]
    tags: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object; NaN becomes null."""
        return json.dumps(_without_nan(asdict(self)), indent=2)


def embed(
    scene: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    weights: str | None = None,
    sensor: str | None = None,
    wavelengths: str | None = None,
    bands: str | None = None,
    product: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    normalize: Normalize | str = Normalize.SENSOR,
    level: Level | str = Level.PATCH,
    dtype: OutputDtype | str = OutputDtype.FLOAT32,
    window: int | None = None,
    overlap: int | None = None,
    zoom: int = 1,
    snap: bool = False,
    min_valid: float = 0.5,
    aoi: str | Path | None = None,
    warp: str | None = None,
    resolution: float | None = None,
    token_norm: TokenNorm | str = TokenNorm.TRAINED,
    trust_weights: bool = False,
    device: str = "auto",
    precision: Precision | str = Precision.AUTO,
    batch_size: int | None = None,
    shard: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """Embed one scene, given as a file or as several files of its bands.

    Options are those of ``dofa embed``. ``level="patch"`` writes a Cloud Optimized GeoTIFF with one band a dimension,
    one pixel a cell; the others write GeoParquet with one row a window or one for the scene. ``say`` receives notes
    and warnings. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    paths = [str(path) for path in ([scene] if isinstance(scene, str | Path) else scene)]
    understanding = SceneOptions(
        sensor, wavelengths, bands, product, scale, offset, Normalize(normalize), warp, resolution
    )
    lattice = GridOptions(window, overlap, zoom, snap, min_valid, shard)
    wanted = Level(level), OutputDtype(dtype)
    path = _output_path(paths, output, *wanted)
    started = time.perf_counter()
    with rasterio.Env(**GDAL_OPTIONS):
        described = describe(paths, understanding)
        if not dry_run:
            check_output(path, overwrite=overwrite)
        loaded = open_weights(weights, trusted=trust_weights)
        check_grid_options(lattice, loaded.config.patch_size)
        prepared = prepare_scene(described, understanding, loaded.config.family)
        if aoi is not None:
            cropped = crop_to_area(prepared.scene, aoi, loaded.config.patch_size, zoom)
            prepared = prepared.on(cropped)
        plan = lay_out(prepared.scene, loaded.config, lattice, whole_windows=wanted[0] is not Level.PATCH)
        encoder = Encoder(
            loaded,
            prepared.wavelengths_um,
            device=device,
            precision=Precision(precision),
            token_norm=TokenNorm(token_norm),
        )
        batch = min(batch_size or choose_batch(encoder.device), plan.window_count)
        run = Run(prepared, loaded, encoder, plan, batch, *wanted, min_valid, path)
        for line in (*prepared.notes, *(f"Warning: {warning}" for warning in prepared.warnings)):
            say(line)
        if dry_run:
            return _report(run, seconds=_seconds_a_window(run) * plan.window_count, written=False)
        check_space(path, run.cost.disk if run.level is Level.PATCH else 0)
        return _write(run, started, progress)


def _write(run: Run, started: float, progress: bool) -> Report:
    with window_progress(run.plan.window_count, run.cost.area_km2, shown=progress) as advance:
        stream = run.stream(advance)
        if run.level is Level.PATCH:
            encoding = Encoding(run.dtype, _calibrate(run) if run.dtype is OutputDtype.INT8 else None)
            _write_raster(run, stream, encoding)
            clipped = encoding.clipped_share
        else:
            _write_table(run, stream)
            clipped = None
    share = stream.valid_cells / max(stream.seen_cells, 1)
    return _report(run, time.perf_counter() - started, written=True, valid_share=share, clipped_share=clipped)


def _write_raster(run: Run, stream: TileStream, encoding: Encoding) -> None:
    with parts_folder(run.output) as folder:
        parts = write_token_parts(stream, run.plan, folder, encoding)
        write_cog(run.output, parts, _raster_spec(run, encoding))


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


def _calibrate(run: Run) -> Any:
    """Run a few windows spread over the scene and fix the 8-bit range from their tokens."""
    numbers = [(row, col) for row in range(len(run.plan.row_starts)) for col in range(len(run.plan.col_starts))]
    chosen = [numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, CALIBRATION_WINDOWS).round().astype(int))]
    tiles = [Tile(n, _inside(run.plan, number), (number,)) for n, number in enumerate(chosen)]
    tokens = [to_numpy(tokens).reshape(-1, run.encoder.dim) for _, tokens in run.stream(batch=1).token_tiles(tiles)]
    return fit_int8(tokens, run.encoder.dim)


def _inside(plan: TilePlan, number: Number) -> Window:
    return plan.window_cells(number).intersect(Window(0, 0, plan.grid.rows, plan.grid.cols))


def _write_table(run: Run, stream: TileStream) -> None:
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


def _seconds_a_window(run: Run) -> float:
    """Time the network on random pixels, after one batch to warm up."""
    side = run.plan.window * run.plan.grid.patch
    pixels = torch.randn(run.batch, len(run.prepared.norms), side, side, device=run.encoder.device)
    run.encoder.tokens(pixels)
    started = time.perf_counter()
    for _ in range(TIMED_BATCHES):
        run.encoder.tokens(pixels).cpu()
    return (time.perf_counter() - started) / (TIMED_BATCHES * run.batch)


def _report(
    run: Run,
    seconds: float,
    *,
    written: bool,
    valid_share: float | None = None,
    clipped_share: float | None = None,
) -> Report:
    costs, prepared = run.cost, run.prepared
    warnings = list(prepared.warnings)
    if valid_share == 0:
        warnings.append("the scene has no valid pixel; every cell of the output is nodata.")
    return Report(
        output=str(run.output),
        written=written,
        level=run.level.value,
        height=run.plan.grid.rows,
        width=run.plan.grid.cols,
        dimensions=run.encoder.dim,
        windows=run.plan.window_count,
        seconds=seconds,
        area_km2=costs.area_km2,
        memory_bytes=costs.memory,
        output_bytes=costs.output,
        valid_share=valid_share,
        clipped_share=clipped_share,
        sensor=prepared.sensor.id,
        product=f"{prepared.product.id} ({prepared.product_how})",
        rules=rules(prepared),
        standardised=[{"band": c.norm.band, "mean": c.mean, "std": c.std} for c in prepared.checks],
        tags=run.tags,
        notes=prepared.notes,
        warnings=tuple(warnings),
    )


def _output_path(paths: Sequence[str], output: str | Path | None, level: Level, dtype: OutputDtype) -> Path:
    if level is not Level.PATCH and dtype is not OutputDtype.FLOAT32:
        raise OptionError(f"--dtype {dtype.value} is for --level patch; GeoParquet holds float32.")
    if output is None:
        return Path(f"{_common_stem(paths)}_{level.value}{level.suffix}")
    path = Path(output)
    fitting = (".tif", ".tiff") if level is Level.PATCH else (".parquet", ".geoparquet")
    if path.suffix.lower() not in fitting:
        raise OptionError(f"--level {level.value} writes {level.suffix} files, not '{path.name}'.")
    return path


def _common_stem(paths: Sequence[str]) -> str:
    """Name a scene after its file, or after the words that the names of its files begin with."""
    words = [PurePath(path).stem.split("_") for path in paths]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "_".join(column[0] for column in shared) or "_".join(words[0])


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
