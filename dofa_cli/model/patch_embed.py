"""The dynamic patch embedding: a small transformer writes one convolution kernel per band from its wavelength."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.model.positions import wavelength_encoding

WAVE_DIM = 128
WEIGHT_TOKENS = 128
GENERATOR_HEADS = 4
GENERATOR_FEEDFORWARD = 2048
KERNEL_SCALE = 0.01
"""Constant of the published code, absent from its files: generated kernels and biases are multiplied by it."""
PADDING = 1
"""The published convolution pads one pixel on every side, so token i sees pixels p·i - 1 … p·i + p - 2."""


class WavelengthResidual(nn.Module):
    """Two-layer residual network on the encoded wavelengths: y = x + relu(W₂ relu(W₁ x))."""

    def __init__(self, dim: int = WAVE_DIM) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, dim)
        self.w2 = nn.Linear(dim, dim)

    def forward(self, waves: Tensor) -> Tensor:
        """Map (bands, dim) to (bands, dim)."""
        return waves + F.relu(self.w2(F.relu(self.w1(waves))))


class WeightGenerator(nn.Module):
    """Turn wavelength features (bands, 128) into weights (bands, ``weight_dim``) and one bias (``bias_dim``,).

    The sequence is [128 learned weight tokens; one token per band; one bias token]. Outputs at the weight tokens are
    attention context only; a band's weights come from its own output plus its input feature.
    """

    def __init__(self, weight_dim: int, bias_dim: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            WAVE_DIM, GENERATOR_HEADS, GENERATOR_FEEDFORWARD, dropout=0.0, activation="gelu", norm_first=False
        )
        self.transformer_encoder = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.fc_weight = nn.Linear(WAVE_DIM, weight_dim)
        self.fc_bias = nn.Linear(WAVE_DIM, bias_dim)
        self.weight_tokens = nn.Parameter(torch.empty(WEIGHT_TOKENS, WAVE_DIM))
        self.bias_token = nn.Parameter(torch.empty(1, WAVE_DIM))

    def forward(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights (bands, weight_dim) and bias (bias_dim,), not yet scaled."""
        sequence = torch.cat([self.weight_tokens, waves, self.bias_token])
        out = self.transformer_encoder(sequence)
        return self.fc_weight(out[WEIGHT_TOKENS:-1] + waves), self.fc_bias(out[-1])


class DynamicPatchEmbed(nn.Module):
    """Patch embedding whose convolution kernel is generated from the wavelengths of the bands."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.embed_dim = embed_dim
        self.weight_generator = WeightGenerator(patch_size * patch_size * embed_dim, embed_dim)
        self.fclayer = WavelengthResidual()

    def wave_features(self, wavelengths_um: Tensor) -> Tensor:
        """Return the features (bands, 128) of wavelengths (bands,) in µm; the decoder shares them."""
        return torch.as_tensor(self.fclayer(wavelength_encoding(wavelengths_um, WAVE_DIM)))

    def kernel(self, wavelengths_um: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernel (D, bands, p, p) and bias (D,) for a whole wavelength list in µm.

        Kernels depend on the whole list: never cache them per band. Layout (bands, p, p, D) → (D, bands, p, p) is
        the corrected published one (weights released since August 2024).
        """
        p = self.patch_size
        with torch.autocast(wavelengths_um.device.type, enabled=False):
            weight, bias = self.weight_generator(self.wave_features(wavelengths_um))
        weight = weight.view(-1, p, p, self.embed_dim).permute(3, 0, 1, 2)
        return weight.contiguous() * KERNEL_SCALE, bias * KERNEL_SCALE

    def forward(self, pixels: Tensor, wavelengths_um: Tensor) -> Tensor:
        """Embed pixels (N, bands, H, W) as patches (N, D, H / p, W / p)."""
        kernel, bias = self.kernel(wavelengths_um)
        return embed_patches(pixels, kernel, bias)


def embed_patches(pixels: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Convolve pixels (N, bands, H, W) with a generated kernel (D, bands, p, p): (N, D, H / p, W / p)."""
    return F.conv2d(pixels, kernel, bias, stride=kernel.shape[-1], padding=PADDING)


def unfold_patches(pixels: Tensor, patch: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return the pixels under each patch of (N, bands, H, W), H and W multiples of ``patch``: (N · L, bands · p · p).

    Row i times a flattened kernel (bands · p · p) is what :func:`embed_patches` gives for patch i. ``dtype`` is that of
    the result, by default that of the pixels.
    """
    n, bands, height, width = pixels.shape
    rows, cols = height // patch, width // patch
    shifted = torch.empty_like(pixels, dtype=dtype or pixels.dtype, memory_format=torch.contiguous_format)
    shifted[:, :, :PADDING] = 0
    shifted[:, :, :, :PADDING] = 0
    shifted[:, :, PADDING:, PADDING:] = pixels[:, :, :-PADDING, :-PADDING]
    patches = shifted.reshape(n, bands, rows, patch, cols, patch).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n * rows * cols, bands * patch * patch)


def wavelength_tensor(wavelengths_um: Sequence[float] | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Return wavelengths in µm as a float32 tensor (bands,)."""
    return torch.as_tensor(wavelengths_um, dtype=torch.float32, device=device)
