"""Whether a file is a valid sensor, and what is allowed in it and yet probably a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dofa_cli.errors import SensorError
from dofa_cli.sensors import registry
from dofa_cli.sensors.names import fold
from dofa_cli.sensors.schema import Band, Kind, Sensor
from dofa_cli.sensors.showing.description import FAMILIES

TRAINED_UM = 0.4, 2.5
"""Centres of the optical bands that the weights were trained on lie within."""
MOST_NAMES = 6


@dataclass(frozen=True)
class Result:
    """What is wrong with a file (``None`` if it is valid), and what looks suspicious."""

    path: Path
    fault: str | None
    doubts: tuple[str, ...] = ()


def check(path: Path) -> Result:
    """Read one file as a sensor and look at it beside those of the registry."""
    if path.suffix != ".toml":
        return Result(path, "not a .toml file")
    try:
        known = registry.entry(str(path))
    except SensorError as error:
        return Result(path, _told(error, path))
    return Result(path, None, doubts(known, registry.entries()))


def _told(error: SensorError, path: Path) -> str:
    """Return what an error says, without the file's name in front, as its line begins with it."""
    return str(error).removeprefix(f"{path} ").removeprefix("is ")


def doubts(known: registry.Entry, others: Sequence[registry.Entry]) -> tuple[str, ...]:
    """Return what looks suspicious about a sensor, beside the ``others`` of the registry."""
    sensor = known.sensor
    of_light = () if sensor.kind is Kind.SAR else (*_widths(sensor), *_untrained(sensor))
    return (*of_light, *_unknown_to_weights(sensor), *_unsorted(sensor), *_shared(sensor), *_claimed(known, others))


def _widths(sensor: Sensor) -> Iterator[str]:
    if without := [band.id for band in sensor.bands if band.fwhm_um is None]:
        yield f"no fwhm_um: {shortened(without)}"


def _untrained(sensor: Sensor) -> Iterator[str]:
    low, high = TRAINED_UM
    if outside := [band.id for band in sensor.bands if not low <= (band.center_um or 0) <= high]:
        yield f"outside {low:g} to {high:g} µm, which is all that the weights saw: {shortened(outside)}"


def _unknown_to_weights(sensor: Sensor) -> Iterator[str]:
    """Find bands that cannot be used, and weights families that there are not."""
    if without := [band.id for band in sensor.bands if None in map(band.wavelength_um, FAMILIES)]:
        yield f"no wavelength for the network, so never usable without --wavelengths: {shortened(without)}"
    named = {*sensor.default, *(family for band in sensor.bands for family in band.model)}
    if strange := sorted(named - set(FAMILIES)):
        yield f"weights families that there are not: {shortened(strange)}; there are {' and '.join(FAMILIES)}"


def _unsorted(sensor: Sensor) -> Iterator[str]:
    if sensor.kind is not Kind.HYPERSPECTRAL:
        return
    steps = pairwise(sensor.bands)
    if turn := next(((one.id, two.id) for one, two in steps if _centre(one) >= _centre(two)), None):
        yield f"centres do not rise from {turn[0]} to {turn[1]}: is this the order of the files' bands?"


def _centre(band: Band) -> float:
    return band.center_um or 0.0


def _shared(sensor: Sensor) -> Iterator[str]:
    """Find names that two bands have."""
    owners: dict[str, list[str]] = {}
    for band in sensor.bands:
        for name in {fold(name) for name in (band.id, *band.aliases)}:
            owners.setdefault(name, []).append(band.id)
    for name, bands in owners.items():
        if len(bands) > 1:
            yield f"'{name}' names several bands: {shortened(bands)}"


def _claimed(known: registry.Entry, others: Iterable[registry.Entry]) -> Iterator[str]:
    """Find names that another sensor has, too, and sensors that this one hides."""
    sensor, path = known.sensor, known.file.path.resolve()
    own = {fold(name): name for name in (sensor.id, *sensor.aliases)}
    for other in others:
        theirs = {fold(name) for name in (other.sensor.id, *other.sensor.aliases)}
        if other.file.path.resolve() == path:
            yield from (f"it takes the place of {hidden}" for hidden in other.hidden)
        elif other.sensor.id == sensor.id:
            yield f"'{sensor.id}' is also the id of {other.file.path} ({other.layer})"
        elif both := [name for key, name in own.items() if key in theirs]:
            yield f"{shortened([repr(name) for name in both])}: {other.sensor.id} ({other.layer}) has that name too"


def shortened(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Write a list, of a long one the first names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
