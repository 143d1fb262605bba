"""Tokens of several inputs of the same cells, joined to what a head takes: side by side, or their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dofa_cli.errors import DamagedHead
from dofa_cli.heads.head import Combine, Head
from dofa_cli.model.config import DofaConfig

FILL = "inputs.fill"
"""Name of the tensor (inputs, D) of a head file that stands in for inputs that are missing."""


@dataclass(frozen=True)
class Joining:
    """How tokens of several inputs become one; ``fill`` (inputs, D) stands in where they are put side by side."""

    combine: Combine
    fill: Tensor | None = None

    @classmethod
    def of(cls, head: Head) -> Joining:
        """Read a head of several inputs; :class:`DamagedHead` where its tensors do not fit."""
        combine, fill = Combine(head.recipe.combine), head.tensors.get(FILL)
        if combine is Combine.MEAN:
            return cls(combine)
        wanted = (len(head.recipe.inputs), DofaConfig.from_json(head.architecture).embed_dim)
        if fill is None or fill.shape != wanted:
            raise DamagedHead("The head does not hold what stands in for each of its inputs. Train it again.")
        return cls(combine, fill.float())

    def to(self, device: torch.device) -> Joining:
        """Return the same on a device."""
        return self if self.fill is None else Joining(self.combine, self.fill.to(device))

    def __call__(self, parts: Sequence[Tensor | None]) -> Tensor:
        """Join tokens (…, D) of each input, NaN in cells where it is missing and ``None`` where it is everywhere.

        Returns (…, inputs · D), or means (…, D) over the inputs that are there; NaN where none is.
        """
        if self.fill is None:
            return _mean([part for part in parts if part is not None])
        return _side_by_side(parts, self.fill)


def is_there(tokens: Tensor) -> Tensor:
    """Say of tokens (…, D) which are known (…)."""
    return tokens[..., 0].isfinite()


def _mean(parts: Sequence[Tensor]) -> Tensor:
    total, count = torch.zeros_like(parts[0]), torch.zeros_like(parts[0][..., :1])
    for part in parts:
        known = is_there(part)[..., None]
        total += torch.where(known, part, 0.0)
        count += known
    return total / count  # 0 / 0 is the NaN of cells without any


def _side_by_side(parts: Sequence[Tensor | None], fill: Tensor) -> Tensor:
    given = [part for part in parts if part is not None]
    known = torch.stack([is_there(part) for part in given]).any(dim=0)[..., None]
    filled = [
        mean.expand_as(given[0]) if part is None else torch.where(is_there(part)[..., None], part, mean)
        for part, mean in zip(parts, fill, strict=True)
    ]
    return torch.where(known, torch.cat(filled, dim=-1), torch.nan)
