"""``dofa sensors suggest``: which known instruments a scene may come from, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import rasterio

from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.scenes.instrument import states_wavelengths
from dofa_cli.pipelines.scenes.traces import delivered_sensors, traces
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.header import Header
from dofa_cli.raster.source import gdal_options
from dofa_cli.sensors import registry
from dofa_cli.sensors.recognise import Candidate, candidates, settled

BY_METADATA = "its metadata say so"
CERTAIN = 9.99


@dataclass(frozen=True)
class Suggestion:
    """One instrument, how many of the scene's bands it accounts for, and what speaks for it."""

    sensor: str
    name: str
    score: float
    bands: int
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Suggestions:
    """Instruments that a scene may come from, the likeliest first; ``taken`` is what a run would use without asking.

    ``stated_wavelengths`` says that the files name the wavelength of each of their bands.
    """

    files: tuple[str, ...]
    bands: int
    found: tuple[Suggestion, ...]
    taken: str | None
    stated_wavelengths: bool

    def to_json(self) -> str:
        """Return one JSON object."""
        return to_json(asdict(self))


def suggest(paths: Sequence[str]) -> Suggestions:
    """Weigh every known instrument against the files of one scene.

    Raises the errors of :mod:`dofa_cli.raster.header`.
    """
    with rasterio.Env(**gdal_options(paths)):
        headers = [header for path in paths for header in headers_at(path)]
    bands = [band for header in headers for band in header.bands]
    likely = candidates(traces(headers), registry.sensors())
    sure, told = settled(likely), _by_metadata(headers)
    found = told + [suggestion(one) for one in likely if one.sensor.id not in {known.sensor for known in told}]
    taken = told[0].sensor if len(told) == 1 else sure.sensor.id if sure else None
    return Suggestions(tuple(paths), len(bands), tuple(found), taken, states_wavelengths(headers))


def _by_metadata(headers: Sequence[Header]) -> list[Suggestion]:
    bands = sum(len(header.bands) for header in headers)
    known = [registry.sensor(name) for name in sorted(delivered_sensors(headers))]
    return [Suggestion(one.id, one.name, CERTAIN, bands, (BY_METADATA,)) for one in known]


def suggestion(one: Candidate) -> Suggestion:
    """Return a candidate as it is told."""
    return Suggestion(one.sensor.id, one.sensor.name, round(one.score, 2), len(one.bands), one.evidence)
