"""What the outputs of many scenes are called: a pattern over what is known of each, and no two alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.many.scene_item import SceneItem
from dofa_cli.raster.zarr_places import Place, store_explained

FIELDS = ("name", "parent", "level", "verb", "sensor", "date", "number")
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")
_UNSAFE = re.compile(r"[^\w.+\-]+")


@dataclass(frozen=True)
class Naming:
    """Names outputs in ``folder`` by a ``pattern`` such as ``{name}_{level}``; ``suffix`` is added where it has none.

    ``level`` and ``verb`` are what is done, ``sensor`` the one that all scenes come from, where that is given. The
    folder may be at an address, such as ``s3://bucket/maps``.
    """

    folder: Place
    pattern: str
    verb: str
    level: str
    suffix: str
    endings: tuple[str, ...]
    sensor: str | None = None

    def __post_init__(self) -> None:
        try:
            used = [field for _, field, _, _ in Formatter().parse(self.pattern) if field is not None]
        except ValueError as error:
            raise OptionError(f"--name '{self.pattern}' is no pattern: {error}.") from None
        if unknown := [field for field in used if field not in FIELDS]:
            raise OptionError(f"--name '{self.pattern}': no field {{{unknown[0]}}}. Fields: {_listed(FIELDS)}.")
        if Path(self.pattern).is_absolute() or ".." in Path(self.pattern).parts:
            raise OptionError(f"--name '{self.pattern}' leads out of the folder that -o names.")

    def output(self, item: SceneItem) -> Place:
        """Return where a scene's output goes; :class:`OptionError` where the pattern needs what is not known."""
        if item.output is not None:
            return self._ending(self.folder / item.output)
        try:
            name = self.pattern.format_map({field: self._value(field, item) for field in self._used()})
        except ValueError as error:
            raise OptionError(f"--name '{self.pattern}' is no pattern: {error}.") from None
        return self._ending(self.folder / name)

    def check_folder(self) -> None:
        """Raise :class:`OptionError` where the folder is a file or named like one.

        Raises :class:`~dofa_cli.errors.OutputUnwritable` for an address that nothing here can write to.
        """
        folder = self.folder
        if not isinstance(folder, Path):
            with store_explained(str(folder)):
                folder.exists()
        elif folder.exists() and not folder.is_dir():
            raise OptionError(f"-o {folder} is a file; many scenes need a folder. Name one that ends in /.")
        elif not folder.exists() and folder.suffix.lower() in self.endings:
            raise OptionError(
                f"-o {folder} is named like a file, but these inputs mean many scenes, and their outputs need a folder."
            )

    def check(self, items: Iterable[SceneItem], on_output: Callable[[Place], object] = lambda _: None) -> int:
        """Return the number of scenes; raise :class:`OptionError` naming two that would have one output.

        Upper and lower case are one, as some file systems have it. Memory is a few bytes a scene; ``on_output`` is told
        of each output.
        """
        owners: dict[bytes, int] = {}
        count = 0
        for item in items:
            count += 1
            output = self.output(item)
            on_output(output)
            first = owners.setdefault(_key(output), item.number)
            if first != item.number:
                raise OptionError(self._clash(next(one for one in items if one.number == first), item))
        return count

    def _clash(self, first: SceneItem, second: SceneItem) -> str:
        text = f"{first.shown} and {second.shown} would both be written to {self.output(first)}."
        if first.output or second.output:
            return f"{text} Give them different names in the list's column 'output'."
        if first.parent != second.parent and "{parent}" not in self.pattern:
            return f"{text} Add --name '{{parent}}_{self.pattern}'."
        return f"{text} Add --name '{{number}}_{self.pattern}'." if "{number}" not in self.pattern else text

    def _used(self) -> set[str]:
        return {field for _, field, _, _ in Formatter().parse(self.pattern) if field is not None}

    def _value(self, field: str, item: SceneItem) -> str | int:
        match field:
            case "number":
                return _Number(item.number)
            case "name":
                return safe(item.name)
            case "parent":
                return safe(item.parent)
            case "sensor":
                return safe(item.sensor or self.sensor or self._missing(field, item, "--sensor or a column 'sensor'"))
            case "date":
                return day_of(item) or self._missing(field, item, "a date in its name or a column 'datetime'")
            case _:
                return self.verb if field == "verb" else self.level

    def _missing(self, field: str, item: SceneItem, wanted: str) -> str:
        raise OptionError(f"--name has {{{field}}}, which is not known of {item.shown}: it needs {wanted}.")

    def _ending(self, path: Place) -> Place:
        return path if path.suffix.lower() in self.endings else path.with_name(path.name + self.suffix)


class _Number(int):
    """A number that is written with six digits unless the pattern says otherwise, so that names sort."""

    def __format__(self, how: str) -> str:
        return int.__format__(self, how or "06d")


def safe(text: str) -> str:
    """Return text as it may stand in a file's name."""
    return _UNSAFE.sub("_", text).strip(".") or "_"


def day_of(item: SceneItem) -> str | None:
    """Return the day that a scene was taken as YYYYMMDD, as its list or its name says; ``None`` where neither does."""
    for text in (item.taken, item.name, *item.paths):
        if text and (found := _DAY.search(_before_time(text))):
            return "".join(found.groups())
    return None


def _before_time(text: str) -> str:
    """Put a space between a day and the time of day that is written on to it."""
    return re.sub(r"(\d{8})T(?=\d{4})", r"\1 ", text)


def _key(path: Place) -> bytes:
    return hashlib.blake2b(str(path.absolute()).casefold().encode(), digest_size=12).digest()


def _listed(fields: Iterable[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields)
