"""Embeddings kept on disk by the content of what they come from, so that trying another head takes seconds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from dofa_cli.errors import OutputError
from dofa_cli.raster.writer import working_file
from dofa_cli.weights.checksum import sha256

MOST_BYTES = 20 * 10**9
"""Size of the folder beyond which the entries used longest ago are dropped."""
REMEMBERED_BYTES = 64 * 2**20
"""Files from this size on are hashed once per state of the file; smaller ones are read again, which is as quick."""


def cache_folder() -> Path:
    """Return the folder of kept embeddings: ``$DOFA_CACHE``, else one in the user's cache."""
    named = os.environ.get("DOFA_CACHE")
    return Path(named).expanduser() / "features" if named else user_cache_path("dofa") / "features"


def content(paths: Iterable[str]) -> list[str] | None:
    """Return the sha256 of each file; ``None`` if one is no local file, so that its content cannot be told."""
    files = [Path(path) for path in paths]
    if not files or not all(file.is_file() for file in files):
        return None
    return [_digest(file) for file in files]


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the name of an entry: the sha256 of plain facts, whatever their order."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest(array: NDArray[Any]) -> str:
    """Return the sha256 of an array's type, shape and values."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def fetch(key: str) -> NDArray[np.float32] | None:
    """Return the kept array, or ``None`` where there is none or it is damaged."""
    path = _path(key)
    try:
        values: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    with contextlib.suppress(OSError):
        path.touch()  # used last now
    return values


def keep(key: str, values: NDArray[np.float32]) -> bool:
    """Keep an array under ``key``, whole or not at all; return whether the folder could be written."""
    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with working_file(path) as working, working.open("wb") as file:
            np.save(file, values)
    except (OSError, OutputError):
        return False
    _make_room(path.parent)
    return True


def _path(key: str) -> Path:
    return cache_folder() / f"{key}.npy"


def _digest(file: Path) -> str:
    if file.stat().st_size >= REMEMBERED_BYTES:
        return sha256(file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _make_room(folder: Path) -> None:
    """Drop the entries used longest ago until those left fit, and what a killed run left half-written."""
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run may have dropped it
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    used = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries)[:-1]:
        if used <= MOST_BYTES:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        used -= size
