"""Bands on a wavelength axis: what pictures of sensors show, and the picture in plain characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from operator import attrgetter

from dofa_cli.sensors.schema import Band, Kind, Sensor

SHORTEST_UM, LONGEST_UM = 0.38, 2.6
"""Ends of the axis. It is logarithmic, as most bands are visible or near infrared."""
TICKS_UM = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5)
NARROWEST_AXIS = 40
"""Least number of characters of the axis."""
FILLS = "█▓"
"""Bars of neighbours take turns, so that they can be told apart where they touch."""
MOST_ASIDE = 6
UNIT = " µm"


@dataclass(frozen=True)
class Bar:
    """One band from ``low_um`` to ``high_um``; a band of unknown width has none. ``lane`` counts lines of a row."""

    band: Band
    centre_um: float
    low_um: float
    high_um: float
    lane: int = 0


@dataclass(frozen=True)
class Row:
    """One sensor: bars by wavelength, in lanes in which none covers another, and what the axis cannot show."""

    sensor: Sensor
    bars: tuple[Bar, ...]
    aside: str

    @property
    def lanes(self) -> int:
        """Number of lines of bars."""
        return 1 + max((bar.lane for bar in self.bars), default=0)


def row(sensor: Sensor) -> Row:
    """Lay out one sensor; the bands of an imaging spectrometer, which overlap by design, share one lane."""
    bars = sorted((bar for band in sensor.bands for bar in _bar(band)), key=attrgetter("centre_um"))
    laid = bars if sensor.kind is Kind.HYPERSPECTRAL else _in_lanes(bars)
    return Row(sensor, tuple(laid), _aside(sensor, {bar.band.id for bar in bars}))


def place(wavelength_um: float) -> float:
    """Return where a wavelength stands on the axis, from 0 at its left end to 1 at its right."""
    return log(wavelength_um / SHORTEST_UM) / log(LONGEST_UM / SHORTEST_UM)


def chart(sensors: Sequence[Sensor], width: int) -> str:
    """Draw sensors in ``width`` characters (more, if that is too little for names and axis)."""
    names = max(len(sensor.id) for sensor in sensors) + 2
    columns = max(NARROWEST_AXIS, width - names - len(UNIT))
    lines = [" " * names + line for line in _axis(columns)]
    for one in map(row, sensors):
        texts = [text for text in (*_drawn(one, columns), one.aside) if text]
        heads = [one.sensor.id, *[""] * (len(texts) - 1)]
        lines += [f"{head:{names}}{text}" for head, text in zip(heads, texts, strict=True)]
    return "\n".join(lines)


def _bar(band: Band) -> Iterator[Bar]:
    """Yield the band's bar if its centre is on the axis, cut off at the ends of it."""
    centre, half = band.center_um, (band.fwhm_um or 0.0) / 2
    if centre is not None and SHORTEST_UM <= centre <= LONGEST_UM:
        yield Bar(band, centre, max(centre - half, SHORTEST_UM), min(centre + half, LONGEST_UM))


def _in_lanes(bars: Iterable[Bar]) -> list[Bar]:
    """Put narrow bars into the upper lanes and wide ones that cover others, such as panchromatic, below."""
    lanes: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: bar.high_um - bar.low_um):
        free = (number for number, lane in enumerate(lanes) if not any(_cover(bar, other) for other in lane))
        number = next(free, len(lanes))
        lanes += [[]] if number == len(lanes) else []
        lanes[number].append(Bar(bar.band, bar.centre_um, bar.low_um, bar.high_um, number))
    return sorted((bar for lane in lanes for bar in lane), key=attrgetter("lane", "centre_um"))


def _cover(one: Bar, other: Bar) -> bool:
    """Whether bars share a fifth of the narrower one; flanks of neighbours often touch."""
    shared = min(one.high_um, other.high_um) - max(one.low_um, other.low_um)
    narrower = min(one.high_um - one.low_um, other.high_um - other.low_um)
    return shared >= narrower / 5


def _aside(sensor: Sensor, shown: set[str]) -> str:
    """Say what has no place on the axis."""
    if sensor.kind is Kind.SAR:
        frequencies = sorted({band.frequency_ghz for band in sensor.bands if band.frequency_ghz})
        return f"radar at {', '.join(f'{one:g}' for one in frequencies)} GHz: no place on this axis"
    others = [f"{band.id} {band.center_um:.4g}" for band in sensor.bands if band.id not in shown]
    more = f" and {len(others) - MOST_ASIDE} more" if len(others) > MOST_ASIDE else ""
    return f"not shown: {', '.join(others[:MOST_ASIDE])} µm{more}" if others else ""


def _axis(columns: int) -> list[str]:
    """Write labels, as many as there is room for, and ticks under them."""
    labels, ticks = [" "] * (columns + 3), ["─"] * columns
    free = 0
    for tick in TICKS_UM:
        at = _column(tick, columns)
        text = f"{tick:.1f}"
        if at - 1 >= free:
            ticks[at] = "┴"
            labels[at - 1 : at + 2] = text
            free = at + 3
    return ["".join(labels).rstrip() + UNIT, "".join(ticks)]


def _drawn(one: Row, columns: int) -> Iterator[str]:
    fills = FILLS[0] if one.sensor.kind is Kind.HYPERSPECTRAL else FILLS
    for lane in range(one.lanes):
        line = [" "] * columns
        for number, bar in enumerate(bar for bar in one.bars if bar.lane == lane):
            first, last = _column(bar.low_um, columns), _column(bar.high_um, columns)
            line[first : last + 1] = fills[number % len(fills)] * (last + 1 - first)
        yield "".join(line).rstrip()


def _column(wavelength_um: float, columns: int) -> int:
    return min(int(place(wavelength_um) * columns), columns - 1)
