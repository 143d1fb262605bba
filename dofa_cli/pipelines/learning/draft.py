"""A head to be: everything of it but what training finds; and what can be asked of any way to train one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import ClassTable
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.goal import Goal, Kind
from dofa_cli.heads.head import Head, Method, Recipe, Target, Task
from dofa_cli.pipelines.inference.encoder import Weights

Index = NDArray[np.int64]
"""Positions of samples."""
Shares = NDArray[np.float64]
"""How much ground each class (K,) has, of which samples show a part."""


@dataclass(frozen=True)
class Draft:
    """What a head will be; ``weighting`` is how much classes count in training, ``settings`` what the user gave."""

    task: Task
    method: Method
    recipe: Recipe
    weights: Weights
    classes: ClassTable | None = None
    several: bool = False
    target: Target | None = None
    weighting: str = "none"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def goal(self) -> Goal:
        """What is learnt."""
        if self.classes is None:
            return Goal(Kind.NUMBER, 1)
        return Goal(Kind.SEVERAL if self.several else Kind.CLASSES, len(self.classes))

    def head(
        self, fitted: Fitted, metrics: Mapping[str, Any] | None = None, made: Mapping[str, str] | None = None
    ) -> Head:
        """Return the head that training gave."""
        return Head(
            task=self.task,
            method=self.method,
            tensors=fitted.tensors,
            settings=fitted.settings,
            recipe=self.recipe,
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            architecture=self.weights.config.to_json(),
            classes=self.classes,
            several=self.several,
            target=self.target,
            metrics=metrics or {},
            made=made or {},
        )


class Learner(Protocol):
    """Labelled samples that a head can be trained on and tried with, whatever they are."""

    @property
    def draft(self) -> Draft:
        """The head to be."""

    def fit(
        self, train: Index, validation: Index | None, settings: Mapping[str, Any], shares: Shares | None = None
    ) -> Fitted:
        """Train on some samples; ``validation`` decides when to stop, ``shares`` tell how frequent classes are."""

    def logits(self, head: Head, at: Index) -> NDArray[np.float32]:
        """Return a trained head's logits (n, K) for some samples, NaN where it has none."""


def probabilities(goal: Goal, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities (n, K) of logits (n, K), or standardised numbers (n, 1) as they are."""
    import torch

    return np.asarray(goal.probabilities(torch.from_numpy(logits)).numpy())


def final_settings(draft: Draft, rounds: list[Fitted]) -> dict[str, Any]:
    """Return what to train with on all samples: the medians of what each round's validation chose."""
    chosen: dict[str, Any] = dict(draft.settings)
    for name, setting in (("chosen_c", "c"), ("trained_epochs", "epochs")):
        found = [one.settings[name] for one in rounds if name in one.settings]
        if found:
            middle = float(np.median(found))
            chosen[setting] = [middle] if setting == "c" else max(1, round(middle))
    return chosen
