"""The transformer's linear layers in the form that a device multiplies fastest, with the same results."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dofa_cli.model.vit import Dofa

TYPICAL_ROWS = 788
"""Tokens that a packed layer is laid out for: four windows of 14 × 14 patches and their class tokens."""


class PackedLinear(nn.Module):
    """A linear layer whose weights oneDNN has laid out for its kernels once, instead of on every call.

    PyTorch's own compiler uses the same operations; they are not public, hence :func:`can_pack`.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.bias = layer.bias.detach().to(dtype)
        weight = layer.weight.detach().to(dtype).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out) in the layer's type."""
        product = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, "none", [], "")
        return torch.as_tensor(product)


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN and its packed products."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    here: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return here and all(hasattr(torch.ops.mkldnn, name) for name in names)


def for_inference(model: Dofa, device: torch.device, dtype: torch.dtype) -> Dofa:
    """Return ``model`` on ``device`` with linear layers that multiply in ``dtype``; ``model`` itself is not changed.

    Storing them in that type spares autocast a conversion on every forward.
    """
    if device.type == "cpu" and can_pack():
        return _with_linears(model, lambda layer: PackedLinear(layer, dtype))
    if dtype is torch.float32:
        return model.to(device)
    return _with_linears(model, lambda layer: copy.deepcopy(layer).to(dtype)).to(device)


def _with_linears(model: Dofa, convert: Callable[[nn.Linear], nn.Module]) -> Dofa:
    """Copy a model, its blocks' linear layers replaced and its weight generator shared."""
    made: dict[int, nn.Module] = {
        id(layer): convert(layer) for layer in model.blocks.modules() if isinstance(layer, nn.Linear)
    }
    return copy.deepcopy(model, {id(model.patch_embed): model.patch_embed, **made})
