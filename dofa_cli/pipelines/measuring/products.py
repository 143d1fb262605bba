"""The best rate of a device's matrix products: squares, and the shapes of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dofa_cli.model.device import Precision, arithmetic
from dofa_cli.model.linears import PackedLinear, can_pack
from dofa_cli.pipelines.measuring.flops import Product
from dofa_cli.pipelines.measuring.timing import measured

ON_A_CARD = 4
"""How many times as wide squares are on a graphics card, which small ones do not fill."""
Action = Callable[[], object]


@dataclass(frozen=True)
class PeakRate:
    """The quickest product found in a precision, in 10¹² operations a second, and its shape."""

    precision: str
    tflops: float
    shape: str


def precisions_of(device: torch.device) -> tuple[Precision, ...]:
    """Return the precisions that a device computes in, not merely imitates."""
    if device.type == "cpu":
        lowered = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return (Precision.FLOAT32, *([Precision.BFLOAT16] if lowered else []))
    lowered = torch.cuda.is_bf16_supported(including_emulation=False)
    return (Precision.FLOAT32, *([Precision.BFLOAT16] if lowered else []), Precision.FLOAT16)


def squares(device: torch.device, sides: Iterable[int]) -> tuple[Product, ...]:
    """Return products of square matrices with these sides, or larger ones for a graphics card."""
    scale = ON_A_CARD if device.type == "cuda" else 1
    return tuple(Product("square", 1, *[side * scale] * 3) for side in sides)


def peak_rate(device: torch.device, precision: Precision, products: Iterable[Product], budget: float) -> PeakRate:
    """Measure ``products``, each for about ``budget`` seconds, and return the quickest."""
    found = []
    for product in products:
        for action in actions(product, device, precision):
            with arithmetic(device, precision):
                seconds = measured(action, device, budget).best
            flops = product.flops / product.times
            found.append(PeakRate(precision.value, flops / seconds / 1e12, product.shape))
    return max(found, key=lambda one: one.tflops)


def actions(product: Product, device: torch.device, precision: Precision) -> Iterator[Action]:
    """Yield every way in which this program computes a product once, on random matrices."""
    dtype = precision.dtype
    if product.batch > 1:
        yield _pairs(product, device, dtype)
        return
    x, weight, bias = linear_operands(product, device, dtype)
    yield lambda: F.linear(x, weight, bias)
    if device.type == "cpu" and can_pack():
        packed = PackedLinear(weight, bias, dtype)
        yield lambda: packed(x)


def _pairs(product: Product, device: torch.device, dtype: torch.dtype) -> Action:
    a = random((product.batch, product.rows, product.inner), device, dtype)
    b = random((product.batch, product.inner, product.cols), device, dtype)
    return lambda: torch.bmm(a, b)


def linear_operands(product: Product, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return random rows (rows, inner), weights (cols, inner) and bias (cols,) of a linear layer."""
    x = random((product.rows, product.inner), device, dtype)
    weight = random((product.cols, product.inner), device, dtype)
    return x, weight, torch.zeros(product.cols, device=device, dtype=dtype)


def random(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return random values: a graphics card multiplies zeros faster than numbers."""
    return torch.randn(shape, device=device).to(dtype)
