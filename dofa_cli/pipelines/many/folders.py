"""Which scenes a folder holds: rasters, products of agencies, and band files that belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dofa_cli.errors import SceneError
from dofa_cli.pipelines.many.scene_item import SceneItem, scene_at
from dofa_cli.raster.deliveries.unpack import unpack

RASTERS = (
    *(".tif", ".tiff", ".jp2", ".img", ".vrt", ".nc", ".dat", ".bsq", ".bil", ".bip", ".he5", ".h5", ".zarr"),
    *(".jpg", ".jpeg", ".png"),
)
"""Endings of what a folder is looked through for, beside products."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
LEAST_BAND_FILES = 2
_BAND_FILE = re.compile(r"^(?:(?P<scene>.+?)[_.\-])?(?P<band>B\d{1,2}A?|[VH][VH])$", re.IGNORECASE)
_BREAK = re.compile(r"^(?=B\d|[VH][VH]\.)|[_.\-]", re.IGNORECASE)
"""Where what all names of a scene share may end."""
_METADATA = re.compile(r"^(?P<scene>.+)_MTL\.txt$", re.IGNORECASE)


def scenes_in(folder: Path, without: Path | None = None) -> Iterator[SceneItem]:
    """Yield the scenes in a folder and those below it, in the order of their names; hidden ones are left out.

    Files that are called after bands and share the rest of their name are one scene; so is a product's folder.
    ``without`` is a folder that is not looked into.
    """
    if is_product_folder(folder):
        yield scene_at(str(folder))
        return
    names = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    yield from _of_files(folder, [name for name in names if not _is_plain_folder(folder / name)])
    for name in names:
        below = folder / name
        if _is_plain_folder(below) and not (without and without.exists() and below.samefile(without)):
            yield from scenes_in(below, without)


def is_product_folder(folder: Path) -> bool:
    """Whether a folder is one product of an agency; one that only holds products is looked through.

    A product has files of its own, and no folder in it is a product.
    """
    if folder.suffix.lower() == ".safe":
        return True
    inside = [one for one in folder.iterdir() if not one.name.startswith(".")]
    has_files = any(one.is_file() and not one.name.lower().endswith(ARCHIVES) for one in inside)
    if not has_files or not _unpacks(folder):
        return False
    return not any(one.suffix.lower() == ".safe" or _is_nested(one) for one in inside if one.is_dir())


def _is_nested(folder: Path) -> bool:
    return any(one.is_file() for one in folder.iterdir()) and _unpacks(folder)


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() != ".zarr"


def _unpacks(path: Path) -> bool:
    """Whether a path is a product; several in one place are not one."""
    try:
        return unpack(str(path)) is not None
    except SceneError:
        return False


@dataclass(frozen=True)
class _Groups:
    """Scenes of several files in one folder: their files by the first of them, and how the names of all begin."""

    files: dict[str, tuple[str, ...]]
    scenes: frozenset[str]

    def claim(self, name: str) -> bool:
        """Whether a file is one of a scene's: a band, or its quality layer."""
        return any(name[: found.start()] in self.scenes for found in _BREAK.finditer(name))


def _of_files(folder: Path, names: Sequence[str]) -> Iterator[SceneItem]:
    """Yield the scenes among the files of one folder: by their metadata file, as band files, or each by itself."""
    groups = _groups(names)
    for name in names:
        if name in groups.files:
            yield scene_at(*(str(folder / one) for one in groups.files[name]))
        elif not groups.claim(name) and _is_scene(folder / name):
            yield scene_at(str(folder / name))


def _groups(names: Sequence[str]) -> _Groups:
    bands: dict[str, list[str]] = {}
    for name in names:
        if name.lower().endswith(RASTERS) and (found := _BAND_FILE.match(Path(name).stem)):
            bands.setdefault(found["scene"] or "", []).append(name)
    told = {found["scene"]: name for name in names if (found := _METADATA.match(name)) and found["scene"] in bands}
    whole = {scene: (told[scene],) if scene in told else tuple(files) for scene, files in bands.items()}
    several = {scene: files for scene, files in whole.items() if scene in told or len(files) >= LEAST_BAND_FILES}
    return _Groups({files[0]: files for files in several.values()}, frozenset(several))


def _is_scene(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(RASTERS) or (name.endswith(ARCHIVES) and _unpacks(path))
