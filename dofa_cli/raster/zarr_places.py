"""Where Zarr stores lie: folders and addresses of object stores, checked, replaced and removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upath import UPath

from dofa_cli.errors import OutputExists, OutputUnwritable
from dofa_cli.raster.writer import check_output, explained

SUFFIX = ".zarr"
FILE = "file://"
READ_ONLY = ("http://", "https://")
Place = Path | UPath
"""Where a file lies: here, or at an address of an object store."""


def is_url(path: str | Path) -> bool:
    """Whether a path is an address of an object store, rather than a local file."""
    return "://" in str(path) and not str(path).startswith(FILE)


def place(path: str | Path) -> Place:
    """Return a path that can be asked for its file, also of one at an address.

    Raises :class:`OutputUnwritable` for addresses that nothing here can open.
    """
    with store_explained(path):
        return UPath(path) if is_url(path) else local_path(path)


def local_path(path: str | Path) -> Path:
    """Return a local path, also of one that is written as ``file://``."""
    return Path(str(path).removeprefix(FILE))


def is_zarr(path: str | Path) -> bool:
    """Whether a path names a Zarr store."""
    return str(path).rstrip("/").lower().endswith(SUFFIX)


def check_store(url: str | Path, *, overwrite: bool, inputs: tuple[str, ...] = ()) -> None:
    """Fail before any work where a store cannot be written or is there.

    Raises :class:`OutputExists` or :class:`OutputUnwritable`; a folder that is no store is never replaced.
    """
    if not is_url(url):
        return _check_folder(local_path(url), overwrite=overwrite, inputs=inputs)
    with store_explained(url):
        files, root = _file_system(url)
        if files.exists(root) and not overwrite:
            raise OutputExists(f"{url} exists already. Add --overwrite to replace it, or name another with -o.")
    return None


def remove_store(url: str | Path) -> None:
    """Remove a store with all that is in it; a folder that is no store stays."""
    with store_explained(url):
        if is_url(url):
            files, root = _file_system(url)
            if files.exists(root):
                files.rm(root, recursive=True)
        elif (local_path(url) / "zarr.json").exists():
            shutil.rmtree(local_path(url))


def move_store(working: Path, path: Path) -> None:
    """Give a finished store its name; an older one of that name goes once the new one stands."""
    old = path.with_name(f".{path.name}.old")
    with explained(path):
        if path.exists():
            remove_store(old)  # of a move that was cut short
            path.rename(old)
        working.rename(path)
    remove_store(old)


@contextmanager
def store_explained(url: str | Path) -> Iterator[None]:
    """Turn what file systems and object stores say into errors of ours.

    Raises :class:`OutputUnwritable`, at once for addresses of the web.
    """
    if not is_url(url):
        with explained(local_path(url)):
            yield
        return
    if str(url).lower().startswith(READ_ONLY):
        raise OutputUnwritable(f"Cannot write {url}: the web is read only. Give a path, or an object store's address.")
    try:
        yield
    except ImportError as error:
        scheme = str(url).split("://", maxsplit=1)[0]
        raise OutputUnwritable(f"Cannot write {url}: {scheme}:// needs a package that is missing ({error}).") from None
    except (OSError, ValueError) as error:
        raise OutputUnwritable(f"Cannot write {url}: {first_line(error).rstrip('.')}.") from None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _check_folder(path: Path, *, overwrite: bool, inputs: tuple[str, ...]) -> None:
    if path.is_dir() and not (path / "zarr.json").exists():
        raise OutputUnwritable(f"{path} is a folder and no Zarr store. Name another with -o.")
    if path.exists() and any(Path(one).exists() and path.samefile(one) for one in inputs):
        raise OutputExists(f"{path} is an input of this run and is not overwritten. Name another with -o.")
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists already. Add --overwrite to replace it, or name another with -o.")
    check_output(path.with_name(f".{path.name}.probe"), overwrite=True)


def _file_system(url: str | Path) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    found = url_to_fs(str(url))
    return found[0], str(found[1])
