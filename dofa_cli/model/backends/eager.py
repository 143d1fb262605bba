"""PyTorch, operation by operation: nothing is made ready, so it serves small scenes best."""

from __future__ import annotations

import torch
from torch import Tensor

from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.device import Precision, arithmetic
from dofa_cli.model.vit import FoldedDofa


class EagerBackend:
    """A folded network whose layers are already of the precision (see :mod:`dofa_cli.model.linears`)."""

    name = BackendName.TORCH

    def __init__(self, folded: FoldedDofa, device: torch.device, precision: Precision) -> None:
        self.folded, self.device, self.precision = folded, device, precision

    def patches(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to un-normed patch tokens (N, L, D) in float32."""
        with arithmetic(self.device, self.precision):
            return torch.as_tensor(self.folded(pixels).patches.float())
