"""``dofa pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import say, table

if TYPE_CHECKING:
    from dofa_cli.pipelines.pretrain import PretrainReport

_DATA, _NET, _OPT, _RUN = "Images", "The network", "Training", "The run"
Folder = Annotated[
    Path, typer.Argument(help="Folder of the run; one that holds it already goes on.", show_default=False)
]
Config = Annotated[Path | None, typer.Option(help="TOML file with all settings; options win over it.")]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source", metavar="SENSOR=PATTERN", help="Images of a sensor: naip='tiles/*.tif'.", rich_help_panel=_DATA
    ),
]
Size = Annotated[
    str | None,
    typer.Option(help="tiny, small, base, large, or WIDTHxDEPTH[xHEADS[xPATCH]].", rich_help_panel=_NET),
]
Patch = Annotated[int | None, typer.Option(help="Side of a patch in pixels.", rich_help_panel=_NET)]
Crop = Annotated[int | None, typer.Option(help="Side of a crop in pixels.", rich_help_panel=_NET)]
Decoder = Annotated[str | None, typer.Option(help="WIDTHxDEPTH[xHEADS] of the decoder.", rich_help_panel=_NET)]
Init = Annotated[
    str | None,
    typer.Option(help="Weights to begin with: DOFA, a run's last.pt, or a vision transformer.", rich_help_panel=_NET),
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(help="Keep parameters of these names as they are: 'blocks.*'.", rich_help_panel=_NET),
]
Ablation = Annotated[
    list[str] | None,
    typer.Option(help="fixed-embedding, no-distillation, or without=SENSOR.", rich_help_panel=_NET),
]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps.", rich_help_panel=_OPT)]
Batch = Annotated[int | None, typer.Option(help="Crops a batch, all of one source.", rich_help_panel=_OPT)]
Accumulate = Annotated[int | None, typer.Option(help="Batches a step.", rich_help_panel=_OPT)]
Lr = Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=_OPT)]
Warmup = Annotated[int | None, typer.Option(help="Steps of linear warm-up.", rich_help_panel=_OPT)]
WeightDecay = Annotated[float | None, typer.Option(help="Decay of matrices.", rich_help_panel=_OPT)]
MaskRatio = Annotated[float | None, typer.Option(help="Share of patches that is hidden.", rich_help_panel=_OPT)]
Ema = Annotated[
    float | None, typer.Option(help="Decay of a moving average of the weights; 0: none.", rich_help_panel=_OPT)
]
Distill = Annotated[
    str | None,
    typer.Option(
        help="Teacher: efficientnet-lite0, timm:NAME, DOFA weights, a program, or none.", rich_help_panel=_OPT
    ),
]
DistillWeight = Annotated[float | None, typer.Option(help="Weight of the teacher's loss.", rich_help_panel=_OPT)]
Stages = Annotated[
    list[str] | None,
    typer.Option("--stage", help="A stage of several: 'steps = 1000, lr = 1e-4'.", rich_help_panel=_OPT),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of everything random.", rich_help_panel=_OPT)]
Precision = Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.", rich_help_panel=_RUN)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=_RUN)]
Devices = Annotated[int, typer.Option(min=1, help="Processes, one a device.", rich_help_panel=_RUN)]
Workers = Annotated[int, typer.Option(min=1, help="Threads that prepare batches.", rich_help_panel=_RUN)]
Minutes = Annotated[
    float | None,
    typer.Option(min=0, help="Save and stop after this time; the same command goes on.", rich_help_panel=_RUN),
]
TrustTeacher = Annotated[
    bool,
    typer.Option(
        "--trust-teacher", help="Load a teacher that is a program and runs its own code.", rich_help_panel=_RUN
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Only go on with a run that is there; an error if there is none.", rich_help_panel=_RUN
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start the run in the folder anew.", rich_help_panel=_RUN)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Open images and network, show them, train nothing.", rich_help_panel=_RUN)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=_RUN)]


def pretrain(
    folder: Folder,
    config: Config = None,
    source: Sources = None,
    size: Size = None,
    patch: Patch = None,
    crop: Crop = None,
    decoder: Decoder = None,
    init: Init = None,
    freeze: Freeze = None,
    ablation: Ablation = None,
    steps: Steps = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    lr: Lr = None,
    warmup: Warmup = None,
    weight_decay: WeightDecay = None,
    mask_ratio: MaskRatio = None,
    ema: Ema = None,
    distill: Distill = None,
    distill_weight: DistillWeight = None,
    stage: Stages = None,
    seed: Seed = None,
    precision: Precision = None,
    device: Device = "auto",
    devices: Devices = 1,
    workers: Workers = 1,
    minutes: Minutes = None,
    trust_weights: options.TrustWeights = False,
    trust_teacher: TrustTeacher = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Pretrain an encoder with masked images of many sensors.

    dofa pretrain run --source sentinel2='s2/*.tif' --source naip='naip/*.tif' --size tiny
    """
    from dofa_cli.pipelines.pretrain import pretrain as run

    report = run(
        folder,
        config=config,
        source=source or (),
        size=size,
        patch=patch,
        crop=crop,
        decoder=decoder,
        init=init,
        freeze=freeze or (),
        ablation=ablation or (),
        steps=steps,
        batch=batch,
        accumulate=accumulate,
        lr=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        mask_ratio=mask_ratio,
        ema=ema,
        distill=distill,
        distill_weight=distill_weight,
        stage=stage or (),
        seed=seed,
        precision=precision,
        device=device,
        devices=devices,
        workers=workers,
        minutes=minutes,
        trust_weights=trust_weights,
        trust_teacher=trust_teacher,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=not json,
        say=say,
    )
    if not report.leads:
        return
    if json:
        typer.echo(report.to_json())
    elif dry_run:
        _show_plan(report)
    else:
        typer.echo(report.encoder or report.folder)


def _show_plan(report: PretrainReport) -> None:
    for source in report.sources:
        columns = ("bands", "wavelengths_um", "rules", "means", "stds")
        rows = [tuple(_shown(value) for value in row) for row in zip(*(source[name] for name in columns), strict=True)]
        typer.echo(f"{source['name']} ({source['sensor']}): {source['images']} images, {source['held_out']} held out")
        typer.echo(table(("band", "µm", "training scale", "mean", "std"), rows))
    typer.echo(f"network  {report.encoder_parameters:,} parameters, {report.parameters:,} with the decoder")
    typer.echo(f"steps    {report.of_steps:,}")


def _shown(value: str | float | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
