"""Write sensor files: TOML text, read back before it is put in place."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dofa_cli.errors import BadSensorFile, NoSpace, OutputExists, OutputUnwritable
from dofa_cli.sensors import registry
from dofa_cli.sensors.schema import Sensor

LINE = 120
INLINE = "bands"
"""A list of tables that is written one table a line, rather than one a section."""
_ESCAPES = {
    **{number: f"\\u{number:04x}" for number in (*range(0x20), 0x7F)},
    **{ord(letter): f"\\{name}" for letter, name in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)},
}
"""What stands for characters that TOML does not allow inside quotes."""
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def to_toml(content: Mapping[str, Any]) -> str:
    """Return TOML 1.0 of text, booleans, integers, floats, lists and tables (with text as keys), to any depth.

    Order is kept, but for tables and lists of tables of the first level, which come last as sections. Raises
    :class:`ValueError` for text that is no Unicode, :class:`TypeError` for other values.
    """
    plain = {key: value for key, value in content.items() if not _is_section(key, value)}
    lines = [f"{_key(key)} = {_first_level(key, value)}" for key, value in plain.items()]
    for key, value in content.items():
        if key not in plain:
            lines += _section(key, value)
    return "\n".join(lines).lstrip("\n") + "\n"


def _is_section(key: str, value: Any) -> bool:
    return isinstance(value, Mapping) or (key != INLINE and _are_tables(value))


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _section(key: str, value: Any) -> Iterator[str]:
    """Yield the lines of ``[key]``, or of one ``[[key]]`` an item."""
    tables, head = ([value], f"[{_key(key)}]") if isinstance(value, Mapping) else (value, f"[[{_key(key)}]]")
    for table in tables:
        yield f"\n{head}"
        yield from (f"{_key(name)} = {_broken(item)}" for name, item in table.items())


def _first_level(key: str, value: Any) -> str:
    if key == INLINE and _are_tables(value):
        return _one_a_line(value)
    return _broken(value)


def _one_a_line(items: Iterable[Any]) -> str:
    return "[\n" + "".join(f"    {_value(item)},\n" for item in items) + "]"


def _broken(value: Any) -> str:
    """Write a value, a long list over several lines."""
    text = _value(value)
    if not isinstance(value, list | tuple) or len(text) <= LINE:
        return text
    if any(isinstance(item, list | tuple) for item in value):
        return _one_a_line(value)
    lines = [""]
    for item in map(_value, value):
        if lines[-1] and len(lines[-1]) + len(item) > LINE - 8:
            lines.append("")
        lines[-1] += f"{item}, "
    return "[\n" + "".join(f"    {line.rstrip(' ')}\n" for line in lines) + "]"


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(str(value))
        case int():
            return str(int(value))
        case float():
            return repr(float(value))
        case Mapping():
            inside = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _key(key: str) -> str:
    return key if key and _BARE.issuperset(key) else _string(key)


def _string(text: str) -> str:
    """Quote text; what TOML does not allow inside quotes is escaped."""
    text.encode("utf-8")  # halves of characters cannot be written at all
    return f'"{text.translate(_ESCAPES)}"'


def read_back(sensor_id: str, text: str) -> Sensor:
    """Return the sensor that a file of that text would hold.

    Raises :class:`BadSensorFile`, which names band and field.
    """
    with tempfile.TemporaryDirectory(prefix="dofa-") as folder:
        path = Path(folder) / f"{sensor_id}.toml"
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            return registry.entry(str(path)).sensor
        except BadSensorFile as error:
            raise BadSensorFile(str(error).replace(str(path), f"'{sensor_id}'")) from None


def put(text: str, path: Path, *, force: bool) -> None:
    """Write a file beside its place and rename it, so that a finished file is a whole file.

    Raises :class:`OutputExists` unless ``force``, :class:`OutputUnwritable` or :class:`NoSpace`.
    """
    try:
        refuse_existing(path, force=force)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.stem[:32]}-", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(part).chmod(0o644)
            Path(part).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(part).unlink()
            raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise _unwritable(path, error) from None


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise :class:`OutputExists` where a file is in the way and may not be replaced."""
    if not force and os.path.lexists(path):
        raise OutputExists(f"{path} exists already. Give another id, or --force to replace it.")


def _unwritable(path: Path, error: OSError | ValueError) -> OutputUnwritable | NoSpace:
    kind = NoSpace if getattr(error, "errno", None) == errno.ENOSPC else OutputUnwritable
    return kind(f"Cannot write {path}: {getattr(error, 'strerror', None) or error}.")


def layer_of(path: Path) -> int | None:
    """Return which layer of the registry holds a file, counted from the one that comes first; ``None`` for none."""
    folders = [layer.folder.resolve() for layer in registry.layers()]
    return next((rank for rank, folder in enumerate(folders) if folder in path.resolve().parents), None)
