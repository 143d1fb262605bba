"""One pretraining run in its folder: opened, gone on with, measured and saved."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from dofa_cli.errors import OptionError
from dofa_cli.model.checkpoint import save_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.masked import MaskedDofa
from dofa_cli.pipelines.inference.run import Say
from dofa_cli.pipelines.pretraining.corpus import Opened, open_source, write_list
from dofa_cli.pipelines.pretraining.stopping import Stop, stop_signals
from dofa_cli.pipelines.pretraining.student import FIXED, build, freeze, pick_teacher, shape_of, start_of
from dofa_cli.raster.writer import explained, working_file
from dofa_cli.training.config import RunConfig
from dofa_cli.training.data import Batch, CropRules
from dofa_cli.training.engine import Engine, open_engine
from dofa_cli.training.loop import Learner, Step, evaluate, measured_masking, new_learner, steps
from dofa_cli.training.metrics import Metrics, plot_losses, read_metrics
from dofa_cli.training.objective import Objective
from dofa_cli.training.pictures import draw_reconstructions
from dofa_cli.training.proxies import proxy_for
from dofa_cli.training.schedule import Schedule, schedule
from dofa_cli.training.state import Progress, read_state, restore, save_state
from dofa_cli.training.stream import BatchStream
from dofa_cli.training.teachers import FrozenTeacher

SAVE_SECONDS = 120.0
CONFIG, LAST, BEST, METRICS = "config.json", "last.pt", "best.pt", "metrics.jsonl"
ENCODER, BEST_ENCODER, LOSS, IMAGES = "encoder.safetensors", "encoder_best.safetensors", "loss.png", "images.csv"


@dataclass(frozen=True)
class Runtime:
    """How a run is carried out, which does not change what it computes; fields are the command line's options."""

    device: str = "auto"
    devices: int = 1
    workers: int = 1
    minutes: float | None = None
    trust_weights: bool = False
    trust_teacher: bool = False
    progress: bool = False


@dataclass(frozen=True)
class Run:
    """Everything of one run: data, network, and the folder that it writes to."""

    folder: Path
    config: RunConfig
    runtime: Runtime
    schedule: Schedule
    opened: tuple[Opened, ...]
    stream: BatchStream
    learner: Learner
    frozen: int

    @property
    def engine(self) -> Engine:
        """Where it is computed."""
        return self.learner.engine

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.engine.rank == 0

    def path(self, name: str) -> Path:
        """Return a file of the run's folder."""
        return self.folder / name


def open_run(folder: Path, config: RunConfig, runtime: Runtime, say: Say) -> Run:
    """Open images, teacher and network; nothing is trained or written yet.

    Raises :class:`OptionError` for settings that contradict each other, and what the parts raise.
    """
    plan = schedule(config)
    if FIXED in config.ablation and (config.data.drop_bands or any(one.most_bands for one in config.sources)):
        raise OptionError(
            "--ablation fixed-embedding has one embedding a list of bands: drop_bands and most_bands go without it."
        )
    engine = open_engine(runtime.device, config.training.precision, runtime.devices, uneven=FIXED in config.ablation)
    say = say if engine.rank == 0 else _nothing
    start = start_of(config.init, trusted=runtime.trust_weights) if config.init else None
    teacher = _teacher(config, runtime)
    shape = shape_of(config, start)
    rules = _crop_rules(config, shape)
    opened = _open_sources(config, rules, shape.family, say)
    lists = _wavelength_lists(config, opened)
    network = build(config, shape, start, teacher.dim if teacher else None, lists=lists, say=say)
    frozen = freeze(network, config.freeze)
    objective = Objective(network, _checked_block(config, network), by_band=config.training.targets == "band")
    sources = tuple(one.source for one in opened)
    stream = BatchStream(sources, plan, rules, config.seed, config.training.accumulate, engine.rank)
    if teacher is not None:
        teacher = teacher.to(engine.device)
        if config.distill.centre:
            teacher = teacher.centred(_proxies(stream, engine))
    learner = new_learner(objective, engine, teacher, config.training, config.seed)
    return Run(folder, config, runtime, plan, opened, stream, learner, frozen)


def go_on(run: Run, say: Say) -> Progress:
    """Train from where the folder's state stands until the end, a signal, or the time that is given.

    Every two minutes, at every measurement and at the end the state is saved whole. Raises
    :class:`~dofa_cli.errors.DofaError` when training diverges, and :class:`KeyboardInterrupt` after saving on Ctrl-C.
    """
    progress = Progress()
    if run.path(LAST).exists():
        progress = restore(run.learner, read_state(run.path(LAST)))
    if run.writes:
        if progress.step:
            say(f"Going on at step {progress.step} of {run.schedule.steps}.")
        _write_settings(run)
    with stop_signals(run.runtime.minutes) as stop:
        progress = _follow(run, progress, stop)
    if stop.signal == signal.SIGINT:
        raise KeyboardInterrupt
    return progress


def parameters(run: Run) -> tuple[int, int]:
    """Return how many values the encoder has, and the whole network."""
    whole = run.learner.network
    encoder, everything = (sum(prod(p.shape) for p in part.parameters()) for part in (whole.encoder, whole))
    return encoder, everything


def _follow(run: Run, progress: Progress, stop: Stop) -> Progress:
    metrics = Metrics(run.path(METRICS), progress.step) if run.writes else None
    measured = [batch.to(run.engine.device) for batch in run.stream.measured()] if run.writes else []
    saved = time.perf_counter()
    with (
        closing(steps(run.learner, run.stream, progress.step, run.runtime.workers)) as following,
        _bar(run, progress) as bar,
    ):
        for step in following:
            progress = replace(
                progress,
                step=step.step + 1,
                seconds=progress.seconds + step.seconds,
                images=progress.images + step.images,
            )
            ending = run.engine.mean([float(stop.is_due)])[0] > 0
            if metrics is not None:
                metrics.step(step)
                _show(bar, step)
                if _is_due(run, progress) or ending:
                    progress = _measure(run, progress, metrics, measured)
                if _is_due(run, progress) or ending or time.perf_counter() - saved > SAVE_SECONDS:
                    _save(run, progress)
                    saved = time.perf_counter()
            if ending:
                break
    return progress


def _is_due(run: Run, progress: Progress) -> bool:
    return progress.step % run.config.training.evaluate_every == 0 or progress.step == run.schedule.steps


def _measure(run: Run, progress: Progress, metrics: Metrics, measured: list[Batch]) -> Progress:
    """Measure the loss, draw pictures, and keep the state if it is the best so far."""
    losses = evaluate(run.learner, measured)
    metrics.measured(progress.step - 1, losses)
    mean = sum(losses.values()) / len(losses)
    if mean < progress.best:
        progress = replace(progress, best=mean, best_step=progress.step)
        save_state(run.path(BEST), run.learner, progress, run.config.model_dump_json())
        _save_encoder(run, BEST_ENCODER)
    plot_losses(read_metrics(run.path(METRICS)), run.path(LOSS))
    for number, (batch, opened) in enumerate(zip(measured, run.opened, strict=True)):
        scale = [norm.mean or 0.0 for norm in opened.norms], [norm.std or 1.0 for norm in opened.norms]
        picture = run.path(f"reconstructions_{batch.source}.png")
        draw_reconstructions(
            picture, run.learner.best_objective, batch, measured_masking(run.learner, batch, number), scale
        )
    return progress


def _save(run: Run, progress: Progress) -> None:
    save_state(run.path(LAST), run.learner, progress, run.config.model_dump_json())
    _save_encoder(run, ENCODER)


def _save_encoder(run: Run, name: str) -> None:
    """Write the encoder in the form that ``dofa embed`` takes; a network of fixed embeddings has none such."""
    if FIXED not in run.config.ablation:
        with working_file(run.path(name)) as working, explained(run.path(name)):
            save_checkpoint(run.learner.best_guess.encoder, working)


def _write_settings(run: Run) -> None:
    with working_file(run.path(CONFIG)) as working:
        working.write_text(run.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with working_file(run.path(IMAGES)) as working:
        write_list(working, (line for one in run.opened for line in one.listed))


def _open_sources(config: RunConfig, rules: CropRules, family: str, say: Say) -> tuple[Opened, ...]:
    room = int(config.data.memory_gb * 1e9)
    opened: list[Opened] = []
    for wanted in config.sources:
        left = room - sum(one.nbytes for one in opened)
        opened.append(open_source(wanted, config.data, rules, family, left))
        say(opened[-1].line)
    return tuple(opened)


def _crop_rules(config: RunConfig, shape: DofaConfig) -> CropRules:
    data = config.data
    return CropRules(
        size=config.network.crop or shape.image_size,
        patch=shape.patch_size,
        min_scale=data.min_scale,
        min_valid=data.min_valid,
        turn=data.turn,
        drop_bands=data.drop_bands,
        masked=config.training.masked,
        proxies=config.distill.share if config.distils else 0.0,
    )


def _teacher(config: RunConfig, runtime: Runtime) -> FrozenTeacher | None:
    if not config.distils:
        return None
    trust = {"trust_program": runtime.trust_teacher, "trust_weights": runtime.trust_weights}
    return pick_teacher(config.distill.teacher, config.distill.side, **trust)


def _proxies(stream: BatchStream, engine: Engine) -> Iterator[Tensor]:
    """Yield what a teacher sees of the images that measure the loss."""
    for batch in stream.measured():
        yield proxy_for(batch.wavelengths_um).of(batch.pixels).to(engine.device)


def _checked_block(config: RunConfig, network: MaskedDofa) -> int:
    depth = len(network.blocks)
    if not -depth <= config.distill.block < depth:
        raise OptionError(
            f"block = {config.distill.block} in [distill]: the network has {depth} blocks, -1 is the last."
        )
    return config.distill.block


def _wavelength_lists(config: RunConfig, opened: tuple[Opened, ...]) -> list[tuple[float, ...]]:
    lists = [one.source.wavelengths_um for one in opened]
    return lists + ([one.source.proxy.wavelengths_um for one in opened] if config.distils else [])


def _nothing(_: str) -> None:
    """Say nothing: another process says it."""


def _bar(run: Run, progress: Progress) -> tqdm[Any]:
    shown = run.runtime.progress and run.writes
    return tqdm(
        total=run.schedule.steps,
        initial=progress.step,
        desc="pretrain",
        unit="step",
        disable=not shown,
        file=sys.stderr,
    )


def _show(bar: tqdm[Any], step: Step) -> None:
    bar.update()
    if not bar.disable:
        bar.set_postfix_str(f"loss {step.loss:.3f}, {step.images / step.seconds:.0f} images/s", refresh=False)
