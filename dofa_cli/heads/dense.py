"""Train heads of whole windows: UPerNet on a frozen encoder, finetune, lora."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dofa_cli.errors import OptionError
from dofa_cli.heads.build import DECODER
from dofa_cli.heads.encoders import changed_tensors, encoder_groups, sharing_copy, trainable_copy
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.goal import Goal
from dofa_cli.heads.head import Method
from dofa_cli.heads.loop import Backbone, Course, Network, OnEpoch, Samples, new_objective, settings_of, train_network
from dofa_cli.heads.pyramid import levels_of
from dofa_cli.heads.settings import Training
from dofa_cli.heads.upernet import Auxiliary, Decoder, UPerNet, channels_of, new_decoder
from dofa_cli.model.device import arithmetic
from dofa_cli.model.linears import fold_for_inference, for_inference
from dofa_cli.model.vit import FoldedDofa

WindowSet = Samples
"""Windows: ``batch`` gives pixels (N, bands, s, s) and targets (N, s, s), int64 classes with −1 where unlabelled, or
float32 standardised numbers with NaN; all windows are squares of one size, a multiple of the patch."""

MEASURED = 256
"""Most windows on which levels are measured."""


class FrozenLevels:
    """Levels of an encoder that is not trained, computed anew for each batch as inference does."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        dtype = backbone.precision.dtype
        model = for_inference(sharing_copy(backbone.dofa).eval(), backbone.device, dtype)
        self.folded = fold_for_inference(model, list(backbone.wavelengths_um), backbone.device, dtype)

    def __call__(self, pixels: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        """Map pixels (N, bands, s, s) to float32 maps (N, D, rows, cols) without gradients."""
        with arithmetic(self.backbone.device, self.backbone.precision):
            levels = levels_of(self.folded, pixels, taps)
        return [level.clone() for level in levels]  # autograd takes no tensors of inference mode


class DenseNetwork(Network):
    """A decoder, its auxiliary head, and the encoder: trained (``folded``) or frozen (``frozen``)."""

    def __init__(
        self, encoder: FrozenLevels | FoldedDofa, decoder: Decoder, auxiliary: Auxiliary | None, share: float
    ) -> None:
        super().__init__()
        self.frozen = encoder if isinstance(encoder, FrozenLevels) else None
        self.folded = None if isinstance(encoder, FrozenLevels) else encoder
        self.decoder = decoder
        self.auxiliary = auxiliary
        self.shares = (1.0,) if auxiliary is None else (1.0, share)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels (N, bands, s, s) to logits (N, K, detail · rows, detail · cols) and the auxiliary head's."""
        levels = self.decoder.standardised(self._levels(pixels))
        logits = self.decoder(levels, pixels)
        return (logits, self.auxiliary(levels)) if self.auxiliary is not None and self.training else (logits,)

    @torch.no_grad()
    def measure(self, windows: WindowSet, backbone: Backbone, batch: int) -> None:
        """Let the decoder measure levels on some of the windows."""
        self.to(backbone.device)
        numbers = torch.linspace(0, len(windows) - 1, min(len(windows), MEASURED)).round().long()
        parts = numbers.split(batch)  # type: ignore[no-untyped-call]
        pixels = (windows.batch(part.tolist())[0].to(backbone.device) for part in parts)
        self.decoder.measure(self._levels(some) for some in pixels)

    def _levels(self, pixels: Tensor) -> list[Tensor]:
        if self.frozen is not None:
            return self.frozen(pixels, self.decoder.taps)
        assert self.folded is not None
        return levels_of(self.folded, pixels, self.decoder.taps)

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return decoder and auxiliary head at ``lr``, and the encoder's layers."""
        new: list[nn.Module] = [self.decoder] if self.auxiliary is None else [self.decoder, self.auxiliary]
        own = new_groups(new, training)
        return own if self.folded is None else own + encoder_groups(self.folded.model, training)


def fit_windows(
    method: Method,
    backbone: Backbone,
    train: WindowSet,
    *,
    goal: Goal,
    validation: WindowSet | None = None,
    weights: str = "none",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    on_epoch: OnEpoch = lambda _: None,
) -> Fitted:
    """Train a head of windows; the encoder of ``backbone`` itself is never changed.

    ``weights`` is ``none`` or ``balanced``, ``settings`` those of :class:`Training`. The same seed gives the same head.
    The score on ``validation`` is the mean IoU. Raises :class:`OptionError` for unknown settings,
    :class:`~dofa_cli.errors.TooFewLabels`, :class:`~dofa_cli.errors.Diverged`.
    """
    if method.is_token_head:
        raise OptionError(f"Method {method} learns from single embeddings, not from windows.")
    training = Training.of(method, settings or {}).settled(len(train))
    objective = new_objective(train, goal, weights, training)
    with seeded(seed, backbone.device):
        network = _new_network(method, backbone, goal, training)
        network.measure(train, backbone, training.batch)
        history = train_network(network, Course(training, objective, backbone, seed), train, validation, on_epoch)
    tensors = {f"{DECODER}{name}": one.detach().cpu().clone() for name, one in network.decoder.state_dict().items()}
    if network.folded is not None:
        tensors |= changed_tensors(backbone.dofa, network.folded.model, method)
    return Fitted(tensors, settings_of(training, history))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Make torch's chance follow from ``seed`` in the body; after it, it goes on as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def new_groups(modules: Sequence[nn.Module], training: Training) -> list[dict[str, Any]]:
    """Return groups of new layers at ``lr``; biases and norms do not decay."""
    parameters = [one for module in modules for one in module.parameters()]
    return [
        {
            "params": [one for one in parameters if one.dim() > 1],
            "lr": training.lr,
            "weight_decay": training.weight_decay,
        },
        {"params": [one for one in parameters if one.dim() <= 1], "lr": training.lr, "weight_decay": 0.0},
    ]


def _new_network(method: Method, backbone: Backbone, goal: Goal, training: Training) -> DenseNetwork:
    config, plain = backbone.dofa.config, training.plain()
    decoder = new_decoder(config, goal.outputs, plain, bands=len(backbone.wavelengths_um))
    auxiliary = None
    if isinstance(decoder, UPerNet) and training.auxiliary > 0:
        auxiliary = Auxiliary(config, goal.outputs, channels_of(config, plain), training.dropout)
    return DenseNetwork(encoder_to_train(method, backbone, training), decoder, auxiliary, training.auxiliary)


def encoder_to_train(method: Method, backbone: Backbone, training: Training) -> FrozenLevels | FoldedDofa:
    """Return the frozen encoder, or a copy with trained parameters or adapters; the kernel is constant in both."""
    if method is Method.UPERNET:
        return FrozenLevels(backbone)
    model = trainable_copy(backbone.dofa, method, training).to(backbone.device).eval()
    return model.fold(backbone.wavelengths_um)
