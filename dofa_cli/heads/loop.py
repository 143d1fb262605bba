"""The training loop of heads that learn from pixels: epochs, the best of which is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.errors import Diverged, OutOfMemory, TooFewLabels
from dofa_cli.heads.augment import brightened, turned_together
from dofa_cli.heads.goal import Goal, Kind, class_weights
from dofa_cli.heads.losses import UNLABELLED, Objective, Tally
from dofa_cli.heads.settings import Training
from dofa_cli.model.device import Precision, choose_device, choose_precision, keep_freed_memory, products
from dofa_cli.model.vit import Dofa

LARGEST_GRADIENT = 1.0
"""Norm to which gradients are shortened: one odd batch may not undo what a pretrained encoder knows."""


class Samples(Protocol):
    """Windows or images with their targets; what a batch holds depends on its indices alone."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return standardised float32 pixels (N, bands, s, s) and targets."""


class Network(nn.Module):
    """What is trained: ``forward`` maps pixels to the logits of each head, ``shares`` weigh their losses.

    Out of training only the first head is computed.
    """

    shares: tuple[float, ...] = (1.0,)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels (N, bands, s, s) to logits (N, K, …)."""
        raise NotImplementedError

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the optimiser's groups, each with its peak rate."""
        raise NotImplementedError


@dataclass(frozen=True)
class Backbone:
    """The encoder that a head is trained on, folded for ``wavelengths_um``, and where that is computed."""

    dofa: Dofa
    wavelengths_um: Sequence[float]
    device_name: str = "auto"
    wanted_precision: Precision = Precision.AUTO
    device: torch.device = field(init=False)
    precision: Precision = field(init=False)

    def __post_init__(self) -> None:
        """Choose device and precision; :class:`~dofa_cli.errors.DeviceError` where they are not to be had."""
        object.__setattr__(self, "device", choose_device(self.device_name))
        object.__setattr__(self, "precision", choose_precision(self.wanted_precision, self.device))
        if self.device.type == "cpu":
            keep_freed_memory()


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave: mean losses, the ``score`` on validation (of :class:`Tally`), and whether it is the best."""

    number: int
    of: int
    loss: float
    validation_loss: float | None = None
    score: float | None = None
    best: bool = False


OnEpoch = Callable[[Epoch], object]


@dataclass(frozen=True)
class Course:
    """A training run: its settings, its loss, where it is computed, and the seed that all chance comes from."""

    training: Training
    objective: Objective
    backbone: Backbone
    seed: int

    def learning_share(self, step: int, steps: int) -> float:
        """Return the share of the peak rate at a step: a linear rise, then half a cosine to 0."""
        rise = max(1, round(self.training.warmup * steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def train_network(
    network: Network, course: Course, train: Samples, validation: Samples | None, on_epoch: OnEpoch
) -> list[Epoch]:
    """Train in place and leave the state of the best epoch (the last one without validation); return all epochs.

    Raises :class:`Diverged` when loss or gradient is no number, :class:`OutOfMemory` where a batch does not fit.
    """
    training = course.training
    network.to(course.backbone.device)
    optimiser = torch.optim.AdamW(network.groups(training))
    steps = training.epochs * -(-len(train) // training.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: course.learning_share(step, steps))
    generator = torch.Generator().manual_seed(course.seed)
    history: list[Epoch] = []
    best: Epoch | None = None
    state = trained_state(network)
    for number in range(1, training.epochs + 1):
        losses = []
        for pixels, target in _batches(train, training, generator):
            losses.append(_step(network, course, optimiser, pixels, target))
            schedule.step()
        tally = _held_out(network, course, validation) if validation is not None and len(validation) else None
        epoch = _judged(Epoch(number, training.epochs, sum(losses) / len(losses)), tally, best)
        history.append(epoch)
        on_epoch(epoch)
        if epoch.best:
            best, state = epoch, trained_state(network)
        elif best is not None and number - best.number >= training.patience:
            break
    network.load_state_dict(state, strict=False)
    network.eval()
    return history


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Copy the parameters that are trained."""
    return {name: one.detach().clone() for name, one in network.named_parameters() if one.requires_grad}


def counted(samples: Samples, goal: Goal, batch: int) -> Tensor:
    """Count the labels of each class (K,) over all samples."""
    counts = torch.zeros(goal.outputs, dtype=torch.int64)
    for rows in torch.arange(len(samples)).split(batch):  # type: ignore[no-untyped-call]
        target = samples.batch(rows.tolist())[1]
        counts += torch.bincount(target[target != UNLABELLED].flatten(), minlength=goal.outputs)
    return counts


def new_objective(samples: Samples, goal: Goal, weighting: str, training: Training) -> Objective:
    """Return the loss for samples; :class:`TooFewLabels` where nothing can be learnt from them."""
    if not len(samples):
        raise TooFewLabels("There are no labels to train on.")
    if goal.kind is not Kind.CLASSES:
        return Objective(goal)
    counts = counted(samples, goal, training.batch)
    if int((counts > 0).sum()) < 2:
        raise TooFewLabels(f"All {int(counts.sum())} labels to train on are of one class; at least two are needed.")
    return Objective(goal, class_weights(weighting, counts), training.dice)


def settings_of(training: Training, history: Sequence[Epoch]) -> dict[str, Any]:
    """Return what a head file keeps of a run: its settings, the epoch it holds, and the course of the losses."""
    kept = next((epoch for epoch in reversed(history) if epoch.best), history[-1])
    return training.plain() | {"trained_epochs": kept.number, "history": [asdict(epoch) for epoch in history]}


def sized(logits: Tensor, target: Tensor) -> Tensor:
    """Resample logits (N, K, h, w) bilinearly to a target (N, s, s); those of whole images (N, K) stay."""
    if logits.dim() < 4:
        return logits
    return F.interpolate(logits.float(), target.shape[-2:], mode="bilinear", align_corners=False)


def _batches(samples: Samples, training: Training, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(samples), generator=generator)
    for rows in order.split(training.batch):  # type: ignore[no-untyped-call]
        pixels, target = samples.batch(rows.tolist())
        if training.turns:
            pixels, target = turned_together(pixels, target, generator)
        yield (brightened(pixels, training.jitter, generator) if training.jitter else pixels), target


def _step(network: Network, course: Course, optimiser: torch.optim.Optimizer, pixels: Tensor, target: Tensor) -> float:
    network.train()
    backbone = course.backbone
    target = target.to(backbone.device)
    objective = course.objective.on(backbone.device)
    optimiser.zero_grad(set_to_none=True)
    try:
        with products(backbone.device, backbone.precision):
            heads = network(pixels.to(backbone.device))
            parts = [
                share * objective(sized(one, target), target) for share, one in zip(network.shares, heads, strict=True)
            ]
            loss = torch.stack(parts).sum()
            loss.backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        raise OutOfMemory(
            f"{backbone.device} has too little memory to train on {len(pixels)} windows of {pixels.shape[-1]} pixels "
            "at once. Give a smaller batch."
        ) from None
    norm = nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
    if not (loss.isfinite() and norm.isfinite()):
        rate = max(group["lr"] for group in optimiser.param_groups)
        raise Diverged(f"The loss is {float(loss.detach()):g} at a learning rate of {rate:.2g}. Give a smaller lr.")
    optimiser.step()
    return float(loss.detach())


@torch.no_grad()
def _held_out(network: Network, course: Course, validation: Samples) -> Tally:
    """Tally the network's answers on samples that are not trained on."""
    backbone = course.backbone
    tally = Tally(course.objective.on(backbone.device))
    network.eval()
    with products(backbone.device, backbone.precision):
        for rows in torch.arange(len(validation)).split(course.training.batch):  # type: ignore[no-untyped-call]
            pixels, target = validation.batch(rows.tolist())
            target = target.to(backbone.device)
            tally.add(sized(network(pixels.to(backbone.device))[0], target), target)
    return tally


def _judged(epoch: Epoch, tally: Tally | None, best: Epoch | None) -> Epoch:
    """Add what validation says: a higher score is better, at the same score a lower loss; without it the last is."""
    if tally is None:
        return replace(epoch, best=epoch.number == epoch.of)
    better = best is None or (tally.score, -tally.loss) > (best.score or 0.0, -(best.validation_loss or 0.0))
    return replace(epoch, validation_loss=tally.loss, score=tally.score, best=better)
