"""The head file: tensors and plain values that load without running code, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dofa_cli.classes import ClassTable
from dofa_cli.errors import DamagedHead, DofaError, HeadError, NoSpace, OutputUnwritable, UnsafeHead, WrongHead
from dofa_cli.heads.head import FORMAT, FORMAT_OF_INPUTS, Combine, Head, InputRecipe, Method, Recipe, Target, Task

MAGIC = "dofa head"
"""Value of ``magic`` in every head file."""
SHOWN_DIGITS = 12


def save_head(path: str | Path, head: Head) -> None:
    """Write a head; a file that is there already is replaced, by a whole one only.

    Raises :class:`OutputUnwritable` or :class:`NoSpace`.
    """
    path = Path(path)
    content = _content(head)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            working = Path(folder) / path.name
            with working.open("wb") as file:
                torch.save(content, file)
            os.replace(working, path)  # noqa: PTH105 - as the rest of the program renames
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"The disk is full: {path} was not written.") from None
        raise OutputUnwritable(f"Cannot write {path}: {error.strerror or error}.") from None


def load_head(path: str | Path) -> Head:
    """Read a head on the CPU.

    Raises :class:`HeadError` where no such file is, :class:`DamagedHead` for a truncated or foreign file or a newer
    format, :class:`UnsafeHead` for a pickle that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise HeadError(f"No head file {path}. `dofa train {path.name} …` makes one.")
    content = _read(path)
    if not isinstance(content, dict) or content.get("magic") != MAGIC:
        raise DamagedHead(f"{path} is not a head file of dofa. Give one that `dofa train` wrote.")
    version = content.get("format")
    if version not in (FORMAT, FORMAT_OF_INPUTS):
        raise DamagedHead(
            f"{path} has head format {version}; this program reads {FORMAT} and {FORMAT_OF_INPUTS}. Update dofa, or "
            "train again."
        )
    try:
        return _head(content)
    except (KeyError, TypeError, ValueError, AttributeError, DofaError) as error:
        raise DamagedHead(f"{path} is damaged ({type(error).__name__}: {error}). Train it again.") from None


def check_weights(head: Head, name: str, sha256: str) -> None:
    """Refuse weights ``name`` that are not those the head was trained on: :class:`WrongHead` names both."""
    if sha256 != head.weights_sha256:
        same = head.weights == name
        advice = "Give the file of before with --weights" if same else f"Add --weights {head.weights}"
        raise WrongHead(
            f"The head was trained on weights '{head.weights}' (sha256 {head.weights_sha256[:SHOWN_DIGITS]}…), not on "
            f"'{name}' (sha256 {sha256[:SHOWN_DIGITS]}…). {advice}, or train a head on these."
        )


def describe(head: Head) -> dict[str, Any]:
    """Return what a head file says of itself, as plain values in the order in which people read them."""
    plain = _content(head)
    tensors = plain.pop("tensors")
    plain.pop("magic")
    if head.classes is not None:
        plain["classes"] = [
            {"value": value, "name": name, "colour": list(colour)}
            for value, name, colour in zip(head.classes.values, head.classes.names, head.classes.colours, strict=True)
        ]
        plain["nodata"] = head.classes.nodata
    plain["architecture"] = _architecture(head)
    plain["parameters"] = sum(tensor.numel() for tensor in tensors.values())
    return plain


def _content(head: Head) -> dict[str, Any]:
    return {
        "magic": MAGIC,
        "format": FORMAT_OF_INPUTS if head.recipe.inputs else FORMAT,
        "task": head.task.value,
        "method": head.method.value,
        "several": head.several,
        "classes": None if head.classes is None else head.classes.to_plain(),
        "target": None if head.target is None else asdict(head.target),
        "weights": head.weights,
        "weights_sha256": head.weights_sha256,
        "architecture": head.architecture,
        "recipe": _plain_recipe(head.recipe),
        "settings": _plain(head.settings),
        "metrics": _plain(head.metrics),
        "made": _plain(head.made),
        "tensors": {name: tensor.detach().cpu().clone() for name, tensor in head.tensors.items()},
    }


def _head(content: Mapping[str, Any]) -> Head:
    tensors = dict(content["tensors"])
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()):
        raise TypeError("a tensor is none")
    return Head(
        task=Task(content["task"]),
        method=Method(content["method"]),
        tensors=tensors,
        settings=dict(content["settings"]),
        recipe=_recipe(content["recipe"]),
        weights=str(content["weights"]),
        weights_sha256=str(content["weights_sha256"]),
        architecture=str(content["architecture"]),
        classes=None if content["classes"] is None else ClassTable.from_plain(content["classes"]),
        several=bool(content["several"]),
        target=None if content["target"] is None else Target(**content["target"]),
        metrics=dict(content["metrics"]),
        made=dict(content["made"]),
    )


def _plain_recipe(recipe: Recipe) -> Any:
    """Return a recipe's fields; those of several inputs only where there are, so that older programs read others."""
    plain = asdict(recipe)
    if not recipe.inputs:
        del plain["inputs"], plain["combine"]
    return _plain(plain)


def _recipe(plain: Mapping[str, Any]) -> Recipe:
    inputs = tuple(InputRecipe(**_listed(one)) for one in plain.get("inputs", ()))
    combine = Combine(plain.get("combine", Combine.CONCAT)).value
    return Recipe(**{**_listed(plain), "inputs": inputs, "combine": combine})


def _listed(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {**plain, **{name: tuple(plain[name]) for name in ("bands", "wavelengths_um", "normalization")}}


def _architecture(head: Head) -> Any:
    try:
        return json.loads(head.architecture)
    except json.JSONDecodeError:
        return head.architecture


def _plain(value: Any) -> Any:
    """Turn mappings, sequences and numpy's numbers into dict, list and Python's; anything else is a bug."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, str | Path):  # StrEnum members too
        return str(value)
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} {value!r} cannot stand in a head file")


def _read(path: Path) -> Any:
    """Unpickle tensors and plain values only."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or zipfile.is_zipfile(path):
            raise UnsafeHead(
                f"{path} holds more than tensors and numbers and would run code when loaded; it was not loaded."
            ) from None
        raise DamagedHead(
            f"{path} is not a head file of dofa, or is damaged. Give one that `dofa train` wrote."
        ) from None
    except Exception as error:  # noqa: BLE001 - on bytes that are no pickle the unpickler raises anything
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else "unexpected end"
        raise DamagedHead(
            f"{path} is truncated or no head file of dofa ({reason}). Copy it or train it again."
        ) from None
