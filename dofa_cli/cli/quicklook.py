"""``dofa quicklook``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dofa_cli.cli import options

File = Annotated[str, typer.Argument(help="A raster: embeddings, a class map, or a scene.", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="PNG file. Default: named after the raster, in the current folder."),
]


def quicklook(file: File, output: Output = None, overwrite: options.Overwrite = False) -> None:
    """Draw a raster as a PNG with title, scale bar and legend.

    dofa quicklook embeddings.tif -o embeddings.png
    """
    from dofa_cli.pipelines.quicklook import quicklook as run

    typer.echo(run(file, output, overwrite=overwrite))
