"""``dofa pretrain``: images of many sensors in, an encoder out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rasterio

from dofa_cli.errors import OptionError, OutputExists, OutputUnwritable
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.run import Say
from dofa_cli.pipelines.pretraining.card import card
from dofa_cli.pipelines.pretraining.training_run import (
    BEST,
    BEST_ENCODER,
    CONFIG,
    ENCODER,
    IMAGES,
    LAST,
    LOSS,
    METRICS,
    Run,
    Runtime,
    go_on,
    open_run,
    parameters,
)
from dofa_cli.raster.source import GDAL_OPTIONS, close_handles
from dofa_cli.raster.writer import explained, working_file
from dofa_cli.training.config import RunConfig
from dofa_cli.training.config_file import difference, inline_table, read_tables, to_config
from dofa_cli.training.metrics import read_metrics
from dofa_cli.training.state import Progress

CARD = "card.md"
_DECODER = re.compile(r"(\d+)[x×](\d+)(?:[x×](\d+))?")


@dataclass(frozen=True)
class PretrainReport:
    """What a run did, or with ``dry_run`` would do; ``encoder`` is the file for ``dofa embed --weights``.

    Of several processes one ``leads``: it wrote the files.
    """

    folder: str
    encoder: str | None
    steps: int
    of_steps: int
    images: int
    hours: float
    measured: dict[str, float]
    encoder_parameters: int
    parameters: int
    sources: list[dict[str, Any]]
    written: bool
    leads: bool = True

    def to_json(self) -> str:
        """Return one JSON object."""
        return to_json(asdict(self))


def pretrain(
    folder: str | Path,
    *,
    config: str | Path | None = None,
    source: Sequence[str] = (),
    size: str | None = None,
    patch: int | None = None,
    crop: int | None = None,
    decoder: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    accumulate: int | None = None,
    lr: float | None = None,
    warmup: int | None = None,
    weight_decay: float | None = None,
    mask_ratio: float | None = None,
    ema: float | None = None,
    distill: str | None = None,
    distill_weight: float | None = None,
    init: str | None = None,
    freeze: Sequence[str] = (),
    stage: Sequence[str] = (),
    ablation: Sequence[str] = (),
    seed: int | None = None,
    precision: str | None = None,
    device: str = "auto",
    devices: int = 1,
    workers: int = 1,
    minutes: float | None = None,
    trust_weights: bool = False,
    trust_teacher: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool = False,
    say: Say = lambda _: None,
) -> PretrainReport:
    """Pretrain an encoder with masked images in ``folder``, or go on with the run that is there.

    Options are those of ``dofa pretrain`` and win over those of the ``config`` file (TOML); options left out are those
    of the run in the folder. ``say`` receives notes. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    given = {
        "seed": seed,
        "init": init,
        "freeze": list(freeze),
        "ablation": list(ablation),
        "source": [_source(text) for text in source],
        "stage": [inline_table(text, "--stage") for text in stage],
        "network": {"size": size, "patch": patch, "crop": crop},
        "decoder": _decoder(decoder),
        "distill": {"teacher": distill, "weight": distill_weight},
        "training": {
            "steps": steps,
            "batch": batch,
            "accumulate": accumulate,
            "lr": lr,
            "warmup": warmup,
            "weight_decay": weight_decay,
            "mask_ratio": mask_ratio,
            "ema": ema,
            "precision": precision,
        },
    }
    place = Path(folder)
    if resume and not (place / LAST).exists():
        raise OptionError(f"--resume: {place} holds no run to go on with. Leave --resume out to begin one.")
    settings = settled(place, None if config is None else Path(config), given, overwrite=overwrite)
    runtime = Runtime(device, devices, workers, minutes, trust_weights, trust_teacher, progress)
    with rasterio.Env(**GDAL_OPTIONS):
        try:
            run = open_run(place, settings, runtime, say)
        finally:
            close_handles()
        if dry_run:
            return _report(run, Progress(), written=False)
        return _carry_out(run, overwrite, say)


def settled(folder: Path, config: Path | None, given: Mapping[str, Any], *, overwrite: bool) -> RunConfig:
    """Lay options over the settings of a file, or of the run in the folder.

    Raises :class:`OutputExists` when the folder holds a run with other settings, naming the first that differs.
    """
    stored = folder / CONFIG
    before = read_tables(stored) if stored.exists() and not overwrite else None
    usual = read_tables(config) if config else before or {}
    now = to_config(_over(usual, given), str(config or "options"))
    if before is not None and (other := difference(to_config(before, str(stored)), now)):
        raise OutputExists(f"{folder} holds another run: {other}. Name another folder, or add --overwrite.")
    return now


def _carry_out(run: Run, overwrite: bool, say: Say) -> PretrainReport:
    if run.writes:
        _prepare_folder(run.folder, overwrite)
    progress = go_on(run, say)
    if run.writes:
        text = card(run, progress, _last_measured(run))
        with working_file(run.path(CARD)) as working:
            working.write_text(text, encoding="utf-8")
        if progress.step < run.schedule.steps:
            say(f"Stopped after step {progress.step} of {run.schedule.steps}. The same command goes on.")
    return _report(run, progress, written=True)


def _prepare_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputUnwritable(f"{folder} is a file. Name a folder for the run.")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            names = (CONFIG, LAST, BEST, METRICS, ENCODER, BEST_ENCODER, LOSS, IMAGES, CARD)
            for path in (*map(folder.joinpath, names), *folder.glob("reconstructions_*.png")):
                path.unlink(missing_ok=True)


def _report(run: Run, progress: Progress, *, written: bool) -> PretrainReport:
    encoder, whole = parameters(run)
    path = run.path(ENCODER)
    return PretrainReport(
        folder=str(run.folder),
        encoder=str(path) if written and path.exists() else None,
        steps=progress.step,
        of_steps=run.schedule.steps,
        images=progress.images,
        hours=progress.seconds / 3600,
        measured=_last_measured(run) if written else {},
        encoder_parameters=encoder,
        parameters=whole,
        sources=[_source_facts(run, number) for number in range(len(run.opened))],
        written=written,
        leads=run.writes,
    )


def _source_facts(run: Run, number: int) -> dict[str, Any]:
    source, norms = run.opened[number].source, run.opened[number].norms
    return {
        "name": source.name,
        "sensor": source.sensor,
        "images": len(source.images),
        "held_out": len(source.held_out),
        "bands": list(source.bands),
        "wavelengths_um": list(source.wavelengths_um),
        "rules": [norm.scale.describe() for norm in norms],
        "means": [norm.mean for norm in norms],
        "stds": [norm.std for norm in norms],
        "line": run.opened[number].line,
    }


def _last_measured(run: Run) -> dict[str, float]:
    lines = [line["measured"] for line in read_metrics(run.path(METRICS)) if "measured" in line]
    return dict(lines[-1]) if lines else {}


def _source(text: str) -> dict[str, str]:
    sensor, sign, pattern = text.partition("=")
    if not (sensor and sign and pattern):
        raise OptionError(f"--source '{text}' is not like sentinel2=scenes/*.tif (quote it, or the shell expands it).")
    return {"sensor": sensor, "path": pattern}


def _decoder(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    match = _DECODER.fullmatch(text)
    if match is None:
        raise OptionError(f"--decoder '{text}' is not like 512x8x16: width, depth and heads.")
    return {"width": int(match[1]), "depth": int(match[2]), "heads": int(match[3]) if match[3] else None}


def _over(tables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what is given over ``tables``; ``None`` and empty lists are not given."""
    merged = dict(tables)
    for name, value in given.items():
        if isinstance(value, Mapping):
            merged[name] = _over(merged.get(name, {}), value)
        elif value is not None and value != []:
            merged[name] = value
    return {name: value for name, value in merged.items() if value != {}}
