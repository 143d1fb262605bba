"""What computes patch tokens."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from torch import Tensor

Keep = Callable[[str, Callable[[Path], object]], Path]
"""Returns the kept file of a name; the function writes it to a path where there is none."""


class BackendName(StrEnum):
    """A way to compute the network; ``auto`` is the quickest that is known for processor, precision and scene."""

    AUTO = "auto"
    TORCH = "torch"
    COMPILED = "compiled"
    OPENVINO = "openvino"


class Backend(Protocol):
    """One network for one wavelength list, made ready when a shape of batch first comes.

    A window's tokens do not depend on the others in its batch.
    """

    name: BackendName

    def patches(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to un-normed patch tokens (N, L, D) in float32."""
