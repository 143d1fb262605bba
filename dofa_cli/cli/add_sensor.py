"""``dofa sensors add``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dofa_cli.cli.show import say

_SOURCE, _BANDS, _SENSOR, _VALUES, _FILE = (
    "Where the bands come from (one of these)",
    "The bands",
    "The sensor",
    "Pixel values",
    "The file",
)

SensorId = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of the new sensor, and name of its file.", show_default=False),
]
Wavelengths = Annotated[
    str | None,
    typer.Option(help="Centres in µm in the order of the files' bands: 0.475,0.56,0.668.", rich_help_panel=_SOURCE),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A raster or ENVI header that states wavelengths, a STAC item or collection (.json), or a table of bands "
        "(.csv, .json).",
        rich_help_panel=_SOURCE,
    ),
]
FromSrf = Annotated[
    str | None,
    typer.Option(
        "--from-srf",
        metavar="FILE",
        help="A table of spectral responses: wavelengths in the first column, then one column a band.",
        rich_help_panel=_SOURCE,
    ),
]
Like = Annotated[
    str | None,
    typer.Option(
        metavar="SENSOR",
        help="A known sensor; --wavelengths, --names, --fwhm and --gsd then change its bands.",
        rich_help_panel=_SOURCE,
    ),
]
Frequency = Annotated[
    float | None, typer.Option(metavar="GHZ", help="A radar's frequency in GHz.", rich_help_panel=_SOURCE)
]
Polarisations = Annotated[
    str | None, typer.Option(help="A radar's bands, with --frequency: VV,VH.", rich_help_panel=_SOURCE)
]
Names = Annotated[
    str | None,
    typer.Option(help="What to call the bands, in order: blue,green,red.", rich_help_panel=_BANDS),
]
Fwhm = Annotated[
    str | None,
    typer.Option(help="Full widths at half maximum, in order, in the unit of the centres.", rich_help_panel=_BANDS),
]
Gsd = Annotated[
    str | None, typer.Option(help="Pixel size in metres, one for all bands or one each.", rich_help_panel=_BANDS)
]
Name = Annotated[str | None, typer.Option(help="The sensor's name in words.", rich_help_panel=_SENSOR)]
Alias = Annotated[
    list[str] | None, typer.Option(help="Another id for --sensor; may be repeated.", rich_help_panel=_SENSOR)
]
Kind = Annotated[
    str | None,
    typer.Option(help="optical, hyperspectral (assumed from 30 bands on) or sar.", rich_help_panel=_SENSOR),
]
ProductScale = Annotated[
    float | None,
    typer.Option(help="Reflectance = value · scale + offset. Default: uncalibrated values.", rich_help_panel=_VALUES),
]
ProductOffset = Annotated[float | None, typer.Option(help="See --product-scale.", rich_help_panel=_VALUES)]
Nodata = Annotated[float | None, typer.Option(help="Nodata value of files that declare none.", rich_help_panel=_VALUES)]
StatsFrom = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SCENE",
        help="Measure means and deviations of the bands on this scene; may be repeated.",
        rich_help_panel=_VALUES,
    ),
]
Into = Annotated[
    Path | None, typer.Option(help="Folder to write to. Default: the user's sensors.", rich_help_panel=_FILE)
]
Project = Annotated[
    bool, typer.Option("--project", help="Write to .dofa/sensors of the current folder.", rich_help_panel=_FILE)
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.", rich_help_panel=_FILE)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the file; write nothing.", rich_help_panel=_FILE)]


def add(
    sensor_id: SensorId,
    wavelengths: Wavelengths = None,
    from_file: From = None,
    from_srf: FromSrf = None,
    like: Like = None,
    frequency: Frequency = None,
    polarisations: Polarisations = None,
    names: Names = None,
    fwhm: Fwhm = None,
    gsd: Gsd = None,
    name: Name = None,
    alias: Alias = None,
    kind: Kind = None,
    product_scale: ProductScale = None,
    product_offset: ProductOffset = None,
    nodata: Nodata = None,
    stats_from: StatsFrom = None,
    into: Into = None,
    project: Project = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Make a sensor of your own, and print its file.

    dofa sensors add mydrone --wavelengths 0.475,0.56,0.668,0.717,0.842 --names blue,green,red,rededge,nir --gsd 0.05
    """
    from dofa_cli.pipelines.add_sensor import add_sensor

    made = add_sensor(
        sensor_id,
        wavelengths=wavelengths,
        source=from_file,
        from_srf=from_srf,
        like=like,
        frequency=frequency,
        polarisations=polarisations,
        names=names,
        fwhm=fwhm,
        gsd=gsd,
        name=name,
        aliases=alias or [],
        kind=kind,
        product_scale=product_scale,
        product_offset=product_offset,
        nodata=nodata,
        stats_from=stats_from or [],
        into=into,
        project=project,
        force=force,
        dry_run=dry_run,
    )
    typer.echo(made.text, nl=False)
    for notice in made.notices:
        say(f"Note: {notice}")
    if made.is_written:
        say(str(made.path))
