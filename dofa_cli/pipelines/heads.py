"""``dofa heads``: what a head file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dofa_cli.heads.file import describe, load_head


def show_head(path: str | Path) -> dict[str, Any]:
    """Return plain facts of a head file; raises the errors of :func:`~dofa_cli.heads.file.load_head`."""
    return {"path": str(path), **describe(load_head(path))}
