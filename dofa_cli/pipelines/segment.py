"""``dofa segment``: a scene and a head in, a georeferenced map out, at the scene's own pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import rasterio

from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.outputs import scene_name
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.run import Level, ModelOptions, Request, Say
from dofa_cli.pipelines.inference.shards import parts_folder
from dofa_cli.pipelines.mapping.apply_head import HeadFile, check_maps, grid_options, open_head, token_norm
from dofa_cli.pipelines.mapping.decode import Confidence, Decoder, ShareType, Smooth
from dofa_cli.pipelines.mapping.files import MapFiles, MapOptions, MapWriter, check_files, map_files
from dofa_cli.pipelines.mapping.from_embedding import open_embedding
from dofa_cli.pipelines.mapping.report import MapReport, map_report
from dofa_cli.pipelines.mapping.source import MapSource, source_of_embedding, source_of_scene
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import COPIES, check_space


def segment(
    scene: str | Path | Sequence[str | Path],
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
    batch_size: int | None = None,
    shard: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> MapReport:
    """Map one scene, given as a file, as several files of its bands, or as its stored patch embeddings.

    Options are those of ``dofa segment``; sensor, bands, statistics, weights and windows are the head's unless given.
    A head of classes writes a class raster with its style, a regression head float32 numbers. ``say`` receives notes
    and warnings. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    paths = tuple(str(path) for path in ([scene] if isinstance(scene, str | Path) else scene))
    file = open_head(head)
    check_maps(file)
    drawn = None if polygons is None else Path(polygons)
    sure = None if confidence is None else Confidence(confidence)
    options = MapOptions(probabilities, sure, ShareType(dtype), Smooth(smooth), drawn, simplify, min_area)
    files = map_files(file.head, None if output is None else Path(output), scene_name(paths), options)
    own = None if mask is None else str(mask)
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
        model=ModelOptions(weights, True, norm, device, Precision(precision), batch_size),
        grid=grid_options(file.head.recipe, windows, zoom),
    )
    with rasterio.Env(**gdal_options(paths)):
        if not dry_run:
            check_files(files, overwrite=overwrite, inputs=(*request.inputs, str(file.path)))
        source = _source(file, request, say)
        return _carry_out(source, files, options, dry_run=dry_run, progress=progress)


def _source(file: HeadFile, request: Request, say: Say) -> MapSource:
    """Settle where logits come from: stored embeddings where the input is such, else the network."""
    embedding = open_embedding(request.paths[0]) if len(request.paths) == 1 else None
    if embedding is not None:
        return source_of_embedding(file, embedding, request, say)
    return source_of_scene(file, request, say)


def _carry_out(source: MapSource, files: MapFiles, options: MapOptions, *, dry_run: bool, progress: bool) -> MapReport:
    started = time.perf_counter()
    head = source.file.head
    writer = MapWriter(head, source.grid, source.facts.tags, options)
    if dry_run:
        return map_report(head, files, source.grid, source.facts, seconds=source.foretell(), tally=None)
    check_space(files.map, source.nbytes + COPIES * writer.nbytes)
    with parts_folder(files.map) as folder:
        with window_progress(
            source.facts.windows, source.facts.area_km2, shown=progress and source.facts.windows > 0, verb="segment"
        ) as advance:
            parts = source.write_parts(folder, advance)
        decoder = Decoder(parts, source.grid.height, source.grid.width)
        tally = writer.write(files, decoder)
    seconds = time.perf_counter() - started
    return map_report(head, files, source.grid, source.facts, seconds=seconds, tally=tally)
