"""The application, and the one place that turns a :class:`DofaError` into a line and an exit code."""

from __future__ import annotations

import gc
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dofa_cli import __version__
from dofa_cli.cli import heads, sensors, weights
from dofa_cli.cli.bench import bench
from dofa_cli.cli.classify import classify
from dofa_cli.cli.embed import embed
from dofa_cli.cli.evaluate import evaluate
from dofa_cli.cli.info import info
from dofa_cli.cli.mosaic import mosaic
from dofa_cli.cli.pretrain import pretrain
from dofa_cli.cli.quicklook import quicklook
from dofa_cli.cli.segment import segment
from dofa_cli.cli.train import train
from dofa_cli.errors import DofaError


class Verbs(TyperGroup):
    """A command group whose expected errors end in one line on stderr instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; print a :class:`DofaError` and exit with its code."""
        try:
            return super().invoke(ctx)
        except DofaError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Georeferenced embeddings and maps from any sensor with the DOFA foundation model.",
)
for verb in (embed, train, segment, classify, mosaic, evaluate, info, quicklook, pretrain, bench):
    app.command()(verb)
app.add_typer(heads.app, name="heads")
app.add_typer(sensors.app, name="sensors")
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dofa {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Georeferenced embeddings and maps from any sensor with the DOFA foundation model."""


def run() -> None:
    """Entry point of the ``dofa`` console script."""
    try:
        app()
    finally:
        gc.freeze()  # one last collection through everything that was imported would take 0.4 s
