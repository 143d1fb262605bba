"""The folder of finished shards beside an output: part files, and last of each shard its record."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dofa_cli.errors import OutputUnwritable, RunDiffers
from dofa_cli.pipelines.shards.files import checked, moved, put_beside
from dofa_cli.pipelines.shards.manifest import VERSION, Manifest, told

MANIFEST = "manifest.json"
ENDING = "ending.json"
_RECORD = re.compile(r"\d{6,}\.json")


@dataclass(frozen=True)
class Finished:
    """What a shard left: bytes and CRC-32 of its files by name, and counts that are summed over shards."""

    number: int
    files: dict[str, tuple[int, int]]
    counts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """A whole result: its files in the folder with the paths that they get, sums over shards, and facts to report."""

    files: tuple[tuple[str, str], ...]
    counts: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PartStore:
    """Finished shards in a folder ``path``; a shard is finished when its record stands there."""

    path: Path

    def kept(self, say: Callable[[str], object] = lambda _: None) -> dict[int, Finished]:
        """Return the finished shards by number, after a look at every byte; all else is removed.

        Files that are not as they were recorded are said once, and their shards are not finished.
        """
        found = {done.number: done for done in self._records()}
        damaged = [number for number, done in found.items() if not self._is_whole(done)]
        for number in damaged:
            del found[number]
        if damaged:
            several = f"{len(damaged)} finished shards are" if len(damaged) > 1 else "1 finished shard is"
            say(f"{several} damaged in {self.path} and done again.")
        self._remove_but(found.values())
        return dict(sorted(found.items()))

    def find(self, number: int) -> Finished | None:
        """Return one shard if it is finished, after a look at every byte of it."""
        done = _read_record(self.path / record_name(number))
        return done if done is not None and done.number == number and self._is_whole(done) else None

    def finish(self, done: Finished) -> None:
        """Record a shard whose files are in place; this makes it finished."""
        with put_beside(self.path / record_name(done.number)) as file:
            file.write(json.dumps(asdict(done)).encode())

    def clean(self) -> int:
        """Remove all but finished shards; return how many there are, without looking into their files."""
        finished = list(self._records())
        self._remove_but(finished)
        return len(finished)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(one.stat().st_size for one in self.path.rglob("*") if one.is_file())

    @property
    def ending(self) -> Ending | None:
        """What was left to do when the result was whole; ``None`` before, and where somebody removed it since."""
        found = read_ending(ended_path(self.output))
        return found[1] if found is not None and self._is_there(found[1]) else None

    @property
    def output(self) -> Path:
        """The output that the parts belong to."""
        return self.path.with_name(self.path.name.removeprefix(".").removesuffix(".parts"))

    def end(self, ending: Ending, manifest: Manifest) -> None:
        """Note beside the output that the result is whole, and give its files their names."""
        with put_beside(self.path / ENDING) as file:
            file.write(json.dumps({"manifest": asdict(manifest)} | asdict(ending)).encode())
        (self.path / ENDING).replace(ended_path(self.output))
        self.publish(ending)

    def publish(self, ending: Ending) -> None:
        """Give those files their names that have them not yet."""
        for name, output in ending.files:
            if (self.path / name).exists():
                moved(self.path / name, Path(output))

    def remove(self) -> None:
        """Remove the folder, its manifest last."""
        with suppress(FileNotFoundError):
            self._remove_but(())
        shutil.rmtree(self.path, ignore_errors=True)

    def _is_there(self, ending: Ending) -> bool:
        return all((self.path / name).exists() or Path(output).exists() for name, output in ending.files)

    def _records(self) -> Iterator[Finished]:
        for path in sorted(self.path.iterdir()):
            if not _RECORD.fullmatch(path.name):
                continue
            done = _read_record(path)
            if done is not None and record_name(done.number) == path.name:
                yield done

    def _is_whole(self, done: Finished) -> bool:
        return all(checked(self.path / name) == tuple(expected) for name, expected in done.files.items())

    def _remove_but(self, kept: Iterable[Finished]) -> None:
        files = {name.partition("/")[0] for done in kept for name in (*done.files, record_name(done.number))}
        names = files | {MANIFEST}
        for path in list(self.path.iterdir()):
            if path.name in names:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def parts_path(output: Path) -> Path:
    """Return the folder of an output's parts."""
    return output.with_name(f".{output.name}.parts")


def ended_path(output: Path) -> Path:
    """Return the file that stands beside an output from when its result is whole until all else is removed."""
    return output.with_name(f".{output.name}.ended")


def read_ending(path: Path) -> tuple[Manifest, Ending] | None:
    """Read what :meth:`PartStore.end` wrote, ``None`` where there is nothing."""
    try:
        plain = json.loads(path.read_bytes())
        ending = Ending(tuple((one, name) for one, name in plain["files"]), plain["counts"], plain["facts"])
        return Manifest.from_json(json.dumps(plain["manifest"])), ending
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_name(number: int) -> str:
    """Return the name of a shard's record."""
    return f"{number:06d}.json"


def open_store(output: Path, manifest: Manifest, *, overwrite: bool) -> tuple[PartStore, Manifest]:
    """Open the parts beside ``output``, or begin them; return them with their manifest, which holds what was settled.

    Raises :class:`RunDiffers` where parts of other work stand there, unless ``overwrite``: then they are removed.
    """
    store = PartStore(parts_path(output))
    if store.path.exists():
        before, fault = _stored_manifest(store.path)
        found = fault or (told(before.differences(manifest)) if before else "")
        if before is not None and not found:
            return store, before
        if found and not overwrite:
            raise RunDiffers(
                f"{store.path} holds finished shards of another run: {found}. Add --overwrite to start anew, or give "
                "the same command as before to go on."
            )
        store.remove()
    begin(store, manifest)
    return store, manifest


def begin(store: PartStore, manifest: Manifest) -> None:
    """Write the manifest of parts that are to come, or write it again with what was settled."""
    try:
        store.path.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"Cannot write beside {store.path}: {error.strerror or error}.") from None
    with put_beside(store.path / MANIFEST) as file:
        file.write(manifest.to_json().encode())


def _read_record(path: Path) -> Finished | None:
    try:
        plain = json.loads(path.read_bytes())
        files = {name: (int(size), int(crc)) for name, (size, crc) in plain["files"].items()}
        return Finished(int(plain["number"]), files, dict(plain["counts"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stored_manifest(folder: Path) -> tuple[Manifest | None, str]:
    """Return the manifest of a folder, and what is wrong with it.

    A folder without one is left from a start that did not get to its first shard.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None, ""
    try:
        text = path.read_text(encoding="utf-8")
        version = json.loads(text).get("version")
        if version != VERSION:
            return None, f"their format is {version}, this dofa's is {VERSION}"
        return Manifest.from_json(text), ""
    except (OSError, ValueError, AttributeError):
        return None, "their manifest cannot be read"
