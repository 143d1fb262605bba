"""Verbs over many scenes: when they are meant, their options, and how the run is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dofa_cli.cli.show import say, size, table
from dofa_cli.errors import OptionError

if TYPE_CHECKING:
    from dofa_cli.pipelines.many.foretell import Outlook
    from dofa_cli.pipelines.many.run import Summary
    from dofa_cli.pipelines.many.run_report import SceneRecord
    from dofa_cli.pipelines.many.verbs import ManyOptions
    from dofa_cli.pipelines.shards.execute import Executor

_MANY, _WORKERS = "Many scenes", "Workers"
FEW = 20
"""Scenes of which each is shown at the end; of more, those that failed."""
HOUR, DAY = 3600, 86400

Name = Annotated[
    str | None,
    typer.Option(
        help="How outputs are named in the folder -o: {name}, {parent}, {level}, {verb}, {sensor}, {date}, {number}. "
        "Default: {name}_{level}.",
        rich_help_panel=_MANY,
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Keep outputs that are finished and whole; run the others.", rich_help_panel=_MANY),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first scene that fails.", rich_help_panel=_MANY)
]
Report = Annotated[
    Path | None,
    typer.Option(
        help="Write how each scene ended to this file, as JSON lines. Default: dofa-VERB.jsonl in the folder -o.",
        rich_help_panel=_MANY,
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Share the work out to N processes on this machine.", rich_help_panel=_WORKERS),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|FILE",
        help="Share the work out to a Dask cluster that runs: tcp://host:8786, or a scheduler file.",
        rich_help_panel=_WORKERS,
    ),
]


@dataclass(frozen=True)
class Course:
    """How many scenes are run and told, as the command line says; ``output`` is the folder."""

    output: str | None
    name: str | None
    report: Path | None
    resume: bool
    fail_fast: bool
    workers: int | None
    scheduler: str | None
    overwrite: bool
    dry_run: bool
    json: bool

    @property
    def folder(self) -> str:
        """Where outputs go."""
        return self.output or "."


def is_many(inputs: Sequence[str], output: str | None) -> bool:
    """Whether inputs mean many scenes; see :func:`~dofa_cli.pipelines.many.listing.means_many`."""
    from dofa_cli.pipelines.many.listing import means_many

    return means_many(inputs, output)


@contextmanager
def for_one(course: Course) -> Iterator[dict[str, Any]]:
    """Give how a verb is to run a single scene; a cluster is open meanwhile where one is asked for.

    Raises :class:`OptionError` for options that only many scenes have.
    """
    given = {"--name": course.name, "--report": course.report, "--resume": course.resume}
    given["--fail-fast"] = course.fail_fast
    if named := [name for name, value in given.items() if value]:
        raise OptionError(
            f"{', '.join(named)}: for many scenes alone. Name a folder with -o (ending in /), a list, or a pattern in "
            "quotes. A single scene that was stopped goes on by the same command."
        )
    how: dict[str, Any] = {"overwrite": course.overwrite, "say": say}
    if course.dry_run:
        yield how | {"dry_run": True}
        return
    with executor(course.workers, course.scheduler) as shards:
        yield how | {"executor": shards}


@contextmanager
def executor(workers: int | None, scheduler: str | None) -> Iterator[Executor | None]:
    """Give what runs the shards: a cluster where one is asked for, else ``None`` for this process."""
    if workers is None and scheduler is None:
        yield None
        return
    from dofa_cli.pipelines.cluster.executor import open_cluster

    with open_cluster(workers, scheduler, say=say) as cluster:
        yield cluster


def embed_all(inputs: Sequence[str], course: Course, options: Mapping[str, Any]) -> None:
    """Embed many scenes, or show what that would take."""
    from dofa_cli.pipelines.many.outlooks import embed_outlook
    from dofa_cli.pipelines.many.verbs import embed_many

    _carry_out(inputs, course, options, embed_many, embed_outlook)


def segment_all(inputs: Sequence[str], course: Course, options: Mapping[str, Any]) -> None:
    """Map many scenes, or show what that would take."""
    from dofa_cli.pipelines.many.outlooks import segment_outlook
    from dofa_cli.pipelines.many.verbs import segment_many

    _carry_out(inputs, course, options, segment_many, segment_outlook)


def classify_all(inputs: Sequence[str], course: Course, options: Mapping[str, Any]) -> None:
    """Classify the squares of many scenes.

    Raises :class:`OptionError` for a dry run.
    """
    from dofa_cli.pipelines.many.verbs import classify_many

    if course.dry_run:
        raise OptionError("--dry-run: dofa classify foretells one scene or one set of images, not many scenes.")

    _carry_out(inputs, course, options, classify_many, None)


def _carry_out(
    inputs: Sequence[str],
    course: Course,
    options: Mapping[str, Any],
    verb: Callable[..., Summary],
    outlook: Callable[..., Outlook] | None,
) -> None:
    if course.dry_run and outlook is not None:
        found = outlook(inputs, course.folder, _many(course, None), **options)
        _show_outlook(found, course)
        found.check()
        return
    with executor(course.workers, course.scheduler) as shards, _Bar(course) as bar:
        summary = verb(inputs, course.folder, _many(course, shards, bar), **options)
    _show_summary(summary, bar.shown, course)
    summary.check()


def _many(course: Course, shards: Executor | None, bar: _Bar | None = None) -> ManyOptions:
    from dofa_cli.pipelines.many.verbs import NAME, ManyOptions

    return ManyOptions(
        name=course.name or NAME,
        report=course.report,
        resume=course.resume,
        fail_fast=course.fail_fast,
        overwrite=course.overwrite,
        executor=shards,
        say=bar.say if bar else say,
        on_scene=bar.note if bar else lambda _: None,
    )


class _Bar:
    """A bar of scenes on stderr, each finished output on stdout, and the first scenes for the table at the end."""

    def __init__(self, course: Course) -> None:
        import sys

        from tqdm import tqdm

        self.json = course.json
        self.shown: list[SceneRecord] = []
        self.bar: Any = tqdm(
            desc="scenes", unit=" scenes", disable=course.json or not sys.stderr.isatty(), file=sys.stderr
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def say(self, line: str) -> None:
        """Print a note above the bar."""
        self.bar.clear()
        say(line)

    def note(self, record: SceneRecord) -> None:
        """Tell how a scene ended."""
        if len(self.shown) <= FEW:
            self.shown.append(record)
        self.bar.update()
        if record.state.is_there and not self.json:
            self.bar.clear()
            typer.echo(record.output)


def _show_summary(summary: Summary, shown: Sequence[SceneRecord], course: Course) -> None:
    if course.json:
        typer.echo(summary.to_json())
        return
    rows = shown if len(shown) <= FEW else summary.failures
    if rows:
        head = ("scene", "state", "windows", "seconds", "output or error")
        say(table(head, [_row(record) for record in rows]))
    states = ", ".join(f"{count} {state}" for state, count in summary.states.items() if count)
    ground = f", {summary.area_km2:,.1f} km²" if summary.area_km2 else ""
    say(f"{summary.total} scenes: {states}; {summary.windows:,} windows{ground} in {duration(summary.seconds)}")
    say(f"report   {summary.report}")


def _row(record: SceneRecord) -> tuple[str, ...]:
    what = record.error or record.output
    return record.scene, record.state.value, f"{record.windows:,}", f"{record.seconds:,.1f}", what


def _show_outlook(found: Outlook, course: Course) -> None:
    if course.json:
        typer.echo(found.to_json())
        return
    ground = f"; {found.area_km2:,.0f} km²" if found.area_km2 else ""
    unknown = f", {found.unknown_ground} scenes of unknown ground" if found.unknown_ground else ""
    typer.echo(f"scenes   {found.scenes:,}{ground}{unknown}")
    typer.echo(f"windows  {found.windows:,} in {found.shards:,} shards")
    largest = f"the largest {size(found.largest_output_bytes)}"
    typer.echo(f"output   {size(found.output_bytes)} without compression, {largest}, in {course.folder}")
    typer.echo(f"memory   about {size(found.memory_bytes)}")
    typer.echo(f"time     about {duration(found.seconds)} for the network in one process like this")
    if found.outside:
        typer.echo(f"outside  {found.outside:,} scenes do not touch the area of interest")
    if found.failed:
        typer.echo(f"faults   {found.failed:,} {'scene' if found.failed == 1 else 'scenes'} would fail")
        say(table(("scene", "error"), [(one["scene"], one["error"]) for one in found.failures]))


def duration(seconds: float) -> str:
    """Write seconds as seconds, hours or days, whichever reads best."""
    if seconds < HOUR:
        return f"{seconds:,.0f} s"
    return f"{seconds / HOUR:,.1f} hours" if seconds < 3 * DAY else f"{seconds / DAY:,.1f} days"
