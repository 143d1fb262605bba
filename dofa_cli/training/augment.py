"""Turn and resample crops; images from above have no up, so all eight symmetries of the square serve."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SYMMETRIES = 8


def turned(block: NDArray[Any], number: int) -> NDArray[Any]:
    """Return a symmetry 0 to 7 of a block (…, r, r): bit 0 mirrors columns, bit 1 rows, bit 2 the diagonal."""
    step = {bit: -1 if number & bit else 1 for bit in (1, 2)}
    mirrored = block[..., :: step[2], :: step[1]]
    return mirrored.swapaxes(-1, -2) if number & 4 else mirrored


def fitted(x: Tensor, size: int) -> Tensor:
    """Resample crops (n, bands, r, r) bilinearly to (n, bands, size, size); those of that size pass untouched."""
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=x.shape[-1] > size)


def whole_patches(valid: Tensor, size: int, patch: int) -> Tensor:
    """Tell which patches (n, L), row-major, owe nothing to an invalid pixel; ``valid`` is (n, 1, r, r)."""
    share = fitted(valid.float(), size)
    cells = share.reshape(len(valid), size // patch, patch, size // patch, patch)
    return (cells.amin(dim=(2, 4)) > 1 - 1e-6).flatten(1)
