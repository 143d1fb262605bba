"""Draw a picture with title, scale bar and legend. Everything is laid out in whole pixels, so that cells stay sharp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray

from dofa_cli.raster.ground import PixelSize

LONGEST = 1200
"""Most pixels of a picture's longer side."""
SHORTEST = 450
LARGEST_CELL = 80
THINNEST = 40
"""A picture with a smaller side is drawn thicker than it is."""
NARROWEST = 660
"""Room for text, whatever the picture's width."""
UNPAINTED = "#d9d9d9"
_SQUARE = 0.01
"""Cells whose sides differ by less are drawn square."""
_DPI, _MARGIN, _GAP, _SWATCH = 150, 24, 12, 20
_TITLE_PT, _TEXT_PT = 10, 8
_LETTER = 0.62
"""Mean width of a letter over its height, on the safe side."""
_BAR, _BAR_SHARE = 5, 0.3


@dataclass(frozen=True)
class Entry:
    """One line of a legend: a colour (red, green, blue from 0 to 1) and what it stands for."""

    colour: tuple[float, float, float]
    text: str


@dataclass(frozen=True)
class Picture:
    """``pixels`` (height, width, 4) are RGBA from 0 to 255; ``ground`` is what one of them covers, if known."""

    pixels: NDArray[np.uint8]
    ground: PixelSize | None
    title: str
    subtitle: tuple[str, ...]
    heading: str
    legend: tuple[Entry, ...]


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels from the upper left corner; a tall narrow image has the text ``beside`` it."""

    image_height: int
    image_width: int
    beside: bool
    title: tuple[str, ...]
    subtitle: tuple[str, ...]
    heading: tuple[str, ...]
    columns: int
    rows: int

    @property
    def room(self) -> int:
        """Width of the text."""
        return NARROWEST if self.beside else max(self.image_width, NARROWEST)

    @property
    def text_left(self) -> int:
        """Where lines of text begin."""
        return _MARGIN + (self.image_width + 2 * _GAP if self.beside else 0)

    @property
    def title_bottom(self) -> int:
        """Where title and subtitle end."""
        return _MARGIN + len(self.title) * _line(_TITLE_PT) + len(self.subtitle) * _line(_TEXT_PT) + _GAP

    @property
    def image_top(self) -> int:
        """Where the image begins."""
        return _MARGIN if self.beside else self.title_bottom

    @property
    def bar_top(self) -> int:
        """Where the scale bar begins."""
        return self.title_bottom + (0 if self.beside else self.image_height) + _GAP

    @property
    def legend_top(self) -> int:
        """Where the legend begins."""
        return self.bar_top + _line(_TEXT_PT) + 2 * _BAR + _GAP

    @property
    def width(self) -> int:
        """Width of the figure."""
        return self.text_left + self.room + _MARGIN

    @property
    def height(self) -> int:
        """Height of the figure."""
        text = self.legend_top + (len(self.heading) + self.rows) * _line(_TEXT_PT)
        return max(text, self.image_top + self.image_height) + _MARGIN


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, format="png", dpi=_DPI)


def draw(picture: Picture) -> Figure:
    """Lay the picture out and draw it."""
    layout = lay_out(picture)
    figure = Figure(figsize=(layout.width / _DPI, layout.height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = _draw_image(figure, layout, picture)
    _draw_title(figure, layout)
    _draw_bar(axes, layout, picture)
    _draw_legend(figure, layout, picture.legend)
    return figure


def lay_out(picture: Picture) -> Layout:
    """Choose sizes and break lines."""
    (height, width), thickened = image_size(picture)
    beside = width < NARROWEST / 2 and height > NARROWEST
    room = NARROWEST if beside else max(width, NARROWEST)
    widest = max((_letters(entry.text) for entry in picture.legend), default=1)
    columns = max(1, room // (widest + _SWATCH + 3 * _GAP))
    notes = (
        *picture.subtitle,
        *([f"drawn {thickened:.3g} times as {_side(picture)} as it is"] if thickened > 1 else []),
    )
    return Layout(
        image_height=height,
        image_width=width,
        beside=beside,
        title=_broken(picture.title, room, _TITLE_PT * 1.1),
        subtitle=tuple(line for text in notes for line in _broken(text, room, _TEXT_PT)),
        heading=_broken(picture.heading, room, _TEXT_PT),
        columns=columns,
        rows=ceil(len(picture.legend) / columns),
    )


def _side(picture: Picture) -> str:
    return "wide" if picture.pixels.shape[0] > picture.pixels.shape[1] else "high"


def image_size(picture: Picture) -> tuple[tuple[int, int], float]:
    """Return height and width of the image in pixels, and how many times too thick it is (1 for most).

    Square cells get a whole number of pixels each.
    """
    rows, cols = picture.pixels.shape[:2]
    ratio = picture.ground.height / picture.ground.width if picture.ground else 1.0
    ratio = 1.0 if abs(ratio - 1) < _SQUARE else ratio
    tall, wide = rows * max(ratio, 1), cols * max(1 / ratio, 1)
    longest = max(tall, wide)
    cell = max(1, min(LONGEST // longest, max(LARGEST_CELL, SHORTEST // longest))) * min(1, LONGEST / longest)
    true = tall * cell, wide * cell
    return (max(THINNEST, round(true[0])), max(THINNEST, round(true[1]))), max(1, THINNEST / min(true))


def scale_bar(metres_a_pixel: float, most_pixels: float) -> tuple[float, str]:
    """Return the longest bar of 1, 2 or 5 times a power of ten metres within ``most_pixels``: pixels, and its label."""
    most = metres_a_pixel * most_pixels
    power = 10.0 ** floor(log10(most))
    metres = next(factor * power for factor in (5, 2, 1) if factor * power <= most * (1 + 1e-9))
    label = f"{metres / 1000:,g} km" if metres >= 1000 else f"{metres:g} m" if metres >= 1 else f"{metres * 100:g} cm"
    return metres / metres_a_pixel, label


def _draw_image(figure: Figure, layout: Layout, picture: Picture) -> Any:
    bottom = layout.height - layout.image_top - layout.image_height
    corner = _MARGIN / layout.width, bottom / layout.height
    axes = figure.add_axes((*corner, layout.image_width / layout.width, layout.image_height / layout.height))
    axes.set_facecolor(UNPAINTED)
    axes.imshow(picture.pixels, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.add_artist(axes.patch)  # the background, which goes with the axis otherwise
    axes.patch.set_zorder(-1)
    return axes


def _draw_title(figure: Figure, layout: Layout) -> None:
    top = _MARGIN
    for line in layout.title:
        _write(figure, layout, layout.text_left, top, line, size=_TITLE_PT, weight="bold")
        top += _line(_TITLE_PT)
    for line in layout.subtitle:
        _write(figure, layout, layout.text_left, top, line, color="0.35")
        top += _line(_TEXT_PT)


def _draw_bar(axes: Any, layout: Layout, picture: Picture) -> None:
    if picture.ground is None:
        _write(axes.figure, layout, layout.text_left, layout.bar_top, "no coordinates", color="0.35", style="italic")
        return
    rows, cols = picture.pixels.shape[:2]
    cell_height, cell_width = layout.image_height / rows, layout.image_width / cols
    length, label = scale_bar(_metres_a_pixel(layout, picture), _BAR_SHARE * layout.room)
    bar = AnchoredSizeBar(
        axes.transData,
        length / cell_width,
        label,
        loc="upper left",
        pad=0,
        borderpad=0,
        sep=4,
        frameon=False,
        size_vertical=_BAR / cell_height,
        color="0.15",
        fontproperties=FontProperties(size=_TEXT_PT),
        bbox_to_anchor=(layout.text_left, layout.height - layout.bar_top),
        bbox_transform=None,
    )
    bar.set_clip_on(False)
    axes.add_artist(bar)


def _metres_a_pixel(layout: Layout, picture: Picture) -> float:
    """Return the ground under a pixel of the image, along the side that is drawn true to scale."""
    assert picture.ground is not None
    rows, cols = picture.pixels.shape[:2]
    if layout.image_width == THINNEST:
        return float(picture.ground.height * rows / layout.image_height)
    return float(picture.ground.width * cols / layout.image_width)


def _draw_legend(figure: Figure, layout: Layout, legend: Sequence[Entry]) -> None:
    top = layout.legend_top
    for line in layout.heading:
        _write(figure, layout, layout.text_left, top, line, color="0.15")
        top += _line(_TEXT_PT)
    step = layout.room // layout.columns
    for entry, (row, col) in zip(legend, _places(len(legend), layout), strict=True):
        left, upper = layout.text_left + col * step, top + row * _line(_TEXT_PT)
        corner = left / layout.width, 1 - (upper + _SWATCH - 1) / layout.height
        size = _SWATCH / layout.width, _SWATCH / layout.height
        figure.add_artist(Rectangle(corner, *size, facecolor=entry.colour, edgecolor="0.5", linewidth=0.4))
        _write(figure, layout, left + _SWATCH + _GAP, upper, entry.text, color="0.15")


def _places(count: int, layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield row and column of each entry, row by row."""
    return ((at // layout.columns, at % layout.columns) for at in range(count))


def _write(figure: Figure, layout: Layout, left: int, top: int, text: str, **how: Any) -> None:
    """Write one line with its upper left corner at a pixel; no text is ever taken for a formula."""
    place = left / layout.width, 1 - top / layout.height
    style: dict[str, Any] = {"size": _TEXT_PT, "va": "top", "ha": "left", "parse_math": False} | how
    figure.text(*place, text, **style)


def _line(points: float) -> int:
    """Return the pixels from one line of text to the next."""
    return ceil(points * _DPI / 72 * 1.5)


def _letters(text: str, points: float = _TEXT_PT) -> int:
    return ceil(len(text) * _LETTER * points * _DPI / 72)


def _broken(text: str, room: int, points: float) -> tuple[str, ...]:
    return tuple(wrap(text, max(8, room // _letters("x", points))))
