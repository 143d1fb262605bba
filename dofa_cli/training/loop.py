"""The training loop: steps one by one, and the loss of images that are not trained on."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dofa_cli.errors import Diverged
from dofa_cli.model.masked import MaskedDofa, Masking
from dofa_cli.training.config import Training
from dofa_cli.training.data import Batch
from dofa_cli.training.engine import Engine
from dofa_cli.training.masking import generator_of, random_masking
from dofa_cli.training.objective import Example, Losses, Objective, example_of, summed
from dofa_cli.training.schedule import Stage
from dofa_cli.training.stream import MEASURING, BatchStream
from dofa_cli.training.teachers import Teacher

BETAS = (0.9, 0.95)
LARGEST_LOSS = 1e3
"""Targets have variance 1, so a network that knows nothing has a loss near 1: this one is lost."""


@dataclass(frozen=True)
class Learner:
    """Everything that a step changes, and what it computes with.

    ``module`` is ``objective`` as the engine wraps it; ``average`` holds the moving average of the network's weights.
    """

    objective: Objective
    module: nn.Module
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    engine: Engine
    teacher: Teacher | None
    settings: Training
    seed: int

    @property
    def network(self) -> MaskedDofa:
        """The network as trained."""
        return self.objective.model

    @property
    def best_guess(self) -> MaskedDofa:
        """The averaged network where there is one."""
        if self.average is None:
            return self.network
        averaged: Any = self.average.module
        return averaged  # type: ignore[no-any-return]

    @property
    def best_objective(self) -> Objective:
        """The losses of the averaged network where there is one."""
        return self.objective.of(self.best_guess)


@dataclass(frozen=True)
class Step:
    """What one step did; times are in seconds, ``waiting`` is that for data, ``sources`` one name a part."""

    step: int
    stage: str
    sources: tuple[str, ...]
    loss: float
    reconstruction: float
    distillation: float | None
    lr: float
    gradient: float
    images: int
    seconds: float
    waiting: float
    forward: float
    backward: float

    def line(self) -> dict[str, Any]:
        """Return what the metrics file says of it."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def new_learner(
    objective: Objective, engine: Engine, teacher: Teacher | None, settings: Training, seed: int
) -> Learner:
    """Put a network on the engine's device with a fresh optimiser."""
    objective.to(engine.device).train()
    average = None
    if settings.ema:
        averaging = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        average = AveragedModel(objective.model, multi_avg_fn=averaging)
    module, optimiser = engine.set_up(objective, adamw(objective, settings.weight_decay))
    return Learner(objective, module, optimiser, average, engine, teacher, settings, seed)


def adamw(module: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW as published: β = (0.9, 0.95), no decay of biases, norms and other vectors."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.dim() > 1], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def steps(learner: Learner, stream: BatchStream, first: int, workers: int = 1) -> Generator[Step, None, None]:
    """Carry out the steps from ``first`` on, one each time that the next value is asked for.

    Raises :class:`DofaError` when the loss or the gradient is no number, or has gone beyond all bounds.
    """
    with closing(stream.ahead(first, workers)) as batches:
        for number in range(first, stream.schedule.steps):
            stage = stream.schedule.at(number)
            yield _step(learner, batches, stage, number)


def evaluate(learner: Learner, measured: Sequence[Batch]) -> dict[str, float]:
    """Return the reconstruction loss of each batch by its source, under masks that never change."""
    objective = learner.best_objective
    found = {}
    for number, batch in enumerate(measured):
        example = _example(learner, batch, learner.settings.mask_ratio, MEASURING, number, teach=False)
        with torch.no_grad(), learner.engine.arithmetic():
            losses = objective(example)
        found[batch.source] = float(losses["reconstruction"])
    return found


def measured_masking(learner: Learner, batch: Batch, number: int) -> Masking:
    """Return the masks under which the batch of the source with that number is always measured."""
    return _masking(learner, batch, learner.settings.mask_ratio, MEASURING, number)


def _step(learner: Learner, batches: Iterator[Batch], stage: Stage, number: int) -> Step:
    started, waiting, forward, images = time.perf_counter(), 0.0, 0.0, 0
    parts, sources, found = learner.settings.accumulate, [], []
    for part in range(parts):
        asked = time.perf_counter()
        batch = next(batches).to(learner.engine.device)
        got = time.perf_counter()
        with learner.engine.accumulating(learner.module, last=part == parts - 1):
            losses = _losses(learner, batch, stage, number, part)
            computed = time.perf_counter()
            learner.engine.backward(losses.total / parts)
        waiting, forward, images = waiting + got - asked, forward + computed - got, images + batch.count
        sources.append(batch.source)
        found.append(losses)
    lr = stage.learning_rate(number)
    gradient = _update(learner, lr)
    loss, reconstruction, distillation = learner.engine.mean(_means(found))
    _check(number, sources, loss, gradient)
    if learner.average is not None:
        learner.average.update_parameters(learner.network)
    seconds = time.perf_counter() - started
    return Step(
        step=number,
        stage=stage.name,
        sources=tuple(sources),
        loss=loss,
        reconstruction=reconstruction,
        distillation=None if found[0].distillation is None else distillation,
        lr=lr,
        gradient=gradient,
        images=images * learner.engine.world,
        seconds=seconds,
        waiting=waiting,
        forward=forward,
        backward=seconds - waiting - forward,
    )


def _losses(learner: Learner, batch: Batch, stage: Stage, number: int, part: int) -> Losses:
    example = _example(learner, batch, stage.mask_ratio, number, part, teach=stage.distill_weight > 0)
    with learner.engine.arithmetic():
        return summed(learner.module(example), stage.distill_weight)


def _example(learner: Learner, batch: Batch, ratio: float, number: int, part: int, *, teach: bool) -> Example:
    masking = _masking(learner, batch, ratio, number, part)
    taught = None
    if teach and learner.teacher is not None:
        with learner.engine.arithmetic():
            taught = learner.teacher.feature(batch.proxy)
    return example_of(batch, masking, taught)


def _masking(learner: Learner, batch: Batch, ratio: float, number: int, part: int) -> Masking:
    patches = (batch.pixels.shape[-1] // learner.network.patch_size) ** 2
    masking = random_masking(
        len(batch.pixels), patches, ratio, generator_of(learner.seed, number, part, learner.engine.rank)
    )
    device = batch.pixels.device
    return Masking(masking.visible.to(device), masking.hidden.to(device))


def _update(learner: Learner, lr: float) -> float:
    """Clip gradients and step, unless they are no numbers; return their norm before."""
    for group in learner.optimiser.param_groups:
        group["lr"] = lr
    parameters = [one for one in learner.objective.parameters() if one.grad is not None]
    norm = float(nn.utils.clip_grad_norm_(parameters, learner.settings.clip or float("inf")))
    if math.isfinite(norm):
        learner.optimiser.step()
    learner.optimiser.zero_grad(set_to_none=True)
    return norm


def _means(found: Sequence[Losses]) -> list[float]:
    """Return total, reconstruction and distillation over the parts of a step (0 for what does not take part)."""
    columns = zip(*((one.total, one.reconstruction, one.distillation) for one in found), strict=True)
    return [sum(0.0 if loss is None else float(loss.detach()) for loss in column) / len(found) for column in columns]


def _check(number: int, sources: Sequence[str], loss: float, gradient: float) -> None:
    if not (abs(loss) < LARGEST_LOSS and math.isfinite(gradient)):  # NaN compares as false
        raise Diverged(
            f"Training diverged at step {number} ({', '.join(sources)}): loss {loss:.3g}, gradient {gradient:.3g}. "
            "last.pt is the last good state; go on from it with a lower --lr in a new folder, with --init."
        )


def _rounded(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value
