"""The record of a run over many scenes: JSON lines, one a scene, written as each ends."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import IO, Any

from dofa_cli.pipelines.shards.manifest import Fingerprint, Manifest
from dofa_cli.raster.writer import explained
from dofa_cli.raster.zarr_places import Place, is_url


class State(StrEnum):
    """How a scene ended; ``KEPT`` was done by an earlier run, ``OUTSIDE`` does not touch the area of interest.

    ``BEGUN`` is written before, so that a scene that a kill cut off is known by it.
    """

    BEGUN = "begun"
    DONE = "done"
    KEPT = "kept"
    FAILED = "failed"
    OUTSIDE = "outside"
    STOPPED = "stopped"

    @property
    def is_there(self) -> bool:
        """Whether the scene's output stands."""
        return self in (State.DONE, State.KEPT)


@dataclass(frozen=True)
class SceneRecord:
    """One scene's line.

    ``files`` has bytes and what identifies the content of each file written, by path. ``run`` names the line of the run
    whose options it was made with, ``sensor`` what a list says of this scene alone. ``error`` is one line, and
    ``exit_code`` what the program would end with had it run this scene alone.
    """

    scene: str
    state: State
    seconds: float
    windows: int
    output: str
    error: str | None = None
    exit_code: int = 0
    area_km2: float | None = None
    run: str = ""
    sensor: str | None = None
    inputs: tuple[Fingerprint, ...] = ()
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    time: str = ""

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> SceneRecord:
        """Undo :meth:`to_json`; ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        known = {one.name for one in fields(cls)}
        told = {name: value for name, value in plain.items() if name in known}
        told["state"] = State(told["state"])
        told["inputs"] = tuple(Fingerprint(**one) for one in told.get("inputs", ()))
        told["files"] = {path: (int(size), str(content)) for path, (size, content) in told.get("files", {}).items()}
        return cls(**told)


class RunReport:
    """A report file: earlier runs' lines are read once, this run's appended and flushed one by one.

    Of earlier lines only the place of each output's last good one is kept. Threads may add lines.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.id = hashlib.sha256(manifest.to_json().encode()).hexdigest()[:16]
        self.lock = Lock()
        self.places: dict[bytes, int] = {}
        self.begun: set[bytes] = set()
        self.manifests: dict[str, Manifest] = {self.id: manifest}
        with explained(path):
            if path.exists():
                self._learn()
            self.file: IO[str] = path.open("a", encoding="utf-8")

    def begin(self) -> None:
        """Write what this run does, on a line of its own."""
        self._append(json.dumps({"run": self.id, "time": now(), "manifest": json.loads(self.manifest.to_json())}))

    def add(self, record: SceneRecord) -> None:
        """Append a scene's line."""
        self._append(record.to_json())

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def last(self, output: Place) -> SceneRecord | None:
        """Return the last line that says that ``output`` was written, by an earlier run."""
        place = self.places.get(_key(str(output)))
        if place is None:
            return None
        with self.path.open("rb") as file:
            file.seek(place)
            return _record(_parsed(file.readline()))

    def was_cut_off(self, output: Place) -> bool:
        """Whether an earlier run began ``output`` and never told how it ended."""
        return _key(str(output)) in self.begun

    def made_by(self, record: SceneRecord) -> Manifest | None:
        """Return the options of the run that a line belongs to, ``None`` where they are lost."""
        return self.manifests.get(record.run)

    def _append(self, line: str) -> None:
        with self.lock, explained(self.path):
            self.file.write(line + "\n")
            self.file.flush()

    def _learn(self) -> None:
        """Note where lines of outputs begin, and close a line that a killed run did not end."""
        ended = True
        for place, line in _lines(self.path):
            plain, ended = _parsed(line), line.endswith(b"\n")
            if record := _record(plain):
                self._note(record, place)
            elif found := _manifest(plain):
                self.manifests[str(plain["run"])] = found
        if not ended:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def _note(self, record: SceneRecord, place: int) -> None:
        key = _key(record.output)
        if record.state is State.BEGUN:
            self.begun.add(key)
        elif record.state is not State.STOPPED:
            self.begun.discard(key)
        if record.state.is_there:
            self.places[key] = place


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_report(path: Path) -> Iterator[SceneRecord]:
    """Yield how scenes ended, by a report's lines; lines that do not tell are passed over."""
    found = (_record(_parsed(line)) for _, line in _lines(path))
    return (record for record in found if record and record.state is not State.BEGUN)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    place = 0
    with path.open("rb") as file:
        for line in file:
            yield place, line
            place += len(line)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _record(plain: dict[str, Any]) -> SceneRecord | None:
    try:
        return SceneRecord.from_plain(plain)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _manifest(plain: dict[str, Any]) -> Manifest | None:
    try:
        return Manifest.from_json(json.dumps(plain["manifest"]))
    except (KeyError, ValueError):
        return None


def _key(output: str) -> bytes:
    whole = output if is_url(output) else os.path.abspath(output)  # noqa: PTH100
    return hashlib.blake2b(whole.encode(), digest_size=12).digest()
