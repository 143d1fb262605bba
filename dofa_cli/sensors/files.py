"""One sensor file: TOML in, a family's shared part merged in, columns spread to bands, validated."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dofa_cli.errors import BadSensorFile, UnknownSensor
from dofa_cli.sensors.schema import Sensor

Content = dict[str, Any]
OWN = ("id", "name", "aliases", "platforms", "note", "extends")
"""What a file never takes from the one that it extends."""
LONGEST_LINEAGE = 8
NUMBERING = ("prefix", "first", "digits")
"""Keys of ``[spectrum]`` that number its bands; the others are columns."""
MOST_DIGITS = 6


@dataclass(frozen=True)
class SensorFile:
    """A validated sensor and where it comes from: its own file first, then those that it extends."""

    sensor: Sensor
    lineage: tuple[Path, ...]
    contents: tuple[Content, ...]

    @property
    def path(self) -> Path:
        """The sensor's own file."""
        return self.lineage[0]

    def origin(self, field: str, band: str | None = None) -> Path | None:
        """Return the file that gives a field, of the sensor or of one of its bands; ``None`` where none does."""
        own = slice(1) if field in OWN and band is None else slice(None)
        for path, content in zip(self.lineage[own], self.contents[own], strict=True):
            given = content if band is None else _bands_by_id(content).get(band, {})
            if field in given:
                return path
        return None


def read_sensor_file(path: Path, parent_of: Callable[[str, Path], Path]) -> SensorFile:
    """Read a sensor file; ``parent_of`` finds the file of the sensor that another file extends.

    Raises :class:`BadSensorFile`, which names file, band and field, or :class:`UnknownSensor` when there is no file.
    """
    lineage = list(_lineage(path, parent_of))
    contents = [content for _, content in lineage]
    merged: Content = {}
    for content in reversed(contents):
        merged = _merge(merged, content)
    try:
        sensor = Sensor.model_validate(merged)
    except ValidationError as error:
        raise BadSensorFile(f"{path} is not a valid sensor file: {explain(error, merged)}") from None
    if sensor.id != path.stem:
        raise BadSensorFile(
            f"{path} is not a valid sensor file: its id is '{sensor.id}', but the name says {path.stem}."
        )
    return SensorFile(sensor, tuple(path for path, _ in lineage), tuple(contents))


def explain(error: ValidationError, content: Content) -> str:
    """Name each fault's band and field, five at most."""
    found = error.errors()
    nested = {fault["loc"][0] for fault in found if len(fault["loc"]) > 1}
    told = [fault for fault in found if fault["type"] != "too_short" or fault["loc"][0] not in nested]
    faults = [_fault(_place(fault["loc"], content), fault["msg"]) for fault in told]
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    return "; ".join(faults[:5]) + more


def _lineage(path: Path, parent_of: Callable[[str, Path], Path]) -> Iterator[tuple[Path, Content]]:
    """Yield a file and those that it extends, with their contents."""
    for _ in range(LONGEST_LINEAGE):
        content = read_content(path)
        yield path, content
        parent = content.get("extends")
        if parent is None:
            return
        if not isinstance(parent, str):
            raise BadSensorFile(f"{path} is not a valid sensor file: extends is not the id of a sensor.")
        path = parent_of(parent, path)
    raise BadSensorFile(f"{path} extends itself, or more than {LONGEST_LINEAGE} others.")


def read_content(path: Path) -> Content:
    """Read a file's tables, with columns spread to bands; :class:`BadSensorFile` if it is not TOML."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownSensor(f"No sensor file {path}.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise BadSensorFile(f"{path} is not a readable TOML file: {error}.") from None
    try:
        return _spread(content)
    except ValueError as error:
        raise BadSensorFile(f"{path} is not a valid sensor file: {error}.") from None


def _spread(content: Content) -> Content:
    """Turn ``[spectrum]`` columns into bands, and give every band what ``[band_defaults]`` says."""
    columns, defaults = content.pop("spectrum", None), content.pop("band_defaults", {})
    bands = content.get("bands", [])
    if not isinstance(bands, list) or not all(isinstance(band, dict) for band in bands):
        raise ValueError("bands is not a list of tables")
    if not isinstance(defaults, dict) or not isinstance(columns, dict | None):
        raise ValueError("spectrum and band_defaults are tables: write [spectrum], [band_defaults]")
    bands = bands if columns is None else bands + _bands_of(columns)
    if defaults and not bands:
        raise ValueError("band_defaults has no bands in its file to give values to")
    _no_band_twice(bands)
    return {**content, "bands": [{**defaults, **band} for band in bands]} if bands else content


def _bands_of(columns: Content) -> list[Content]:
    """Return one band a row of ``columns``; without ids they are ``prefix`` and a number, counted from ``first``."""
    numbering = {name: value for name, value in columns.items() if name in NUMBERING}
    columns = {name: values for name, values in columns.items() if name not in NUMBERING}
    lengths = {name: len(values) if isinstance(values, list) else "no list" for name, values in columns.items()}
    count = next(iter(lengths.values()), 0)
    if not isinstance(count, int) or len(set(lengths.values())) != 1:
        raise ValueError(f"spectrum needs columns of one length, not {lengths}")
    named = {"id": _numbered(count, **numbering), **columns}
    return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]


def _numbered(count: int, prefix: object = "B", first: object = 1, digits: object = 1) -> list[str]:
    """Return ``count`` ids whose numbers have at least ``digits`` digits."""
    if isinstance(prefix, str) and isinstance(first, int) and isinstance(digits, int) and 1 <= digits <= MOST_DIGITS:
        return [f"{prefix}{number:0{digits}d}" for number in range(first, first + count)]
    raise ValueError(f"spectrum needs a prefix in quotes, a whole number as first, and 1 to {MOST_DIGITS} digits")


def _no_band_twice(bands: Sequence[Content]) -> None:
    counts = Counter(str(band.get("id")) for band in bands)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"band id given twice: {', '.join(twice[:5])}")


def _merge(parent: Content, child: Content) -> Content:
    """Lay a file's content over that of the one it extends; bands meet by id."""
    inherited = {field: value for field, value in parent.items() if field not in OWN}
    merged = {**inherited, **child}
    if parent.get("bands") and child.get("bands"):
        bands = _bands_by_id(parent)
        for name, band in _bands_by_id(child).items():
            bands[name] = {**bands.get(name, {}), **band}
        merged["bands"] = list(bands.values())
    return merged


def _bands_by_id(content: Content) -> dict[str, Content]:
    bands = content.get("bands", [])
    return {str(band.get("id")): band for band in bands if isinstance(band, dict)}


def _fault(place: str, message: str) -> str:
    return f"{place}: {message.removeprefix('Value error, ').removeprefix(f'{place}: ')}"


def _place(location: Sequence[str | int], content: Content) -> str:
    """Write where a fault is, bands and products by their id."""
    if not location:
        return "file"
    table, *rest = location
    if table in ("bands", "products") and rest and isinstance(rest[0], int):
        entries = content.get(str(table), [])
        entry = entries[rest[0]] if rest[0] < len(entries) else {}
        name = entry.get("id", f"number {rest[0] + 1}") if isinstance(entry, dict) else f"number {rest[0] + 1}"
        return ", ".join([f"{str(table).removesuffix('s')} {name}", *map(str, rest[1:])])
    return ".".join(map(str, location))
