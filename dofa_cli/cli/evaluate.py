"""``dofa evaluate``."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dofa_cli.cli import options
from dofa_cli.cli.show import say, table
from dofa_cli.errors import OptionError

if TYPE_CHECKING:
    from dofa_cli.assess.report import Assessment
    from dofa_cli.pipelines.benchmarks.run import BenchmarkOptions
    from dofa_cli.pipelines.evaluate import Evaluated

_LABELS, _REPORT, _BENCHMARK = "The labels", "The report", "Benchmark data sets"
LIST = "list"

Heads = Annotated[list[Path] | None, typer.Argument(help="Head files; several are compared.", show_default=False)]
Scene = Annotated[
    list[str] | None,
    typer.Option(
        "--scene",
        help="Scene to map, or a folder of class folders; may be repeated. FILE:sensor[:date] is an input.",
        rich_help_panel=_LABELS,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Polygons, points, a label raster, a folder of them, or a table of image and label.",
        rich_help_panel=_LABELS,
    ),
]
ClassField = Annotated[str | None, typer.Option(help="Field or column of the classes.", rich_help_panel=_LABELS)]
Ignore = Annotated[
    str | None, typer.Option(help="Class values or names that count as unlabelled: 0,255.", rich_help_panel=_LABELS)
]
Buffer = Annotated[float | None, typer.Option(help="Widen points by this many metres.", rich_help_panel=_LABELS)]
Report = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Report page (.html); a .json lies beside it.", rich_help_panel=_REPORT),
]
FailUnder = Annotated[
    float | None,
    typer.Option(help="Exit with 82 where a head is worse than this, after writing.", rich_help_panel=_REPORT),
]
Metric = Annotated[
    str | None,
    typer.Option(help="Score of --fail-under: overall_accuracy, mean_iou, r2, rmse, …", rich_help_panel=_REPORT),
]
Name = Annotated[
    str | None,
    typer.Option("--benchmark", help="Data set to train and test on, or 'list'.", rich_help_panel=_BENCHMARK),
]
Data = Annotated[Path | None, typer.Option(help="Folder of the data set.", rich_help_panel=_BENCHMARK)]
MethodName = Annotated[
    str | None, typer.Option("--method", help="Instead of the protocol's own method.", rich_help_panel=_BENCHMARK)
]
Most = Annotated[
    int | None, typer.Option(min=1, help="At most so many images a part, for a try.", rich_help_panel=_BENCHMARK)
]
Work = Annotated[
    Path | None, typer.Option(help="Keep converted files, the head and its report here.", rich_help_panel=_BENCHMARK)
]
Seed = Annotated[int, typer.Option(help="Of random splits and of the intervals.", rich_help_panel=_REPORT)]


def evaluate(
    heads: Heads = None,
    scene: Scene = None,
    labels: Labels = None,
    class_field: ClassField = None,
    ignore: Ignore = None,
    buffer: Buffer = None,
    output: Report = None,
    fail_under: FailUnder = None,
    metric: Metric = None,
    seed: Seed = 0,
    benchmark: Name = None,
    data: Data = None,
    method: MethodName = None,
    max_images: Most = None,
    work: Work = None,
    sensor: options.Sensor = None,
    wavelengths: options.Wavelengths = None,
    bands: options.Bands = None,
    product: options.Product = None,
    scale: options.Scale = None,
    offset: options.Offset = None,
    weights: options.Weights = None,
    trust_weights: options.TrustWeights = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = "auto",
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Measure heads on labels that they were not trained with, or the network on a benchmark data set.

    dofa evaluate crops.pt --scene new.tif --labels fields.gpkg --class-field crop -o report.html
    """
    options.choice("--precision", precision, "auto", "float32", "bfloat16", "float16")
    if benchmark is not None:
        if heads:
            raise OptionError("--benchmark trains a head of its own; leave head files out.")
        from dofa_cli.pipelines.benchmarks.run import BenchmarkOptions

        batch = options.batch(batch_size)
        given = BenchmarkOptions(
            method, max_images, work, weights, trust_weights, device, precision, batch, seed, overwrite
        )
        _benchmark(benchmark, data, given, fail_under, json=json)
        return
    if not heads:
        raise OptionError("Name a head file, or a data set with --benchmark (`dofa evaluate --benchmark list`).")
    from dofa_cli.pipelines.evaluate import evaluate as run
    from dofa_cli.pipelines.learning.request import read_ignored

    done = run(
        heads,
        scene=scene or (),
        labels=labels,
        class_field=class_field,
        ignore=read_ignored(ignore),
        buffer=buffer,
        output=output,
        seed=seed,
        sensor=sensor,
        wavelengths=wavelengths,
        bands=bands,
        product=product,
        scale=scale,
        offset=offset,
        weights=weights,
        trust_weights=trust_weights,
        device=device,
        precision=precision,
        batch_size=options.batch(batch_size),
        overwrite=overwrite,
        progress=not json,
        command=" ".join(["dofa", *sys.argv[1:]]),
        say=say,
    )
    if json:
        typer.echo(done.to_json(), nl=False)
    else:
        _show(done)
    done.check(fail_under, metric)


def _show(done: Evaluated) -> None:
    if done.comparison is not None:
        typer.echo(done.comparison.table.text())
        for duel in done.comparison.duels:
            typer.echo(duel.sentence())
    else:
        for one in done.assessments.values():
            _show_one(one)
    for path in done.files:
        typer.echo(path)


def _show_one(one: Assessment) -> None:
    from dofa_cli.pipelines.evaluation.score_tables import class_rows, score_rows

    typer.echo(table(*score_rows(one.measured)))
    head, lines = class_rows(one)
    if lines:
        typer.echo("\n" + table(head, lines))
    for note in one.all_notes:
        say(f"Note: {note}")


def _benchmark(name: str, data: Path | None, given: BenchmarkOptions, fail_under: float | None, *, json: bool) -> None:
    from dofa_cli.pipelines.benchmarks.run import run_benchmark, table_of_sets
    from dofa_cli.pipelines.benchmarks.sets import all_benchmarks, benchmark

    if name == LIST:
        if json:
            typer.echo(dumps([one.model_dump(mode="json") for one in all_benchmarks()], indent=1))
            return
        head = ("name", "task", "protocol", "metric", "published, %", "what")
        typer.echo(table(head, table_of_sets(all_benchmarks())))
        return
    wanted = benchmark(name)
    if data is None:
        raise OptionError(f"--benchmark {wanted.name} needs --data with the folder of the data set.")
    report = run_benchmark(name, data, given, say, progress=not json)
    if json:
        typer.echo(report.to_json())
    else:
        counts = ", ".join(f"{many:,} {part}" for part, many in report.samples.items())
        typer.echo(f"{wanted.title}; {counts}")
        typer.echo(table(("model", "%", "source"), report.rows()))
    if fail_under is not None:
        report.check(fail_under)
