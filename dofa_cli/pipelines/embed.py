"""``dofa embed``: a scene in, georeferenced embeddings out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import rasterio
import torch

from dofa_cli.errors import OptionError
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.batching import Batcher
from dofa_cli.pipelines.inference.encoder import CellModel, TokenNorm
from dofa_cli.pipelines.inference.identity import run_manifest
from dofa_cli.pipelines.inference.outputs import (
    Embedded,
    FileFormat,
    calibrate,
    raster_spec,
    scene_name,
    write_raster,
    write_table,
)
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.quantise import Int8Scale, OutputDtype
from dofa_cli.pipelines.inference.recipe import paths_for, recipe_of
from dofa_cli.pipelines.inference.report import Report, report_on
from dofa_cli.pipelines.inference.run import Level, ModelOptions, Request, Run, Say, settle
from dofa_cli.pipelines.inference.shards import EmbedRecipe, embed_work
from dofa_cli.pipelines.inference.zarr_parts import begin_regions, check_begun, store_place
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.pipelines.shards.execute import Executor
from dofa_cli.pipelines.shards.session import Course, Session, is_ending, session
from dofa_cli.pipelines.shards.stop import check_stop
from dofa_cli.pipelines.shards.store import Ending
from dofa_cli.pipelines.shards.upload import Moved, uploading
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output, space_for
from dofa_cli.raster.zarr_places import SUFFIX, is_url, is_zarr, local_path
from dofa_cli.raster.zarr_store import finish

TIMED_BATCHES = 2


def _at_address(report: Report, moved: Moved) -> Report:
    return replace(report, output=moved(report.output))


@uploading(_at_address, direct=is_zarr)
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
    file_format: FileFormat | str | None = None,
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
    backend: BackendName | str = BackendName.AUTO,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    shard: int | None = None,
    overwrite: bool = False,
    keep_parts: bool = False,
    executor: Executor | None = None,
    dry_run: bool = False,
    progress: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """Embed one scene, given as a file or as several files of its bands.

    Options are those of ``dofa embed``. ``level="patch"`` writes a Cloud Optimized GeoTIFF with one band a dimension,
    one pixel a cell, or with ``file_format="zarr"`` or an ``output`` in ``.zarr`` a sharded Zarr store; the others
    write GeoParquet with one row a window or one for the scene. ``file_format`` is the option ``--format``. ``output``
    may be an address such as ``s3://…``: a Zarr store is written there shard by shard, another file is made here and
    uploaded whole. Finished shards lie beside the output until it is whole, so that a stopped run goes on;
    ``keep_parts`` leaves them there. ``executor`` runs the shards, by default this process. ``say`` receives notes and
    warnings. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    named = [scene] if isinstance(scene, str | Path) else scene
    paths = paths_for(executor, map(str, named))
    kind, stored = Level(level), OutputDtype(dtype)
    own = None if mask is None else paths_for(executor, [str(mask)])[0]
    masks = MaskOptions(mask_clouds, mask_snow, keep_cirrus, cloud_dilate, own, mask_values)
    request = Request(
        paths=paths,
        output=_output_path(paths, output, kind, stored, file_format),
        level=kind,
        dtype=stored,
        aoi=aoi,
        scene=SceneOptions(
            sensor, wavelengths, bands, product, scale, offset, Normalize(normalize), warp, resolution, masks
        ),
        model=ModelOptions(
            weights,
            trust_weights,
            TokenNorm(token_norm),
            device,
            Precision(precision),
            batch_size,
            memory_limit,
            BackendName(backend),
        ),
        grid=GridOptions(window, overlap, zoom, snap, min_valid, shard),
    )
    with rasterio.Env(**gdal_options(paths)):
        if dry_run:
            return _foretell(request, say)
        zarr = _store_name(output, request.output)
        if zarr and keep_parts:
            raise OptionError("--keep-parts: a Zarr store is made of its own parts, so none would be left to keep.")
        return _carry_out(request, Course(overwrite, keep_parts, executor, say), zarr, progress)


def _foretell(request: Request, say: Say) -> Report:
    run = settle(request, say)
    return report_on(run, seconds=seconds_a_window(run, run.encoder) * run.plan.window_count, written=False)


def _carry_out(request: Request, course: Course, zarr: str | None, progress: bool) -> Report:
    started = time.perf_counter()
    replaces = course.overwrite or is_ending(request.output)
    if zarr is None:
        check_output(request.output, overwrite=replaces, inputs=request.inputs)
    else:
        check_begun(zarr, request.output, overwrite=replaces, inputs=request.inputs)
    run = settle(request, course.say)
    more = {"storage": run.dtype.value, **({"store": zarr} if zarr else {})}
    with session(request.output, run_manifest(request, run, "embed", **more), course) as parts:
        ending = parts.ending or (_write(run, parts, progress) if zarr is None else _fill(run, parts, zarr, progress))
    seen, valid = (ending.counts.get(name, 0) for name in ("seen_cells", "valid_cells"))
    report = report_on(
        run,
        time.perf_counter() - started + parts.kept_seconds,
        written=True,
        kept_shards=parts.kept,
        counts=ending.counts,
        valid_share=valid / max(seen, 1),
        clipped_share=ending.facts["clipped_share"],
    )
    return replace(report, output=zarr) if zarr is not None and is_url(zarr) else report


def _write(run: Run, parts: Session, progress: bool) -> Ending:
    needed = (run.cost.disk if run.level is Level.PATCH else 0) - parts.store.nbytes
    int8 = _int8(run, parts)
    recipe = EmbedRecipe(parts.key, recipe_of(run), int8)
    with (
        space_for(run.output, needed),
        window_progress(run.plan.window_count, run.cost.area_km2, shown=progress) as advance,
    ):
        parts.complete(recipe, embed_work(run, int8, say=parts.course.say), advance)
        made = Embedded(run, parts.folder, parts.in_order(), int8)
        with parts.assembling():
            (write_raster if run.level is Level.PATCH else write_table)(parts.folder / run.output.name, made)
    return parts.end({run.output.name: run.output}, clipped_share=made.clipped_share)


def _fill(run: Run, parts: Session, zarr: str, progress: bool) -> Ending:
    """Write tokens into a Zarr store, each shard its own region; what is finished there is not written again."""
    needed = 0 if is_url(zarr) else run.cost.output - parts.store.nbytes
    int8 = _int8(run, parts)
    begin_regions(zarr, parts.folder, raster_spec(run, int8), run.plan, kept=parts.kept)
    recipe = EmbedRecipe(parts.key, recipe_of(run), int8, zarr)
    with (
        space_for(run.output, needed),
        window_progress(run.plan.window_count, run.cost.area_km2, shown=progress) as advance,
    ):
        parts.complete(recipe, embed_work(run, int8, zarr, parts.course.say), advance)
    made = Embedded(run, parts.folder, parts.in_order(), int8)
    with parts.assembling():
        finish(store_place(zarr, parts.folder), raster_spec(run, int8, made.clipped_share).tags)
    return parts.end({} if is_url(zarr) else {zarr: run.output}, clipped_share=made.clipped_share)


def _int8(run: Run, parts: Session) -> Int8Scale | None:
    """Return the 8-bit code, which is fixed before the first shard and then stands in the manifest."""
    if run.dtype is not OutputDtype.INT8:
        return None
    if "int8" not in parts.manifest.settled:
        parts.settle(int8=calibrate(run).to_plain())
        check_stop()
    return Int8Scale.from_plain(parts.manifest.settled["int8"])


def seconds_a_window(run: Run, model: CellModel) -> float:
    """Time a model on random pixels, after one batch to warm up; a batch too large for the device is halved."""
    side = run.plan.window * run.plan.grid.patch
    batcher = Batcher(run.batch, model.device)

    def forward(some: range, size: int) -> torch.Tensor:
        pixels = torch.randn(size, len(run.prepared.norms), side, side, device=model.device)
        return model.tokens(pixels)[: len(some)].cpu()

    batcher.run(run.batch, forward)
    started = time.perf_counter()
    for _ in range(TIMED_BATCHES):
        batcher.run(run.batch, forward)
    return (time.perf_counter() - started) / (TIMED_BATCHES * run.batch)


def _output_path(
    paths: Sequence[str], output: str | Path | None, level: Level, dtype: OutputDtype, wanted: FileFormat | str | None
) -> Path:
    """Return the output's path; of one at an address the name, beside which the records of its shards lie."""
    if level is not Level.PATCH and dtype is not OutputDtype.FLOAT32:
        raise OptionError(f"--dtype {dtype.value} is for --level patch; GeoParquet holds float32.")
    if level is not Level.PATCH and wanted is not None:
        raise OptionError(f"--format is for --level patch; --level {level.value} writes GeoParquet.")
    kind = None if wanted is None else FileFormat(wanted)
    if output is None:
        return Path(f"{scene_name(paths)}_{level.value}{SUFFIX if kind is FileFormat.ZARR else level.suffix}")
    path = Path(PurePosixPath(str(output)).name) if is_url(output) else local_path(output)
    usual = (".tif", ".tiff") if level is Level.PATCH else (".parquet", ".geoparquet")
    fitting = {None: (*usual, SUFFIX) if level is Level.PATCH else usual, FileFormat.ZARR: (SUFFIX,)}.get(kind, usual)
    if path.suffix.lower() not in fitting:
        what = f"--format {kind.value}" if kind else f"--level {level.value}"
        raise OptionError(f"{what} writes {fitting[0]} files, not '{path.name}'.")
    return path


def _store_name(output: str | Path | None, path: Path) -> str | None:
    """Return the Zarr store that is written, an address or a file's name; ``None`` for other outputs."""
    if not is_zarr(path):
        return None
    return str(output) if output is not None and is_url(output) else path.name
