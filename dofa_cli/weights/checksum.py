"""The sha256 of large files, computed once per state of a file and remembered in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from platformdirs import user_cache_path


def sha256(path: str | Path, fresh: bool = False) -> str:
    """Return the sha256 of the file at ``path`` as 64 hexadecimal digits.

    An unchanged file (same size, modification and status-change time) is not read again, unless ``fresh``.
    """
    file = Path(path).resolve()
    stamp = _stamp(file)  # before reading: a file that changes meanwhile no longer fits its stamp
    known = _remembered()
    match known.get(str(file)):
        case [str(then), str(digest)] if then == stamp and not fresh:
            return digest
    digest = _digest(file)
    _remember({**known, str(file): [stamp, digest]})
    return digest


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(file: Path) -> str:
    stat = file.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _memory() -> Path:
    return user_cache_path("dofa") / "checksums.json"


def _remembered() -> dict[str, Any]:
    """Return path → [stamp, sha256]; a missing or damaged memory counts as empty."""
    try:
        known = json.loads(_memory().read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(known: dict[str, Any]) -> None:
    """Replace the memory as a whole, less the files that are gone; where it cannot be written, go without."""
    here = {path: entry for path, entry in known.items() if Path(path).exists()}
    with contextlib.suppress(OSError):
        _memory().parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=_memory().parent, suffix=".part", delete=False) as part:
            json.dump(here, part)
        Path(part.name).replace(_memory())
