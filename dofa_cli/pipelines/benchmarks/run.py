"""A benchmark data set from its files to a figure beside the published ones."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dofa_cli.assess.measured import METRICS
from dofa_cli.assess.thresholds import check_threshold, metric_named
from dofa_cli.errors import OptionError, TooFewLabels
from dofa_cli.heads.head import Method, Task
from dofa_cli.pipelines.benchmarks.folders import read_class_folders, read_label_rasters
from dofa_cli.pipelines.benchmarks.geobench import read_geobench
from dofa_cli.pipelines.benchmarks.rows import PARTS, Row, counts, limited, with_splits, write_rows
from dofa_cli.pipelines.benchmarks.sets import Benchmark, Published, benchmark
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.learning.report import TrainReport
from dofa_cli.pipelines.learning.request import checked_choice
from dofa_cli.pipelines.train import train
from dofa_cli.raster.writer import explained

OURS = "this run"
PERCENT = 100


@dataclass(frozen=True)
class BenchmarkReport:
    """A run on a data set: ``value`` in percent of ``metric``, the ``samples`` of each part, and the head's report.

    ``complete`` says that no sample was left out by ``most``: only such figures compare with published ones.
    """

    benchmark: Benchmark
    method: Method
    metric: str
    value: float
    samples: dict[str, int]
    complete: bool
    report: TrainReport

    @property
    def published(self) -> tuple[Published, ...]:
        """The figures published for this way of training."""
        return self.benchmark.figures(self.method)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return the table: model, figure in percent, source."""
        ours = f"{OURS} ({self.method.value}, {self.report.assessment.measured.written(self.metric)})"
        mine = (ours, f"{self.value:.1f}", "measured" if self.complete else "measured on a part of the data")
        return [mine, *((one.model, f"{one.value:.1f}", one.source) for one in self.published)]

    def check(self, threshold: float) -> None:
        """Raise :class:`~dofa_cli.errors.BelowThreshold` for a score below ``threshold``, a share from 0 to 1."""
        check_threshold(self.report.assessment.measured, self.metric, threshold)

    def to_json(self) -> str:
        """Return one JSON object."""
        known = self.benchmark.model_dump(mode="json", exclude={"published", "bands", "classes"})
        plain: dict[str, Any] = {
            "benchmark": known,
            "method": self.method.value,
            "metric": self.metric,
            "value": self.value,
            "samples": self.samples,
            "complete": self.complete,
            "published": [one.model_dump(mode="json") for one in self.published],
            "report": self.report.assessment.to_plain(),
        }
        return to_json(plain)


@dataclass(frozen=True)
class BenchmarkOptions:
    """How to run a data set; fields are the command line's options of the same names.

    ``work`` keeps the table, files converted from HDF5, and the head; without it they are removed. ``most`` limits the
    images of each part of the split.
    """

    method: str | None = None
    most: int | None = None
    work: Path | None = None
    weights: str | None = None
    trust_weights: bool = False
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    seed: int = 0
    overwrite: bool = False


def run_benchmark(
    name: str,
    data: str | Path,
    options: BenchmarkOptions | None = None,
    say: Callable[[str], object] = lambda _: None,
    *,
    progress: bool = False,
) -> BenchmarkReport:
    """Train a head by a data set's protocol on its training part, and test it on its test part.

    Raises :class:`OptionError` for a name that is none and the errors of reading and training.
    """
    wanted, given = benchmark(name), options or BenchmarkOptions()
    method = wanted.method if given.method is None else checked_choice("--method", given.method, Method)
    if wanted.task is Task.CLASSIFY and method is Method.UPERNET:
        raise OptionError(f"{wanted.name} classifies whole images; upernet is for pixels. Use linear or finetune.")
    with _folder(given.work) as folder:
        place = Path(folder)
        rows = samples_of(wanted, Path(data), place, given)
        table = place / f"{wanted.name}.csv"
        write_rows(table, rows, wanted.sensor)
        if wanted.note:
            say(f"Note: {wanted.note}")
        names = _class_names(wanted, place) if wanted.task is Task.SEGMENT and wanted.classes else None
        report = train(
            place / f"{wanted.name}.{method.value}.pt",
            labels=table,
            class_names=names,
            task=wanted.task.value,
            method=method.value,
            sensor=wanted.sensor,
            bands=_bands(wanted),
            product=wanted.product,
            normalize=wanted.normalize,
            weights=given.weights,
            trust_weights=given.trust_weights,
            device=given.device,
            precision=given.precision,
            batch_size=given.batch_size,
            seed=given.seed,
            overwrite=given.overwrite,
            progress=progress,
            say=say,
        )
    measured = report.assessment.measured
    metric = metric_named(measured, wanted.metric)
    value = PERCENT * measured.values[metric]
    return BenchmarkReport(wanted, method, metric, value, counts(rows), given.most is None, report)


def samples_of(wanted: Benchmark, data: Path, place: Path, options: BenchmarkOptions) -> list[Row]:
    """List the samples of a data set with their part of the split; HDF5 files are converted to ``place``.

    Raises :class:`TooFewLabels` where the training or the test part is empty, and the errors of the readers.
    """
    if wanted.layout == "geobench":
        found = list(read_geobench(wanted, data, place / wanted.name, options.most))
    elif wanted.layout == "class-folders":
        found = with_splits(read_class_folders(data), wanted.shares, options.seed, by_label=True)
    else:
        found = with_splits(read_label_rasters(data), wanted.shares, options.seed, by_label=False)
    rows = limited(found, options.most, options.seed)
    empty = [part for part, many in counts(rows).items() if not many and part != PARTS[1]]
    if empty:
        raise TooFewLabels(f"{data} has no images to {empty[0]} with.")
    return rows


def table_of_sets(sets: tuple[Benchmark, ...]) -> list[tuple[str, ...]]:
    """Return a row a data set: name, task, method, metric, and the best published figures."""
    return [
        (
            one.name,
            one.task.value,
            one.method.value,
            METRICS[one.metric].title,
            ", ".join(f"{figure.model} {figure.value:g}" for figure in one.figures(one.method)[:2]) or "none",
            one.title,
        )
        for one in sets
    ]


def _bands(wanted: Benchmark) -> str | None:
    """Return ``--bands``: those of the files, by our names."""
    return wanted.file_bands or (",".join(wanted.bands) if wanted.bands else None)


def _class_names(wanted: Benchmark, place: Path) -> Path:
    """Write the names of class values as a table."""
    path = place / f"{wanted.name}.classes.csv"
    with explained(path), path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("value", "name"))
        table.writerows(enumerate(wanted.classes))
    return path


def _folder(work: Path | None) -> Any:
    if work is None:
        return tempfile.TemporaryDirectory(prefix="dofa-benchmark-")
    with explained(work):
        work.mkdir(parents=True, exist_ok=True)
    return nullcontext(work)
