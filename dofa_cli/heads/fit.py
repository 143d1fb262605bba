"""Train heads of single embeddings: linear, k nearest neighbours, perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.errors import OptionError, TooFewLabels
from dofa_cli.heads.goal import Goal, Kind, class_weights
from dofa_cli.heads.head import Method
from dofa_cli.heads.knn import fit_knn
from dofa_cli.heads.linear import Problem, Scaler, fit_linear
from dofa_cli.heads.losses import Objective
from dofa_cli.heads.perceptron_training import train_perceptron
from dofa_cli.heads.settings import token_settings

Labelled = tuple[NDArray[np.float32], NDArray[Any]]
"""Features (n, D) and targets: classes (n,) as integers, several classes (n, K), or standardised numbers (n,)."""


class Fitted(NamedTuple):
    """What a head file holds of a training run: ``tensors`` by name and plain ``settings``, as used."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any]


def fit_tokens(
    method: Method,
    features: NDArray[np.float32],
    targets: NDArray[Any],
    *,
    classes: int | None = None,
    weights: str = "none",
    shares: NDArray[Any] | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    validation: Labelled | None = None,
) -> Fitted:
    """Train a head on features (n, D).

    ``targets`` say what is learnt: integers (n,) one class of ``classes`` (by default the largest and 1), an array (n,
    K) of 0 and 1 several classes, floats (n,) a number, standardised by the caller. ``weights`` is ``none`` or
    ``balanced`` (one class only); with ``none``, classes count as their ``shares`` (K,) of the ground, where these are
    known, and not as the samples happen to hold. ``validation`` picks linear's strength and stops the perceptron.

    Raises :class:`OptionError` for unknown settings, :class:`TooFewLabels` where nothing can be learnt.
    """
    if not method.is_token_head:
        raise OptionError(f"Method {method} learns from pixels, not from single embeddings.")
    goal = Goal.of_targets(targets, classes) if len(targets) else Goal(Kind.CLASSES, 0)
    _enough(targets, goal)
    chosen = token_settings(method, settings or {})
    by_class = _class_weights(targets, goal, weights, shares)
    if method is Method.KNN:
        return Fitted(fit_knn(features, targets, goal, by_class, most=chosen["most"], seed=seed), chosen)
    scaler = Scaler.of(features)
    train = _problem(scaler, (features, targets), by_class)
    held_out = None if validation is None or not len(validation[1]) else _problem(scaler, validation, by_class)
    if method is Method.LINEAR:
        tensors, strength = fit_linear(train, held_out, goal, scaler, c=chosen["c"])
        return Fitted(tensors, chosen | {"chosen_c": strength})
    trained, epochs = train_perceptron(train, held_out, Objective(goal, by_class), chosen, seed)
    return Fitted(trained.tensors(scaler), chosen | {"trained_epochs": epochs})


def _enough(targets: NDArray[Any], goal: Goal) -> None:
    if not len(targets):
        raise TooFewLabels("There are no labels to train on.")
    if goal.kind is Kind.CLASSES and len(np.unique(targets)) < 2:
        raise TooFewLabels(f"All {len(targets)} labels to train on are of one class; at least two are needed.")


def _class_weights(targets: NDArray[Any], goal: Goal, weighting: str, shares: NDArray[Any] | None) -> Tensor | None:
    if goal.kind is not Kind.CLASSES:
        return None
    counts = np.bincount(targets, minlength=goal.outputs)
    weights = class_weights(weighting, torch.from_numpy(counts))
    if weights is not None or shares is None:
        return weights
    ratio = np.where(counts > 0, shares / shares.sum() * counts.sum() / np.maximum(counts, 1), 1.0)
    return torch.from_numpy(ratio).float()


def _problem(scaler: Scaler, data: Labelled, by_class: Tensor | None) -> Problem:
    features, targets = data
    return Problem(scaler(features), targets, None if by_class is None else by_class.double().numpy()[targets])
