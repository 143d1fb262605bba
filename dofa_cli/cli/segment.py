"""``dofa segment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dofa_cli.cli import many, options
from dofa_cli.cli.show import say, size, table

if TYPE_CHECKING:
    from dofa_cli.pipelines.mapping.report import MapReport

_MAP, _MODEL, _GRID = "The map", "The network", "Windows and cells"


Scenes = Annotated[
    list[str],
    typer.Argument(
        help=f"{options.SCENES} FILE:sensor[:date] is one of several inputs, for heads that were trained on such.",
        show_default=False,
    ),
]


def segment(
    scene: Scenes,
    head: Annotated[Path, typer.Option(help="Head file that dofa train wrote.", show_default=False)],
    output: options.FileOrFolder = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Write <output>_probabilities too, one band a class.", rich_help_panel=_MAP
        ),
    ] = False,
    confidence: Annotated[
        bool,
        typer.Option("--confidence", help="Write <output>_confidence too, from 0 to 1.", rich_help_panel=_MAP),
    ] = False,
    confidence_kind: Annotated[
        str,
        typer.Option(
            help="margin: the two best classes' difference; entropy: 1 - entropy / ln K.", rich_help_panel=_MAP
        ),
    ] = "margin",
    dtype: Annotated[
        str,
        typer.Option(
            help="Type of probabilities and confidence: uint8 (value / 250) or float32.", rich_help_panel=_MAP
        ),
    ] = "uint8",
    smooth: Annotated[
        str,
        typer.Option(
            help="Against single odd pixels: none, majority (of 3 x 3) or majority-5 (of 5 x 5).", rich_help_panel=_MAP
        ),
    ] = "none",
    polygons: Annotated[
        str | None,
        typer.Option(help="Write the classes as polygons too: a .gpkg, .parquet or .geojson.", rich_help_panel=_MAP),
    ] = None,
    simplify: Annotated[
        float, typer.Option(min=0, help="Simplify polygons by this many pixels.", rich_help_panel=_MAP)
    ] = 0.0,
    min_area: Annotated[
        float,
        typer.Option(
            min=0, help="Leave out polygons below this many m² (pixels, without coordinates).", rich_help_panel=_MAP
        ),
    ] = 0.0,
    file_format: options.Format = None,
    sensor: options.Sensor = None,
    wavelengths: options.Wavelengths = None,
    bands: options.Bands = None,
    product: options.Product = None,
    scale: options.Scale = None,
    offset: options.Offset = None,
    aoi: options.Aoi = None,
    mask_clouds: options.MaskClouds = False,
    mask_snow: options.MaskSnow = False,
    keep_cirrus: options.KeepCirrus = False,
    cloud_dilate: options.CloudDilate = 0,
    mask: options.Mask = None,
    mask_values: options.MaskValues = None,
    warp: options.Warp = None,
    resolution: options.Resolution = None,
    weights: Annotated[
        str | None,
        typer.Option(help="The head's weights, where they are not found by their name.", rich_help_panel=_MODEL),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    backend: options.Backend = "auto",
    batch_size: options.BatchSize = "auto",
    memory_limit: options.MemoryLimit = None,
    window: options.Window = None,
    overlap: options.Overlap = None,
    zoom: Annotated[
        int | None, typer.Option(min=1, help="Enlarge pixels N times. Default: the head's.", rich_help_panel=_GRID)
    ] = None,
    snap: options.Snap = False,
    min_valid: options.MinValid = 0.5,
    shard: options.Shard = None,
    name: many.Name = None,
    report: many.Report = None,
    resume: many.Resume = False,
    fail_fast: many.FailFast = False,
    workers: many.Workers = None,
    scheduler: many.Scheduler = None,
    overwrite: options.Overwrite = False,
    keep_parts: options.KeepParts = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Map a scene, or stored patch embeddings, with a trained head.

    dofa segment scene.tif --head crops.pt

    dofa segment scenes/ --head crops.pt -o maps/ --resume

    dofa segment may.tif:sentinel2 radar.tif:sentinel1 --head crops.pt
    """
    from dofa_cli.pipelines.inputs.named import read_inputs
    from dofa_cli.pipelines.segment import segment as run

    kind = options.choice("--confidence-kind", confidence_kind, "margin", "entropy")
    asked: dict[str, Any] = {
        "head": head,
        "probabilities": probabilities,
        "confidence": kind if confidence else None,
        "dtype": options.choice("--dtype", dtype, "uint8", "float32"),
        "smooth": options.choice("--smooth", smooth, "none", "majority", "majority-5"),
        "polygons": polygons,
        "simplify": simplify,
        "min_area": min_area,
        "file_format": options.raster_format(file_format),
        "weights": weights,
        "sensor": sensor,
        "wavelengths": wavelengths,
        "bands": bands,
        "product": product,
        "scale": scale,
        "offset": offset,
        "window": window,
        "overlap": overlap,
        "zoom": zoom,
        "snap": snap,
        "min_valid": min_valid,
        "aoi": aoi,
        "mask_clouds": mask_clouds,
        "mask_snow": mask_snow,
        "keep_cirrus": keep_cirrus,
        "cloud_dilate": cloud_dilate,
        "mask": mask,
        "mask_values": mask_values,
        "warp": warp,
        "resolution": resolution,
        "device": device,
        "precision": options.choice("--precision", precision, "auto", "float32", "bfloat16", "float16", "int8"),
        "backend": options.choice("--backend", backend, "auto", "torch", "compiled", "openvino"),
        "batch_size": options.batch(batch_size),
        "memory_limit": options.memory(memory_limit),
        "shard": shard,
        "keep_parts": keep_parts,
    }
    course = many.Course(
        output, name, report, resume, fail_fast, workers, scheduler, overwrite=overwrite, dry_run=dry_run, json=json
    )
    if not read_inputs(scene) and many.is_many(scene, output):
        many.segment_all(scene, course, asked)
        return
    with many.for_one(course) as how:
        done = run(scene, output, **asked, **how, progress=not json)
    if json:
        typer.echo(done.to_json())
    elif dry_run:
        _show_plan(done)
    else:
        _show_map(done)


def _show_map(report: MapReport) -> None:
    """Print the files on stdout, and what the map holds on stderr."""
    if report.classes is not None:
        total = max(1, sum(one["pixels"] for one in report.classes))
        rows = [
            (str(one["value"]), one["name"], f"{one['pixels'] / total:.1%}", _hectares(one["hectares"]))
            for one in report.classes
        ]
        say(table(("value", "class", "share", "hectares"), rows))
    elif report.numbers is not None and "mean" in report.numbers:
        found = report.numbers
        say(f"{found['name']}: mean {found['mean']:.4g}, {found['least']:.4g} to {found['most']:.4g} {found['unit']}")
    for path in report.files.values():
        typer.echo(path)


def _show_plan(report: MapReport) -> None:
    facts = report.facts
    ground = "unknown ground" if facts.area_km2 is None else f"{facts.area_km2:,.1f} km²"
    typer.echo(f"head     {facts.tags['head']}: {report.task}, {report.method}, weights {facts.tags['weights']}")
    typer.echo(f"sensor   {facts.sensor}, product {facts.product}")
    typer.echo(
        f"windows  {facts.windows:,} of {facts.tags['window_px']} px, overlap {facts.tags['overlap_px']} px; {ground}"
    )
    typer.echo(f"map      {report.output}: {report.height} × {report.width} pixels")
    typer.echo(f"memory   about {size(facts.memory_bytes)}; {size(facts.output_bytes)} of disk while it runs")
    typer.echo(f"time     about {report.seconds:,.0f} s for the network")


def _hectares(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}"
