"""Run a verb over many scenes: one that fails does not stop the others, and what is done is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from dofa_cli.errors import (
    AreaError,
    DofaError,
    Interrupted,
    OutputExists,
    RunDiffers,
    SomeFailed,
    WorkersLost,
)
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.many.listing import Listing, Say
from dofa_cli.pipelines.many.naming import Naming
from dofa_cli.pipelines.many.run_report import RunReport, SceneRecord, State, now
from dofa_cli.pipelines.many.scene_item import SceneItem
from dofa_cli.pipelines.many.valid import content, fault
from dofa_cli.pipelines.shards.manifest import Fingerprint, Manifest, fingerprint, told
from dofa_cli.pipelines.shards.stop import check_stop, stop_asked, stoppable
from dofa_cli.raster.writer import explained
from dofa_cli.raster.zarr_places import Place, place

SHOWN_FAILURES, SHOWN_NAMES = 20, 3
BUG = 1
"""The exit code of an error that no rule foresaw."""


@dataclass(frozen=True)
class Result:
    """What a verb did with one scene: windows, km² of ground, and the files, or addresses, that it wrote."""

    windows: int
    area_km2: float | None
    files: tuple[str, ...]


One = Callable[[SceneItem, Place, bool], Result]
"""Runs a verb on a scene to an output, which it may replace where the last argument is ``True``."""


@dataclass(frozen=True)
class Job:
    """Many scenes and what to do with them.

    ``manifest`` holds the verb, the weights and the options that results depend on, without inputs. ``at_once`` scenes
    run at a time, in threads; more than one is for an executor whose work is done by others. ``has_area`` says that
    scenes outside an area of interest are passed over. ``on_scene`` is told of each scene as it ends.
    """

    scenes: Listing
    naming: Naming
    manifest: Manifest
    report: Path
    resume: bool = False
    overwrite: bool = False
    fail_fast: bool = False
    has_area: bool = False
    at_once: int = 1
    say: Say = lambda _: None
    on_scene: Callable[[SceneRecord], object] = lambda _: None


@dataclass
class Summary:
    """How a run ended: scenes by state, sums over those done now, and the first that failed."""

    report: str
    total: int
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    seconds: float = 0.0
    windows: int = 0
    area_km2: float = 0.0
    failures: list[SceneRecord] = field(default_factory=list)
    stopped: bool = False

    def add(self, record: SceneRecord) -> None:
        """Count a scene."""
        self.states[record.state] += 1
        if record.state is State.DONE:
            self.windows += record.windows
            self.area_km2 += record.area_km2 or 0.0
        if record.state is State.FAILED and len(self.failures) < SHOWN_FAILURES:
            self.failures.append(record)

    def to_json(self) -> str:
        """Return one JSON object."""
        return to_json(asdict(self) | {"states": {str(state): count for state, count in self.states.items()}})

    @property
    def finished(self) -> int:
        """Scenes whose outputs stand."""
        return sum(count for state, count in self.states.items() if state.is_there)

    @property
    def is_complete(self) -> bool:
        """Whether every scene ended one way or another."""
        return sum(self.states.values()) - self.states[State.STOPPED] >= self.total

    def check(self) -> None:
        """Raise :class:`Interrupted` where a signal stopped the run, :class:`SomeFailed` where a scene failed."""
        if self.stopped:
            raise Interrupted(
                f"Stopped: {self.finished} of {self.total} scenes are finished. The same command with --resume goes on."
            )
        if failed := self.states[State.FAILED]:
            names = ", ".join(one.scene for one in self.failures[:SHOWN_NAMES])
            more = ", …" if failed > SHOWN_NAMES else ""
            raise SomeFailed(
                f"{failed} of {self.total} scenes failed ({names}{more}). {self.report} says why, and the same command "
                "with --resume tries them again."
            )


def run_many(job: Job, one: One) -> Summary:
    """Run ``one`` over all scenes; what cannot be done is told by :meth:`Summary.check`, not raised.

    Raises before any work: :class:`~dofa_cli.errors.OptionError` for two scenes with one output,
    :class:`OutputExists`, and what listing raises.
    """
    started = time.perf_counter()
    summary = Summary(str(job.report), _checked(job))
    with explained(job.report):
        job.report.parent.mkdir(parents=True, exist_ok=True)
    report = RunReport(job.report, job.manifest)
    try:
        report.begin()
        with stoppable(job.say):
            for record in _records(_Runner(job, one, report)):
                report.add(record)
                summary.add(record)
                job.on_scene(record)
            summary.stopped = stop_asked() and not summary.is_complete
    except Interrupted:  # at once, by a second signal
        summary.stopped = True
    finally:
        report.close()
    summary.seconds = time.perf_counter() - started
    return summary


def _checked(job: Job) -> int:
    """Return the number of scenes, none of whose outputs is in the way."""
    job.naming.check_folder()
    there: list[Place] = []
    may_be = job.resume or job.overwrite
    total = job.naming.check(job.scenes, lambda one: there.append(one) if not may_be and one.exists() else None)
    if there:
        raise OutputExists(
            f"{len(there)} of {total} outputs exist already, {there[0]} first. Add --resume to go on with what is not "
            "finished, or --overwrite to make all anew."
        )
    return total


def _records(runner: _Runner) -> Iterator[SceneRecord]:
    """Yield each scene's record as it ends, until a signal comes or the run is over; few are in hand at a time."""
    if runner.job.at_once > 1:
        with ThreadPoolExecutor(runner.job.at_once) as pool:
            yield from _at_once(runner, pool)
        return
    for item in runner.job.scenes:
        if stop_asked():
            return
        record = runner(item)
        yield record
        if runner.ends_with(record):
            return


def _at_once(runner: _Runner, pool: ThreadPoolExecutor) -> Iterator[SceneRecord]:
    under_way: set[Future[SceneRecord]] = set()
    is_over = False
    for item in runner.job.scenes:
        if is_over or stop_asked():
            break
        under_way.add(pool.submit(runner, item))
        if len(under_way) >= runner.job.at_once:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for one in done:
                is_over = is_over or runner.ends_with(one.result())
                yield one.result()
    yield from (one.result() for one in as_completed(under_way))


@dataclass(frozen=True)
class _Runner:
    """Runs single scenes, and turns all that may happen into a record."""

    job: Job
    one: One
    report: RunReport

    def __call__(self, item: SceneItem) -> SceneRecord:
        started = time.perf_counter()
        output = self.job.naming.output(item).absolute()
        blank = SceneRecord(
            scene=item.name, state=State.FAILED, seconds=0.0, windows=0, output=str(output), sensor=item.sensor
        )
        try:
            ended = self._outcome(item, output, blank)
        except Interrupted as error:
            ended = replace(blank, state=State.STOPPED, error=str(error), exit_code=error.exit_code)
        except AreaError as error:
            state = State.OUTSIDE if self.job.has_area else State.FAILED
            ended = replace(blank, state=state, error=str(error), exit_code=error.exit_code)
        except DofaError as error:
            ended = replace(blank, error=str(error), exit_code=error.exit_code)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one scene is no reason to lose the others
            ended = replace(blank, error=_bug(error), exit_code=BUG)
        return replace(ended, seconds=time.perf_counter() - started, run=ended.run or self.report.id, time=now())

    def ends_with(self, record: SceneRecord) -> bool:
        """Whether no scene is begun after this one."""
        fatal = record.exit_code == WorkersLost.exit_code
        return record.state is State.FAILED and (self.job.fail_fast or fatal)

    def _outcome(self, item: SceneItem, output: Place, blank: SceneRecord) -> SceneRecord:
        check_stop()
        inputs = tuple(fingerprint(path) for path in item.paths)
        again = self.job.overwrite
        if self.job.resume:
            before = self._kept(item, output, inputs)
            if before is not None:
                return replace(before, state=State.KEPT)
            again = again or (output.exists() and self._is_ours(output))
        if isinstance(output, Path):
            with explained(output):
                output.parent.mkdir(parents=True, exist_ok=True)
        if again or not output.exists():
            self.report.add(replace(blank, state=State.BEGUN, inputs=inputs, run=self.report.id, time=now()))
        made = self.one(item, output, again)
        files = {str(one.absolute()): content(one) for one in map(place, made.files)}
        return replace(
            blank, state=State.DONE, windows=made.windows, area_km2=made.area_km2, inputs=inputs, files=files
        )

    def _kept(self, item: SceneItem, output: Place, inputs: tuple[Fingerprint, ...]) -> SceneRecord | None:
        """Return the line of an output that stands as an earlier run would make it again, else ``None``.

        Raises :class:`RunDiffers` where it is whole and was made otherwise, unless it may be replaced.
        """
        before = self.report.last(output)
        if before is None or self.report.was_cut_off(output):
            return None
        if damage := _damage(before):
            if output.exists():
                self.job.say(f"{item.name} is done again: {damage}.")
            return None
        differences = self._differences(before, inputs, item)
        if differences and not self.job.overwrite:
            raise RunDiffers(
                f"{output} was made otherwise: {told(differences)}. Add --overwrite to make it again, or name another "
                "folder with -o."
            )
        return None if differences else before

    def _is_ours(self, output: Place) -> bool:
        """Whether an output that is there was written by a run of this report, or by one that was cut off."""
        return self.report.last(output) is not None or self.report.was_cut_off(output)

    def _differences(self, before: SceneRecord, inputs: tuple[Fingerprint, ...], item: SceneItem) -> list[str]:
        made_by = self.report.made_by(before)
        if made_by is None:
            return ["the report does not tell its options"]
        return _of_scene(made_by, before.inputs, before.sensor).differences(
            _of_scene(self.job.manifest, inputs, item.sensor)
        )


def _of_scene(manifest: Manifest, inputs: tuple[Fingerprint, ...], sensor: str | None) -> Manifest:
    """Return a run's manifest for one scene."""
    own = {"sensor": sensor} if sensor else {}
    return replace(manifest, inputs=inputs, options=manifest.options | own)


def _damage(record: SceneRecord) -> str | None:
    """Say which file of a finished scene is gone or damaged."""
    found = ((path, fault(place(path), expected)) for path, expected in record.files.items())
    return next((f"{path}: {what}" for path, what in found if what), None if record.files else "no file is recorded")


def _bug(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return f"Unexpected {type(error).__name__}: {first} Please report it."
