"""``dofa sensors plot -o``: bands of sensors as bars over the wavelength, as PNG, SVG or PDF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from dofa_cli.errors import OptionError
from dofa_cli.raster.writer import check_output, explained, working_file
from dofa_cli.sensors.schema import Kind, Sensor
from dofa_cli.sensors.showing.chart import LONGEST_UM, SHORTEST_UM, TICKS_UM, Bar, Row, place, row

FORMATS = ("png", "svg", "pdf")
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 11.0, 2.15, 0.2, 0.42, 0.5
"""Width of the figure and its margins in inches."""
BAR, LABEL, GAP, LEAST_ROW = 0.15, 0.13, 0.13, 0.42
"""Heights in inches: of a bar, of the names over bars, between rows, and of the lowest row."""
THINNEST = 0.02
"""Inches of a bar of unknown width."""
_DPI, _TEXT_PT, _SMALL_PT = 150, 9, 6.5
_LETTER = 0.62
"""Mean width of a letter over its height."""
STRIPS = 2
"""Strips of text over a line of bars, so that names of narrow bands have room."""
LONGEST_NAME = 40
REGIONS = (("visible", 0.38, 0.7), ("near infrared", 0.7, 1.3), ("shortwave infrared", 1.3, LONGEST_UM))
WATER_UM = ((1.35, 1.45), (1.8, 1.95))
"""Where water vapour lets hardly any light through to the ground."""
COLOURS = {
    0.40: (0.42, 0.20, 0.62),
    0.44: (0.24, 0.26, 0.78),
    0.48: (0.12, 0.46, 0.84),
    0.50: (0.10, 0.62, 0.68),
    0.54: (0.20, 0.66, 0.30),
    0.57: (0.58, 0.74, 0.18),
    0.60: (0.95, 0.70, 0.15),
    0.62: (0.94, 0.48, 0.16),
    0.66: (0.84, 0.20, 0.18),
    0.72: (0.62, 0.12, 0.18),
    0.90: (0.45, 0.16, 0.22),
    1.30: (0.45, 0.33, 0.32),
    2.50: (0.52, 0.50, 0.48),
}
"""Red, green and blue by wavelength in µm: about what the eye sees, and dark red to grey where it sees nothing."""
BROAD_UM, BROAD = 0.15, (0.72, 0.72, 0.74)
"""Bands wider than this that begin in the visible have no colour of their own."""


def plot_sensors(sensors: Sequence[Sensor], output: str | Path, *, overwrite: bool = False) -> Path:
    """Draw one row a sensor and return the picture's path; its suffix is the format.

    Raises :class:`OptionError` for another suffix, :class:`OutputExists` and :class:`OutputUnwritable`.
    """
    path = Path(output)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise OptionError(f"A picture is a .png, .svg or .pdf file, not '{path.name}'.")
    check_output(path, overwrite=overwrite)
    figure = draw([row(sensor) for sensor in sensors])
    with working_file(path) as working, explained(path), mpl.rc_context({"svg.hashsalt": "dofa"}):
        figure.savefig(working, format=kind, dpi=_DPI, metadata=None if kind == "png" else {_DATE[kind]: None})
    return path


_DATE = {"svg": "Date", "pdf": "CreationDate"}
"""What is left out so that the same sensors give the same file."""


def draw(rows: Sequence[Row]) -> Figure:
    """Draw the rows from top to bottom over one axis; vertical positions are inches from the top."""
    heights = [_height(one) for one in rows]
    whole = sum(heights)
    figure = Figure(figsize=(WIDTH, TOP + whole + BOTTOM), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = _axes(figure, whole)
    for one, top in zip(rows, np.cumsum([0, *heights[:-1]]), strict=True):
        _draw_row(axes, one, float(top))
        if top:
            axes.axhline(top, color="0.88", linewidth=0.6)
    return figure


def _axes(figure: Figure, whole: float) -> Any:
    width, height = figure.get_size_inches()
    corner = LEFT / width, BOTTOM / height
    axes = figure.add_axes((*corner, 1 - (LEFT + RIGHT) / width, whole / height))
    axes.set_xscale("log")
    axes.set_xlim(SHORTEST_UM, LONGEST_UM)
    axes.set_ylim(whole, 0)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(FixedLocator(TICKS_UM))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.1f}"))
    axes.tick_params(labelsize=_TEXT_PT - 1, color="0.6")
    axes.set_xlabel("wavelength, µm", fontsize=_TEXT_PT)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="0.93", linewidth=0.6)
    for side in axes.spines.values():
        side.set(color="0.6", linewidth=0.6)
    _backdrop(axes)
    return axes


def _backdrop(axes: Any) -> None:
    """Name the parts of the spectrum over the axis, and shade what the air swallows."""
    for low, high in WATER_UM:
        axes.axvspan(low, high, color="0.95", linewidth=0, zorder=0)
    for name, low, high in REGIONS:
        middle = (place(low) + place(high)) / 2
        _write(axes, middle, 0, name, transform=_sideways(axes), va="bottom", color="0.35", pad=4)
        axes.axvline(high, color="0.75", linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    middle = (place(WATER_UM[0][0]) + place(WATER_UM[0][1])) / 2
    _write(axes, middle, 0, "water vapour", transform=_sideways(axes), va="bottom", color="0.6", pad=16)


def _draw_row(axes: Any, one: Row, top: float) -> None:
    name = one.sensor.name
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    count = f"{len(one.sensor.bands)} band" + ("" if len(one.sensor.bands) == 1 else "s")
    heading = {"transform": _sideways(axes), "ha": "right", "va": "top"}
    _write(axes, -0.012, top + 0.05, one.sensor.id, size=_TEXT_PT, weight="bold", **heading)
    _write(axes, -0.012, top + 0.20, shown, size=_SMALL_PT, color="0.35", **heading)
    _write(axes, -0.012, top + 0.30, count, size=_SMALL_PT, color="0.35", **heading)
    line = top + GAP / 2
    for lane in range(one.lanes if one.bars else 0):
        bars = [bar for bar in one.bars if bar.lane == lane]
        named = _named(one, bars)
        line += LABEL * _strips(named) or (_height(one) - GAP - BAR) / 2
        _draw_bars(axes, bars, line, 0.4 if named else 0)
        for bar, strip in named:
            bottom = line - 0.015 - strip * LABEL
            _write(axes, place(bar.centre_um), bottom, bar.band.id, transform=_sideways(axes), va="bottom")
        line += BAR
    if one.aside:
        style: dict[str, Any] = {"style": "italic", "color": "0.35", "ha": "left", "va": "top"}
        _write(axes, 0.012, line + 0.04, one.aside, transform=_sideways(axes), **style)


def _draw_bars(axes: Any, bars: Sequence[Bar], top: float, edge: float) -> None:
    thin = (LONGEST_UM / SHORTEST_UM) ** (THINNEST / (WIDTH - LEFT - RIGHT) / 2)
    for bar in bars:
        low, high = min(bar.low_um, bar.centre_um / thin), max(bar.high_um, bar.centre_um * thin)
        corner, colour = (low, top), _colour(bar)
        axes.add_patch(Rectangle(corner, high - low, BAR, facecolor=colour, edgecolor="white", linewidth=edge))


def _colour(bar: Bar) -> tuple[float, ...]:
    if bar.high_um - bar.low_um > BROAD_UM and bar.low_um < 0.7:
        return BROAD
    channels = zip(*COLOURS.values(), strict=True)
    return tuple(float(np.interp(bar.centre_um, list(COLOURS), channel)) for channel in channels)


def _named(one: Row, bars: Sequence[Bar]) -> list[tuple[Bar, int]]:
    """Return the bars of a lane whose names have room over it, with the strip of text: 0 next to the bar, 1 above.

    Those of imaging spectrometers are too many to be named.
    """
    free = [0.0] * STRIPS
    named = []
    for bar in bars if one.sensor.kind is not Kind.HYPERSPECTRAL else ():
        half = (len(bar.band.id) + 1) * _LETTER * _SMALL_PT / 72 / (WIDTH - LEFT - RIGHT) / 2
        left, right = place(bar.centre_um) - half, place(bar.centre_um) + half
        strip = next((number for number, end in enumerate(free) if left >= end), None)
        if strip is not None:
            named.append((bar, strip))
            free[strip] = right
    return named


def _strips(named: Sequence[tuple[Bar, int]]) -> int:
    return max((strip + 1 for _, strip in named), default=0)


def _height(one: Row) -> float:
    lanes = [[bar for bar in one.bars if bar.lane == lane] for lane in range(one.lanes)]
    bars = sum(BAR + LABEL * _strips(_named(one, lane)) for lane in lanes if lane)
    aside = LABEL + 0.04 if one.aside else 0
    return max(LEAST_ROW, bars + aside) + GAP


def _sideways(axes: Any) -> Any:
    """Return the transform of a share of the axis' width and inches from its top."""
    return axes.get_yaxis_transform()


def _write(axes: Any, across: float, down: float, text: str, pad: float = 0, **how: Any) -> None:
    """Write one line, ``pad`` points higher; no text is ever taken for a formula."""
    style: dict[str, Any] = {"size": _SMALL_PT, "ha": "center", "parse_math": False} | how
    transform = style.pop("transform")
    axes.annotate(
        text,
        (across, down),
        xycoords=transform,
        xytext=(0, pad),
        textcoords="offset points",
        annotation_clip=False,
        **style,
    )
