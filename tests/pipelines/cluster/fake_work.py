"""Work that needs no network: each shard is one small array that its number decides."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dofa_cli import errors
from dofa_cli.pipelines.shards.files import save_array
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.raster.grid import Window


@dataclass(frozen=True)
class FakeWork:
    """Shards of ``seconds`` each; ``faults`` names the error of some, ``diary`` is a file that notes what was done."""

    count: int
    seconds: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)
    diary: Path | None = None

    def pixels(self, number: int) -> Window:
        return Window(10 * number, 0, 10, 20)

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        for number in numbers:
            self._note(number)
            if number in self.faults:
                raise getattr(errors, self.faults[number])(f"scene.tif: shard {number} cannot be done.")
            time.sleep(self.seconds)
            name = f"{number:06d}.npy"
            size, crc = save_array(folder, name, shard_values(number))
            yield Finished(number, {name: (size, crc)}, {"windows": 4})

    def _note(self, number: int) -> None:
        if self.diary is not None:
            with self.diary.open("a") as file:
                file.write(f"{number} {os.getpid()}\n")


@dataclass(frozen=True)
class FakeRecipe:
    """Opens a :class:`FakeWork`; ``fault`` is the error of opening it."""

    work: FakeWork
    key: str = "fake"
    fault: str | None = None

    def open(self) -> FakeWork:
        if self.fault is not None:
            raise getattr(errors, self.fault)("scene.tif cannot be opened.")
        return self.work


def shard_values(number: int) -> np.ndarray:
    """Return what shard ``number`` holds."""
    return np.random.default_rng(number).normal(size=(8, 8))


def check_parts(folder: Path, numbers: Sequence[int]) -> None:
    """Assert that a folder holds exactly these shards, whole."""
    for number in numbers:
        np.testing.assert_array_equal(np.load(folder / f"{number:06d}.npy"), shard_values(number))
    expected = {f"{number:06d}{suffix}" for number in numbers for suffix in (".npy", ".json")}
    assert {path.name for path in folder.iterdir()} == expected
