"""From a head file's tensors to something that computes: tokens or pixels in, logits out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dofa_cli.errors import DamagedHead, WrongHead
from dofa_cli.heads.encoders import changed_encoder
from dofa_cli.heads.goal import Goal, Kind
from dofa_cli.heads.head import Head, Method
from dofa_cli.heads.joining import FILL
from dofa_cli.heads.knn import Neighbours
from dofa_cli.heads.mlp import Perceptron
from dofa_cli.heads.pyramid import levels_of
from dofa_cli.heads.upernet import Decoder, new_decoder
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import Dofa, FoldedDofa

DECODER = "decoder."
"""Start of the names of a dense head's own tensors; those of the encoder start otherwise."""


class TokenHead(nn.Module):
    """A head of single embeddings: ``logits`` maps tokens or pooled vectors (…, D) to (…, K).

    Softmax makes probabilities of them whatever the method (a sigmoid for several classes); a number's only logit is
    standardised, see :class:`~dofa_cli.heads.head.Target`.
    """

    def __init__(self, scorer: nn.Module, goal: Goal) -> None:
        super().__init__()
        self.scorer = scorer
        self.goal = goal

    def logits(self, tokens: Tensor) -> Tensor:
        """Map float32 tokens (…, D) to logits (…, K)."""
        return torch.as_tensor(self.scorer(tokens))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map logits (…, K) to probabilities (…, K)."""
        return self.goal.probabilities(logits)


class DenseHead(nn.Module):
    """A head of whole windows.

    ``dofa`` is the encoder it belongs to (for finetune and lora a changed copy): fold that one for the scene's
    wavelengths. ``detail`` is the number of sub-cells along a cell's side.
    """

    def __init__(self, dofa: Dofa, decoder: Decoder, goal: Goal) -> None:
        super().__init__()
        self.decoder = decoder
        self.goal = goal
        self._encoder = (dofa,)  # in a tuple, so that it is no part of this module

    @property
    def dofa(self) -> Dofa:
        """The encoder to fold."""
        return self._encoder[0]

    @property
    def detail(self) -> int:
        """Sub-cells along a cell's side."""
        return self.decoder.detail

    def logits(self, folded: FoldedDofa, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to float32 logits (N, rows · detail, cols · detail, K)."""
        levels = self.decoder.standardised(levels_of(folded, pixels, self.decoder.taps))
        found: Tensor = self.decoder(levels, pixels)
        return found.permute(0, 2, 3, 1).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map logits (…, K) to probabilities (…, K)."""
        return self.goal.probabilities(logits)


def is_dense(head: Head) -> bool:
    """Whether a head needs windows (:func:`dense_head`); other heads take tokens or vectors (:func:`token_head`)."""
    return any(name.startswith(DECODER) for name in head.tensors)


def token_head(head: Head) -> TokenHead:
    """Return a head of tokens or pooled vectors, ready for inference on the CPU (``.to(device)`` moves it).

    For finetune and lora on whole images it takes vectors of :func:`encoder_of`. Raises :class:`WrongHead` for heads of
    windows, :class:`DamagedHead` where tensors do not fit.
    """
    if is_dense(head):
        raise WrongHead(f"A {head.method} head of windows needs pixels; single embeddings are not enough for it.")
    goal, width = Goal.of(head), head.recipe.width(DofaConfig.from_json(head.architecture).embed_dim)
    try:
        scorer = _scorer(head, goal, width)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _misfit(head, error) from None
    return TokenHead(scorer, goal).eval().requires_grad_(False)


def dense_head(head: Head, dofa: Dofa) -> DenseHead:
    """Return a head of windows on encoder ``dofa``, which is not changed, ready for inference on the CPU.

    Raises :class:`WrongHead` for an encoder of another architecture or a head of tokens, :class:`DamagedHead` where
    tensors do not fit.
    """
    if not is_dense(head):
        raise WrongHead(f"A {head.method} head of single embeddings needs no windows.")
    goal = Goal.of(head)
    state = {name.removeprefix(DECODER): tensor for name, tensor in head.tensors.items() if name.startswith(DECODER)}
    try:
        decoder = new_decoder(dofa.config, goal.outputs, head.settings, bands=len(head.recipe.wavelengths_um))
        decoder.load_state_dict(state)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _misfit(head, error) from None
    return DenseHead(encoder_of(head, dofa), decoder, goal).eval().requires_grad_(False)


def encoder_of(head: Head, dofa: Dofa) -> Dofa:
    """Return the encoder that a head was trained with: ``dofa`` itself, or a copy with what finetune or lora changed.

    Raises :class:`WrongHead` naming both architectures, or :class:`DamagedHead` where tensors do not fit.
    """
    wanted = DofaConfig.from_json(head.architecture)
    if dofa.config != wanted:
        raise WrongHead(f"The head belongs to an encoder of {wanted}; this one is {dofa.config}.")
    try:
        return changed_encoder(dofa, head.tensors, head.settings)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _misfit(head, error) from None


def _scorer(head: Head, goal: Goal, width: int) -> nn.Module:
    if head.method is Method.KNN:
        return Neighbours.of(head.tensors, head.settings, goal, width)
    if head.method is Method.MLP:
        own = {name: tensor for name, tensor in head.tensors.items() if name != FILL}
        return _filled(Perceptron(width, int(head.settings["hidden"]), goal.outputs), own)
    return _filled(nn.Linear(width, goal.outputs), {name: head.tensors[name] for name in ("weight", "bias")})


def _filled(module: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return module


def _misfit(head: Head, error: Exception) -> DamagedHead:
    reason = " ".join(str(error).split())
    outputs = "a number" if Goal.of(head).kind is Kind.NUMBER else f"{Goal.of(head).outputs} classes"
    return DamagedHead(
        f"The tensors of the head do not fit a {head.method} head of {outputs} ({reason}). Train it again."
    )
