"""Outputs on an object store: written here, uploaded whole, and recorded there last."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from dofa_cli import __version__
from dofa_cli.errors import OptionError, OutputExists, OutputUnwritable
from dofa_cli.raster.writer import explained
from dofa_cli.raster.zarr_places import store_explained

ENTRY = ".dofa.json"
"""Ending of an entry's name: that of the output and this."""
ATTEMPTS = 3
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
CHUNK = 2**22


@contextmanager
def remote_output(url: str, *, overwrite: bool, staging: Path | None = None) -> Iterator[Path]:
    """Give a local path to write to; when the body succeeds, upload it and the files beside it to ``url``.

    The path lies in a folder under ``staging`` (the working folder) whose name follows from ``url``, so that a stopped
    run finds its parts again; after the upload the folder is removed. Where an upload failed, the finished output is
    there from the start. Raises :class:`~dofa_cli.errors.OutputExists`, :class:`~dofa_cli.errors.OutputUnwritable`, or
    :class:`~dofa_cli.errors.OptionError` for an address that nothing here can write to.
    """
    system, path = _opened(url)
    folder = (staging or Path.cwd()) / staging_name(url)
    local = folder / PurePosixPath(path).name
    _check_free(system, path, url, overwrite=overwrite or local.exists())
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield local
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    upload_whole(local, url)
    shutil.rmtree(folder, ignore_errors=True)


def staging_name(url: str) -> str:
    """Return the name of the folder in which an output is made before it is uploaded to ``url``."""
    return f".upload-{sha256(url.encode()).hexdigest()[:12]}"


def upload_whole(local: Path, url: str) -> None:
    """Upload an output, a file or a store, with all else in its folder that is not hidden; the entry comes last.

    Who finds the entry finds everything. Raises :class:`~dofa_cli.errors.OutputUnwritable` after three attempts.
    """
    system, path = _opened(url)
    parent = PurePosixPath(path).parent
    files = {file.relative_to(local.parent).as_posix(): file for file in _with_companions(local)}
    _attempt(url, lambda: _remove(system, path + ENTRY))
    for name, file in files.items():
        _attempt(url, lambda name=name, file=file: _put(system, file, str(parent / name)))
    if local.is_dir():
        _attempt(url, lambda: _remove_others(system, path, {str(parent / name) for name in files}))
    entry = {"dofa_version": __version__, "files": {name: _size_and_crc(file) for name, file in files.items()}}
    _attempt(url, lambda: system.pipe_file(path + ENTRY, json.dumps(entry, indent=1).encode()))


def is_uploaded(url: str) -> bool:
    """Whether ``url`` was uploaded whole: its entry is there, and every file in it with the right size."""
    system, path = _opened(url)
    try:
        entry = json.loads(system.cat_file(path + ENTRY))
        parent = PurePosixPath(path).parent
        return all(system.info(str(parent / name))["size"] == size for name, (size, _) in entry["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of an address, and its path there."""
    from fsspec.core import url_to_fs

    with store_explained(url):
        system, path = url_to_fs(url)
    return system, str(path)


def _check_free(system: Any, path: str, url: str, *, overwrite: bool) -> None:
    """Fail before any work where something stands at the address, or it cannot be asked."""
    if not PurePosixPath(path).name:
        raise OptionError(f"{url} names no file. Give an address such as s3://bucket/name.tif.")
    taken = _attempt(url, lambda: system.exists(path))
    if taken and not overwrite:
        raise OutputExists(f"{url} exists already. Add --overwrite to replace it, or name another file with -o.")


def _with_companions(local: Path) -> Iterator[Path]:
    """Yield the files beside an output, such as styles and other maps, and those of the output itself last."""
    shown = [one for one in sorted(local.parent.iterdir()) if one != local and not one.name.startswith(".")]
    for place in (*shown, local):
        yield from sorted(one for one in place.rglob("*") if one.is_file()) if place.is_dir() else (place,)


def _put(system: Any, file: Path, path: str) -> None:
    """Upload one file; ``OSError`` where the store holds another number of bytes afterwards."""
    system.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
    system.put_file(str(file), path)
    system.invalidate_cache()
    if (stored := system.info(path)["size"]) != file.stat().st_size:
        raise OSError(f"{stored} of {file.stat().st_size} bytes arrived")


def _remove(system: Any, path: str) -> None:
    if system.exists(path):
        system.rm_file(path)


def _remove_others(system: Any, store: str, names: Collection[str]) -> None:
    """Remove an older store's chunks that the new one lacks, since all in them is nodata: they would show through."""
    kept = {system._strip_protocol(name) for name in names}
    for old in system.find(store):
        if old not in kept:
            system.rm_file(old)


def _attempt(url: str, action: Any) -> Any:
    """Do something with a store, up to three times."""
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            if attempt + 1 == ATTEMPTS:
                said = (str(error).splitlines() or [type(error).__name__])[0]
                raise OutputUnwritable(
                    f"Cannot write {url}: {said}. What was computed is kept; the same command goes on."
                ) from None
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError


def _size_and_crc(file: Path) -> tuple[int, int]:
    crc = 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return file.stat().st_size, crc
