"""What a user names, as the scenes that it means: one by one, in a settled order, each once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path

from dofa_cli.errors import OptionError, SceneNotFound
from dofa_cli.pipelines.many.folders import ARCHIVES, RASTERS, is_product_folder, scenes_in
from dofa_cli.pipelines.many.scene_item import SceneItem, is_address, scene_at
from dofa_cli.pipelines.many.scene_lists import LISTS, scenes_listed
from dofa_cli.pipelines.many.stac_lists import Catalogue, is_collection, may_be_catalogue

Say = Callable[[str], object]
ITEMS_FOLDER = ".stac-items"
"""Where the items of collections are written, beside the outputs."""


@dataclass(frozen=True)
class Listing:
    """The scenes that ``inputs`` mean; iterating again gives the same ones.

    Files and folders, patterns, lists and catalogues may be mixed. What lies in ``outputs`` is no scene. Items of
    collections are written to the folder ``items``. Memory is a few bytes a scene, to leave out what is named twice.
    """

    inputs: tuple[str, ...]
    outputs: Path | None = None
    items: Path = Path(ITEMS_FOLDER)
    say: Say = lambda _: None

    def __iter__(self) -> Iterator[SceneItem]:
        """Yield the scenes, numbered from 1.

        Folders and patterns are sorted by name, lists keep their order. Raises :class:`SceneNotFound` where an input
        means no scene, and what the readers of lists raise.
        """
        seen: set[bytes] = set()
        for name in self.inputs:
            empty = True
            for item in self._of(name):
                empty = False
                key = _key(item)
                if key not in seen:
                    seen.add(key)
                    yield replace(item, number=len(seen))
            if empty:
                raise SceneNotFound(_nothing(name))

    def _of(self, name: str) -> Iterator[SceneItem]:
        if not is_pattern(name):
            yield from self._at(name)
            return
        matches = sorted(glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        scenes = [path for path in matches if not self._is_ours(path)]
        if matches and not scenes:
            raise OptionError(_OWN.format(f"All that '{name}' matches lies in the folder of the outputs"))
        for path in scenes:
            yield from self._at(path)

    def _at(self, path: str) -> Iterator[SceneItem]:
        """Yield the scenes at one path."""
        if not is_address(path) and path.lower().endswith(LISTS):
            if not Path(path).is_file():
                raise SceneNotFound(f"No such list: {path}.")
            yield from scenes_listed(Path(path))
        elif may_be_catalogue(path) and (is_address(path) or Path(path).is_file()):
            yield from self._catalogue(path)
        elif not is_address(path) and Path(path).is_dir() and not path.lower().rstrip("/").endswith(".zarr"):
            self._refuse_own(path)
            yield from scenes_in(Path(path), without=self.outputs)
        elif is_address(path) or ":" in path or Path(path).exists():
            yield scene_at(path)
        else:
            raise SceneNotFound(f"No such file: {path}.")

    def _catalogue(self, path: str) -> Iterator[SceneItem]:
        found = Catalogue(path, self.items)
        yield from found
        if found.has_more:
            self.say(f"{path} is one page of several; the items of its next pages are left out.")

    def _is_ours(self, path: str) -> bool:
        """Whether a file that a pattern finds lies where outputs go; around the current folder, that is no sign."""
        if self.outputs is None:
            return False
        place, ours = Path(path).absolute().parent, self.outputs.resolve()
        return place.resolve() == ours or (place.is_relative_to(ours) and not Path.cwd().is_relative_to(ours))

    def _refuse_own(self, path: str) -> None:
        if self.outputs is not None and self.outputs.exists() and Path(path).samefile(self.outputs):
            raise OptionError(_OWN.format(f"{path} is the folder of the scenes and of the outputs"))


_OWN = "{}, which the next run would take for scenes. Name another folder with -o."


def is_pattern(name: str) -> bool:
    """Whether a name is a shell pattern rather than a file that is there or an address."""
    return has_magic(name) and not is_address(name) and not Path(name).exists()


def means_many(inputs: Sequence[str], output: str | None) -> bool:
    """Whether inputs mean many scenes, each with an output of its own, rather than the files of one.

    They do where the output is a folder, and where an input is a pattern, a list, an item collection, or a folder that
    is no product.
    """
    if output is not None and (output.endswith(("/", os.sep)) or _is_folder(output)):
        return True
    return any(is_pattern(name) or _is_list(name) for name in inputs)


def _is_folder(path: str) -> bool:
    return Path(path).is_dir() and not path.lower().endswith(".zarr")


def _is_list(name: str) -> bool:
    if is_address(name):
        return False
    if name.lower().endswith(LISTS):
        return True
    if _is_folder(name):
        return not is_product_folder(Path(name))
    return may_be_catalogue(name) and is_collection(name)


def _key(item: SceneItem) -> bytes:
    where = "\n".join(path if is_address(path) else os.path.abspath(path) for path in item.paths)  # noqa: PTH100
    return hashlib.blake2b(where.encode(), digest_size=12).digest()


def _nothing(name: str) -> str:
    if is_pattern(name):
        return f"No file matches '{name}'."
    if Path(name).is_dir():
        return f"No scene in {name}. Looked for products and for files ending in {', '.join((*RASTERS, *ARCHIVES))}."
    return f"{name} lists no scene."
