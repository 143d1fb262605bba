"""How near a lowered precision comes to float32: measured on windows of the scene, kept for the next."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.backends.calibrate import CALIBRATION_WINDOWS, Draw
from dofa_cli.pipelines.inference.backends.kept_files import fetch, keep
from dofa_cli.pipelines.inference.encoder import Encoder, Weights, fingerprint
from dofa_cli.pipelines.inference.kept import kept

GOOD_COSINE = 0.99
"""Mean cosine to float32 below which a user is warned."""


@dataclass(frozen=True)
class Accuracy:
    """Cosine similarity of tokens to those in float32: mean and least over tokens, of as many windows.

    ``centred`` is the mean after the windows' mean token has been taken off both, which is the harder test: tokens of
    one scene have much in common.
    """

    cosine: float
    least: float
    centred: float
    windows: int

    @property
    def warning(self) -> str | None:
        """What to tell a user, if anything."""
        if self.cosine >= GOOD_COSINE:
            return None
        return (
            f"tokens have a cosine of {self.cosine:.4f} to those in float32, below {GOOD_COSINE:g}. "
            "Use a higher --precision where details matter."
        )


def accuracy_of(encoder: Encoder, weights: Weights, draw: Draw, batch: int) -> Accuracy | None:
    """Return how near an encoder comes to float32, in batches of the run's shape; ``None`` for float32 itself.

    It is measured once for weights, wavelengths, backend and precision: in int8 on as many windows as its ranges, else
    on one batch. ``None`` too where no window has valid pixels.
    """
    if encoder.precision is Precision.FLOAT32:
        return None
    return kept(("accuracy", encoder, batch), partial(_kept_accuracy, encoder, weights, draw, batch))


def _kept_accuracy(encoder: Encoder, weights: Weights, draw: Draw, batch: int) -> Accuracy | None:
    digest = encoder.ranges.digest if encoder.ranges else ""
    facts = (fingerprint(encoder.plain), digest, encoder.precision, encoder.token_norm, encoder.backend.name, batch)
    what = repr((*map(str, facts), encoder.device.type, torch.__version__))
    name = f"{hashlib.sha256(what.encode()).hexdigest()}.json"
    if before := fetch(name):
        with contextlib.suppress(ValueError, TypeError):
            return Accuracy(**json.loads(before))
    windows = draw(batch if encoder.ranges is None else CALIBRATION_WINDOWS)
    if not len(windows):
        return None
    measured = _measured(encoder, weights, windows, batch)
    keep(name, json.dumps(asdict(measured)).encode())
    return measured


def _measured(encoder: Encoder, weights: Weights, windows: Tensor, batch: int) -> Accuracy:
    exact = _exact(encoder, weights)
    found, wanted = (torch.cat(list(_tokens(one, windows, batch))).flatten(0, 1) for one in (encoder, exact))
    cosines = F.cosine_similarity(found, wanted, dim=-1)
    common = wanted.mean(dim=0)
    centred = F.cosine_similarity(found - common, wanted - common, dim=-1)
    return Accuracy(float(cosines.mean()), float(cosines.min()), float(centred.mean()), len(windows))


def _exact(encoder: Encoder, weights: Weights) -> Encoder:
    """Return the float32 encoder; on a graphics card that of a copy, so that the original stays where it is."""
    if encoder.device.type != "cpu":
        weights = replace(
            weights, checkpoint=replace(weights.checkpoint, model=copy.deepcopy(weights.checkpoint.model))
        )
    how: dict[str, Any] = {"device": str(encoder.device), "token_norm": encoder.token_norm}
    return Encoder(weights, encoder.wavelengths_um, precision=Precision.FLOAT32, **how)


def _tokens(encoder: Encoder, windows: Tensor, batch: int) -> Iterator[Tensor]:
    """Yield the tokens of windows, run in batches of one shape."""
    for some in torch.split(windows, batch):
        filled = some.new_zeros(batch, *some.shape[1:])
        filled[: len(some)] = some
        yield encoder.tokens(filled.to(encoder.device))[: len(some)].cpu()
