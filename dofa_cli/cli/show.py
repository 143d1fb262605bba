"""How commands print: messages to stderr, tables and sizes to stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer


def say(message: str) -> None:
    """Print a note or warning on stderr, above a progress bar that may stand there."""
    bars = sys.modules.get("tqdm")
    if bars is None:
        typer.echo(message, err=True)
    else:
        bars.tqdm.write(message, file=sys.stderr)


def size(count: float) -> str:
    """Write bytes as MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )
    return "\n".join(lines)
