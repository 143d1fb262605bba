"""Files that took long to make, kept in the user's cache folder under names that say what they depend on."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from dofa_cli.errors import OutputError
from dofa_cli.raster.writer import working_file

MOST_BYTES = 5 * 10**9
"""Size of the folder beyond which the files used longest ago are dropped."""


def models_folder() -> Path:
    """Return the folder of what was made: ``$DOFA_CACHE``, else one in the user's cache."""
    named = os.environ.get("DOFA_CACHE")
    return (Path(named).expanduser() if named else user_cache_path("dofa")) / "models"


def kept_file(name: str, make: Callable[[Path], object]) -> Path:
    """Return the file of a name; ``make`` writes it where there is none, and it is renamed when it is whole.

    Where the folder cannot be written, the file lives as long as the process.
    """
    path = models_folder() / name
    if path.is_file():
        with contextlib.suppress(OSError):
            path.touch()  # used last now
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with working_file(path) as working:
            make(working)
    except (OSError, OutputError):
        path = Path(_own_folder().name) / name
        if not path.is_file():
            make(path)
        return path
    _make_room(path.parent, path)
    return path


def fetch(name: str) -> bytes | None:
    """Return what is kept under a name, or ``None``."""
    path = models_folder() / name
    try:
        found = path.read_bytes()
        path.touch()  # used last now
    except OSError:
        return None
    return found


def keep(name: str, data: bytes) -> None:
    """Keep ``data`` under a name, whole or not at all; a folder that cannot be written is no fault."""
    path = models_folder() / name
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with working_file(path) as working:
            working.write_bytes(data)


@cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dofa-models-")


def _make_room(folder: Path, newest: Path) -> None:
    """Drop the files used longest ago until those left fit."""
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run may have dropped it
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    used = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if used <= MOST_BYTES:
            return
        if path != newest:
            with contextlib.suppress(OSError):
                path.unlink()
            used -= size
