"""The network's products in the form that a device computes fastest, with the same results."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dofa_cli.model.patch_embed import unfold_patches
from dofa_cli.model.vit import Block, Dofa, FoldedDofa, FoldedEmbed, Mlp

TYPICAL_ROWS = 788
"""Tokens that a packed layer is laid out for: four windows of 14 × 14 patches and their class tokens."""
UNFOLDED_BYTES = 48 * 2**20
"""Most bytes of unfolded patches at once, a size that :func:`~dofa_cli.model.device.keep_freed_memory` keeps."""


class PackedLinear(nn.Module):
    """A linear layer whose weights oneDNN has laid out for its kernels once, instead of on every call.

    ``activation`` is ``"none"`` or ``"gelu"`` (exact), done while the product is still in the processor's cache.
    PyTorch's own compiler uses the same operations; they are not public, hence :func:`can_pack`.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, activation: str = "none") -> None:
        super().__init__()
        self.dtype = dtype
        self.activation = activation
        self.bias = bias.detach().to(dtype)
        laid_out = weight.detach().to(dtype).contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(laid_out, TYPICAL_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out) in the layer's type."""
        exact = "none" if self.activation == "gelu" else ""
        rows = x.to(self.dtype)
        product = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, self.activation, [], exact)
        return torch.as_tensor(product)


class PackedMlp(nn.Module):
    """A block's perceptron of packed layers, its GELU joined to the first."""

    def __init__(self, mlp: Mlp, dtype: torch.dtype) -> None:
        super().__init__()
        self.fc1 = PackedLinear(mlp.fc1.weight, mlp.fc1.bias, dtype, "gelu")
        self.fc2 = PackedLinear(mlp.fc2.weight, mlp.fc2.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        return torch.as_tensor(self.fc2(self.fc1(x)))


class PackedEmbed(nn.Module):
    """A folded patch embedding as one packed product of the unfolded patches.

    A CPU's convolution runs at a third to two thirds of a product's rate.
    """

    def __init__(self, embed: FoldedEmbed, dtype: torch.dtype) -> None:
        super().__init__()
        kernel, bias = embed.get_buffer("kernel"), embed.get_buffer("bias")
        self.patch = kernel.shape[-1]
        self.linear = PackedLinear(kernel.flatten(1), bias, dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels (N, bands, H, W) as patches (N, D, H / p, W / p); sizes are multiples of the patch."""
        n, bands, height, width = pixels.shape
        together = max(1, UNFOLDED_BYTES // (bands * height * width * self.linear.dtype.itemsize))
        some = (pixels[first : first + together] for first in range(0, n, together))
        parts = [self.linear(unfold_patches(one, self.patch, self.linear.dtype)) for one in some]
        return torch.cat(parts).view(n, height // self.patch, width // self.patch, -1).permute(0, 3, 1, 2)


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN and its packed products."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    here: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return here and all(hasattr(torch.ops.mkldnn, name) for name in names)


def for_inference(model: Dofa, device: torch.device, dtype: torch.dtype) -> Dofa:
    """Return ``model`` on ``device`` with linear layers that multiply in ``dtype``; ``model`` itself is not changed.

    Storing them in that type spares autocast a conversion on every forward.
    """
    if _packs(device):
        return _replaced(model, lambda part: _packed(part, dtype))
    if dtype is torch.float32:
        return model.to(device)
    return _replaced(model, lambda part: copy.deepcopy(part).to(dtype)).to(device)


def fold_for_inference(
    model: Dofa, wavelengths_um: Sequence[float], device: torch.device, dtype: torch.dtype
) -> FoldedDofa:
    """Fold what :func:`for_inference` returned, with a patch embedding that multiplies in ``dtype`` too."""
    folded = model.fold(wavelengths_um).eval()
    if _packs(device) and isinstance(folded.embed, FoldedEmbed):
        return FoldedDofa(model, PackedEmbed(folded.embed, dtype)).eval()
    return folded


def _packs(device: torch.device) -> bool:
    return device.type == "cpu" and can_pack()


def _packed(part: nn.Linear | Mlp, dtype: torch.dtype) -> nn.Module:
    return PackedMlp(part, dtype) if isinstance(part, Mlp) else PackedLinear(part.weight, part.bias, dtype)


def _replaced(model: Dofa, replacement: Callable[[nn.Linear | Mlp], nn.Module]) -> Dofa:
    """Copy a model, its blocks' products replaced and its weight generator shared."""
    blocks = [block for block in model.blocks if isinstance(block, Block)]
    parts = [part for block in blocks for part in (block.attn.qkv, block.attn.proj, block.mlp)]
    made = {id(part): replacement(part) for part in parts}
    return copy.deepcopy(model, {id(model.patch_embed): model.patch_embed, **made})
