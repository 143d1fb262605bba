"""A head on its encoder: standardised windows in, logits on cells or sub-cells out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dofa_cli.errors import OptionError
from dofa_cli.heads.build import DenseHead, TokenHead, dense_head, is_dense, token_head
from dofa_cli.heads.head import Head
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.device import Precision, arithmetic
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.inference.run import ModelOptions


class TokenMap:
    """A head of single tokens behind an encoder: one value a cell and class."""

    def __init__(self, encoder: Encoder, head: TokenHead) -> None:
        self.encoder, self.head = encoder, head.to(encoder.device)
        self.device, self.patch_size, self.detail = encoder.device, encoder.patch_size, 1
        self.dim = head.goal.outputs

    def tokens(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to float32 logits (N, L, K)."""
        tokens = self.encoder.tokens(pixels)
        with torch.inference_mode():
            return self.head.logits(tokens).float()


class DenseMap:
    """A head of whole windows on its encoder: ``detail`` values along each side of a cell."""

    def __init__(self, encoder: Encoder, head: DenseHead) -> None:
        self.encoder, self.head = encoder, head.to(encoder.device)
        self.device, self.patch_size, self.detail = encoder.device, encoder.patch_size, head.detail
        self.dim = head.goal.outputs

    def tokens(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to float32 logits (N, L · detail², K)."""
        with arithmetic(self.encoder.device, self.encoder.precision):
            return self.head.logits(self.encoder.folded, pixels).flatten(1, 2).float()


def built_head(head: Head, weights: Weights) -> TokenHead | DenseHead:
    """Return what computes a head's logits, on the CPU."""
    return dense_head(head, weights.checkpoint.model) if is_dense(head) else token_head(head)


def cell_values(built: TokenHead | DenseHead) -> int:
    """Return how many values a head gives a cell: detail² · K."""
    detail = 1 if isinstance(built, TokenHead) else built.detail
    return detail**2 * built.goal.outputs


def computing(options: ModelOptions, built: TokenHead | DenseHead) -> ModelOptions:
    """Return how a head's encoder is computed: a head that looks into the network needs it in PyTorch.

    Raises :class:`OptionError` where something else was asked for.
    """
    if isinstance(built, TokenHead):
        return options
    if options.precision is Precision.INT8:
        raise OptionError(
            "--precision int8 is for heads of single tokens; this one looks into the network. Use bfloat16."
        )
    if options.backend not in (BackendName.AUTO, BackendName.TORCH):
        raise OptionError(
            f"--backend {options.backend} is for heads of single tokens; this one looks into the network. Leave it out."
        )
    return replace(options, backend=BackendName.TORCH)


def weights_for(built: TokenHead | DenseHead, weights: Weights) -> Weights:
    """Return the weights with what training of the head changed in the encoder."""
    if isinstance(built, TokenHead):
        return weights
    return replace(weights, checkpoint=replace(weights.checkpoint, model=built.dofa))


def map_model(built: TokenHead | DenseHead, encoder: Encoder) -> TokenMap | DenseMap:
    """Join a head and an encoder made from :func:`weights_for` it."""
    return TokenMap(encoder, built) if isinstance(built, TokenHead) else DenseMap(encoder, built)
