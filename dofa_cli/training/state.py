"""A run's state on disk: whole files only, of tensors and plain values, that load without running code.

There is no state of random generators to keep: everything random follows from the seed and the number of the step.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dofa_cli.errors import DamagedWeights
from dofa_cli.model.masked import MaskedDofa, load_published, published_state
from dofa_cli.raster.writer import explained, working_file
from dofa_cli.training.loop import Learner

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run has come: ``step`` is the next one, ``best`` the lowest loss on images that are not trained on."""

    step: int = 0
    best: float = float("inf")
    best_step: int = 0
    seconds: float = 0.0
    images: int = 0


def save_state(path: Path, learner: Learner, progress: Progress, config: str) -> None:
    """Write network, optimiser, moving average and progress; ``config`` is the run's, as JSON.

    Raises :class:`~dofa_cli.errors.NoSpace` on a full disk; the file that was there before stays.
    """
    content = {
        "format": FORMAT,
        "dofa_config": learner.network.encoder.config.to_json(),
        "config": config,
        "progress": vars(progress),
        "model": published_state(learner.network),
        "average": None if learner.average is None else published_state(learner.best_guess),
        "averaged": 0 if learner.average is None else int(learner.average.n_averaged),
        "optimiser": learner.optimiser.state_dict(),
    }
    with working_file(path) as working, explained(path), working.open("wb") as file:
        torch.save(content, file)


def read_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; :class:`DamagedWeights` if it is something else."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = (str(error).strip() or "unexpected end").splitlines()[0]
        raise DamagedWeights(
            f"{path} is damaged ({reason}). Delete it and run again, with --init best.pt if it is whole."
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DamagedWeights(f"{path} is not the state of a pretraining run of this version.")
    return content


def restore(learner: Learner, content: dict[str, Any]) -> Progress:
    """Put a state back into a learner of the same configuration and return its progress."""
    _fill(learner.network, content["model"])
    if learner.average is not None:
        _fill(learner.best_guess, content["average"])
        learner.average.n_averaged.fill_(content["averaged"])
    learner.optimiser.load_state_dict(content["optimiser"])
    return Progress(**content["progress"])


def _fill(network: MaskedDofa, state: dict[str, Tensor]) -> None:
    missing = load_published(network, state)
    assert not missing, "a run's own state is whole"
