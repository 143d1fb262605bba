"""``dofa sensors suggest``."""

from __future__ import annotations

from dofa_cli.cli import options
from dofa_cli.cli.show import table


def suggest(scene: options.Files, json: options.Json = False) -> None:
    """Tell which known instruments a scene may come from, and why.

    dofa sensors suggest scene.tif
    """
    import typer

    from dofa_cli.pipelines.suggest import suggest as run

    result = run(scene)
    if json:
        typer.echo(result.to_json())
        return
    rows = [
        (one.sensor, f"{one.score:.2f}", f"{one.bands}/{result.bands}", "; ".join(one.evidence)) for one in result.found
    ]
    if rows:
        typer.echo(table(("sensor", "score", "bands", "evidence"), rows))
    if result.taken:
        typer.echo(f"Without --sensor, {result.taken} is taken.")
    elif result.stated_wavelengths:
        typer.echo("Without --sensor, the wavelengths that the file states are used.")
    else:
        typer.echo("Nothing settles it: give --sensor, --wavelengths, or make one with `dofa sensors add`.")
