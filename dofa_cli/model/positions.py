"""Encodings of where and at which wavelength: one-dimensional for wavelengths, two-dimensional for patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NANOMETRES_PER_MICROMETRE = 1000.0


def wavelength_encoding(wavelengths_um: Tensor, dim: int) -> Tensor:
    """Encode wavelengths (bands,) in µm as (bands, dim): ``[sin(λω) | cos(λω)]``, λ in nm, ω_i = 10000^(-2i/dim).

    Halves stand side by side, as in the published code; equation 5 of arXiv 2403.15356 interleaves them.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=wavelengths_um.device) / half
    omega = 1.0 / 10000.0**exponent  # the published order of operations: radar's phase is large enough to feel rounding
    phase = torch.outer(wavelengths_um.float() * NANOMETRES_PER_MICROMETRE, omega)  # (bands, dim / 2)
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def resample_positions(pos_embed: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resample a square position embedding (1, 1 + n·n, D) to ``grid`` = (rows, cols): (1, 1 + rows·cols, D).

    Bicubic with antialiasing; the class position is kept, and the native grid passes through untouched.
    """
    side = round((pos_embed.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return pos_embed
    cls, patches = pos_embed[:, :1], pos_embed[:, 1:]
    square = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2).float()  # (1, D, n, n)
    resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True)
    return torch.cat([cls, resized.flatten(2).transpose(1, 2).to(cls.dtype)], dim=1)
