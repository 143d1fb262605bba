"""8-bit products in PyTorch, for machines without OpenVINO."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dofa_cli.model.backends.ranges import LARGEST_WEIGHT, LEVELS, Balanced, Ranges, Step, balanced, weight_scale
from dofa_cli.model.vit import Block, Dofa, Mlp


class Int8Linear(nn.Module):
    """A linear layer of 8-bit inputs and weights, its sums in 32 bits, its result in bfloat16.

    ``activation`` is ``"none"`` or ``"gelu"`` (exact). PyTorch's compiler uses the same operations; they are not
    public, hence :func:`can_quantise`.
    """

    def __init__(self, layer: nn.Linear, step: Step, activation: str = "none") -> None:
        super().__init__()
        self.step, self.activation = step, activation
        weight = layer.weight.detach()
        self.weight_scale = weight_scale(weight)
        self.weight_zero = torch.zeros(len(weight), dtype=torch.int64)
        whole = (weight / self.weight_scale[:, None]).round().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
        self.weight = torch.ops.onednn.qlinear_prepack(whole.to(torch.int8), None)
        self.bias = layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        scale, zero = self.step.scale, self.step.zero
        shifted = torch.add(torch.tensor(zero + 0.5), x.float(), alpha=1 / scale)  # half up, where conversion cuts off
        whole = shifted.clamp_(0, LEVELS).to(torch.uint8)
        weights = (self.weight, self.weight_scale, self.weight_zero, self.bias)
        exact = "none" if self.activation == "gelu" else ""
        out = (1.0, 0, torch.bfloat16)
        product = torch.ops.onednn.qlinear_pointwise(whole, scale, zero, *weights, *out, self.activation, [], exact)
        return torch.as_tensor(product)


class Int8Mlp(nn.Module):
    """A block's perceptron of 8-bit layers."""

    def __init__(self, mlp: Mlp, first: Step, second: Step) -> None:
        super().__init__()
        self.fc1 = Int8Linear(mlp.fc1, first, "gelu")
        self.fc2 = Int8Linear(mlp.fc2, second)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        return torch.as_tensor(self.fc2(self.fc1(x)))


def can_quantise() -> bool:
    """Whether this PyTorch has oneDNN's 8-bit products."""
    names = ("qlinear_prepack", "qlinear_pointwise")
    here: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return here and all(hasattr(torch.ops.onednn, name) for name in names)


def quantised(model: Dofa, ranges: Ranges) -> Dofa:
    """Return a copy of a network whose blocks multiply 8-bit numbers; ``model`` itself is not changed."""
    made = balanced(model, ranges)
    for number, block in enumerate(made.model.blocks):
        assert isinstance(block, Block)
        _replace(block, number, made)
    return made.model


def _replace(block: Block, number: int, made: Balanced) -> None:
    steps = {name: made.steps[f"{number}.{name}"] for name in ("qkv", "proj", "fc1", "fc2")}
    block.attn.register_module("qkv", Int8Linear(block.attn.qkv, steps["qkv"]))
    block.attn.register_module("proj", Int8Linear(block.attn.proj, steps["proj"]))
    block.register_module("mlp", Int8Mlp(block.mlp, steps["fc1"], steps["fc2"]))
