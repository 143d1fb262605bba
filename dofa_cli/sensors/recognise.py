"""Which instrument a scene looks like: every built-in sensor weighed by what names, bands and pixel size say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from dofa_cli.errors import BandMismatch
from dofa_cli.sensors.match import Label, choose_bands
from dofa_cli.sensors.names import wavelength_in
from dofa_cli.sensors.schema import Band, Sensor

CONCLUSIVE = 1.3
"""A sensor is named only with at least this much evidence …"""
LEAD = 0.4
"""… this much more than any other, …"""
COMPLETE = 0.9
"""… and this share of the bands found, unless the name says so: bands of an unknown sensor fit known ones in part."""
WORTH_TELLING = 0.7
"""Candidates with less are not listed."""
_NAMED, _PRODUCT, _PATTERN, _BANDS, _ORDER, _COVERAGE, _PIXEL = 1.5, 1.5, 0.5, 1.0, 0.4, 0.5, 0.3
_FOLDER = 0.35
_SMALLEST_TOLERANCE_UM = 0.01
_SAME_SIZE, _TOO_FINE = 0.1, 0.7
"""Pixels of a sensor differ by less than the one share; below the other of its finest they are not its own."""


@dataclass(frozen=True)
class Traces:
    """What a scene shows without its pixels.

    ``names`` are those of files and tags as text, ``folders`` those of folders; ``pixel_m`` is a pixel's size on the
    ground in metres.
    """

    labels: tuple[Label, ...]
    names: str
    pixel_m: float | None = None
    folders: str = ""


@dataclass(frozen=True)
class Clue:
    """One piece of evidence in words, and what it weighs."""

    text: str
    weight: float


@dataclass(frozen=True)
class Candidate:
    """A sensor and what speaks for it.

    ``bands`` maps positions among the labels to the sensor's band ids, ``share`` says how many of the labels those are.
    """

    sensor: Sensor
    bands: dict[int, str]
    clues: tuple[Clue, ...]
    share: float = 0.0

    @property
    def is_named(self) -> bool:
        """Whether the sensor is told by its name or that of a product."""
        return any(clue.weight >= _NAMED for clue in self.clues)

    @property
    def is_conclusive(self) -> bool:
        """Whether this alone would do to name the sensor."""
        return self.score >= CONCLUSIVE and bool(self.bands) and (self.is_named or self.share >= COMPLETE)

    @property
    def score(self) -> float:
        """All that the clues weigh."""
        return sum(clue.weight for clue in self.clues)

    @property
    def evidence(self) -> tuple[str, ...]:
        """The clues in words."""
        return tuple(clue.text for clue in self.clues)


def candidates(traces: Traces, known: Iterable[Sensor]) -> tuple[Candidate, ...]:
    """Return the sensors that anything speaks for, the likeliest first, one of each family."""
    weighed = [weigh(traces, sensor) for sensor in known]
    likely = [found for found in _one_a_family(weighed) if found.score >= WORTH_TELLING]
    return tuple(sorted(likely, key=lambda found: (-found.score, found.sensor.id)))


def _one_a_family(weighed: Sequence[Candidate]) -> list[Candidate]:
    """Keep of sensors that extend one another the one whose name is told, or else the one that they all extend."""
    families: dict[str, list[Candidate]] = {}
    parents = {found.sensor.id: found.sensor.extends for found in weighed}
    for found in weighed:
        root = found.sensor.id
        while (parent := parents.get(root)) is not None:
            root = parent
        families.setdefault(root, []).append(found)
    return [
        max(members, key=lambda found: (found.is_named, found.score if found.is_named else 0, found.sensor.id == root))
        for root, members in families.items()
    ]


def settled(likely: Sequence[Candidate]) -> Candidate | None:
    """Return the first of :func:`candidates` if it is beyond doubt, else ``None``."""
    if not likely or not likely[0].is_conclusive:
        return None
    second = likely[1].score if len(likely) > 1 else 0.0
    return likely[0] if likely[0].score - second >= LEAD else None


def weigh(traces: Traces, sensor: Sensor) -> Candidate:
    """Collect what speaks for ``sensor``."""
    bands = _bands(traces.labels, sensor)
    found = (
        _by_bands(traces.labels, sensor, bands),
        _by_wavelengths(traces.labels, sensor, bands),
        _by_pattern(traces.labels, sensor),
        _by_name(traces.names, sensor) or _by_folder(traces.folders, sensor),
        _by_product(f"{traces.names} {traces.folders}", sensor),
        _by_pixel(traces.pixel_m, sensor, bands),
    )
    return Candidate(sensor, bands, tuple(clue for clue in found if clue), len(bands) / len(traces.labels))


def _bands(labels: Sequence[Label], sensor: Sensor) -> dict[int, str]:
    """Return what each label matches, among all bands of the sensor; names that a stated wavelength denies left out."""
    try:
        choice = choose_bands(labels, sensor, None, family="")
    except BandMismatch:
        return {}
    pairs = zip(choice.positions, choice.bands, strict=True)
    return {position: band.id for position, band in pairs if _nearness(labels[position], band) > -1}


def _by_bands(labels: Sequence[Label], sensor: Sensor, bands: dict[int, str]) -> Clue | None:
    if not bands:
        return None
    how, weight = _how(labels, bands)
    share, coverage = len(bands) / len(labels), len(bands) / len(sensor.bands)
    return Clue(f"{len(bands)} of {len(labels)} bands {how}", weight * (share**2 + _COVERAGE * coverage))


def _how(labels: Sequence[Label], bands: dict[int, str]) -> tuple[str, float]:
    """Tell how :func:`choose_bands` must have found the bands, and what that is worth."""
    used = [labels[position] for position in bands]
    if any(label.text and label.text.lower().split() != ["band", str(label.index)] for label in used):
        return "by description", _BANDS
    if all(label.in_file == 1 for label in used):
        return "by file name", _BANDS
    return "by their number or colours alone", _ORDER


def _by_wavelengths(labels: Sequence[Label], sensor: Sensor, bands: dict[int, str]) -> Clue | None:
    stated = [(label, bands.get(at)) for at, label in enumerate(labels) if label.text and wavelength_in(label.text)]
    if not stated or not bands:
        return None
    nearness = fmean(_nearness(label, sensor.by_id[name]) if name else -1.0 for label, name in stated)
    verdict = "agree" if nearness > 0.5 else "differ" if nearness < 0 else "agree roughly"
    return Clue(f"wavelengths {verdict}", nearness)


def _nearness(label: Label, band: Band) -> float:
    """Return 1 where the stated wavelength is the band's centre, 0 at half its width, -1 from its width on."""
    stated = wavelength_in(label.text or "")
    if stated is None or band.center_um is None:
        return 0.0
    tolerance = max(_SMALLEST_TOLERANCE_UM, (band.fwhm_um or 0) / 2)
    return max(-1.0, 1 - abs(stated - band.center_um) / tolerance)


def _by_pattern(labels: Sequence[Label], sensor: Sensor) -> Clue | None:
    files = {label.file for label in labels}
    hits = [file for file in files if any(re.search(pattern, file) for pattern in sensor.file_patterns)]
    return Clue("file names follow its pattern", _PATTERN * len(hits) / len(files)) if hits else None


def _by_name(names: str, sensor: Sensor) -> Clue | None:
    hit = _alias_in(names, sensor)
    return Clue(f"'{hit}' in the name", _NAMED) if hit else None


def _by_folder(folders: str, sensor: Sensor) -> Clue | None:
    """Take a folder's name for a hint, which never decides: folders hold what is put into them."""
    hit = _alias_in(folders, sensor)
    return Clue(f"'{hit}' in the folder", _FOLDER) if hit else None


def _alias_in(names: str, sensor: Sensor) -> str | None:
    """Look for the sensor's id or aliases among the words of a text, alone or two in a row."""
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", names) if word]
    spoken = {*words, *(first + second for first, second in pairwise(words))}
    hits = [alias for alias in (sensor.id, *sensor.aliases) if re.sub(r"[^a-z0-9]", "", alias.lower()) in spoken]
    return hits[0] if hits else None


def _by_product(names: str, sensor: Sensor) -> Clue | None:
    for product in sensor.products:
        if product.pattern and re.search(product.pattern, names):
            return Clue(f"named like its product {product.id}", _PRODUCT)
    return None


def _by_pixel(pixel_m: float | None, sensor: Sensor, bands: dict[int, str]) -> Clue | None:
    by_id = sensor.by_id
    sizes = [size for name in bands.values() if (size := by_id[name].gsd_m)]
    if not pixel_m or not sizes:
        return None
    if any(abs(pixel_m / size - 1) < _SAME_SIZE for size in sizes):
        return Clue(f"pixels of {pixel_m:.3g} m", _PIXEL)
    if pixel_m < _TOO_FINE * min(sizes):
        return Clue(f"pixels of {pixel_m:.3g} m are finer than its own", -_PIXEL)
    return None
