"""``dofa classify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dofa_cli.cli import many, options
from dofa_cli.cli.show import say, size, table

Images = Annotated[
    list[str],
    typer.Argument(
        help="Images, one row each: files, patterns, folders, products. With --grid: the files of one scene; with -o "
        "FOLDER/ many scenes.",
        show_default=False,
    ),
]
Head = Annotated[Path, typer.Option("--head", help="Head file of whole images, as dofa train writes it.")]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        help=".csv, .parquet, .geojson or .gpkg; with --grid also .tif, or for many scenes a folder.",
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(metavar="640m|64px", help="Cut the scene into squares of this size, and classify each."),
]


def classify(
    images: Images,
    head: Head,
    output: Output,
    grid: Grid = None,
    min_valid: options.MinValid = 0.5,
    sensor: options.Sensor = None,
    wavelengths: options.Wavelengths = None,
    bands: options.Bands = None,
    product: options.Product = None,
    scale: options.Scale = None,
    offset: options.Offset = None,
    normalize: options.Normalize = "sensor",
    weights: options.Weights = None,
    trust_weights: options.TrustWeights = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    backend: options.Backend = "auto",
    batch_size: options.BatchSize = "auto",
    memory_limit: options.MemoryLimit = None,
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
    """Tell the class of whole images, or of each square of a scene.

    dofa classify chips/ --head landuse.pt -o classes.csv
    """
    from dofa_cli.pipelines.classify import classify as run

    asked: dict[str, Any] = {
        "head": head,
        "grid": grid,
        "min_valid": min_valid,
        "sensor": sensor,
        "wavelengths": wavelengths,
        "bands": bands,
        "product": product,
        "scale": scale,
        "offset": offset,
        "normalize": options.choice("--normalize", normalize, "sensor", "scene", "none"),
        "weights": weights,
        "trust_weights": trust_weights,
        "device": device,
        "precision": options.choice("--precision", precision, "auto", "float32", "bfloat16", "float16", "int8"),
        "backend": options.choice("--backend", backend, "auto", "torch", "compiled", "openvino"),
        "batch_size": options.batch(batch_size),
        "memory_limit": options.memory(memory_limit),
        "keep_parts": keep_parts,
    }
    course = many.Course(
        output, name, report, resume, fail_fast, workers, scheduler, overwrite=overwrite, dry_run=dry_run, json=json
    )
    if grid and many.is_many(images, output):
        many.classify_all(images, course, asked)
        return
    with many.for_one(course) as how:
        done = run(images, output, **asked, **how, progress=not json)
    if json:
        typer.echo(done.to_json())
        return
    if dry_run:
        typer.echo(f"images   {done.rows:,}")
        typer.echo(f"memory   about {size(done.memory_bytes)}")
        typer.echo(f"time     about {done.seconds:,.0f} s for the network")
        return
    if done.counts:
        say(table(("class", "count"), [(name, str(count)) for name, count in done.counts.items()]))
    typer.echo(done.output)
