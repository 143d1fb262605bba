"""A folder, zip or tar archive as one list of member names, each with the path under which GDAL opens it."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from dofa_cli.errors import DamagedRaster, SceneNotFound

MOST_MEMBERS = 100_000
LARGEST_TEXT = 64 * 2**20
"""Metadata files are a few megabytes at most; anything larger is not read as text."""
_BROKEN = (OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)
_UNREADABLE = (*_BROKEN, KeyError, RuntimeError)
"""``RuntimeError`` is how :mod:`zipfile` says that a member is encrypted, or packed in a way that it does not know."""


@dataclass(frozen=True)
class Container:
    """The files of a product: ``members`` are names relative to it, with forward slashes."""

    path: str
    prefix: str
    members: tuple[str, ...]

    def gdal_path(self, member: str) -> str:
        """Return what GDAL opens for a member; it leaves the ``./`` out that tar writes before names."""
        return f"{self.prefix}/{member.removeprefix('./')}"

    def matching(self, pattern: str) -> list[str]:
        """Return the members whose file name (without folders) fits a shell pattern, in order."""
        return [member for member in self.members if fnmatch(PurePosixPath(member).name, pattern)]

    def text(self, member: str) -> bytes:
        """Return the bytes of a metadata file; :class:`DamagedRaster` if it cannot be read."""
        try:
            return self._bytes(member)
        except _UNREADABLE as error:
            raise DamagedRaster(f"{member} in {self.path} cannot be read: {error}.") from None

    def _bytes(self, member: str) -> bytes:
        if self.prefix.startswith("/vsizip/"):
            with zipfile.ZipFile(self.path) as archive, archive.open(_zip_entries(archive)[member]) as file:
                return file.read(LARGEST_TEXT)
        if self.prefix.startswith("/vsitar/"):
            with tarfile.open(self.path) as tarball:
                found = tarball.extractfile(member)
                return b"" if found is None else found.read(LARGEST_TEXT)
        with (Path(self.path) / member).open("rb") as file:
            return file.read(LARGEST_TEXT)


def open_container(path: str) -> Container | None:
    """Return the container at ``path``: a folder, or a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` file; else ``None``.

    A Zarr store is a raster of its own and no container. Raises :class:`SceneNotFound` where nothing is there and
    :class:`DamagedRaster` for a broken archive.
    """
    place = Path(path)
    if place.suffix.lower() == ".zarr":
        return None
    if place.is_dir():
        return Container(path, path.rstrip("/"), tuple(_files_below(place)))
    is_archive = path.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))
    if not is_archive or "://" in path or path.startswith("/vsi"):
        return None
    if not place.exists():
        raise SceneNotFound(f"No such file: {path}.")
    return _archive(path, place.resolve(), place.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _archive(path: str, place: Path, stamp: int) -> Container:  # noqa: ARG001 - a changed archive is listed again
    """List an archive once for all readers: a packed tar must be unpacked to be listed."""
    try:
        if path.lower().endswith(".zip"):
            with zipfile.ZipFile(place) as archive:
                return Container(path, f"/vsizip/{place}", tuple(sorted(_zip_entries(archive))))
        with tarfile.open(place) as tarball:
            return Container(path, f"/vsitar/{place}", tuple(sorted(tarball.getnames())))
    except _BROKEN as error:
        raise DamagedRaster(f"{path} is not a whole archive: {error}.") from None


def _files_below(folder: Path) -> Iterator[str]:
    found = list(islice(folder.rglob("*"), MOST_MEMBERS + 1))
    if len(found) > MOST_MEMBERS:
        raise DamagedRaster(f"{folder} holds more than {MOST_MEMBERS} files. Name the product's own folder.")
    for file in sorted(found):
        if file.is_file():
            yield file.relative_to(folder).as_posix()


def _zip_entries(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the names in a zip by what GDAL calls them: some Windows tools write backslashes."""
    return {name.replace("\\", "/"): name for name in archive.namelist()}
