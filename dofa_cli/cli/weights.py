"""``dofa weights``: list, fetch and check the published checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dofa_cli.weights.manifest import Checkpoint

Name = Annotated[str, typer.Argument(help="A name from 'dofa weights list'.", show_default=False)]
NameOrPath = Annotated[str, typer.Argument(help="A name from 'dofa weights list', or a file.", show_default=False)]

app = typer.Typer(no_args_is_help=True, help="List, fetch and check the published DOFA weights.")


@app.command("list")
def list_weights(
    as_json: Annotated[bool, typer.Option("--json", help="Print every field as JSON.")] = False,
) -> None:
    """List the published weights and say which are on this machine."""
    from dofa_cli.weights.manifest import checkpoints

    known = checkpoints().values()
    if as_json:
        typer.echo(json.dumps([_fields(one) for one in known], indent=2))
    else:
        typer.echo(_table([("NAME", "MODEL", "SIZE", "LICENCE", "HERE"), *map(_row, known)]))


@app.command()
def show(name: Name) -> None:
    """Show all that is known about one checkpoint."""
    from dofa_cli.weights.manifest import checkpoint

    fields = _fields(checkpoint(name))
    shape = fields.pop("architecture")
    lines = {key: value for key, value in (fields | shape).items() if value is not None}
    typer.echo(_table([(f"{key}:", str(value)) for key, value in lines.items()]))


@app.command()
def download(name: Name) -> None:
    """Fetch one checkpoint, check it, and print the path of its file."""
    from dofa_cli.weights import store
    from dofa_cli.weights.manifest import checkpoint

    wanted = checkpoint(name)
    path = store.download(wanted)
    typer.echo(f"{name} is here and undamaged. Licence {wanted.licence}; please cite {wanted.citation}.", err=True)
    typer.echo(path)


@app.command()
def verify(weights: NameOrPath) -> None:
    """Read a file in full, print its sha256, and compare it with what is published."""
    from dofa_cli.weights import store

    found = store.verify(weights)
    verdict = (
        f"is '{found.name}' as published" if found.name else "fits no published checksum, so nothing is known about it"
    )
    typer.echo(f"{found.path} {verdict}.", err=True)
    typer.echo(f"{found.sha256}  {found.path}")


@app.command()
def path(
    name: Annotated[
        str | None, typer.Argument(help="Print this checkpoint's file instead.", show_default=False)
    ] = None,
) -> None:
    """Print the folder that is searched for files placed by hand."""
    from dofa_cli.weights import store

    typer.echo(store.here(name) if name else store.cache_folder())


def _fields(known: Checkpoint) -> dict[str, Any]:
    """Return every field, the address, and the path on this machine (None if not here)."""
    from dofa_cli.weights import hub, store

    here = store.local(known)
    return {
        "name": known.name,
        **known.model_dump(),
        "address": None if known.embedded else hub.address(known),
        "path": str(here) if here else None,
    }


def _row(known: Checkpoint) -> tuple[str, ...]:
    from dofa_cli.weights.store import local

    model = "DOFA v{version}, {depth} blocks of {embed_dim}, patch {patch_size}".format(**known.architecture)
    size = f"{known.size / 1e6:.0f} MB" if known.size else "?"
    return known.name, model, size, known.licence, "yes" if local(known) else "no"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Return ``rows`` as lines of text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)
