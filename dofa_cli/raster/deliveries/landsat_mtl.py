"""The metadata file of a Landsat scene (``*_MTL``): groups of keys, written as nested text, JSON or XML."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from xml.etree import ElementTree

from dofa_cli.errors import DamagedRaster

Groups = dict[str, dict[str, str]]
"""Keys and values of the innermost groups, by the group's name: the same key may stand in several groups."""


@dataclass(frozen=True)
class Mtl:
    """A metadata file that was read; ``name`` is its file name, for messages."""

    name: str
    groups: Groups

    def group(self, *names: str) -> dict[str, str]:
        """Return the first group of these names; :class:`DamagedRaster` if none is there."""
        found = next((self.groups[name] for name in names if name in self.groups), None)
        if found is None:
            raise self.lacks(f"group {' or '.join(names)}")
        return found

    def find(self, key: str) -> str | None:
        """Return the value of a key that stands in one group, or in the first of several."""
        return next((group[key] for group in self.groups.values() if key in group), None)

    def need(self, key: str) -> str:
        """Return the value of a key like :meth:`find`; :class:`DamagedRaster` if it is not there."""
        value = self.find(key)
        if value is None:
            raise self.lacks(key)
        return value

    def lacks(self, what: str) -> DamagedRaster:
        """Return the error for something that every such file should hold."""
        return DamagedRaster(f"{self.name} has no {what}. Fetch the metadata file again.")

    def number(self, key: str, value: str | None) -> float | None:
        """Convert a value; ``None`` stays ``None``, and :class:`DamagedRaster` names a key that is no number."""
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DamagedRaster(f"{self.name} states {key} = '{value}', which is no number.")
        return number


def parse_mtl(name: str, data: bytes) -> Mtl:
    """Read a metadata file by the suffix of its name; :class:`DamagedRaster` says what is wrong with it."""
    reader = {"json": _from_json, "xml": _from_xml}.get(name.rsplit(".", 1)[-1].lower(), _from_text)
    try:
        groups = reader(data)
    except (ValueError, LookupError, RecursionError, ElementTree.ParseError) as error:
        raise DamagedRaster(f"{name} is no whole Landsat metadata file: {error}.") from None
    if not groups:
        raise DamagedRaster(f"{name} is no Landsat metadata file: it holds no groups.")
    return Mtl(name, groups)


def _from_text(data: bytes) -> Groups:
    """Read lines ``KEY = VALUE`` between ``GROUP = NAME`` and ``END_GROUP = NAME``."""
    groups: Groups = {}
    inside: list[str] = []
    for line in data.decode("utf-8-sig", "replace").splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            inside.append(value)
        elif key == "END_GROUP":
            if not inside or inside.pop() != value:
                raise ValueError(f"END_GROUP = {value} closes a group that is not open")
        elif equals and inside:
            groups.setdefault(inside[-1], {})[key] = value.strip('"')
    if inside:
        raise ValueError(f"it ends inside group {inside[-1]}")
    return groups


def _from_json(data: bytes) -> Groups:
    root = json.loads(data)
    tree = next(iter(root.values()), None) if isinstance(root, dict) else None
    groups = tree.items() if isinstance(tree, dict) else ()
    return {name: {key: str(value) for key, value in keys.items()} for name, keys in groups if isinstance(keys, dict)}


def _from_xml(data: bytes) -> Groups:
    if b"<!DOCTYPE" in data:
        raise ValueError("it declares a document type, which Landsat files do not")
    root = ElementTree.fromstring(data)  # noqa: S314 # without a document type there are no entities to expand
    return {group.tag: {key.tag: (key.text or "").strip() for key in group} for group in root}
