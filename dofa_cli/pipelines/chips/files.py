"""Which files are one image each: what a user names, looked through folder by folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from dofa_cli.errors import SceneError, SceneNotFound
from dofa_cli.pipelines.pretraining.corpus import RASTERS
from dofa_cli.pipelines.pretraining.drawable import Paths
from dofa_cli.raster.deliveries.unpack import unpack

LEAST_BAND_FILES = 2
_BAND_NAME = re.compile(r"(?:^|[_.\-])(?:B\d{1,2}A?|[VH][VH])$", re.IGNORECASE)


def find_images(named: Iterable[str]) -> list[Paths]:
    """Return the images under what is named: files, patterns, agencies' products, folders with what they hold.

    A folder whose rasters are called after bands, one each, is one image. Raises :class:`SceneNotFound` for a pattern
    that matches nothing and a folder without rasters.
    """
    found: dict[Paths, None] = {}
    for name in named:
        matched = [path for one in _matching(name) for path in _images(one)]
        if not matched:
            raise SceneNotFound(f"No image in {name}. Rasters end in {', '.join(sorted(RASTERS))}.")
        found.update(dict.fromkeys(matched))
    return list(found)


def _matching(name: str) -> list[str]:
    if not has_magic(name) or Path(name).exists():
        return [name]
    matches = sorted(glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise SceneNotFound(f"No file matches '{name}'.")
    return matches


def _images(path: str) -> Iterator[Paths]:
    place = Path(path)
    if not place.is_dir() or _is_product(path):
        yield (path,)
        return
    inside = [one for one in sorted(place.iterdir()) if not one.name.startswith(".")]
    rasters = [str(one) for one in inside if one.suffix.lower() in RASTERS]
    if len(rasters) >= LEAST_BAND_FILES and all(_BAND_NAME.search(Path(one).stem) for one in rasters):
        yield tuple(rasters)
    else:
        yield from ((one,) for one in rasters)
    for one in inside:
        if one.is_dir():
            yield from _images(str(one))


def _is_product(folder: str) -> bool:
    """Whether a folder is one product of an agency; one that holds several is looked through."""
    try:
        return unpack(folder) is not None
    except SceneError:
        return False
