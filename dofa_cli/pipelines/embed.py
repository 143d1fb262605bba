"""``dofa embed``: a scene in, georeferenced embeddings out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import rasterio
import torch

from dofa_cli.errors import OptionError
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.encoder import CellModel, TokenNorm
from dofa_cli.pipelines.inference.outputs import scene_name, write_raster, write_table
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.report import Report, report_on
from dofa_cli.pipelines.inference.run import Level, ModelOptions, Request, Run, Say, settle
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output, check_space

TIMED_BATCHES = 2


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
    mask_clouds: bool = False,
    mask_snow: bool = False,
    keep_cirrus: bool = False,
    cloud_dilate: int = 0,
    mask: str | Path | None = None,
    mask_values: str | None = None,
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
    paths = tuple(str(path) for path in ([scene] if isinstance(scene, str | Path) else scene))
    kind, stored = Level(level), OutputDtype(dtype)
    own = None if mask is None else str(mask)
    masks = MaskOptions(mask_clouds, mask_snow, keep_cirrus, cloud_dilate, own, mask_values)
    request = Request(
        paths=paths,
        output=_output_path(paths, output, kind, stored),
        level=kind,
        dtype=stored,
        aoi=aoi,
        scene=SceneOptions(
            sensor, wavelengths, bands, product, scale, offset, Normalize(normalize), warp, resolution, masks
        ),
        model=ModelOptions(weights, trust_weights, TokenNorm(token_norm), device, Precision(precision), batch_size),
        grid=GridOptions(window, overlap, zoom, snap, min_valid, shard),
    )
    with rasterio.Env(**gdal_options(paths)):
        if dry_run:
            return _foretell(request, say)
        return _carry_out(request, overwrite, progress, say)


def _foretell(request: Request, say: Say) -> Report:
    run = settle(request, say)
    return report_on(run, seconds=seconds_a_window(run, run.encoder) * run.plan.window_count, written=False)


def _carry_out(request: Request, overwrite: bool, progress: bool, say: Say) -> Report:
    started = time.perf_counter()
    check_output(request.output, overwrite=overwrite, inputs=request.inputs)
    run = settle(request, say)
    check_space(request.output, run.cost.disk if run.level is Level.PATCH else 0)
    return _write(run, started, progress)


def _write(run: Run, started: float, progress: bool) -> Report:
    with window_progress(run.plan.window_count, run.cost.area_km2, shown=progress) as advance:
        stream = run.stream(advance)
        clipped = None
        if run.level is Level.PATCH:
            clipped = write_raster(run, stream)
        else:
            write_table(run, stream)
    share = stream.valid_cells / max(stream.seen_cells, 1)
    return report_on(run, time.perf_counter() - started, written=True, valid_share=share, clipped_share=clipped)


def seconds_a_window(run: Run, model: CellModel) -> float:
    """Time a model on random pixels, after one batch to warm up."""
    side = run.plan.window * run.plan.grid.patch
    pixels = torch.randn(run.batch, len(run.prepared.norms), side, side, device=model.device)
    model.tokens(pixels)
    started = time.perf_counter()
    for _ in range(TIMED_BATCHES):
        model.tokens(pixels).cpu()
    return (time.perf_counter() - started) / (TIMED_BATCHES * run.batch)


def _output_path(paths: Sequence[str], output: str | Path | None, level: Level, dtype: OutputDtype) -> Path:
    if level is not Level.PATCH and dtype is not OutputDtype.FLOAT32:
        raise OptionError(f"--dtype {dtype.value} is for --level patch; GeoParquet holds float32.")
    if output is None:
        return Path(f"{scene_name(paths)}_{level.value}{level.suffix}")
    path = Path(output)
    fitting = (".tif", ".tiff") if level is Level.PATCH else (".parquet", ".geoparquet")
    if path.suffix.lower() not in fitting:
        raise OptionError(f"--level {level.value} writes {level.suffix} files, not '{path.name}'.")
    return path
