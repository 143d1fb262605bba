"""The wavelength-conditioned prediction layer of masked pretraining."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.model.patch_embed import KERNEL_SCALE, WeightGenerator


class DynamicPrediction(nn.Module):
    """Predict the pixels of every patch, for any number of bands, with generated weights.

    Rows of the generated matrix are ordered (band, row, col) as in the published code, although its targets are
    patchified as (row, col, band). ``pixel_major`` puts them in the targets' order, so that a band's pixels come from
    the weights that its own wavelength generated. The bias is generated and, as published, not used.
    """

    def __init__(self, patch_size: int, decoder_dim: int, *, pixel_major: bool = False) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.decoder_dim = decoder_dim
        self.pixel_major = pixel_major
        self.weight_generator = WeightGenerator(patch_size * patch_size * decoder_dim, decoder_dim)

    def forward(self, tokens: Tensor, wave_features: Tensor) -> Tensor:
        """Map decoder tokens (N, L, d) and the encoder's features (bands, 128) to pixels (N, L, bands·p·p)."""
        with torch.autocast(wave_features.device.type, enabled=False):
            weight, _ = self.weight_generator(wave_features)
        if self.pixel_major:  # (bands, p·p, d) → (p·p, bands, d)
            weight = weight.view(-1, self.patch_size**2, self.decoder_dim).transpose(0, 1)
        return F.linear(tokens, weight.reshape(-1, self.decoder_dim) * KERNEL_SCALE)
