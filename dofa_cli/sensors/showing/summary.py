"""A sensor in one row: what lists and the page of built-in sensors tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dofa_cli.errors import UnknownSensor
from dofa_cli.resources import data_folder
from dofa_cli.sensors.names import fold
from dofa_cli.sensors.registry import Entry, built_in, entry
from dofa_cli.sensors.schema import Kind, Sensor

Range = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """One sensor: number of bands, lowest and highest centre in µm or GHz, finest and coarsest pixel in metres."""

    id: str
    name: str
    kind: str
    bands: int
    range_um: Range | None
    range_ghz: Range | None
    gsd_m: Range | None
    products: tuple[str, ...]
    status: str

    @property
    def span(self) -> str:
        """The range of centres with its unit."""
        return _write(self.range_um, "µm", ".2f") or _write(self.range_ghz, "GHz", "g")

    @property
    def pixel(self) -> str:
        """The range of pixel sizes with its unit; empty if unknown."""
        return _write(self.gsd_m, "m", "g")


def summarise(sensor: Sensor) -> Summary:
    """Return a sensor's row."""
    return Summary(
        id=sensor.id,
        name=sensor.name,
        kind=sensor.kind.value,
        bands=len(sensor.bands),
        range_um=_range([band.center_um for band in sensor.bands]),
        range_ghz=_range([band.frequency_ghz for band in sensor.bands]),
        gsd_m=_range([band.gsd_m for band in sensor.bands]),
        products=tuple(product.id for product in sensor.products),
        status=sensor.status.value,
    )


def select(known: Sequence[Entry], words: Sequence[str], kind: Kind | None) -> list[Entry]:
    """Return the sensors of a kind that have every word in one of their names.

    Raises :class:`UnknownSensor` when there is none, with a suggestion for a misspelt word.
    """
    found = [one for one in known if kind in (None, one.sensor.kind) and _is_called(one.sensor, words)]
    if found:
        return found
    if len(words) == 1 and kind is None:
        entry(words[0])  # raises, and knows what the word may have meant
    of_kind = f" of kind {kind.value}" if kind else ""
    asked = f" matches '{' '.join(words)}'" if words else " is known"
    raise UnknownSensor(f"No sensor{of_kind}{asked}. `dofa sensors list` shows all.")


def shipped() -> dict[str, list[Sensor]]:
    """Return the built-in sensors by id, by the folder of ``sensors/`` that holds their file (``.`` for none)."""
    root = data_folder("sensors")
    found: dict[str, list[Sensor]] = {}
    for path in sorted(root.rglob("*.toml"), key=lambda path: (path.parent, path.stem)):
        found.setdefault(path.parent.relative_to(root).as_posix(), []).append(built_in(path.stem))
    return found


def _is_called(sensor: Sensor, words: Sequence[str]) -> bool:
    names = [fold(name) for name in (sensor.id, sensor.name, *sensor.aliases, *sensor.platforms)]
    return all(any(fold(word) in name for name in names) for word in words)


def _range(values: Sequence[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None


def _write(ends: Range | None, unit: str, form: str) -> str:
    if ends is None:
        return ""
    low, high = (f"{end:{form}}" for end in ends)
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"
