"""What benchmark data sets there are: the files beside this one, read and checked."""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Method, Task

FOLDER = Path(__file__).parent


class Published(BaseModel):
    """A figure, in percent, that others published; ``method`` where it is not the set's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    value: float
    source: str
    method: Method | None = None


class Benchmark(BaseModel):
    """A data set: where its files lie, how its values are meant, the published protocol and figures.

    ``bands`` maps our names to those in HDF5 files, ``file_bands`` is ``--bands`` for other files. Stored values times
    ``factor`` are those of ``product``, in ``dtype``. ``classes`` are names by
    stored number; ``shares`` split what comes unsplit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    layout: Literal["geobench", "class-folders", "label-rasters"]
    task: Task
    method: Method
    metric: str
    protocol: str
    protocol_source: str
    sensor: str
    product: str | None = None
    bands: dict[str, str] = {}
    file_bands: str | None = None
    factor: float = 1.0
    dtype: Literal["uint8", "uint16"] = "uint16"
    several: bool = False
    normalize: Literal["sensor", "scene"] = "sensor"
    classes: tuple[str, ...] = ()
    class_count: int | None = None
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    note: str = ""
    published: tuple[Published, ...] = ()

    def class_name(self, number: int) -> str:
        """Return the name of a stored class number."""
        return self.classes[number] if number < len(self.classes) else str(number)

    def figures(self, method: Method) -> tuple[Published, ...]:
        """Return what was published for a way of training."""
        return tuple(one for one in self.published if (one.method or self.method) is method)


def benchmark(name: str) -> Benchmark:
    """Return a data set by name; :class:`OptionError` with the nearest name where there is none."""
    known = {one.name.lower(): one for one in all_benchmarks()}
    if name.lower() in known:
        return known[name.lower()]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"Did you mean '{known[near[0]].name}'?" if near else "`dofa evaluate --benchmark list` shows them."
    raise OptionError(f"No benchmark '{name}'. {hint}")


@cache
def all_benchmarks() -> tuple[Benchmark, ...]:
    """Return every data set: classification first, then segmentation, by name."""
    found = [Benchmark.model_validate(_read(path)) for path in sorted(FOLDER.glob("*.toml"))]
    return tuple(sorted(found, key=lambda one: (one.task is not Task.CLASSIFY, one.name.lower())))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)
