"""What is minimised: the error of hidden patches, and the angle to a teacher's features (arXiv 2403.15356)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

VARIANCE_FLOOR = 1e-6


def normalised(patches: Tensor, bands: int = 1) -> Tensor:
    """Standardise each patch (N, M, P) by its own mean and unbiased variance: (x − mean) / √(var + 10⁻⁶).

    As published over all its pixels and bands together (``bands`` = 1), or each of its ``bands`` by itself. Computed by
    a layer norm, which is several times as quick and divides by the biased variance.
    """
    by_band = _by_band(patches, bands)
    count = by_band.shape[-1]
    biased = (count - 1) / count
    return _by_pixel(F.layer_norm(by_band, (count,), eps=VARIANCE_FLOOR * biased) * biased**0.5)


def restored(predicted: Tensor, patches: Tensor, bands: int = 1) -> Tensor:
    """Give predictions (N, M, P) of standardised patches the mean and variance that ``patches`` (N, M, P) have."""
    var, mean = torch.var_mean(_by_band(patches, bands), dim=-1, keepdim=True)
    return _by_pixel(_by_band(predicted, bands) * (var + VARIANCE_FLOOR).sqrt() + mean)


def masked_error(predicted: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean squared error of hidden patches (N, M, P); those not ``counted`` (N, M) are left out.

    0 where none counts.
    """
    if counted is None:
        return F.mse_loss(predicted.float(), target)
    error = F.mse_loss(predicted.float(), target, reduction="none").mean(dim=-1)  # (N, M)
    weight = counted.to(error.dtype)
    return (error * weight).sum() / weight.sum().clamp(min=1)


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Negative mean cosine between features (N, D) of student and teacher: −1 at best."""
    return -F.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def _by_band(patches: Tensor, bands: int) -> Tensor:
    """View patches (N, M, P), ordered (pixel, band), as (N, M, bands, P / bands)."""
    return patches.reshape(*patches.shape[:-1], -1, bands).transpose(-1, -2)


def _by_pixel(by_band: Tensor) -> Tensor:
    """Undo :func:`_by_band`."""
    return by_band.transpose(-1, -2).flatten(-2)
