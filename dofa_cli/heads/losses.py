"""What training of heads minimises, and the score by which an epoch is judged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dofa_cli.heads.goal import Goal, Kind

UNLABELLED = -1
SMALLEST = 1e-12


@dataclass(frozen=True)
class Objective:
    """The loss of a goal; ``weights`` (K,) count classes differently, ``dice`` is the share of the overlap loss."""

    goal: Goal
    weights: Tensor | None = None
    dice: float = 0.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of logits (N, K, …) over labelled places, 0 where there are none.

        ``target`` is (N, …): classes with −1 where unlabelled (cross entropy), standardised numbers with NaN (smooth
        absolute error); or (N, K) several classes (soft margin).
        """
        logits = logits.float()
        if self.goal.kind is Kind.SEVERAL:
            return F.multilabel_soft_margin_loss(logits, target.float())
        if self.goal.kind is Kind.NUMBER:
            known = target.isfinite()
            error = F.smooth_l1_loss(logits[:, 0], torch.where(known, target, 0.0).float(), reduction="none")
            return (error * known).sum() / known.sum().clamp(min=1)
        return self._cross_entropy(logits, target) + (self.dice * _overlap_loss(logits, target) if self.dice else 0.0)

    def on(self, device: torch.device) -> Objective:
        """Return the same with its weights on ``device``."""
        return Objective(self.goal, None if self.weights is None else self.weights.to(device), self.dice)

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        total = F.cross_entropy(logits, target, self.weights, ignore_index=UNLABELLED, reduction="sum")
        labelled = target[target != UNLABELLED]
        count = labelled.numel() if self.weights is None else float(self.weights[labelled].sum())
        return total / max(count, SMALLEST)


def _overlap_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 − the mean Dice coefficient of the classes that are present in ``target``."""
    labelled = target != UNLABELLED
    truth = F.one_hot(target.clamp(min=0), logits.shape[1]).movedim(-1, 1) * labelled[:, None]
    share = logits.softmax(dim=1) * labelled[:, None]
    within = (0, *range(2, logits.dim()))
    both, either = (share * truth).sum(within), (share + truth).sum(within)
    present = truth.sum(within) > 0
    return (1 - (2 * both / either.clamp(min=SMALLEST)))[present].sum() / present.sum().clamp(min=1)


class Tally:
    """Loss and score of held-out samples, summed up over batches.

    The score is the mean IoU of the classes that are there (windows), the share of right answers (images), or the
    negative loss.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.confusion = torch.zeros(objective.goal.outputs, objective.goal.outputs, dtype=torch.int64)
        self.loss_sum = 0.0
        self.count = 0
        self.dense = False

    def add(self, logits: Tensor, target: Tensor) -> None:
        """Count logits (N, K, …) against targets."""
        kind = self.objective.goal.kind
        labelled = target != UNLABELLED if kind is Kind.CLASSES else target.isfinite()
        count = int(labelled.sum())
        self.loss_sum += float(self.objective(logits, target)) * count
        self.count += count
        if kind is Kind.CLASSES:
            self.dense = target.dim() > 1
            size = self.objective.goal.outputs
            pairs = target[labelled] * size + logits.argmax(dim=1)[labelled]
            self.confusion += torch.bincount(pairs.cpu(), minlength=size**2).view(size, size)

    @property
    def loss(self) -> float:
        """Mean loss of a labelled place."""
        return self.loss_sum / max(1, self.count)

    @property
    def score(self) -> float:
        """What the best epoch has most of."""
        if self.objective.goal.kind is not Kind.CLASSES:
            return -self.loss
        right, truth = self.confusion.diagonal(), self.confusion.sum(dim=1)
        if not self.dense:
            return float(right.sum() / truth.sum().clamp(min=1))
        union = truth + self.confusion.sum(dim=0) - right
        return float((right / union.clamp(min=1))[truth > 0].mean()) if truth.any() else 0.0
