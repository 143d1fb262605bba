"""Write ``docs/commands.md``, the command reference, from the commands' own help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "commands.md"


def reference() -> str:
    """Return the page that the installed commands give."""
    command = [sys.executable, "-m", "typer", "dofa_cli.cli.main", "utils", "docs", "--name", "dofa"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(PAGE)
