"""Read a run's settings from TOML or JSON, and tell two runs apart."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dofa_cli.errors import OptionError
from dofa_cli.training.config import RunConfig

ABLATIONS = ("fixed-embedding", "no-distillation", "without=SENSOR")
SHOWN_FAULTS = 4


def read_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML or JSON file; :class:`OptionError` if it is neither."""
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise OptionError(f"No such file: {path}.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path} is not a readable TOML file: {error}.") from None
    if not isinstance(content, dict):
        raise OptionError(f"{path} holds no tables.")
    return content


def inline_table(text: str, option: str) -> dict[str, Any]:
    """Read ``a = 1, b = 2`` as a table; :class:`OptionError` names the option."""
    try:
        return dict(tomllib.loads(f"table = {{{text}}}")["table"])
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{option} '{text}' is not like 'steps = 1000, lr = 1e-4': {error}.") from None


def to_config(tables: Mapping[str, Any], where: str) -> RunConfig:
    """Validate tables; :class:`OptionError` names ``where``, field and fault."""
    try:
        config = RunConfig.model_validate(tables)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg'].removeprefix('Value error, ')}" for f in error.errors()]
        raise OptionError(f"{where}: {'; '.join(faults[:SHOWN_FAULTS])}.") from None
    for name in config.ablation:
        if name not in ABLATIONS and not name.startswith("without="):
            raise OptionError(f"--ablation '{name}' is none of {', '.join(ABLATIONS)}.")
    return config


def difference(before: RunConfig, now: RunConfig) -> str | None:
    """Name the first setting in which two runs differ, with both values; ``None`` when they are the same."""
    old, new = (dict(_leaves(json.loads(one.model_dump_json()))) for one in (before, now))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            return f"{name} was {json.dumps(old.get(name))}, now {json.dumps(new.get(name))}"
    return None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [(f"{path}.{name}".lstrip("."), part) for name, part in value.items()]
    elif isinstance(value, list):
        parts = [(f"{path}[{number}]", part) for number, part in enumerate(value)]
    if not parts:
        yield path, value
    for name, part in parts:
        yield from _leaves(part, name)
