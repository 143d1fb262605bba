"""Encodings of wavelengths and patch positions, against computations by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from dofa_cli.model.positions import resample_positions, wavelength_encoding


def encoding_by_hand(wavelength_um: float, dim: int) -> list[float]:
    """All sines, then all cosines, of the wavelength in nm, in float64."""
    omegas = [10000 ** (-i / (dim // 2)) for i in range(dim // 2)]
    phases = [wavelength_um * 1000 * omega for omega in omegas]
    return [math.sin(phase) for phase in phases] + [math.cos(phase) for phase in phases]


@pytest.mark.parametrize("wavelength", [0.443, 0.665, 2.19, 3.75, 5.405])
def test_wavelengths_are_encoded_as_sines_then_cosines(wavelength):
    found = wavelength_encoding(torch.tensor([wavelength]), 128)[0]
    rounding = wavelength * 1000 * torch.finfo(torch.float32).eps  # of the largest phase
    expected = torch.tensor(encoding_by_hand(wavelength, 128), dtype=torch.float64)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=rounding + 1e-6)


def test_each_wavelength_is_encoded_by_itself():
    together = wavelength_encoding(torch.tensor([0.665, 0.56, 0.49]), 128)
    alone = torch.cat([wavelength_encoding(torch.tensor([value]), 128) for value in (0.665, 0.56, 0.49)])
    assert together.shape == (3, 128)
    assert torch.equal(together, alone)


def positions(side: int, dim: int = 8) -> torch.Tensor:
    return torch.randn(1, 1 + side * side, dim, generator=torch.Generator().manual_seed(0))


def test_native_grid_passes_through_untouched():
    table = positions(4)
    assert resample_positions(table, (4, 4)) is table


@pytest.mark.parametrize("grid", [(2, 2), (6, 6), (3, 5), (4, 7), (7, 4), (2, 8)])
def test_other_grids_are_resampled_bicubically_with_antialiasing(grid):
    table = positions(4)
    square = table[:, 1:].reshape(1, 4, 4, 8).permute(0, 3, 1, 2)
    by_hand = F.interpolate(square, size=grid, mode="bicubic", antialias=True, align_corners=False)
    found = resample_positions(table, grid)
    assert found.shape == (1, 1 + grid[0] * grid[1], 8)
    assert torch.equal(found[:, :1], table[:, :1])
    torch.testing.assert_close(found[0, 1:].T.reshape(8, *grid), by_hand[0])


def test_rows_and_columns_are_not_exchanged():
    table = positions(4)
    turned = torch.cat([table[:, :1], table[:, 1:].reshape(1, 4, 4, 8).transpose(1, 2).reshape(1, 16, 8)], dim=1)
    wide, tall = resample_positions(table, (3, 6)), resample_positions(turned, (6, 3))
    torch.testing.assert_close(wide[:, 1:].reshape(1, 3, 6, 8), tall[:, 1:].reshape(1, 6, 3, 8).transpose(1, 2))


def test_a_constant_table_stays_constant_at_any_size():
    found = resample_positions(torch.full((1, 17, 8), 0.7), (9, 3))
    torch.testing.assert_close(found, torch.full((1, 28, 8), 0.7))


def test_the_table_keeps_its_dtype():
    assert resample_positions(positions(4).bfloat16(), (5, 5)).dtype == torch.bfloat16
