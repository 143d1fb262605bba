"""Inputs as users name them: ``FILE:sensor`` or ``FILE:sensor:date``, where a plain FILE is a scene of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from dofa_cli.errors import OptionError, UnknownSensor
from dofa_cli.pipelines.chips.files import find_images
from dofa_cli.sensors import registry

HOW = "FILE:sensor or FILE:sensor:date"
FILES = ".toml"
"""Ending of sensor files."""
_WORD = re.compile(r"[^/\\:\s]{1,32}")
"""What a sensor's name and a date or label may be made of, so that paths and addresses keep their colons."""
_ADDRESS = re.compile(r"(?:\w+://|/vsi).*\.\w{2,5}$")


class Key(NamedTuple):
    """What tells the inputs of a place apart: the sensor's id, and a date or another label, empty for none."""

    sensor: str
    date: str = ""

    def __str__(self) -> str:
        """Return the key as users write it."""
        return f"{self.sensor}:{self.date}" if self.date else self.sensor


@dataclass(frozen=True)
class Input:
    """One of several inputs of a place: its files, its sensor's id, and a date or another label, empty for none."""

    paths: tuple[str, ...]
    sensor: str
    date: str = ""

    @property
    def key(self) -> Key:
        """What tells it from the other inputs of its place."""
        return Key(self.sensor, self.date)

    @property
    def name(self) -> str:
        """The input as users write it; one of several files by their folder."""
        return f"{self.paths[0] if len(self.paths) == 1 else Path(self.paths[0]).parent}:{self.key}"


Named = str | Path | Input
"""What a user may give as a scene."""


def read_inputs(named: Sequence[Named]) -> tuple[Input, ...]:
    """Read what a user gives as scenes; nothing where these are plain files.

    Patterns and folders become an input each of their images. Raises :class:`UnknownSensor` with near ones, and
    :class:`OptionError` where only some are inputs.
    """
    found = [one if isinstance(one, Input) else read_input(str(one)) for one in named]
    inputs = [one for one in found if one is not None]
    if not inputs:
        return ()
    for name, one in zip(named, found, strict=True):
        if one is None:
            raise OptionError(
                f"{name} names no sensor, {inputs[0].name} does. Several inputs of a place are each {HOW}."
            )
    return tuple(image for one in inputs for image in _images(one))


def read_input(text: str) -> Input | None:
    """Read ``FILE:sensor[:date]``; ``None`` for anything that does not end in a known sensor, and maybe a label.

    A file of exactly that name is taken as it is. The last word is the sensor if it can be one. Raises
    :class:`UnknownSensor` where the file is there and the sensor is not.
    """
    if ":" not in text or os.path.exists(text):  # noqa: PTH110 - takes text that can be no path
        return None
    ways = list(_ways(text))
    for file, sensor, date in ways:
        if (known := _sensor_id(sensor)) is not None:
            return Input((file,), known, date)
    for file, sensor, _ in ways:
        if _is_file(file):
            _refuse(sensor)
    return None


def keys_of(inputs: Sequence[Input]) -> tuple[Key, ...]:
    """Return the keys of inputs, each once, in the order in which they were named."""
    return tuple(dict.fromkeys(one.key for one in inputs))


def files_of(named: Sequence[Named]) -> tuple[str, ...]:
    """Return the files that are named, without sensors and dates."""
    found = ((one if isinstance(one, Input) else read_input(str(one))) or str(one) for one in named)
    return tuple(path for one in found for path in ((one,) if isinstance(one, str) else one.paths))


def _ways(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the ways to read a text as file, sensor and date."""
    file, _, last = text.rpartition(":")
    if file and _WORD.fullmatch(last):
        yield file, last, ""
        file, _, sensor = file.rpartition(":")
        if file and _WORD.fullmatch(sensor):
            yield file, sensor, last


def _refuse(sensor: str) -> None:
    """Raise :class:`UnknownSensor` with what there is."""
    if sensor.endswith(FILES):
        raise UnknownSensor(
            f"An input names its sensor by id, not by a file such as {sensor}. In {registry.PROJECT_FOLDER}/ it is "
            f"known as '{sensor.removesuffix(FILES)}'."
        )
    registry.entry(sensor)


def _sensor_id(name: str) -> str | None:
    if name.endswith(FILES):
        return None
    try:
        return registry.entry(name).sensor.id
    except UnknownSensor:
        return None


def _is_file(text: str) -> bool:
    """Whether a text is the name of a scene beyond doubt: a file that is there, a pattern or an address of a file."""
    return os.path.exists(text) or has_magic(text) or _ADDRESS.match(text) is not None  # noqa: PTH110


def _images(one: Input) -> Iterator[Input]:
    if len(one.paths) > 1:
        yield one
        return
    yield from (replace(one, paths=paths) for paths in find_images(one.paths))
