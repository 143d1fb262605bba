"""Look sensors up by id, alias or file, in layers: a user's own come before those of packages and the built-ins."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files as package_files
from pathlib import Path

import platformdirs

from dofa_cli.errors import BadSensorFile, SensorError, UnknownSensor
from dofa_cli.resources import data_folder
from dofa_cli.sensors.files import SensorFile, read_sensor_file
from dofa_cli.sensors.schema import Sensor

ENTRY_POINTS = "dofa.sensors"
"""Group under which installed packages name a package that holds sensor files."""
SEARCH_PATH = "DOFA_SENSOR_PATH"
PROJECT_FOLDER = Path(".dofa") / "sensors"
BUILT_IN = "built-in"


@dataclass(frozen=True)
class Layer:
    """A folder of sensor files, and how to name it to a user."""

    name: str
    folder: Path

    def paths(self) -> dict[str, Path]:
        """Return the files of this folder and its subfolders by id."""
        return {path.stem: path for path in sorted(self.folder.rglob("*.toml"))}


@dataclass(frozen=True)
class Entry:
    """A sensor of the registry, the layer that it comes from, and files of lower layers with the same id."""

    file: SensorFile
    layer: str
    hidden: tuple[Path, ...] = ()

    @property
    def sensor(self) -> Sensor:
        """The sensor itself."""
        return self.file.sensor


def user_folder() -> Path:
    """Return where ``dofa sensors add`` writes: ``sensors/`` in the user's configuration folder."""
    return platformdirs.user_config_path("dofa") / "sensors"


def layers() -> tuple[Layer, ...]:
    """Return the folders that sensors are looked for in, the first that has an id wins."""
    named = [Layer(f"${SEARCH_PATH}", Path(part)) for part in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if part]
    own = [Layer("project", PROJECT_FOLDER), Layer("user", user_folder())]
    return (*named, *own, *_package_layers(), Layer(BUILT_IN, data_folder("sensors")))


def sensor(name: str) -> Sensor:
    """Return the sensor of that id or alias, or the one in a ``.toml`` file; :class:`UnknownSensor` suggests others."""
    return entry(name).sensor


def entry(name: str) -> Entry:
    """Return the sensor of that id, alias or file with where it comes from."""
    if name.endswith(".toml"):
        return Entry(_read(Path(name), _files()), "file")
    found = _files()
    wanted = name if name in found else name.lower()
    if wanted in found:
        return _entry(wanted, found)
    known = entries()
    rank = {layer.name: number for number, layer in enumerate(layers())}
    lowest_first = sorted(known, key=lambda one: -rank[one.layer])
    by_alias = {_fold(alias): one for one in lowest_first for alias in _names(one.sensor)}
    if hit := by_alias.get(_fold(name)):
        return hit
    raise UnknownSensor(f"No sensor '{name}'. {_suggestion(name, [one.sensor for one in known])}")


def entries() -> tuple[Entry, ...]:
    """Return every sensor that can be read, by id."""
    found = _files()
    return tuple(one for name in sorted(found) if isinstance(one := _attempt(name, found), Entry))


def broken() -> tuple[str, ...]:
    """Return what is wrong with files that cannot be read as sensors."""
    found = _files()
    return tuple(str(one) for name in sorted(found) if isinstance(one := _attempt(name, found), SensorError))


def sensors() -> tuple[Sensor, ...]:
    """Return every sensor that can be read, by id."""
    return tuple(one.sensor for one in entries())


@cache
def built_in(name: str) -> Sensor:
    """Return a sensor as it is shipped, whatever files of the user say."""
    layer = Layer(BUILT_IN, data_folder("sensors"))
    found = {key: [_Place(layer, path, 0)] for key, path in layer.paths().items()}
    return _entry(name, found).sensor


@dataclass(frozen=True)
class _Place:
    """A file of a layer; ``rank`` counts layers from the highest."""

    layer: Layer
    path: Path
    rank: int


_Found = dict[str, list[_Place]]
"""Files by id, those of higher layers first."""


def _files() -> _Found:
    found: _Found = {}
    for rank, layer in enumerate(layers()):
        for name, path in layer.paths().items():
            found.setdefault(name, []).append(_Place(layer, path, rank))
    return found


def _entry(name: str, found: _Found) -> Entry:
    first, *others = found[name]
    return Entry(_read(first.path, found), first.layer.name, tuple(other.path for other in others))


def _attempt(name: str, found: _Found) -> Entry | SensorError:
    try:
        return _entry(name, found)
    except SensorError as error:
        return error


_read_before: dict[Path, tuple[tuple[int, ...], SensorFile]] = {}


def _read(path: Path, found: _Found) -> SensorFile:
    """Read a file once, and again when it or one that it extends has changed."""
    if path in _read_before:
        stamps, known = _read_before[path]
        if stamps == _stamps(known.lineage):
            return known
    read = read_sensor_file(path, lambda name, child: _parent(name, child, found))
    _read_before[path] = _stamps(read.lineage), read
    return read


def _parent(name: str, child: Path, found: _Found) -> Path:
    """Find the file that another extends: one of its own layer or a lower one, and never itself."""
    ranks = {place.path: place.rank for places in found.values() for place in places}
    others = [place for place in found.get(name, []) if place.path != child and place.rank >= ranks.get(child, 0)]
    if not others:
        raise BadSensorFile(f"{child} extends '{name}', which is no sensor.")
    return others[0].path


def _stamps(paths: Iterable[Path]) -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


@cache
def _package_layers() -> tuple[Layer, ...]:
    return tuple(_layers_of_packages())


def _layers_of_packages() -> Iterator[Layer]:
    for point in entry_points(group=ENTRY_POINTS):
        folder = Path(str(package_files(point.value)))
        yield Layer(f"package {point.dist.name if point.dist else point.value}", folder)


def _names(known: Sensor) -> tuple[str, ...]:
    return (known.id, known.name, *known.aliases)


def _fold(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _suggestion(name: str, known: Iterable[Sensor]) -> str:
    ids = {_fold(alias): one.id for one in known for alias in _names(one)}
    close = dict.fromkeys(ids[match] for match in difflib.get_close_matches(_fold(name), list(ids), n=3, cutoff=0.55))
    if close:
        return f"Did you mean {' or '.join(repr(i) for i in close)}?"
    return (
        "`dofa sensors list` shows what is known, `dofa sensors add` makes one; or give --wavelengths 0.665,0.56,0.49 "
        "(micrometres, in the file's band order)."
    )
