"""The dynamic patch embedding: layout of the kernel, what it depends on, and which pixels a token sees."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.patch_embed import (
    KERNEL_SCALE,
    DynamicPatchEmbed,
    embed_patches,
    unfold_patches,
    wavelength_tensor,
)
from dofa_cli.model.vit import random_dofa

PATCH, DIM = 4, 24
WAVELENGTHS = torch.tensor([0.665, 0.56, 0.49, 0.842, 1.61])
ORDER = torch.tensor([3, 0, 4, 2, 1])


@pytest.fixture(scope="module")
def embed() -> DynamicPatchEmbed:
    return random_dofa(DofaConfig(1, PATCH, DIM, depth=1, num_heads=3, image_size=16)).patch_embed.requires_grad_(False)


def pixels(bands: int, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.randn(2, bands, height, width, generator=torch.Generator().manual_seed(1))


def old_kernel(embed: DynamicPatchEmbed, wavelengths: torch.Tensor) -> torch.Tensor:
    """The kernel as files of before August 2024 want it: the same numbers, read as (D, bands, p, p)."""
    weight, _ = embed.weight_generator(embed.wave_features(wavelengths))
    return weight.view(DIM, len(wavelengths), PATCH, PATCH) * KERNEL_SCALE


def test_generated_numbers_are_laid_out_as_row_col_channel_within_a_band(embed):
    flat, _ = embed.weight_generator(embed.wave_features(WAVELENGTHS))
    kernel, _ = embed.kernel(WAVELENGTHS)
    for band, row, col, channel in [(0, 0, 0, 0), (1, 2, 3, 5), (4, 3, 1, 23), (2, 0, 3, 11)]:
        generated = flat[band, (row * PATCH + col) * DIM + channel]
        assert kernel[channel, band, row, col] == generated * 0.01


def test_bands_may_be_permuted_together_with_their_wavelengths(embed):
    x = pixels(5)
    torch.testing.assert_close(embed(x[:, ORDER], WAVELENGTHS[ORDER]), embed(x, WAVELENGTHS), rtol=1e-5, atol=1e-6)


def test_the_old_layout_is_another_kernel_that_feels_the_band_order(embed):
    x, bias = pixels(5), torch.zeros(DIM)
    new = embed_patches(x, embed.kernel(WAVELENGTHS)[0], bias)
    old = embed_patches(x, old_kernel(embed, WAVELENGTHS), bias)
    permuted = embed_patches(x[:, ORDER], old_kernel(embed, WAVELENGTHS[ORDER]), bias)
    scale = float(new.abs().mean())
    assert float((old - new).abs().mean()) > 0.1 * scale
    assert float((old - permuted).abs().mean()) > 0.1 * scale


def test_equal_wavelengths_give_equal_kernels(embed):
    kernel, _ = embed.kernel(torch.tensor([3.75, 3.75]))
    assert torch.equal(kernel[:, 0], kernel[:, 1])


def test_a_kernel_depends_on_the_whole_wavelength_list(embed):
    alone, _ = embed.kernel(WAVELENGTHS[:1])
    among, _ = embed.kernel(WAVELENGTHS)
    difference = (alone[:, 0] - among[:, 0]).abs().mean() / alone.abs().mean()
    assert float(difference) > 1e-3


def test_a_patch_is_the_product_of_its_padded_pixels_with_the_kernel(embed):
    x = pixels(5)
    kernel, bias = embed.kernel(WAVELENGTHS)
    columns = F.unfold(F.pad(x.double(), (1, 1, 1, 1)), PATCH, stride=PATCH)  # (N, bands·p·p, L)
    by_hand = kernel.double().flatten(1) @ columns + bias.double()[:, None]
    torch.testing.assert_close(embed(x, WAVELENGTHS).flatten(2).double(), by_hand, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pixel", range(16))
@pytest.mark.parametrize("axis", ["row", "col"])
def test_token_i_sees_pixels_from_one_before_its_patch_to_two_before_its_end(embed, axis, pixel):
    kernel, _ = embed.kernel(WAVELENGTHS[:1])
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, pixel, :] = 1
    if axis == "col":
        x = x.transpose(2, 3)
    touched = embed_patches(x, kernel, torch.zeros(DIM)).abs().sum(dim=(0, 1, 3 if axis == "row" else 2)) > 0
    expected = [PATCH * i - 1 <= pixel <= PATCH * i + PATCH - 2 for i in range(4)]
    assert touched.tolist() == expected  # the last row and column of a scene are seen by no token


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 20), (36, 12)])
def test_any_multiple_of_the_patch_gives_one_token_a_patch(embed, height, width):
    assert embed(pixels(5, height, width), WAVELENGTHS).shape == (2, DIM, height // PATCH, width // PATCH)


def test_the_kernel_is_generated_in_float32_under_autocast(embed):
    plain, _ = embed.kernel(WAVELENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        lowered, bias = embed.kernel(WAVELENGTHS)
    assert lowered.dtype == bias.dtype == torch.float32
    assert torch.equal(plain, lowered)


def test_wavelengths_become_one_float32_vector():
    assert wavelength_tensor((0.665, 0.56)).dtype == torch.float32
    assert wavelength_tensor((0.665, 0.56)).shape == (2,)


@pytest.mark.parametrize("size", [(32, 48), (16, 16)])
def test_the_product_is_the_convolution(size):
    torch.manual_seed(0)
    pixels, kernel, bias = torch.randn(2, 70, *size), torch.randn(24, 70, 16, 16), torch.randn(24)
    expected = embed_patches(pixels, kernel, bias)
    found = unfold_patches(pixels, 16) @ kernel.flatten(1).T + bias
    torch.testing.assert_close(found, expected.permute(0, 2, 3, 1).flatten(0, 2), rtol=1e-5, atol=1e-3)
    rounded = unfold_patches(pixels, 16, torch.bfloat16)
    assert torch.equal(rounded, unfold_patches(pixels.bfloat16(), 16))
