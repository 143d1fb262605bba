"""One run over an output: locked, its finished shards kept, the missing ones run, all removed at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from dofa_cli.errors import Interrupted, OptionError, OutputExists, RunDiffers
from dofa_cli.pipelines.shards.execute import Executor, InProcess
from dofa_cli.pipelines.shards.lock import locked
from dofa_cli.pipelines.shards.manifest import Manifest, replaced, told
from dofa_cli.pipelines.shards.stop import stoppable
from dofa_cli.pipelines.shards.store import (
    Ending,
    Finished,
    PartStore,
    begin,
    ended_path,
    open_store,
    parts_path,
    read_ending,
)
from dofa_cli.pipelines.shards.work import Recipe, ShardWork

Say = Callable[[str], object]


@dataclass(frozen=True)
class Course:
    """How a verb's shards are run; all but ``say``, which gets notes, are the verbs' arguments of the same names."""

    overwrite: bool = False
    keep_parts: bool = False
    executor: Executor | None = None
    say: Say = lambda _: None


class Progress:
    """Tells a bar of windows: as they are done in this process, and else shard by shard."""

    def __init__(self, advance: Callable[[int], object]) -> None:
        self.advance = advance
        self.ahead = 0

    def windows(self, count: int) -> None:
        """Note windows of a shard that is at work."""
        self.ahead += count
        self.advance(count)

    def shard(self, done: Finished) -> None:
        """Note a finished shard."""
        self.advance(int(done.counts.get("windows", 0)) - self.ahead)
        self.ahead = 0


@dataclass
class Session:
    """The parts of one output while its run holds the lock.

    ``finished`` are the shards by number, those of an earlier run from the start.
    """

    output: Path
    store: PartStore
    manifest: Manifest
    course: Course
    finished: dict[int, Finished]

    def __post_init__(self) -> None:
        """Count what an earlier run did."""
        self.kept, self.kept_seconds = len(self.finished), self._sum("seconds")
        self.assembled_seconds = 0.0

    @property
    def folder(self) -> Path:
        """Where parts, and files that are not finished, lie."""
        return self.store.path

    @property
    def key(self) -> str:
        """A name for the work: its output and everything that its shards depend on."""
        return sha256(f"{self.output}\n{self.manifest.to_json()}".encode()).hexdigest()

    @property
    def ending(self) -> Ending | None:
        """The result, once it is whole: from the start where an earlier run was cut short after it."""
        return self.store.ending

    def settle(self, **facts: Any) -> None:
        """Write facts into the manifest that the shards depend on, before the first of them."""
        self.manifest = replace(self.manifest, settled=self.manifest.settled | facts)
        begin(self.store, self.manifest)

    def complete(self, recipe: Recipe, work: ShardWork, advance: Callable[[int], object] = lambda _: None) -> None:
        """Run the shards that are missing; ``advance`` is told the windows of finished ones, those kept included.

        Raises what the executor raises.
        """
        progress = Progress(advance)
        work.on_windows = progress.windows
        if self.finished:
            self.course.say(f"Continuing: {self.kept} of {work.count} shards were finished.")
        for done in self.finished.values():
            progress.shard(done)

        def note(done: Finished) -> None:
            self.finished[done.number] = done
            progress.shard(done)

        missing = [number for number in range(work.count) if number not in self.finished]
        if missing:
            (self.course.executor or InProcess()).run(recipe, work, missing, self.store, note)
            self._check_inputs()

    @contextmanager
    def assembling(self) -> Iterator[None]:
        """Count the body's seconds as those in which finished shards become the output."""
        started = time.perf_counter()
        yield
        self.assembled_seconds += time.perf_counter() - started

    def in_order(self) -> list[Finished]:
        """Return the finished shards by their number."""
        return [self.finished[number] for number in sorted(self.finished)]

    def end(self, files: Mapping[str, Path], **facts: Any) -> Ending:
        """Give whole files in the folder, by name, their paths; return sums over all shards with ``facts``."""
        names = {name for done in self.finished.values() for name in done.counts}
        pairs = tuple((name, str(path.absolute())) for name, path in files.items())
        sums = {name: self._sum(name) for name in sorted(names)} | {"assemble_s": self.assembled_seconds}
        ending = Ending(pairs, sums, facts)
        self.store.end(ending, self.manifest)
        return ending

    def _check_inputs(self) -> None:
        """Raise :class:`RunDiffers` where an input was replaced while it was read; its shards are of both then."""
        changed = replaced(self.manifest.inputs)
        if changed:
            self.store.remove()
            raise RunDiffers(
                f"An input was replaced during the run: {told(changed)}. No shard is kept; run the same command again."
            )

    def _sum(self, name: str) -> float:
        return sum(done.counts.get(name, 0) for done in self.in_order())


def is_ending(output: Path) -> bool:
    """Whether a run was cut short after its result was whole, so that the output may be there already."""
    return ended_path(output).exists()


@contextmanager
def session(output: Path, manifest: Manifest, course: Course) -> Iterator[Session]:
    """Hold an output's lock, and its parts, while the body runs; remove the parts when it succeeds.

    After a failure finished shards stay, and nothing stays where there are none. Raises
    :class:`~dofa_cli.errors.OutputLocked`, :class:`~dofa_cli.errors.RunDiffers`, and after a signal
    :class:`~dofa_cli.errors.Interrupted`.
    """
    output = output.absolute()
    with stoppable(course.say):
        with locked(output):
            _end_other(output, manifest, course)
            store, stored = open_store(output, manifest, overwrite=course.overwrite)
            try:
                if ending := store.ending:
                    store.publish(ending)
                yield Session(output, store, stored, course, {} if ending else store.kept(course.say))
            except BaseException as error:
                _leave(store, error, course.say)
                raise
            if not course.keep_parts:
                store.remove()
        ended_path(output).unlink(missing_ok=True)  # last: until here the same command only ends


def _end_other(output: Path, manifest: Manifest, course: Course) -> None:
    """End a run of another command that was cut short after its result was whole.

    Raises :class:`OutputExists` unless its result is to be replaced.
    """
    found = read_ending(ended_path(output))
    if found is None or not found[0].differences(manifest):
        return
    store = PartStore(parts_path(output))
    store.publish(found[1])
    store.remove()
    ended_path(output).unlink()
    if not course.overwrite:
        raise OutputExists(
            f"{output} exists already, of another command. Add --overwrite to replace it, or name another file with -o."
        )


def _leave(store: PartStore, error: BaseException, say: Say) -> None:
    """Leave finished shards only, after a failure, and say so unless a signal's error does.

    Options that cannot be followed leave nothing: the same command would fail again.
    """
    with suppress(OSError):
        if store.ending:
            return
        count = store.clean()
        if not count or isinstance(error, OptionError):
            store.remove()
        elif not isinstance(error, Interrupted | KeyboardInterrupt):
            say(f"{count} finished shards are kept; the same command goes on from there.")
