"""Train a perceptron on embeddings: AdamW, stopped when validation no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dofa_cli.errors import Diverged
from dofa_cli.heads.linear import Problem, held_out_rank
from dofa_cli.heads.losses import Objective
from dofa_cli.heads.mlp import Perceptron


def train_perceptron(
    train: Problem, validation: Problem | None, objective: Objective, settings: Mapping[str, Any], seed: int
) -> tuple[Perceptron, int]:
    """Return the perceptron of the best epoch on ``validation`` (the last one without it) and that epoch's number.

    The best is chosen as :func:`~dofa_cli.heads.linear.fit_linear` does. The same seed gives the same result. Raises
    :class:`Diverged` when the loss is no number.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Perceptron(train.features.shape[1], settings["hidden"], objective.goal.outputs, settings["dropout"])
        optimiser = torch.optim.AdamW(network.parameters(), settings["lr"], weight_decay=settings["weight_decay"])
        best, best_epoch, state = (-float("inf"), 0.0), 0, network.state_dict()
        for epoch in range(1, settings["epochs"] + 1):
            order = torch.randperm(len(train.targets), generator=generator)
            _one_epoch(network, optimiser, train, objective, list(order.split(settings["batch"])))  # type: ignore[no-untyped-call]
            rank = (float(epoch), 0.0) if validation is None else _rank(network, validation, objective)
            if rank > best:
                best, best_epoch = rank, epoch
                state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            elif epoch - best_epoch >= settings["patience"]:
                break
        network.load_state_dict(state)
    return network, best_epoch


def _one_epoch(
    network: Perceptron,
    optimiser: torch.optim.Optimizer,
    train: Problem,
    objective: Objective,
    batches: list[torch.Tensor],
) -> None:
    network.train()
    x, y = torch.from_numpy(train.features), torch.as_tensor(train.targets)
    y = y if y.is_floating_point() else y.long()
    for rows in batches:
        loss = objective(network(x[rows]), y[rows])
        if not loss.isfinite():
            raise Diverged("The perceptron's loss is no number. Give a smaller lr, or look for NaN in the embeddings.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@torch.no_grad()
def _rank(network: Perceptron, data: Problem, objective: Objective) -> tuple[float, float]:
    network.eval()
    return held_out_rank(network(torch.from_numpy(data.features)).numpy(), data, objective.goal)
