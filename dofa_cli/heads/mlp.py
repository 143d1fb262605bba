"""A perceptron with one hidden layer on single embeddings."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.heads.linear import Scaler


class Perceptron(nn.Module):
    """Embeddings (…, D) to outputs (…, K) through one hidden layer with GELU."""

    def __init__(self, width: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, D) to (…, K)."""
        return torch.as_tensor(self.fc2(self.drop(F.gelu(self.fc1(x)))))

    def tensors(self, scaler: Scaler) -> dict[str, Tensor]:
        """Return the parameters, with the standardisation of the inputs folded into the first layer."""
        state: dict[str, Any] = {name: tensor.detach().cpu().clone() for name, tensor in self.state_dict().items()}
        weight, bias = scaler.folded(state["fc1.weight"].double().numpy(), state["fc1.bias"].double().numpy())
        return state | {"fc1.weight": torch.from_numpy(weight).float(), "fc1.bias": torch.from_numpy(bias).float()}
