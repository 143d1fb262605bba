"""A forward's matrix products and nothing else: what a network could reach on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dofa_cli.model.device import Precision, arithmetic
from dofa_cli.model.linears import PackedLinear, can_pack
from dofa_cli.pipelines.measuring.flops import Product
from dofa_cli.pipelines.measuring.products import linear_operands, random

Step = Callable[[], Tensor]


class Chain:
    """The products of one forward, one after another, each layer with weights of its own as in the network.

    ``packed`` lays weights out for oneDNN once. ``fused`` takes the device's fused attention in place of its two
    products.
    """

    def __init__(
        self,
        products: Sequence[Product],
        device: torch.device,
        precision: Precision,
        *,
        packed: bool = False,
        fused: bool = False,
    ) -> None:
        self.device, self.precision, self.packed = device, precision, packed
        self.flops = sum(product.flops for product in products)
        pairs = [product for product in products if product.batch > 1]
        self.steps = [step for product in products if product.batch == 1 for step in self._linear(product)]
        self.steps += self._fused(pairs[0]) if fused else [step for product in pairs for step in self._pairs(product)]

    def __call__(self) -> None:
        """Compute all products once."""
        with arithmetic(self.device, self.precision):
            for step in self.steps:
                step()

    def _linear(self, product: Product) -> Iterator[Step]:
        x, weight, bias = linear_operands(product, self.device, self.precision.dtype)
        for _ in range(product.times):
            yield self._layer(x, weight.clone(), bias)

    def _layer(self, x: Tensor, weight: Tensor, bias: Tensor) -> Step:
        if self.packed:
            layer = PackedLinear(weight, bias, self.precision.dtype)
            return lambda: layer(x)
        return lambda: F.linear(x, weight, bias)

    def _pairs(self, product: Product) -> list[Step]:
        a = random((product.batch, product.rows, product.inner), self.device, self.precision.dtype)
        b = random((product.batch, product.inner, product.cols), self.device, self.precision.dtype)
        return [lambda: torch.bmm(a, b)] * product.times

    def _fused(self, scores: Product) -> list[Step]:
        shape = (1, scores.batch, scores.rows, scores.inner)
        q, k, v = (random(shape, self.device, self.precision.dtype) for _ in range(3))
        return [lambda: F.scaled_dot_product_attention(q, k, v)] * scores.times


def chains(products: Sequence[Product], device: torch.device, precision: Precision) -> list[Chain]:
    """Return the products of a forward in each way in which this program computes them on a device."""
    if device.type == "cuda":
        ways: list[dict[str, bool]] = [{}, {"fused": True}]
    else:
        ways = [{}, {"packed": True}] if can_pack() else [{}]
    return [Chain(products, device, precision, **way) for way in ways]
