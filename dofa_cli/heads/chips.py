"""Train an encoder on whole images: finetune and lora with a linear layer on the pooled vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dofa_cli.errors import OptionError
from dofa_cli.heads.dense import encoder_to_train, new_groups, seeded
from dofa_cli.heads.encoders import changed_tensors, encoder_groups
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.goal import Goal
from dofa_cli.heads.head import Method
from dofa_cli.heads.loop import Backbone, Course, Network, OnEpoch, Samples, new_objective, settings_of, train_network
from dofa_cli.heads.settings import Training
from dofa_cli.model.vit import FoldedDofa

ChipSamples = Samples
"""Images: ``batch`` gives pixels (N, bands, s, s) and targets, int64 classes (N,), float32 several classes (N, K), or
float32 standardised numbers (N,)."""
WINDOWS_ONLY = ("decoder", "channels", "spectrum", "auxiliary", "dice")


class ChipNetwork(Network):
    """A trained encoder and a linear layer on its pooled vectors."""

    def __init__(self, folded: FoldedDofa, outputs: int, dropout: float) -> None:
        super().__init__()
        self.folded = folded
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(folded.model.config.embed_dim, outputs)
        nn.init.zeros_(self.classify.bias)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map pixels (N, bands, s, s) to logits (N, K)."""
        vectors = self.folded.model.pool(self.folded(pixels).patches.float())
        return (torch.as_tensor(self.classify(self.drop(vectors))),)

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """Return the linear layer at ``lr``, and the encoder's layers."""
        return new_groups([self.classify], training) + encoder_groups(self.folded.model, training)


def fit_chips(
    method: Method,
    backbone: Backbone,
    train: ChipSamples,
    *,
    goal: Goal,
    validation: ChipSamples | None = None,
    weights: str = "none",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    on_epoch: OnEpoch = lambda _: None,
) -> Fitted:
    """Train encoder and linear layer on images; the encoder of ``backbone`` itself is never changed.

    At inference the head takes vectors of :func:`~dofa_cli.heads.build.encoder_of`. The score on ``validation`` is the
    share of right answers. Options and errors as :func:`~dofa_cli.heads.dense.fit_windows` has them.
    """
    if method not in (Method.FINETUNE, Method.LORA):
        raise OptionError(f"Method {method} does not train on images; use linear, knn, mlp, finetune or lora.")
    training = Training.of(method, settings or {}).settled(len(train))
    objective = new_objective(train, goal, weights, training)
    with seeded(seed, backbone.device):
        folded = encoder_to_train(method, backbone, training)
        assert isinstance(folded, FoldedDofa)
        network = ChipNetwork(folded, goal.outputs, training.dropout)
        history = train_network(network, Course(training, objective, backbone, seed), train, validation, on_epoch)
    tensors = {name: one.detach().cpu().clone() for name, one in network.classify.state_dict().items()}
    kept = {name: value for name, value in settings_of(training, history).items() if name not in WINDOWS_ONLY}
    return Fitted(tensors | changed_tensors(backbone.dofa, folded.model, method), kept)
