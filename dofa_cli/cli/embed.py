"""``dofa embed``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dofa_cli.cli import many, options
from dofa_cli.cli.show import size, table

if TYPE_CHECKING:
    from dofa_cli.pipelines.inference.report import Report


def embed(
    scene: options.Scenes,
    output: options.FileOrFolder = None,
    level: Annotated[
        str, typer.Option(help="One embedding a patch (GeoTIFF or Zarr), or a window or scene (GeoParquet).")
    ] = "patch",
    dtype: Annotated[str, typer.Option(help="Stored type of patch embeddings: float32, float16 or int8.")] = "float32",
    file_format: options.Format = None,
    sensor: options.Sensor = None,
    wavelengths: options.Wavelengths = None,
    bands: options.Bands = None,
    product: options.Product = None,
    scale: options.Scale = None,
    offset: options.Offset = None,
    normalize: options.Normalize = "sensor",
    aoi: options.Aoi = None,
    mask_clouds: options.MaskClouds = False,
    mask_snow: options.MaskSnow = False,
    keep_cirrus: options.KeepCirrus = False,
    cloud_dilate: options.CloudDilate = 0,
    mask: options.Mask = None,
    mask_values: options.MaskValues = None,
    warp: options.Warp = None,
    resolution: options.Resolution = None,
    weights: options.Weights = None,
    trust_weights: options.TrustWeights = False,
    token_norm: options.TokenNorm = "trained",
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    backend: options.Backend = "auto",
    batch_size: options.BatchSize = "auto",
    memory_limit: options.MemoryLimit = None,
    window: options.Window = None,
    overlap: options.Overlap = None,
    zoom: options.Zoom = 1,
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
    """Turn a scene into georeferenced embeddings.

    dofa embed scene.tif --sensor sentinel2 --weights dofa-base

    dofa embed 'scenes/*.tif' -o embeddings/ --resume
    """
    from dofa_cli.pipelines.embed import embed as run

    asked: dict[str, Any] = {
        "weights": weights,
        "sensor": sensor,
        "wavelengths": wavelengths,
        "bands": bands,
        "product": product,
        "scale": scale,
        "offset": offset,
        "normalize": options.choice("--normalize", normalize, "sensor", "scene", "none"),
        "level": options.choice("--level", level, "patch", "window", "scene"),
        "dtype": options.choice("--dtype", dtype, "float32", "float16", "int8"),
        "file_format": options.raster_format(file_format),
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
        "token_norm": options.choice("--token-norm", token_norm, "trained", "none"),
        "trust_weights": trust_weights,
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
    if many.is_many(scene, output):
        many.embed_all(scene, course, asked)
        return
    with many.for_one(course) as how:
        done = run(scene, output, **asked, **how, progress=not json)
    if json:
        typer.echo(done.to_json())
    elif dry_run:
        _show_plan(done)
    else:
        typer.echo(done.output)


def _show_plan(report: Report) -> None:
    head = ("band", "µm", "training scale", "mean", "std", "→ mean", "→ std", "statistics")
    typer.echo(table(head, [_rule_row(*pair) for pair in zip(report.rules, report.standardised, strict=True)]))
    ground = "unknown ground" if report.area_km2 is None else f"{report.area_km2:,.1f} km²"
    tags, cells = report.tags, f"{report.height} × {report.width} cells × {report.dimensions}"
    typer.echo(f"sensor   {report.sensor}, product {report.product}")
    typer.echo(f"windows  {report.windows:,} of {tags['window_px']} px, overlap {tags['overlap_px']} px; {ground}")
    typer.echo(f"output   {report.output}: {cells}, {size(report.output_bytes)}")
    typer.echo(f"memory   about {size(report.memory_bytes)}")
    typer.echo(f"time     about {report.seconds:,.0f} s for the network")


def _rule_row(rule: dict[str, Any], found: dict[str, Any]) -> tuple[str, ...]:
    """Show one band's rule, and mean and std of the scene after it."""
    statistics = f"{rule['mean']:.4g}", f"{rule['std']:.4g}", f"{found['mean']:+.2f}", f"{found['std']:.2f}"
    return rule["band"], f"{rule['wavelength_um']:g}", rule["scale"], *statistics, rule["origin"]
