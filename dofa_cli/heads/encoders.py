"""Encoders as heads need them: copies to train, the rates of their layers, and copies with what training changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dofa_cli.heads.head import Method
from dofa_cli.heads.lora import PREFIX as LORA
from dofa_cli.heads.lora import adapters, add_adapters, merged
from dofa_cli.heads.settings import Training
from dofa_cli.model.vit import Dofa

ENCODER = "encoder."
"""Start of the names of changed encoder tensors in a head file."""
FROZEN = ("patch_embed.", "pos_embed")
"""What finetune leaves as it is: the generator of kernels, so that other wavelengths still work, and positions."""


def sharing_copy(dofa: Dofa) -> Dofa:
    """Return a frozen copy of an encoder that shares the memory of its parameters until they are replaced."""
    shared = {id(one): nn.Parameter(one.detach(), requires_grad=False) for one in dofa.parameters()}
    return copy.deepcopy(dofa, shared)


def trainable_copy(dofa: Dofa, method: Method, training: Training) -> Dofa:
    """Return a copy whose parameters (finetune) or adapters (lora) are trained; ``dofa`` is not changed."""
    model = sharing_copy(dofa)
    if method is Method.LORA:
        add_adapters(model, training.rank, training.alpha)
        return model
    for name, parameter in model.named_parameters():
        if not name.startswith(FROZEN):
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(True)
    return model


def encoder_groups(model: Dofa, training: Training) -> list[dict[str, Any]]:
    """Return the optimiser's groups, one a layer: the rate falls by ``layer_decay`` a block towards the pixels.

    The last block and the norms after it learn at ``encoder_lr``; adapters all do, as their starting point is the same
    in each block. Biases, norms and other vectors do not decay.
    """
    depth = len(model.blocks)
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            below = 0 if name.endswith((".a", ".b")) else depth - 1 - _layer(name, depth)
            groups.setdefault((below, parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": training.encoder_lr * training.layer_decay**below,
            "weight_decay": training.weight_decay if decays else 0.0,
        }
        for (below, decays), parameters in groups.items()
    ]


def changed_tensors(before: Dofa, after: Dofa, method: Method) -> dict[str, Tensor]:
    """Return what a head file keeps of a trained encoder: its adapters, or the parameters that have changed."""
    if method is Method.LORA:
        return adapters(after)
    old = before.state_dict()
    new = {name: tensor.detach().cpu() for name, tensor in after.state_dict().items()}
    return {f"{ENCODER}{name}": t.clone() for name, t in new.items() if not t.equal(old[name].cpu())}


def changed_encoder(dofa: Dofa, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Dofa:
    """Return ``dofa`` with a head file's changes, in a copy that shares the rest; itself where there are none.

    Adapters are added to the weights they adapt, so the copy is as quick as ``dofa``. Raises :class:`KeyError`,
    :class:`RuntimeError` or :class:`ValueError` where names or shapes do not fit.
    """
    changes = {name.removeprefix(ENCODER): tensor for name, tensor in tensors.items() if name.startswith(ENCODER)}
    if any(name.startswith(LORA) for name in tensors):
        changes |= dict(merged(dofa.state_dict(), tensors, settings["alpha"] / settings["rank"]))
    if not changes:
        return dofa
    model = sharing_copy(dofa)
    parameters = dict(model.named_parameters())
    for name, tensor in changes.items():
        if parameters[name].shape != tensor.shape:
            raise ValueError(f"{name} {tuple(tensor.shape)}, the encoder's is {tuple(parameters[name].shape)}")
        parameters[name].data = tensor.to(parameters[name])
    return model.eval()


def _layer(name: str, depth: int) -> int:
    """Return the block of a parameter: −1 for what comes before the first, the last one for the norms after it."""
    parts = name.split(".")
    if parts[0] == "blocks":
        return int(parts[1])
    return depth - 1 if parts[0] in ("norm", "fc_norm") else -1
