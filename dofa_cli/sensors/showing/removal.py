"""Delete a sensor file of the user's or the project's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dofa_cli.errors import OptionError, OutputUnwritable, SensorError, UnknownSensor
from dofa_cli.sensors import registry

OWN = ("project", "user")
"""Layers whose files may be deleted."""


@dataclass(frozen=True)
class Removal:
    """The file that is gone, what its id stands for ``now``, and what is wrong with files that needed it."""

    path: Path
    now: str
    orphans: tuple[str, ...]


def remove(name: str) -> Removal:
    """Delete the file of the sensor with the id ``name``.

    Raises :class:`OptionError` for sensors of other layers, :class:`UnknownSensor`, and :class:`OutputUnwritable`.
    """
    path = _file_of(name)
    broken_before = set(registry.broken())
    try:
        path.unlink()
    except OSError as error:
        raise OutputUnwritable(f"Cannot remove {path}: {error.strerror or error}.") from None
    orphans = tuple(fault for fault in registry.broken() if fault not in broken_before)
    return Removal(path, _successor(name), orphans)


def _file_of(name: str) -> Path:
    layers = registry.layers()
    for layer in layers:
        if layer.name in OWN and (path := layer.paths().get(name)):
            return path.absolute()
    folders = " or ".join(str(layer.folder.absolute()) for layer in layers if layer.name in OWN)
    known = registry.entry(name)
    if known.sensor.id != name:
        raise OptionError(f"'{name}' is another name of '{known.sensor.id}'. `dofa sensors remove` takes the id.")
    raise OptionError(f"'{name}' is {_whose(known.layer)}, {known.file.path}: only files in {folders} are removed.")


def _whose(layer: str) -> str:
    return "built in" if layer == registry.BUILT_IN else f"of the layer '{layer}'"


def _successor(name: str) -> str:
    try:
        known = registry.entry(name)
    except UnknownSensor:
        return f"No sensor is called '{name}' now."
    except SensorError as error:
        return f"'{name}' is now the id of a file that cannot be read: {error}"
    return f"'{name}' is now {known.sensor.id} ({known.layer}), {known.file.path}."
