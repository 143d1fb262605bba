"""A folded network as an OpenVINO graph, written operation by operation: nothing is traced, so it costs no time.

OpenVINO is imported by those who pass its operations in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dofa_cli.model.backends.ranges import LEVELS, Step
from dofa_cli.model.patch_embed import PADDING
from dofa_cli.model.positions import resample_positions
from dofa_cli.model.vit import Attention, Block, Dofa, FoldedEmbed, LayerScale

Node = Any
"""A value in a graph of OpenVINO's."""


@dataclass(frozen=True)
class Graph:
    """Writes the graph of ``model`` behind ``embed`` for pixels of one ``shape`` (N, bands, H, W).

    ``ops`` are OpenVINO's operations (an opset). Where ``steps`` has a layer, its inputs and weights are 8-bit.
    """

    ops: Any
    model: Dofa
    embed: FoldedEmbed
    shape: tuple[int, int, int, int]
    steps: Mapping[str, Step] = field(default_factory=dict)

    def nodes(self) -> tuple[Node, Node]:
        """Return the input, pixels, and the output, un-normed patch tokens (N, L, D), both float32."""
        pixels = self.ops.parameter(list(self.shape), np.float32, name="pixels")
        x = self._embedded(pixels)
        for number, block in enumerate(self.model.blocks):
            assert isinstance(block, Block)
            x = self._block(x, block, number)
        first, end, step, axis = (np.array([value]) for value in (1, 1 + self._cells, 1, 1))
        return pixels, self.ops.slice(x, first, end, step, axis)

    @property
    def _grid(self) -> tuple[int, int]:
        patch = self.model.config.patch_size
        return self.shape[2] // patch, self.shape[3] // patch

    @property
    def _cells(self) -> int:
        return self._grid[0] * self._grid[1]

    def _embedded(self, pixels: Node) -> Node:
        """Return embedded patches with their positions behind the class token (N, 1 + L, D)."""
        dim, patch = self.model.config.embed_dim, self.model.config.patch_size
        sides, ones = [patch, patch], [1, 1]
        kernel, bias = self.embed.get_buffer("kernel"), self.embed.get_buffer("bias")
        patches = self.ops.convolution(pixels, self._constant(kernel), sides, [PADDING] * 2, [PADDING] * 2, ones)
        patches = self.ops.add(patches, self._constant(bias.view(1, -1, 1, 1)))
        rows = self.ops.transpose(self.ops.reshape(patches, [self.shape[0], dim, self._cells], False), [0, 2, 1])
        positions = resample_positions(self.model.pos_embed.detach(), self._grid)
        cls = (self.model.cls_token.detach() + positions[:, :1]).expand(self.shape[0], -1, -1)
        placed = self.ops.add(rows, self._constant(positions[:, 1:]))
        return self.ops.concat([self._constant(cls), placed], 1)

    def _block(self, x: Node, block: Block, number: int) -> Node:
        attended = self._attention(self._norm(x, block.norm1), block.attn, number)
        x = self.ops.add(x, self._gained(attended, block.ls1))
        inner = self._linear(self._norm(x, block.norm2), block.mlp.fc1, f"{number}.fc1")
        out = self._linear(self.ops.gelu(inner, "erf"), block.mlp.fc2, f"{number}.fc2")
        return self.ops.add(x, self._gained(out, block.ls2))

    def _attention(self, x: Node, attention: Attention, number: int) -> Node:
        heads, dim = attention.num_heads, self.model.config.embed_dim
        n, tokens = self.shape[0], 1 + self._cells
        joined = self._linear(x, attention.qkv, f"{number}.qkv")
        split = self.ops.reshape(joined, [n, tokens, 3, heads, dim // heads], False)
        qkv = self.ops.transpose(split, [2, 0, 3, 1, 4])  # (3, N, heads, T, h)
        q, k, v = (self.ops.gather(qkv, np.int64(which), np.int64(0)) for which in range(3))
        mixed = self.ops.transpose(self.ops.scaled_dot_product_attention(q, k, v), [0, 2, 1, 3])
        return self._linear(self.ops.reshape(mixed, [n, tokens, dim], False), attention.proj, f"{number}.proj")

    def _norm(self, x: Node, norm: nn.LayerNorm) -> Node:
        centred = self.ops.mvn(x, [-1], True, norm.eps, "inside_sqrt")
        return self.ops.add(self.ops.multiply(centred, self._constant(norm.weight)), self._constant(norm.bias))

    def _linear(self, x: Node, layer: nn.Linear, name: str) -> Node:
        weight = self._constant(layer.weight)
        if step := self.steps.get(name):
            low, high = (np.float32((end - step.zero) * step.scale) for end in (0, LEVELS))
            x = self.ops.fake_quantize(x, low, high, low, high, LEVELS + 1)
            reach = layer.weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
            limits = (-reach.numpy(), reach.numpy())
            weight = self.ops.fake_quantize(weight, *limits, *limits, LEVELS)
        return self.ops.add(self.ops.matmul(x, weight, False, True), self._constant(layer.bias))

    def _gained(self, x: Node, gain: nn.Module) -> Node:
        return self.ops.multiply(x, self._constant(gain.gamma)) if isinstance(gain, LayerScale) else x

    def _constant(self, values: Tensor) -> Node:
        """Return a constant that shares the tensor's memory where it can."""
        plain = np.ascontiguousarray(values.detach().float().numpy())
        return self.ops.constant(plain, shared_memory=True)
