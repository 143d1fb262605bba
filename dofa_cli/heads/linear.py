"""Linear probes: multinomial logistic regression, one against the rest for several classes, ridge for numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.heads.goal import Goal, Kind

Array = NDArray[Any]
NEVER = -1e4
"""Logit of a class that training never saw; half precision still holds it."""
EVEN_ODDS_FLOOR = 1e-3
SMALLEST_SPREAD = 1e-8


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation (D,) of training embeddings, in float64; a constant one is divided by 1."""

    mean: Array
    std: Array

    @classmethod
    def of(cls, features: Array) -> Self:
        """Measure features (n, D)."""
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        return cls(mean, np.where(std > SMALLEST_SPREAD * np.maximum(1, np.abs(mean)), std, 1.0))

    def __call__(self, features: Array) -> NDArray[np.float32]:
        """Standardise features (n, D)."""
        return ((features - self.mean.astype(np.float32)) / self.std.astype(np.float32)).astype(np.float32)

    def folded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Turn weights (K, D) and bias (K,) for standardised embeddings into those for embeddings as they are."""
        own = weight / self.std
        return own, bias - own @ self.mean


@dataclass(frozen=True)
class Problem:
    """What is fitted: standardised features (n, D), targets, the weight (n,) of each sample."""

    features: NDArray[np.float32]
    targets: Array
    sample_weights: NDArray[np.float64] | None = None


Model = tuple[Array, Array]
"""Weights (K, D) and bias (K,) on standardised features, float64."""


def fit_linear(
    train: Problem, validation: Problem | None, goal: Goal, scaler: Scaler, *, c: Sequence[float]
) -> tuple[dict[str, Tensor], float]:
    """Fit at each strength ``c`` in turn (the larger, the less regularised) and keep the best on ``validation``.

    The best has most right answers there (weighted as in training), or the lowest loss of several classes and numbers.
    Without validation the middle of ``c`` is taken. Returns ``weight`` (K, D) and ``bias`` (K,) for embeddings that are
    not standardised, and the strength chosen.
    """
    ordered = sorted(c)
    solve = _SOLVERS[goal.kind](train, goal)
    if validation is None:
        chosen = ordered[len(ordered) // 2]
        model = solve(chosen)
    else:
        model, chosen = _best(solve, validation, goal, ordered)
    weight, bias = scaler.folded(*model)
    return {"weight": torch.from_numpy(weight).float(), "bias": torch.from_numpy(bias).float()}, chosen


def _best(
    solve: Callable[[float], Model], validation: Problem, goal: Goal, ordered: Sequence[float]
) -> tuple[Model, float]:
    tried = [(solve(strength), strength) for strength in ordered]
    return max(tried, key=lambda one: held_out_rank(validation.features @ one[0][0].T + one[0][1], validation, goal))


def held_out_rank(logits: Array, data: Problem, goal: Goal) -> tuple[float, float]:
    """Order answers by the share of right ones, and equal shares by loss."""
    loss = held_out_loss(logits, data, goal)
    if goal.kind is not Kind.CLASSES:
        return 0.0, -loss
    return float(np.average(logits.argmax(axis=1) == data.targets, weights=data.sample_weights)), -loss


def held_out_loss(logits: Array, data: Problem, goal: Goal) -> float:
    """Return the weighted mean loss of logits (n, K): cross entropy, or the squared error of numbers."""
    if goal.kind is Kind.NUMBER:
        each = (logits[:, 0] - data.targets) ** 2
    elif goal.kind is Kind.SEVERAL:
        each = (np.logaddexp(0, logits) - data.targets * logits).mean(axis=1)
    else:
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        each = np.minimum(log_sum - logits[np.arange(len(logits)), data.targets], -NEVER)
    return float(np.average(each, weights=data.sample_weights))


def _multinomial(train: Problem, goal: Goal) -> Callable[[float], Model]:
    """Return a solver that starts each strength from the last one's answer."""
    present = np.unique(train.targets)
    regression = _regression()

    def solve(strength: float) -> Model:
        regression.set_params(C=strength)
        _quietly(regression, train.features, train.targets, train.sample_weights)
        weight, bias = np.zeros((goal.outputs, train.features.shape[1])), np.full(goal.outputs, NEVER)
        weight[present], bias[present] = _each_class(regression)
        return weight, bias

    return solve


def _one_against_rest(train: Problem, goal: Goal) -> Callable[[float], Model]:
    """Return a solver of one binary problem a class; a class that all or none have gets its log odds alone."""
    regressions = [_regression() for _ in range(goal.outputs)]

    def solve(strength: float) -> Model:
        weight, bias = np.zeros((goal.outputs, train.features.shape[1])), np.zeros(goal.outputs)
        for index, regression in enumerate(regressions):
            target = train.targets[:, index] > 0
            share = float(np.clip(target.mean(), EVEN_ODDS_FLOOR, 1 - EVEN_ODDS_FLOOR))
            bias[index] = np.log(share / (1 - share))
            if 0 < target.mean() < 1:
                regression.set_params(C=strength)
                _quietly(regression, train.features, target, train.sample_weights)
                weight[index], bias[index] = regression.coef_[0], regression.intercept_[0]
        return weight, bias

    return solve


def _ridge(train: Problem, goal: Goal) -> Callable[[float], Model]:  # noqa: ARG001 - as the other solvers
    from sklearn.linear_model import Ridge

    def solve(strength: float) -> Model:
        ridge = Ridge(alpha=1 / strength).fit(train.features, train.targets, train.sample_weights)
        return ridge.coef_.astype(np.float64)[None], np.atleast_1d(ridge.intercept_).astype(np.float64)

    return solve


_SOLVERS: dict[Kind, Callable[[Problem, Goal], Callable[[float], Model]]] = {
    Kind.CLASSES: _multinomial,
    Kind.SEVERAL: _one_against_rest,
    Kind.NUMBER: _ridge,
}


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=_MOST_ITERATIONS, warm_start=True)


_MOST_ITERATIONS = 200


def _quietly(regression: Any, features: Array, targets: Array, weights: Array | None) -> None:
    """Fit; that the last iteration is not exactly the optimum does no harm, as strengths are compared by what holds."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(features, targets, weights)


def _each_class(regression: Any) -> Model:
    """Return a row a class; of two classes scikit-learn keeps the difference alone."""
    weight, bias = regression.coef_.astype(np.float64), regression.intercept_.astype(np.float64)
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
