"""Where checkpoints lie on this machine, and how they get there: downloaded once, checked before use.

Three places are searched: the program itself, which brings a small one; the folder of files placed by hand
(:func:`cache_folder`); and the cache of the hub's client, which :func:`download` fills.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from dofa_cli.errors import DamagedWeights, NoWeights, WrongWeights
from dofa_cli.weights import hub
from dofa_cli.weights.checksum import sha256 as sha256  # noqa: PLC0414 - part of this module's interface
from dofa_cli.weights.manifest import Checkpoint, checkpoint, checkpoints, old_layout, published_name


@dataclass(frozen=True)
class Verified:
    """An undamaged file: its ``sha256``, and the ``name`` that it is published under or None."""

    path: Path
    sha256: str
    name: str | None


def cache_folder() -> Path:
    """Return the folder for files placed by hand: ``$DOFA_WEIGHTS``, else one in the user's cache."""
    named = os.environ.get("DOFA_WEIGHTS")
    return Path(named).expanduser() if named else user_cache_path("dofa") / "weights"


def find(name_or_path: str, progress: bool = True) -> Path:
    """Return the file of the weights given by path or by published name, downloaded if need be.

    A file given by its path is returned as it is, a published one is checked. Raises :class:`UnknownWeights`
    for a name that is not published, :class:`NoWeights` without such a file or network, and
    :class:`DamagedWeights`.
    """
    if given := _given(name_or_path):
        return given
    wanted = checkpoint(name_or_path)
    found = local(wanted)
    return _checked(wanted, found) if found else download(wanted, progress)


def download(wanted: Checkpoint, progress: bool = True) -> Path:
    """Return the checked file of ``wanted``, fetched unless a good copy is here; ``progress`` draws a bar.

    Raises :class:`NoWeights` without network, :class:`DamagedWeights` where size or checksum differ, and
    :class:`NoSpace` on a full disk.
    """
    if placed := wanted.embedded or _placed(wanted):
        return _checked(wanted, placed)
    _discard_if_damaged(wanted)
    return _checked(wanted, hub.fetch(wanted, cache_folder(), progress))


def here(name_or_path: str) -> Path:
    """Return the file of the weights given by path or by published name, not checked and not downloaded.

    Raises :class:`NoWeights` where it is not on this machine, :class:`UnknownWeights` for a name not listed.
    """
    path = _given(name_or_path) or local(checkpoint(name_or_path))
    if path is None:
        raise NoWeights(f"'{name_or_path}' is not on this machine. Run 'dofa weights download {name_or_path}'.")
    return path


def local(wanted: Checkpoint) -> Path | None:
    """Return the file of ``wanted`` on this machine, not checked, or None."""
    return wanted.embedded or _placed(wanted) or hub.cached(wanted)


def verify(name_or_path: str) -> Verified:
    """Read a file of weights in full and compare it with what is published; nothing is downloaded.

    Raises what :func:`here` raises, :class:`DamagedWeights` for a file with a published name and another size
    or checksum, and :class:`WrongWeights` for one with the old kernel layout.
    """
    path = here(name_or_path)
    found = sha256(path, fresh=True)
    if old := old_layout(found):
        raise WrongWeights(f"{path} is {old.file}, which has the old kernel layout: {old.reason}.")
    namesake = next((known for known in checkpoints().values() if known.file == path.name), None)
    if namesake:
        _checked(namesake, path)
    return Verified(path, found, name_of(path))


def name_of(path: Path) -> str | None:
    """Return the name that the file at ``path`` is published under, or None.

    The checksum decides. A checkpoint without a published checksum is known only in the cache of the hub's
    client, by the pinned revision that it was fetched from.
    """
    return published_name(sha256(path)) or next((known.name for known in _unsummed() if _is_cached(known, path)), None)


def _unsummed() -> list[Checkpoint]:
    return [known for known in checkpoints().values() if not known.checksum]


def _is_cached(known: Checkpoint, path: Path) -> bool:
    cached = None if known.embedded else hub.cached(known)
    return cached is not None and cached.samefile(path)


def _given(name_or_path: str) -> Path | None:
    """Return the file at a path, or None for what can only be a name; a path without a file is an error."""
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.suffix or len(path.parts) != 1:
        raise NoWeights(f"No file '{name_or_path}'. Give a file of weights, or a name from 'dofa weights list'.")
    return None


def _placed(wanted: Checkpoint) -> Path | None:
    path = cache_folder() / wanted.file
    return path if path.is_file() else None


def _checked(wanted: Checkpoint, path: Path) -> Path:
    """Return ``path`` if it holds ``wanted``, else raise :class:`DamagedWeights` with the way out."""
    if fault := _fault(wanted, path):
        if wanted.embedded:
            raise DamagedWeights(f"{path} is not '{wanted.name}' as it was shipped: {fault}. Install dofa anew.")
        step = "Run" if path == hub.cached(wanted) else "Delete it and run"
        raise DamagedWeights(
            f"{path} is not '{wanted.name}' as published: {fault}. "
            f"{step} 'dofa weights download {wanted.name}' to fetch it again."
        )
    return path


def _fault(wanted: Checkpoint, path: Path) -> str | None:
    """Say how the file at ``path`` differs from ``wanted``, or None; size first, because it costs nothing."""
    if not path.is_file():
        return "it is missing"
    size = path.stat().st_size
    if wanted.size not in {None, size}:
        return f"expected {wanted.size} bytes, found {size}"
    expected = wanted.checksum or hub.announced(path)
    found = sha256(path)
    return None if found.startswith(expected) else f"expected sha256 {expected}, found {found}"


def _discard_if_damaged(wanted: Checkpoint) -> None:
    cached = hub.cached(wanted)
    if cached and _fault(wanted, cached):
        hub.discard(cached)
