"""``dofa heads``."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import table

app = typer.Typer(no_args_is_help=True, help="Head files: what dofa train wrote.")
FIELD = 14
"""Width of the names of facts."""


@app.callback()
def heads() -> None:
    """Head files: what dofa train wrote."""


@app.command()
def show(
    head: Annotated[Path, typer.Argument(metavar="HEAD.pt", help="Head file.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Tell what a head predicts, from what, and how good it was on labels held out.

    dofa heads show crops.pt
    """
    from dofa_cli.pipelines.heads import show_head

    facts = show_head(head)
    typer.echo(jsonlib.dumps(facts, indent=2) if json else "\n".join(_lines(facts)))


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    recipe = facts["recipe"]
    yield _fact("head", f"{facts['method']} for {facts['task']}, format {facts['format']}")
    yield _fact("weights", f"{facts['weights']} (sha256 {facts['weights_sha256'][:12]}…)")
    yield _fact("parameters", f"{facts['parameters']:,}")
    if recipe.get("inputs"):
        yield from _inputs(recipe)
    else:
        yield _fact("sensor", f"{recipe['sensor']}, product {recipe['product']}")
        yield _fact("bands", _paired(recipe["bands"], recipe["wavelengths_um"]))
    yield _fact("windows", _windows(recipe))
    if facts["target"]:
        target = facts["target"]
        yield _fact(
            "target",
            f"{target['name']} {target['unit']}".strip() + f", mean {target['mean']:.4g}, std {target['std']:.4g}",
        )
    yield _fact("settings", ", ".join(f"{name} {_short(value)}" for name, value in facts["settings"].items()))
    for name, value in facts["made"].items():
        yield _fact(name.replace("_", " "), str(value))
    yield _fact(
        "tested", ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in facts["metrics"].items())
    )
    if facts["classes"]:
        rows = [(str(one["value"]), one["name"], "#" + bytes(one["colour"]).hex()) for one in facts["classes"]]
        yield "\n" + table(("value", "class", "colour"), rows)


def _inputs(recipe: Mapping[str, Any]) -> Iterator[str]:
    """Yield the inputs of a head of several, each as it is written after a file."""
    how = {"concat": "side by side", "mean": "as their mean"}[recipe["combine"]]
    yield _fact("inputs", f"{len(recipe['inputs'])}, embeddings joined {how}; written as FILE:NAME")
    for one in recipe["inputs"]:
        name = f"{one['sensor']}:{one['date']}" if one["date"] else one["sensor"]
        yield _fact("", f"{name}, product {one['product']}")
        yield _fact("", f"  {_paired(one['bands'], one['wavelengths_um'])}")


def _windows(recipe: Mapping[str, Any]) -> str:
    if recipe["chip"]:
        return f"whole images at {recipe['chip']} × {recipe['chip']} px"
    return f"{recipe['window']} px, overlap {recipe['overlap']} px, zoom {recipe['zoom']}"


def _paired(bands: Sequence[str], wavelengths: Sequence[float], most: int = 16) -> str:
    pairs = [f"{band} {um:g} µm" for band, um in zip(bands, wavelengths, strict=True)]
    return ", ".join(pairs[:most]) + (f" and {len(pairs) - most} more" if len(pairs) > most else "")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "/".join(map(_short, value)) if isinstance(value, list) else str(value)


def _fact(name: str, value: str) -> str:
    return (name.ljust(FIELD) + value).rstrip()
