"""One of many scenes: its files, and what a list says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

_WEB = re.compile(r"^(?:[a-z][a-z0-9+.-]*://|/vsi)", re.IGNORECASE)
_ENDINGS = re.compile(r"\.(?:tar\.gz|tar|tgz|zip|safe|tiff?|jp2|json|geojson|vrt|zarr|\w{2,4})$", re.IGNORECASE)
_METADATA = re.compile(r"_MTL$", re.IGNORECASE)
_BAND = re.compile(r"(?:^|[_.\-])(?:B\d{1,2}A?|[VH][VH])$", re.IGNORECASE)


@dataclass(frozen=True)
class SceneItem:
    """A scene to run: a raster, a product, or the band files of one scene.

    ``output``, ``sensor`` and ``taken`` are what a list says of this scene alone. ``number`` counts from 1.
    """

    name: str
    paths: tuple[str, ...]
    output: str | None = None
    sensor: str | None = None
    taken: str | None = None
    number: int = 0

    @property
    def parent(self) -> str:
        """The name of the folder that the scene lies in."""
        return folder_name(self.paths[0])

    @property
    def shown(self) -> str:
        """The scene as messages name it."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"


def scene_at(*paths: str, **told: Any) -> SceneItem:
    """Return the scene that some files are, named after them."""
    return SceneItem(name_of(paths), paths, **told)


def is_address(path: str) -> bool:
    """Whether a path is an address or one of GDAL's virtual paths, where no folder can be looked through."""
    return bool(_WEB.match(path))


def name_of(paths: tuple[str, ...]) -> str:
    """Name a scene after its file, after what its band files share, or else after their folder."""
    stems = [_METADATA.sub("", _ENDINGS.sub("", _last(path))) for path in paths]
    if len(stems) == 1:
        return stems[0]
    before = {_BAND.sub("", stem) for stem in stems}
    if len(before) == 1:
        return before.pop() or folder_name(paths[0])
    words = [stem.split("_") for stem in stems]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "_".join(column[0] for column in shared) or folder_name(paths[0])


def folder_name(path: str) -> str:
    """Return the name of the folder that a file lies in."""
    if is_address(path):
        return PurePosixPath(path.partition("?")[0]).parent.name
    return Path(path).absolute().parent.name


def _last(path: str) -> str:
    return PurePosixPath((path.partition("?")[0] if is_address(path) else path).rstrip("/")).name
