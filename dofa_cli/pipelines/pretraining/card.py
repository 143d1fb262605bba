"""The model card of a pretraining run: on what, how and how long it was trained, and what departs from the paper."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import torch

from dofa_cli import __version__
from dofa_cli.pipelines.pretraining.training_run import Run, parameters
from dofa_cli.training.state import Progress

PAPER = "DOFA (arXiv 2403.15356)"
PAPER_BATCH, PAPER_CROP, PAPER_RATE = 128, 224, 1.5e-4


def card(run: Run, progress: Progress, losses: dict[str, float]) -> str:
    """Return the card as Markdown; ``losses`` are the last ones measured, by source."""
    config = run.learner.network.encoder.config
    encoder, whole = parameters(run)
    parts = (
        f"# {run.folder.name}",
        f"A DOFA encoder, pretrained with masked images by dofa {__version__}.",
        "## Network",
        f"{config.embed_dim} wide, {config.depth} deep, {config.num_heads} heads, "
        f"patches of {config.patch_size} pixels, images of {run.stream.rules.size}; {encoder / 1e6:.1f} million "
        f"parameters, {whole / 1e6:.1f} with the decoder"
        + (f", {run.frozen / 1e6:.1f} frozen." if run.frozen else "."),
        "## Data",
        "\n".join(_data(run, losses)),
        "Checksums of all images, used and left out, are in `images.csv`. Licences are those of the images' owners.",
        "## Training",
        "\n".join(_training(run, progress)),
        f"## What departs from {PAPER}",
        "\n".join(f"- {line}" for line in departures(run)),
    )
    return "\n\n".join(parts) + "\n"


def _data(run: Run, losses: dict[str, float]) -> Iterator[str]:
    yield "| source | sensor | images | held out | bands | µm | zoom | loss measured |"
    yield "|---|---|---|---|---|---|---|---|"
    for source in (one.source for one in run.opened):
        waves = source.wavelengths_um
        cells = (
            source.name,
            source.sensor,
            str(len(source.images)),
            str(len(source.held_out)),
            str(len(waves)),
            f"{min(waves):g}–{max(waves):g}",
            str(source.zoom),
            f"{losses[source.name]:.4f}" if source.name in losses else "",
        )
        yield f"| {' | '.join(cells)} |"


def _training(run: Run, progress: Progress) -> Iterator[str]:
    for stage in run.schedule.stages:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in stage.weights.items())
        yield (
            f"- {stage.name}: {stage.steps} steps of {stage.batch} crops, peak learning rate {stage.lr:.2g}, warm-up "
            f"{stage.warmup}, {stage.mask_ratio:.0%} hidden; weights of sources: {weights}"
        )
    teacher = run.learner.teacher
    taught = f"teacher {teacher.name}, weight {run.config.distill.weight:g}" if teacher else "no teacher"
    yield f"- {taught}; seed {run.config.seed}; {run.engine.precision.value} arithmetic"
    done = (
        f"{progress.step} of {run.schedule.steps} steps, {progress.images:,} crops, {progress.seconds / 3600:.2f} hours"
    )
    yield f"- done: {done}; lowest measured loss {progress.best:.4f} after step {progress.best_step}"
    yield f"- hardware: {hardware(run)}"


def hardware(run: Run) -> str:
    """Name processor or graphics card, their number, and PyTorch."""
    if run.engine.device.type == "cuda":
        name = torch.cuda.get_device_name(run.engine.device)
    else:
        told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        name = f"{told.get('cpu_name') or platform.machine()}, {torch.get_num_threads()} threads"
    return f"{run.engine.world} × {name}; PyTorch {torch.__version__}"


def departures(run: Run) -> Iterator[str]:
    """Yield what this run does otherwise than the published one."""
    config, teacher = run.config, run.learner.teacher
    if config.init is None:
        yield "the student starts from random numbers with fixed positions, not as a copy of its teacher"
    if teacher is None:
        yield "there is no teacher; the paper distils from a vision transformer trained on ImageNet-21k"
    else:
        yield f"the teacher is {teacher.name}, not a vision transformer trained on ImageNet-21k"
        shares = {source.taught or config.distill.share for source in config.sources}
        if min(shares) < 1:
            yield f"the teacher sees {_range(shares)} of each batch"
    if teacher is not None and config.distill.centre:
        yield "the teacher's features are centred"
    if not run.learner.network.decoder_config.published_rows:
        yield "a band's pixels are predicted with weights of its own wavelength (the released code mixes them up)"
    yield from _data_departures(run)
    for name in config.ablation:
        yield f"ablation: {name}"


def _range(shares: set[float]) -> str:
    """Say one share, or the smallest and the largest."""
    least, most = min(shares), max(shares)
    return f"{most:.0%}" if least == most else f"{least:.0%} to {most:.0%}"


def _data_departures(run: Run) -> Iterator[str]:
    config = run.config
    yield f"crops of {run.stream.rules.size} pixels (paper: {PAPER_CROP})" + (
        ", turned in all eight ways" if config.data.turn else ""
    )
    if config.training.targets == "band":
        yield "each band of a hidden patch is standardised by itself (paper: all together)"
    masked = {source.masked or config.training.masked for source in config.sources}
    if min(masked) < 1:
        yield f"patches are hidden and predicted in {_range(masked)} of each batch"
    if any(source.shrink > 1 for source in config.sources):
        yield f"crops cover up to {max(source.shrink for source in config.sources):g} times their side, reduced"
    yield "patches with invalid pixels do not count"
    if config.data.drop_bands or any(source.most_bands for source in config.sources):
        yield "batches leave bands out at random"
