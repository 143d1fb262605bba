"""Three bands of any image, as a teacher that knows photographs needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RED_GREEN_BLUE = (0.665, 0.56, 0.49)
"""Wavelengths in µm that proxies are drawn towards."""


@dataclass(frozen=True)
class Proxy:
    """Which ``bands`` stand for red, green and blue (``None``: zeros), and the ``wavelengths_um`` given for them."""

    bands: tuple[int | None, int | None, int | None]
    wavelengths_um: tuple[float, float, float]

    def of(self, pixels: Tensor) -> Tensor:
        """Pick the proxy of pixels (N, bands, H, W): (N, 3, H, W)."""
        if self.bands == (0, 1, 2) and pixels.shape[1] == 3:
            return pixels
        if None not in self.bands:
            return pixels[:, list(self.bands)]
        empty = torch.zeros_like(pixels[:, 0])
        return torch.stack([empty if band is None else pixels[:, band] for band in self.bands], dim=1)


def proxy_for(wavelengths_um: Sequence[float]) -> Proxy:
    """Choose the proxy of a wavelength list in µm, as published.

    One band is repeated; two (radar) become [first, second, zeros] under the first one's wavelength; three stay as they
    are; of more, those nearest to red, green and blue are taken.
    """
    waves = tuple(wavelengths_um)
    if len(waves) <= 2:
        bands = (0, 0, 0) if len(waves) == 1 else (0, 1, None)
        return Proxy(bands, (waves[0],) * 3)
    nearest = [min(range(len(waves)), key=lambda band: abs(waves[band] - colour)) for colour in RED_GREEN_BLUE]
    red, green, blue = range(3) if len(waves) == 3 else nearest
    return Proxy((red, green, blue), (waves[red], waves[green], waves[blue]))
