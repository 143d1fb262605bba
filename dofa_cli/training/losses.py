"""What is minimised: the error of hidden patches, and the angle to a teacher's features (arXiv 2403.15356)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

VARIANCE_FLOOR = 1e-6


def normalised(patches: Tensor) -> Tensor:
    """Standardise each patch (N, M, P) by its own mean and unbiased variance over pixels and bands.

    (x − mean) / √(var + 10⁻⁶), as published.
    """
    mean, var = patch_statistics(patches)
    return (patches - mean) / (var + VARIANCE_FLOOR).sqrt()


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased variance of each patch (N, M, P), both (N, M, 1)."""
    return patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)


def masked_error(predicted: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean squared error of hidden patches (N, M, P); those not ``counted`` (N, M) are left out.

    0 where none counts.
    """
    error = (predicted.float() - target).square().mean(dim=-1)  # (N, M)
    if counted is None:
        return error.mean()
    weight = counted.to(error.dtype)
    return (error * weight).sum() / weight.sum().clamp(min=1)


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Negative mean cosine between features (N, D) of student and teacher: −1 at best."""
    return -F.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def mean_of(losses: list[Tensor]) -> float:
    """Return the mean of scalar losses as a number."""
    return float(torch.stack(losses).mean()) if losses else float("nan")
