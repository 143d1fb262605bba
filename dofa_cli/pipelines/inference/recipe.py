"""A settled run in a form that can be pickled, and the same run opened again, in another process too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from dofa_cli.errors import WrongWeights
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.backends.ranges import Ranges
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.encoder import Encoder, TokenNorm, Weights, open_weights
from dofa_cli.pipelines.inference.run import Run
from dofa_cli.pipelines.shards.execute import Executor

OPEN_ENCODERS = 2
"""Encoders that a process keeps, for scenes of one sensor that follow each other."""


@dataclass(frozen=True)
class Network:
    """An encoder in words: the file of its weights and everything that was settled of it."""

    path: str
    name: str
    sha256: str
    wavelengths_um: tuple[float, ...]
    device: str
    precision: Precision
    token_norm: TokenNorm
    backend: BackendName = BackendName.TORCH
    ranges: Ranges | None = None


@dataclass(frozen=True)
class RunRecipe:
    """A run without its network: ``settled`` holds everything else of it by name, scene and windows among them."""

    network: Network
    settled: dict[str, Any]


def recipe_of(run: Run) -> RunRecipe:
    """Describe a settled run."""
    settled = {one.name: getattr(run, one.name) for one in fields(run) if one.name not in ("weights", "encoder")}
    return RunRecipe(network_of(run.weights, run.encoder, run.prepared.wavelengths_um), settled)


def reopened(recipe: RunRecipe, weights: Weights, encoder: Encoder) -> Run:
    """Return the run of a recipe with its network opened."""
    return Run(weights=weights, encoder=encoder, **recipe.settled)


@lru_cache(maxsize=1)
def weights_again(path: str, name: str, sha256: str) -> Weights:
    """Open weights once a process: the file at ``path``, or by ``name`` where another machine keeps it elsewhere.

    Raises :class:`WrongWeights` where the checksum is not the one that was settled.
    """
    weights = open_weights(path if Path(path).is_file() else name, trusted=True)
    if weights.sha256 != sha256:
        raise WrongWeights(f"The weights {name} here have sha256 {weights.sha256[:12]}…, the run's {sha256[:12]}….")
    return weights


@lru_cache(maxsize=OPEN_ENCODERS)
def encoder_again(network: Network) -> Encoder:
    """Open an encoder once a process."""
    return encoder_on(network, weights_again(network.path, network.name, network.sha256))


def encoder_on(network: Network, weights: Weights) -> Encoder:
    """Open an encoder on weights, which a head may have changed."""
    return Encoder(
        weights,
        network.wavelengths_um,
        device=network.device,
        precision=network.precision,
        token_norm=network.token_norm,
        backend=network.backend,
        ranges=network.ranges,
    )


def paths_for(executor: Executor | None, paths: Iterable[str]) -> tuple[str, ...]:
    """Return paths as the processes of an executor find them: local ones absolute."""
    if executor is None:
        return tuple(paths)
    return tuple(str(Path(path).absolute()) if Path(path).exists() else path for path in paths)


def network_of(weights: Weights, encoder: Encoder, wavelengths_um: tuple[float, ...]) -> Network:
    """Describe an encoder; its device is named by type, so that each process takes its own.

    Ranges of int8 travel along, so that all processes compute with the same.
    """
    return Network(
        path=weights.path,
        name=weights.name,
        sha256=weights.sha256,
        wavelengths_um=wavelengths_um,
        device=encoder.device.type,
        precision=encoder.precision,
        token_norm=encoder.token_norm,
        backend=encoder.backend.name,
        ranges=encoder.ranges,
    )
