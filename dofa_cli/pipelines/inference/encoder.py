"""Weights opened for one wavelength list on one device: standardised windows in, tokens or vectors out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dofa_cli.errors import OptionError, UntrustedWeights, WrongWeights
from dofa_cli.model.backends.backend import Backend, BackendName
from dofa_cli.model.backends.compiled import CompiledBackend
from dofa_cli.model.backends.eager import EagerBackend
from dofa_cli.model.backends.openvino import OpenVinoBackend
from dofa_cli.model.backends.quantised import quantised
from dofa_cli.model.backends.ranges import Ranges
from dofa_cli.model.checkpoint import Checkpoint, load_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import (
    Precision,
    arithmetic,
    choose_device,
    choose_precision,
    keep_freed_memory,
)
from dofa_cli.model.linears import fold_for_inference, for_inference
from dofa_cli.model.vit import Dofa, FoldedDofa
from dofa_cli.pipelines.inference.backends.kept_files import kept_file
from dofa_cli.pipelines.inference.kept import kept
from dofa_cli.weights import store
from dofa_cli.weights.manifest import DEFAULT, old_layout


class TokenNorm(StrEnum):
    """What patch tokens go through before they are written."""

    TRAINED = "trained"
    NONE = "none"


class CellModel(Protocol):
    """Anything that turns standardised windows into values on cells; tests put plain functions here.

    ``detail`` is the number of values along each side of a cell: 1 for tokens, more for heads that see finer.
    """

    patch_size: int
    dim: int
    detail: int
    device: torch.device

    def tokens(self, pixels: Tensor) -> Tensor:
        """Map (N, bands, s, s) to values (N, L · detail², D), row by row: tokens, or what a head makes of them."""


@runtime_checkable
class WindowModel(CellModel, Protocol):
    """A model that also gives one vector a window."""

    def vectors(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """Map (N, bands, s, s) and cell weights (N, L) to vectors (N, D)."""


@dataclass(frozen=True)
class Weights:
    """A checkpoint read from disk: ``name`` is the manifest's, or the file's where it has none, ``path`` the file."""

    name: str
    sha256: str
    checkpoint: Checkpoint
    path: str = ""

    @property
    def config(self) -> DofaConfig:
        """The network's architecture."""
        return self.checkpoint.model.config

    def norm_in_use(self, wanted: TokenNorm) -> str:
        """Say which norm patch tokens go through: ``trained``, ``plain`` (the file has none) or ``none``."""
        if wanted is TokenNorm.NONE:
            return "none"
        return "trained" if self.checkpoint.token_norm else "plain"


def about_default() -> str:
    """Say which weights are used when none are named, and how to get the published ones."""
    return (
        f"Weights: {DEFAULT}, the small network that comes with dofa. For the published one: `dofa weights download "
        "dofa-base` (448 MB), then --weights dofa-base."
    )


def open_weights(name: str | None, *, trusted: bool = False) -> Weights:
    """Find, check and load weights by manifest name or path.

    Without a name it is :data:`~dofa_cli.weights.manifest.DEFAULT`. Raises :class:`WrongWeights` for files of the old
    kernel layout, and :class:`UntrustedWeights` for unknown files whose layout cannot be told, unless ``trusted``.
    """
    path = store.find(name or DEFAULT)
    sha256 = store.sha256(path)
    return kept(("weights", str(path.absolute()), sha256, trusted), partial(_loaded, path, sha256, trusted=trusted))


def _loaded(path: Path, sha256: str, *, trusted: bool) -> Weights:
    if old := old_layout(sha256):
        raise WrongWeights(f"{path} is {old.file}, of the old kernel layout: {old.reason}")
    known = store.name_of(path)
    checkpoint = load_checkpoint(path)
    if checkpoint.layout_is_ambiguous and known is None and not trusted:
        raise UntrustedWeights(
            f"{path} has the shapes of published DOFA weights but an unknown checksum. Files of the old kernel layout "
            "(before August 2024) have the same shapes and give wrong features without any error. If you know that "
            "this is a newer file, add --trust-weights."
        )
    return Weights(known or path.name, sha256, checkpoint, str(path.absolute()))


class Encoder:
    """DOFA folded for one wavelength list (µm) on a device, in a precision, computed by a backend.

    Tokens leave in float32, after the norm that ``token_norm`` asks for. ``folded`` is the network as PyTorch computes
    it, for those who want more than tokens of it. int8 needs ``ranges``.
    """

    def __init__(
        self,
        weights: Weights,
        wavelengths_um: Sequence[float],
        *,
        device: str = "auto",
        precision: Precision = Precision.AUTO,
        token_norm: TokenNorm = TokenNorm.TRAINED,
        backend: BackendName = BackendName.TORCH,
        ranges: Ranges | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.wavelengths_um, self.ranges = tuple(wavelengths_um), ranges
        self.original = weights.checkpoint.model
        if self.device.type == "cpu":
            keep_freed_memory()
        self.token_norm = token_norm
        self.detail = 1
        self.patch_size = weights.config.patch_size
        self.dim = weights.config.embed_dim
        if backend in (BackendName.TORCH, BackendName.AUTO):
            self.model = self._for_torch()
            self.folded = fold_for_inference(self.model, wavelengths_um, self.device, self.precision.dtype)
            self.backend: Backend = EagerBackend(self.folded, self.device, self.precision)
        else:
            self.model, self.folded = self.original, self.plain
            self.backend = self._made_ready(backend)

    @property
    def plain(self) -> FoldedDofa:
        """The network in float32, folded; its weights are those that were opened."""
        return self.original.fold(self.wavelengths_um).eval()

    def tokens(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to float32 patch tokens (N, L, D)."""
        with arithmetic(self.device, self.precision):
            patches = self.backend.patches(pixels)
            return patches if self.token_norm is TokenNorm.NONE else torch.as_tensor(self.model.norm(patches))

    def vectors(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to float32 vectors (N, D), cells weighted by (N, L)."""
        with arithmetic(self.device, self.precision):
            return self.model.pool(self.backend.patches(pixels), weight)

    def _for_torch(self) -> Dofa:
        if self.precision is not Precision.INT8:
            return for_inference(self.original, self.device, self.precision.dtype)
        return quantised(self.original, self._ranges)

    def _made_ready(self, backend: BackendName) -> Backend:
        key = fingerprint(self.folded)
        if backend is BackendName.COMPILED:
            return CompiledBackend(self.folded, self.precision, key=key, keep=kept_file)
        ranges = self._ranges if self.precision is Precision.INT8 else None
        key += ranges.digest if ranges else ""
        return OpenVinoBackend(self.folded, self.precision, key=key, keep=kept_file, ranges=ranges)

    @property
    def _ranges(self) -> Ranges:
        if self.ranges is None:
            raise OptionError(
                "--precision int8 learns ranges from a scene first: it is for embed, segment and classify with heads "
                "of tokens. Use bfloat16 or float32 here."
            )
        return self.ranges


def fingerprint(folded: FoldedDofa) -> str:
    """Return a sha256 of everything that un-normed tokens depend on: architecture, kernel, transformer."""
    found = hashlib.sha256(folded.model.config.to_json().encode())
    for name, tensor in folded.state_dict().items():
        if not name.startswith("model.patch_embed."):  # the kernel stands for it
            found.update(name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def open_encoder(
    weights: Weights,
    wavelengths_um: Sequence[float],
    *,
    device: str = "auto",
    precision: Precision = Precision.AUTO,
    token_norm: TokenNorm = TokenNorm.TRAINED,
    backend: BackendName = BackendName.TORCH,
    ranges: Ranges | None = None,
) -> Encoder:
    """Open an encoder, or return the one that is held of the same network for the same wavelengths."""
    how: dict[str, Any] = {
        "device": device,
        "precision": precision,
        "token_norm": token_norm,
        "backend": backend,
        "ranges": ranges,
    }
    key = ("encoder", weights.checkpoint.model, tuple(wavelengths_um), *how.values())
    return kept(key, partial(Encoder, weights, wavelengths_um, **how))
