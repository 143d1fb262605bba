"""``dofa mosaic``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import say, size

if TYPE_CHECKING:
    from dofa_cli.pipelines.mosaic import MosaicReport

Output = Annotated[
    Path, typer.Argument(help="The mosaic: a .tif, or a .vrt that names its inputs.", show_default=False)
]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Results of dofa: files, folders, 'patterns*.tif' and lists.", show_default=False),
]


def mosaic(
    output: Output,
    inputs: Inputs,
    crs: Annotated[
        str | None, typer.Option(help="CRS of the mosaic; needed where the inputs have several.", show_default=False)
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Pixel size in CRS units. Default: the finest input's.", show_default=False)
    ] = None,
    on_overlap: Annotated[
        str, typer.Option(help="Where inputs overlap: the first or last one's value; for numbers also mean, min, max.")
    ] = "first",
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Put the embeddings, or the maps, of many scenes together.

    dofa mosaic country.tif 'maps/*_classes.tif'
    """
    from dofa_cli.pipelines.mosaic import mosaic as run

    report = run(
        output,
        inputs,
        crs=crs,
        resolution=resolution,
        on_overlap=options.choice("--on-overlap", on_overlap, "first", "last", "mean", "min", "max"),
        overwrite=overwrite,
        dry_run=dry_run,
        progress=not json,
        say=say,
    )
    if json:
        typer.echo(report.to_json())
    elif dry_run:
        _show_plan(report)
    else:
        typer.echo(report.output)


def _show_plan(report: MosaicReport) -> None:
    width, height = report.pixel
    typer.echo(
        f"inputs   {report.inputs:,}, {report.resampled:,} of them to be resampled; {report.on_overlap} on overlap"
    )
    typer.echo(f"grid     {report.height:,} × {report.width:,} pixels of {width:g} × {height:g} in {report.crs}")
    typer.echo(f"output   {report.output}: {report.bands} × {report.dtype}, {size(report.output_bytes)} uncompressed")
