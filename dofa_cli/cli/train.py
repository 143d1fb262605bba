"""``dofa train``."""

from __future__ import annotations

import json as jsonlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import say
from dofa_cli.errors import OptionError

_LABELS, _SCENE, _HEAD, _SPLIT = "The labels", "The scene", "The head", "Training and test"

HeadFile = Annotated[Path, typer.Argument(metavar="HEAD.pt", help="Head file to write.", show_default=False)]
Scene = Annotated[
    list[str] | None,
    typer.Option(
        help="Scene, pattern or folder; may be repeated. A folder of class folders is one image a chip. "
        "FILE:sensor[:date] is an input: inputs of the same ground are one place.",
        rich_help_panel=_LABELS,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Polygons or points in any vector format, a label raster, a folder of label rasters with the scenes' "
        "names, or a table (CSV, Parquet) with columns image and label, and sensor, split, fold if wanted.",
        rich_help_panel=_LABELS,
    ),
]
ClassField = Annotated[
    str | None,
    typer.Option(help="Field of the classes or numbers: of a vector file, or of a table.", rich_help_panel=_LABELS),
]
Ignore = Annotated[
    str | None,
    typer.Option(help="Class values or names that count as unlabelled: 0,255.", rich_help_panel=_LABELS),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        help="CSV file with columns value and name, for label rasters; values of one name become one class.",
        rich_help_panel=_LABELS,
    ),
]
Buffer = Annotated[
    float | None, typer.Option(help="Widen points and lines by this many metres.", rich_help_panel=_LABELS)
]
Task = Annotated[
    str | None,
    typer.Option(
        help="segment, classify or regress. Default: by what the labels are.", rich_help_panel=_HEAD, show_default=False
    ),
]
Method = Annotated[str, typer.Option(help="linear, knn, mlp, upernet, finetune or lora.", rich_help_panel=_HEAD)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method: epochs=50, k=9.", rich_help_panel=_HEAD),
]
Combine = Annotated[
    str | None,
    typer.Option(
        help="How embeddings of several inputs are joined: concat or mean. Default: concat.",
        rich_help_panel=_HEAD,
        show_default=False,
    ),
]
Unit = Annotated[str, typer.Option(help="Unit of the numbers, for reports.", rich_help_panel=_HEAD)]
Zoom = Annotated[
    str,
    typer.Option(
        help="Enlarge pixels N times. auto: by the size of labelled objects; 1,2,4: the best on validation.",
        rich_help_panel="Windows and cells",
    ),
]
ClassWeights = Annotated[
    str, typer.Option(help="none, or balanced: rare classes count as much as others.", rich_help_panel=_HEAD)
]
MaxPerClass = Annotated[
    int | None, typer.Option(min=1, help="Training samples of a class at most.", rich_help_panel=_SPLIT)
]
Split = Annotated[
    str,
    typer.Option(help="auto (what the table says, else blocks of ground), blocks, or random.", rich_help_panel=_SPLIT),
]
Block = Annotated[
    str | None, typer.Option(help="Side of the blocks: 640m, 2km or 64px.", rich_help_panel=_SPLIT, show_default=False)
]
TestShare = Annotated[float, typer.Option(help="Share of the samples held out to test.", rich_help_panel=_SPLIT)]
ValShare = Annotated[float, typer.Option(help="Share of the samples that decide when to stop.", rich_help_panel=_SPLIT)]
Cv = Annotated[
    int | None,
    typer.Option(help="Test on each of N folds in turn; the head is trained on all.", rich_help_panel=_SPLIT),
]
Seed = Annotated[int, typer.Option(help="What all chance comes from.", rich_help_panel=_SPLIT)]


def train(
    head: HeadFile,
    scene: Scene = None,
    labels: Labels = None,
    class_field: ClassField = None,
    ignore: Ignore = None,
    class_names: ClassNames = None,
    buffer: Buffer = None,
    task: Task = None,
    method: Method = "linear",
    set_: Set = None,
    combine: Combine = None,
    class_weights: ClassWeights = "none",
    unit: Unit = "",
    sensor: options.Sensor = None,
    wavelengths: options.Wavelengths = None,
    bands: options.Bands = None,
    product: options.Product = None,
    scale: options.Scale = None,
    offset: options.Offset = None,
    normalize: options.Normalize = "sensor",
    mask_clouds: options.MaskClouds = False,
    warp: options.Warp = None,
    resolution: options.Resolution = None,
    weights: options.Weights = None,
    trust_weights: options.TrustWeights = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = "auto",
    window: options.Window = None,
    overlap: options.Overlap = None,
    zoom: Zoom = "auto",
    min_valid: options.MinValid = 0.5,
    split: Split = "auto",
    block: Block = None,
    test_share: TestShare = 0.2,
    val_share: ValShare = 0.1,
    cv: Cv = None,
    max_per_class: MaxPerClass = None,
    seed: Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Train a head on labelled scenes or images, and report how good it is on labels held out.

    dofa train crops.pt --scene scene.tif --labels fields.gpkg --class-field crop --sensor sentinel2

    dofa train crops.pt --scene may.tif:sentinel2 --scene radar.tif:sentinel1 --labels fields.gpkg --class-field crop
    """
    from dofa_cli.pipelines.train import train as run

    report = run(
        head,
        scene=scene or (),
        labels=labels,
        class_field=class_field,
        ignore=ignore,
        class_names=class_names,
        buffer=buffer,
        task=task,
        method=method,
        settings=read_settings(set_ or ()),
        combine=combine,
        class_weights=options.choice("--class-weights", class_weights, "none", "balanced"),
        unit=unit,
        sensor=sensor,
        wavelengths=wavelengths,
        bands=bands,
        product=product,
        scale=scale,
        offset=offset,
        normalize=options.choice("--normalize", normalize, "sensor", "scene", "none"),
        mask_clouds=mask_clouds,
        warp=warp,
        resolution=resolution,
        weights=weights,
        trust_weights=trust_weights,
        device=device,
        precision=options.choice("--precision", precision, "auto", "float32", "bfloat16", "float16"),
        batch_size=options.batch(batch_size),
        window=window,
        overlap=overlap,
        zoom=zoom,
        min_valid=min_valid,
        split=options.choice("--split", split, "auto", "blocks", "random"),
        block=block,
        test_share=test_share,
        val_share=val_share,
        cv=cv,
        max_per_class=max_per_class,
        seed=seed,
        overwrite=overwrite,
        progress=not json,
        command=shlex.join(["dofa", *sys.argv[1:]]),
        say=say,
    )
    if json:
        typer.echo(report.to_json())
        return
    for line in report.summary():
        say(line)
    typer.echo(report.head)


def read_settings(given: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value``; a value is a number, a list or true and false as in JSON, else text."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise OptionError(f"--set '{text}' is not of the form name=value, as in epochs=50.")
        try:
            found[name.strip()] = jsonlib.loads(value)
        except jsonlib.JSONDecodeError:
            found[name.strip()] = value
    return found
