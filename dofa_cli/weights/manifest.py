"""What checkpoints exist: one TOML file each in ``weights/``, its stem the name; and which are outdated."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from dofa_cli.errors import UnknownWeights
from dofa_cli.resources import data_folder

DEFAULT = "dofa-tiny"
"""The checkpoint that comes with the program and is used when none is named."""
OLD_LAYOUTS = "old_layouts"
"""Stem of the one file in ``weights/`` that lists outdated files instead of describing a checkpoint."""


class PublishedFile(BaseModel):
    """A file known by its name and its sha256, or by the first digits of that where no more is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    sha256_prefix: Annotated[str, Field(pattern="^[0-9a-f]{8,63}$")] | None = None

    @property
    def checksum(self) -> str:
        """The known leading digits of the sha256, all 64 at best; empty where none is published."""
        return self.sha256 or self.sha256_prefix or ""

    def matches(self, sha256: str) -> bool:
        """Tell whether a file with this ``sha256`` (64 hexadecimal digits) is the published one."""
        return bool(self.checksum) and sha256.startswith(self.checksum)


class Checkpoint(PublishedFile):
    """A published checkpoint: where the Hugging Face Hub has it, its checksum, and the shape of its network.

    ``repo`` and ``revision`` are empty for what lies in ``weights/`` itself. ``size`` is in bytes; ``architecture``
    holds the fields of :class:`dofa_cli.model.config.DofaConfig`.
    """

    name: str
    repo: str = ""
    revision: str = ""
    size: PositiveInt | None = None
    licence: str
    source: str
    citation: str
    note: str = ""
    architecture: dict[str, int]

    @property
    def embedded(self) -> Path | None:
        """The file, for a checkpoint that comes with the program."""
        return None if self.repo else data_folder("weights") / self.file


class OldLayout(PublishedFile):
    """A file whose kernels are in the layout of before August 2024; ``reason`` says where it is from."""

    reason: str


def checkpoints() -> dict[str, Checkpoint]:
    """Return all published checkpoints by name, in alphabetical order."""
    paths = sorted(data_folder("weights").glob("*.toml"))
    return {path.stem: Checkpoint(name=path.stem, **_read(path)) for path in paths if path.stem != OLD_LAYOUTS}


def checkpoint(name: str) -> Checkpoint:
    """Return the checkpoint called ``name``; :class:`UnknownWeights` suggests the nearest name."""
    known = checkpoints()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
        raise UnknownWeights(f"No weights '{name}'. {hint}")
    return known[name]


def old_layouts() -> tuple[OldLayout, ...]:
    """Return the files known to have the old kernel layout."""
    return tuple(OldLayout(**entry) for entry in _read(data_folder("weights") / f"{OLD_LAYOUTS}.toml")["files"])


def old_layout(sha256: str) -> OldLayout | None:
    """Return the outdated file that has this ``sha256``, or None."""
    return next((entry for entry in old_layouts() if entry.matches(sha256)), None)


def published_name(sha256: str) -> str | None:
    """Return the name of the checkpoint whose published checksum fits ``sha256``, or None."""
    return next((known.name for known in checkpoints().values() if known.matches(sha256)), None)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)
