"""k nearest neighbours: the labels of the most similar stored embeddings vote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dofa_cli.heads.goal import Goal, Kind

SCORES = 16 * 2**20
"""Similarities (tokens × stored embeddings) computed at once: 64 MB."""
FLOOR = 1e-3
"""Share of the vote added to every class, so that its logarithm is finite."""


class Neighbours(nn.Module):
    """Stored unit vectors and their targets.

    The ``k`` most similar by cosine vote with weight exp(similarity / ``temperature``) (Wu et al. 2018, arXiv
    1805.01978). ``features`` is (n, D); ``votes`` (n, K) one-hot classes, several classes, or numbers (n, 1);
    one-hot votes may count differently by class.
    """

    def __init__(self, features: Tensor, votes: Tensor, goal: Goal, k: int, temperature: float) -> None:
        super().__init__()
        self.register_buffer("features", features)
        self.register_buffer("votes", votes)
        self.goal = goal
        self.k = min(k, len(features))
        self.temperature = temperature

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], goal: Goal, width: int) -> Self:
        """Read what :func:`fit_knn` returned; :class:`ValueError` where its shapes do not fit."""
        features, labels = tensors["features"].float(), tensors["labels"]
        votes = F.one_hot(labels, goal.outputs) if goal.kind is Kind.CLASSES else labels.view(len(labels), -1)
        if "vote" in tensors:
            votes = votes * tensors["vote"]
        if features.shape != (len(labels), width) or votes.shape[1] != goal.outputs:
            raise ValueError(f"features {tuple(features.shape)}, labels {tuple(labels.shape)}")
        return cls(features, votes.float(), goal, int(settings["k"]), float(settings["temperature"]))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (…, D) to logits (…, K): the logarithm of each class's share, or the mean number."""
        rows = tokens.reshape(-1, tokens.shape[-1])
        together = max(1, SCORES // len(self.get_buffer("features")))
        share = torch.cat(
            [self._share(rows[first : first + together]) for first in range(0, max(1, len(rows)), together)]
        )
        return self._logits(share).view(*tokens.shape[:-1], self.goal.outputs)

    def _share(self, rows: Tensor) -> Tensor:
        similar, nearest = (F.normalize(rows, dim=-1) @ self.get_buffer("features").T).topk(self.k, dim=-1)
        weight = (similar / self.temperature).softmax(dim=-1)  # (n, k)
        share = (weight[..., None] * self.get_buffer("votes")[nearest]).sum(dim=1)
        return share / share.sum(dim=1, keepdim=True) if self.goal.kind is Kind.CLASSES else share

    def _logits(self, share: Tensor) -> Tensor:
        if self.goal.kind is Kind.NUMBER:
            return share
        if self.goal.kind is Kind.SEVERAL:
            return ((share + FLOOR) / (1 - share + FLOOR)).log()
        return (share + FLOOR).log()


def fit_knn(
    features: NDArray[np.float32],
    targets: NDArray[Any],
    goal: Goal,
    by_class: Tensor | None = None,
    *,
    most: int,
    seed: int,
) -> dict[str, Tensor]:
    """Store unit vectors (n, D) in half precision and their targets, at most ``most`` of them.

    ``by_class`` (K,) is how much a sample of each class counts.
    """
    kept = stratified(targets, goal, most, seed)
    unit = F.normalize(torch.from_numpy(features[kept]).float(), dim=-1)
    labels = torch.from_numpy(targets[kept])
    stored = {"features": unit.half(), "labels": labels.long() if goal.kind is Kind.CLASSES else labels.float()}
    if by_class is None:
        return stored
    before, after = (np.bincount(one, minlength=goal.outputs) for one in (targets, targets[kept]))
    return stored | {"vote": by_class * torch.from_numpy(before / np.maximum(after, 1)).float()}


def stratified(targets: NDArray[Any], goal: Goal, most: int, seed: int) -> NDArray[np.intp]:
    """Choose at most ``most`` samples, their rows ascending: of classes as evenly as their numbers allow."""
    if len(targets) <= most:
        return np.arange(len(targets))
    mixed = np.random.default_rng(seed).permutation(len(targets))
    if goal.kind is not Kind.CLASSES:
        return np.sort(mixed[:most])
    turn = np.empty(len(targets), dtype=np.intp)  # the how-manieth of its class a sample is
    for index in range(goal.outputs):
        own = mixed[targets[mixed] == index]
        turn[own] = np.arange(len(own))
    return np.sort(mixed[np.argsort(turn[mixed], kind="stable")][:most])
