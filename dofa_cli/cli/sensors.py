"""``dofa sensors``: list, show, check, draw and remove the instruments that are known."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dofa_cli.cli import options
from dofa_cli.cli.add_sensor import add
from dofa_cli.cli.show import say, table
from dofa_cli.cli.suggest import suggest
from dofa_cli.errors import BadSensorFile

if TYPE_CHECKING:
    from dofa_cli.sensors.registry import Entry
    from dofa_cli.sensors.schema import Kind

app = typer.Typer(no_args_is_help=True, help="List, show, make, check, draw and remove sensors.")

Id = Annotated[str, typer.Argument(help="An id or alias from 'dofa sensors list', or a .toml file.")]
Ids = Annotated[list[str], typer.Argument(help="Ids or aliases from 'dofa sensors list', or .toml files.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command("list")
def list_sensors(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only sensors with these words in id, name, alias or platform.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only optical, hyperspectral or sar.")] = None,
    json: Json = False,
) -> None:
    """List the known sensors, one a line.

    dofa sensors list landsat
    """
    from dofa_cli.sensors import registry
    from dofa_cli.sensors.showing.summary import select

    wanted = _kind(kind)
    for fault in registry.broken():
        say(f"Warning: {fault}")
    known = select(registry.entries(), words or [], wanted)
    if json:
        typer.echo(jsonlib.dumps([_listed(one) for one in known], indent=2))
    else:
        head = ("ID", "NAME", "KIND", "BANDS", "RANGE", "GSD", "STATUS", "LAYER")
        typer.echo(table(head, [_row(one) for one in known]))


@app.command()
def show(
    sensor: Id,
    everything: Annotated[bool, typer.Option("--all", help="Show every band, however many there are.")] = False,
    json: Json = False,
) -> None:
    """Show all that is known of one sensor, and which file says so.

    dofa sensors show sentinel2
    """
    from dofa_cli.sensors import registry

    known = registry.entry(sensor)
    if json:
        from dofa_cli.sensors.showing.description import describe

        typer.echo(jsonlib.dumps(describe(known), indent=2))
    else:
        from dofa_cli.cli.sensor_page import page

        typer.echo(page(known, everything=everything))


app.command()(suggest)
app.command()(add)


@app.command()
def path(sensor: Id) -> None:
    """Print the path of a sensor's file."""
    from dofa_cli.sensors import registry

    typer.echo(registry.entry(sensor).file.path.absolute())


@app.command()
def remove(sensor: Annotated[str, typer.Argument(help="Id of a sensor of yours or of the project.")]) -> None:
    """Delete the file of a sensor of yours or of the project, and print its path."""
    from dofa_cli.sensors.showing import removal

    done = removal.remove(sensor)
    typer.echo(done.path)
    say(done.now)
    for fault in done.orphans:
        say(f"Warning: {fault}")


@app.command()
def check(files: Annotated[list[Path], typer.Argument(help="Sensor files (.toml).")]) -> None:
    """Say whether files are valid sensors, and what looks suspicious in them.

    dofa sensors check mine.toml
    """
    from dofa_cli.sensors.showing.checks import check as run

    results = [run(file) for file in files]
    for result in results:
        typer.echo(f"{result.path}: {result.fault or 'ok'}")
        for doubt in result.doubts:
            say(f"Warning: {result.path}: {doubt}")
    if wrong := sum(result.fault is not None for result in results):
        raise BadSensorFile(f"{wrong} of {len(results)} files cannot be used as a sensor.")


@app.command()
def plot(
    sensors: Ids,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw a .png, .svg or .pdf file instead of characters.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Draw bands as bars over the wavelength, one row a sensor.

    dofa sensors plot sentinel2 landsat9 -o bands.png
    """
    from dofa_cli.sensors import registry

    known = [registry.sensor(name) for name in dict.fromkeys(sensors)]
    if output:
        from dofa_cli.pipelines.plot_sensors import plot_sensors

        typer.echo(plot_sensors(known, output, overwrite=overwrite))
    else:
        from shutil import get_terminal_size

        from dofa_cli.sensors.showing.chart import chart

        typer.echo(chart(known, get_terminal_size((100, 24)).columns))


def _kind(text: str | None) -> Kind | None:
    from dofa_cli.sensors.schema import Kind

    return Kind(options.choice("--kind", text, *Kind)) if text else None


def _listed(known: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    from dofa_cli.sensors.showing.summary import summarise

    files = {"path": str(known.file.path.absolute()), "hides": [str(one.absolute()) for one in known.hidden]}
    return asdict(summarise(known.sensor)) | {"aliases": known.sensor.aliases, "layer": known.layer} | files


def _row(known: Entry) -> tuple[str, ...]:
    from dofa_cli.sensors.showing.summary import summarise

    one = summarise(known.sensor)
    hides = f" (hides {len(known.hidden)})" if known.hidden else ""
    return one.id, one.name, one.kind, str(one.bands), one.span, one.pixel, one.status, known.layer + hides
