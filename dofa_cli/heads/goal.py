"""What a head's numbers mean: one class of K, several at once, or a number; and how they become probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Head

LARGEST_WEIGHT = 20.0
"""A class counts at most this many times as much as it would unweighted: one stray label may not steer a network."""


class Kind(StrEnum):
    """What is predicted for a place or an image."""

    CLASSES = "classes"
    SEVERAL = "several"
    NUMBER = "number"


@dataclass(frozen=True)
class Goal:
    """What a head learns: ``outputs`` is the number of classes K, or 1 for a number.

    Targets of a number are standardised by the caller, as :class:`~dofa_cli.heads.head.Target` says.
    """

    kind: Kind
    outputs: int

    def __post_init__(self) -> None:
        """Take a kind by its name too."""
        object.__setattr__(self, "kind", Kind(self.kind))

    @classmethod
    def of(cls, head: Head) -> Goal:
        """Return what a trained head predicts."""
        if head.classes is None:
            return NUMBER
        return cls(Kind.SEVERAL if head.several else Kind.CLASSES, len(head.classes))

    @classmethod
    def of_targets(cls, targets: NDArray[np.generic], classes: int | None = None) -> Goal:
        """Read the goal off targets: (n, K) several classes, floats (n,) a number, integers (n,) one class of K."""
        if targets.ndim == 2:
            return cls(Kind.SEVERAL, targets.shape[1])
        if np.issubdtype(targets.dtype, np.floating):
            return NUMBER
        return cls(Kind.CLASSES, int(targets.max()) + 1 if classes is None else classes)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map logits (…, K) to probabilities: softmax, or a sigmoid for several classes; numbers stay as they are."""
        if self.kind is Kind.NUMBER:
            return logits
        return logits.sigmoid() if self.kind is Kind.SEVERAL else logits.softmax(dim=-1)


NUMBER = Goal(Kind.NUMBER, 1)


class Weighting(StrEnum):
    """How much a label counts: all the same, or each class as much as any other."""

    NONE = "none"
    BALANCED = "balanced"


def class_weights(weighting: str, counts: Tensor) -> Tensor | None:
    """Return n / (K · count) for each class of ``counts`` (K,), K classes having labels; ``None`` unweighted.

    Classes without labels weigh 1, none more than :data:`LARGEST_WEIGHT`. Raises :class:`OptionError` for a weighting
    that there is not.
    """
    if weighting not in list(Weighting):
        raise OptionError(f"No class weights '{weighting}'. Use {' or '.join(Weighting)}.")
    if weighting == Weighting.NONE:
        return None
    seen = counts > 0
    mean = counts.sum() / seen.sum().clamp(min=1)
    return torch.where(seen, mean / counts.clamp(min=1), 1.0).clamp(max=LARGEST_WEIGHT).float()
