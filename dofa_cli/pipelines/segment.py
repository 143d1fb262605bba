"""``dofa segment``: a scene and a head in, a georeferenced map out, at the scene's own pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import rasterio

from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.batching import HALVED
from dofa_cli.pipelines.inference.clock import stage_seconds
from dofa_cli.pipelines.inference.outputs import FileFormat, scene_name
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.recipe import paths_for
from dofa_cli.pipelines.inference.run import Level, ModelOptions, Request, Say
from dofa_cli.pipelines.inputs.matching import refuse_plain
from dofa_cli.pipelines.inputs.named import Named, read_inputs
from dofa_cli.pipelines.inputs.source import source_of_named
from dofa_cli.pipelines.mapping.apply_head import HeadFile, check_maps, grid_options, open_head, token_norm
from dofa_cli.pipelines.mapping.decode import Confidence, Decoder, ShareType, Smooth
from dofa_cli.pipelines.mapping.files import MapFiles, MapOptions, MapWriter, Tally, check_files, map_files
from dofa_cli.pipelines.mapping.from_embedding import open_embedding
from dofa_cli.pipelines.mapping.report import MapReport, map_report
from dofa_cli.pipelines.mapping.source import MapSource, source_of_embedding, source_of_scene
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.pipelines.shards.execute import Executor
from dofa_cli.pipelines.shards.session import Course, Session, is_ending, session
from dofa_cli.pipelines.shards.store import Ending
from dofa_cli.pipelines.shards.upload import Moved, uploading
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import COPIES, space_for
from dofa_cli.raster.zarr_places import local_path


def _at_addresses(report: MapReport, moved: Moved) -> MapReport:
    files = {what: moved(path) for what, path in report.files.items()}
    return replace(report, output=moved(report.output), files=files)


@uploading(_at_addresses, also=("polygons",))
def segment(
    scene: Named | Sequence[Named],
    output: str | Path | None = None,
    *,
    head: str | Path,
    probabilities: bool = False,
    confidence: Confidence | str | None = None,
    dtype: ShareType | str = ShareType.UINT8,
    smooth: Smooth | str = Smooth.NONE,
    polygons: str | Path | None = None,
    simplify: float = 0.0,
    min_area: float = 0.0,
    file_format: FileFormat | str | None = None,
    weights: str | None = None,
    sensor: str | None = None,
    wavelengths: str | None = None,
    bands: str | None = None,
    product: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    window: int | None = None,
    overlap: int | None = None,
    zoom: int | None = None,
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
) -> MapReport:
    """Map one scene, given as a file, as several files of its bands, or as its stored patch embeddings.

    For a head of several inputs, these are given as ``FILE:sensor[:date]``, or as
    :class:`~dofa_cli.pipelines.inputs.named.Input`; the map has the pixels of the first.
    Options are those of ``dofa segment``; sensor, bands, statistics, weights and windows are the head's unless given.
    A head of classes writes a class raster with its style, a regression head float32 numbers: GeoTIFFs, or Zarr stores
    with ``file_format="zarr"`` (the option ``--format``) or an ``output`` in ``.zarr``. Where ``output`` is an address
    such as ``s3://…``, all files are made here and uploaded whole. Finished shards of logits lie beside the output
    until it is whole, so that a stopped run goes on; ``keep_parts`` leaves them there. ``executor`` runs the shards, by
    default this process. ``say`` receives notes and warnings. Raises subclasses of
    :class:`~dofa_cli.errors.DofaError`.
    """
    named = [scene] if isinstance(scene, Named) else scene
    inputs = tuple(replace(one, paths=paths_for(executor, one.paths)) for one in read_inputs(named))
    paths = tuple(path for one in inputs for path in one.paths) or paths_for(executor, map(str, named))
    file = open_head(head)
    check_maps(file)
    drawn = None if polygons is None else local_path(polygons)
    sure = None if confidence is None else Confidence(confidence)
    stored = None if file_format is None else FileFormat(file_format)
    options = MapOptions(probabilities, sure, ShareType(dtype), Smooth(smooth), drawn, simplify, min_area, stored)
    name = scene_name(inputs[0].paths if inputs else paths)
    files = map_files(file.head, None if output is None else local_path(output), name, options)
    own = None if mask is None else paths_for(executor, [str(mask)])[0]
    masks = MaskOptions(mask_clouds, mask_snow, keep_cirrus, cloud_dilate, own, mask_values)
    given = SceneOptions(
        sensor, wavelengths, bands, product, scale, offset, warp=warp, resolution=resolution, masks=masks
    )
    norm, windows = token_norm(file.head.recipe), GridOptions(window, overlap, 1, snap, min_valid, shard)
    request = Request(
        paths=paths,
        output=files.map,
        level=Level.PATCH,
        dtype=OutputDtype.FLOAT32,
        aoi=aoi,
        scene=given,
        model=ModelOptions(
            weights, True, norm, device, Precision(precision), batch_size, memory_limit, BackendName(backend)
        ),
        grid=grid_options(file.head.recipe, windows, zoom),
    )
    with rasterio.Env(**gdal_options(paths)):
        if not dry_run:
            replaces = overwrite or is_ending(files.map)
            check_files(files, overwrite=replaces, inputs=(*request.inputs, str(file.path)))
        source = source_of_named(file, request, inputs, say) if inputs else _source(file, request, say)
        course = Course(overwrite, keep_parts, executor, say)
        return _carry_out(source, files, options, course, dry_run=dry_run, progress=progress)


def _source(file: HeadFile, request: Request, say: Say) -> MapSource:
    """Settle where logits come from: stored embeddings where the input is such, else the network."""
    refuse_plain(file, request.paths)
    embedding = open_embedding(request.paths[0]) if len(request.paths) == 1 else None
    if embedding is not None:
        return source_of_embedding(file, embedding, request, say)
    return source_of_scene(file, request, say)


def _carry_out(
    source: MapSource, files: MapFiles, options: MapOptions, course: Course, *, dry_run: bool, progress: bool
) -> MapReport:
    started = time.perf_counter()
    head = source.file.head
    writer = MapWriter(head, source.grid, source.facts.tags, options)
    if dry_run:
        return map_report(head, files, source.grid, source.facts, seconds=source.foretell(), tally=None)
    with session(files.map, source.manifest(), course) as parts:
        ending = parts.ending or _write(source, writer, files, parts, progress=progress)
    seconds = time.perf_counter() - started + parts.kept_seconds
    tally, facts = Tally.from_plain(ending.facts), source.facts
    if ending.counts.get("halved", 0):
        facts = replace(facts, warnings=(*facts.warnings, HALVED))
    found = source.found(ending.counts)
    for note in found:
        course.say(note)
    facts, stages = replace(facts, notes=(*facts.notes, *found)), stage_seconds(ending.counts)
    return map_report(
        head, files, source.grid, facts, seconds=seconds, tally=tally, kept_shards=parts.kept, stages=stages
    )


def _write(source: MapSource, writer: MapWriter, files: MapFiles, parts: Session, *, progress: bool) -> Ending:
    needed = source.nbytes + COPIES * writer.nbytes - parts.store.nbytes
    windows, area = source.facts.windows, source.facts.area_km2
    with space_for(files.map, needed):
        with window_progress(windows, area, shown=progress and windows > 0, verb="segment") as advance:
            parts.complete(source.recipe(parts.key), source.work, advance)
        with parts.assembling():
            decoder = Decoder(source.parts(parts.folder, parts.in_order()), source.grid.height, source.grid.width)
            tally = writer.write(files, decoder, parts.folder)
            style = writer.write_style(files, parts.folder)
    return parts.end({path.name: path for _, path in files} | style, **tally.to_plain())
