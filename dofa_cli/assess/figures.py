"""Figures of a report, as PNG: confusion matrix, F1 by class, map of the folds, numbers against numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Patch
from numpy.typing import NDArray

from dofa_cli.assess.measured import ClassRow, Measured
from dofa_cli.classes import distinct_colours

Floats = NDArray[np.float64]
RIGHT = LinearSegmentedColormap.from_list("right", ["#ffffff", "#9ecae1", "#2171b5", "#08306b"])
WRONG = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#fdd0a2", "#f16913", "#a63603"])
"""Colours of shares of a row: on the diagonal, and beside it."""
DENSITY = LinearSegmentedColormap.from_list("density", ["#c6dbef", "#6baed6", "#2171b5", "#08306b"])
INK, LINES = "#222222", "#d0d0d0"
LARGEST_MAP = 700
"""Pixels of the longer side of a map of folds; larger ones are thinned."""
LONGEST_NAME = 26
MOST_WRITTEN = 40
"""Numbers are written into the cells of matrices with up to so many classes."""
CROWDED = 3000
"""More points than this are drawn as density."""
_DPI = 110
_LIFT = 0.6
"""Exponent of the shares of mistakes, so that small ones are seen."""
_EMPTY = (0.93, 0.93, 0.93, 1.0)
"""Rows of classes without reference."""


def png(image: NDArray[np.uint8]) -> bytes:
    """Return a picture (height, width, 3 or 4) as PNG."""
    file = BytesIO()
    imsave(file, np.ascontiguousarray(image), format="png")
    return file.getvalue()


def confusion_figure(counts: Floats, names: Sequence[str]) -> bytes:
    """Draw counts (K, K), rows the reference: coloured by their share of the row, blue where right, orange where wrong.

    Classes that neither side holds are left out.
    """
    held = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    counts, shown = counts[np.ix_(held, held)], [short(names[at]) for at in held]
    size = len(held)
    cell = float(np.clip(6.4 / size, 0.3, 0.9))
    text = float(np.clip(cell * 72 / 4.3, 4.6, 10))
    letters = max(map(len, shown)) * 0.62
    margin = letters * max(text, 6) / 72 + 0.55
    figure = _figure(size * cell + margin + 0.2, size * cell + margin + 0.2)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((margin / width, 0.1 / height, size * cell / width, size * cell / height))
    many = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(many, 1e-12)
    colours = np.where(np.eye(size, dtype=bool)[..., None], RIGHT(shares), WRONG(shares**_LIFT))
    axes.imshow(np.where(many[..., None] > 0, colours, _EMPTY), interpolation="nearest")
    _name_cells(axes, shown, max(text, 6))
    if size <= MOST_WRITTEN:
        _write_cells(axes, counts, shares, text)
    return _saved(figure)


def _name_cells(axes: Any, names: Sequence[str], text: float) -> None:
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=text, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=text, parse_math=False)
    axes.set_xlabel("predicted", fontsize=text + 1, color=INK, labelpad=6)
    axes.set_ylabel("reference", fontsize=text + 1, color=INK, labelpad=6)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LINES, linewidth=0.5)
    axes.tick_params(which="both", length=0, labelcolor=INK)
    axes.spines[:].set(color=LINES, linewidth=0.5)


def _write_cells(axes: Any, counts: Floats, shares: Floats, text: float) -> None:
    """Write counts into cells, with their share of the row where there is room."""
    roomy = len(counts) <= 12
    for (row, col), count in np.ndenumerate(counts):
        if count:
            share = shares[row, col]
            told = compact(float(count)) + (f"\n{share:.0%}" if roomy else "")
            colour = "white" if share > 0.55 else INK
            axes.text(col, row, told, ha="center", va="center", fontsize=text, color=colour, linespacing=1.15)


def f1_figure(rows: Sequence[ClassRow], score: str = "f1") -> bytes:
    """Draw a bar a class in the colours of the map, with the interval as a line; NaN has no bar."""
    shown = [row for row in rows if np.isfinite(row.values[score])]
    height = 0.27 * max(len(shown), 1)
    longest = max((len(short(row.name)) for row in shown), default=0) * 0.078 + 0.25
    figure = _figure(longest + 5.4, height + 0.6)
    width, whole = figure.get_size_inches()
    axes = figure.add_axes((longest / width, 0.45 / whole, 4.7 / width, height / whole))
    for at, row in enumerate(shown):
        colour, value, ends = [part / 255 for part in row.colour], row.values[score], row.intervals.get(score)
        axes.barh(at, value, color=colour, edgecolor="0.35", linewidth=0.5, height=0.68)
        if ends is not None:
            axes.plot([ends.low, ends.high], [at, at], color=INK, linewidth=1.3, marker="|", markersize=6)
        axes.text(1.02, at, f"{value:.2f}", va="center", fontsize=8, color=INK, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(shown)), [short(row.name) for row in shown], fontsize=8.5, parse_math=False)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel({"f1": "F1"}.get(score, score), fontsize=9)
    _plain(axes, "x")
    return _saved(figure)


def fold_figure(folds: NDArray[Any], roles: Mapping[int, str]) -> bytes:
    """Draw a map (height, width) of fold numbers, negative where there is none, and beside it each fold's role."""
    thin = thinned(folds)
    present = [int(fold) for fold in np.unique(thin) if fold >= 0]
    colours = np.array(distinct_colours(max(present, default=0) + 1))
    image = np.full((*thin.shape, 3), 255, np.uint8)
    image[thin >= 0] = colours[thin[thin >= 0]]
    longer = max(thin.shape)
    tall, wide = (max(5.2 * side / longer, 0.6) for side in thin.shape)
    figure = _figure(wide + 2.4, max(tall, 0.24 * len(present) + 0.2) + 0.2)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.1 / width, 1 - (tall + 0.1) / height, wide / width, tall / height))
    axes.imshow(image, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=LINES, linewidth=0.8)
    keys = [Patch(facecolor=colours[fold] / 255, edgecolor="0.35", linewidth=0.4) for fold in present]
    told = [f"fold {fold}" + (f": {roles[fold]}" if fold in roles else "") for fold in present]
    place = ((wide + 0.2) / width, 1 - 0.05 / height)
    figure.legend(keys, told, loc="upper left", bbox_to_anchor=place, frameon=False, fontsize=9, borderaxespad=0)
    return _saved(figure)


def thinned(folds: NDArray[Any], most: int = LARGEST_MAP) -> NDArray[np.int64]:
    """Return a map of at most ``most`` pixels a side: the largest number of each square, so that points stay seen."""
    step = max(1, -(-max(folds.shape) // most))
    pads = [(0, -side % step) for side in folds.shape]
    padded = np.pad(np.asarray(folds, np.int64), pads, constant_values=-1)
    rows, cols = (side // step for side in padded.shape)
    return np.asarray(padded.reshape(rows, step, cols, step).max(axis=(1, 3)))


def scatter_figure(measured: Measured, name: str = "") -> bytes:
    """Draw predictions over reference numbers, with the line where both are equal."""
    assert measured.pairs is not None
    reference, predicted = measured.pairs
    figure = _figure(5.4, 5.2)
    axes = figure.add_axes((0.15, 0.12, 0.81, 0.83))
    low, high = float(measured.pairs.min()), float(measured.pairs.max())
    edge = 0.03 * (high - low) or 1.0
    ends = (low - edge, high + edge)
    if len(reference) > CROWDED:
        axes.hexbin(
            reference, predicted, gridsize=55, bins="log", cmap=DENSITY, mincnt=1, extent=(*ends, *ends), linewidths=0
        )
    else:
        axes.plot(reference, predicted, "o", color="#2171b5", alpha=0.45, markersize=4, markeredgewidth=0)
    axes.plot(ends, ends, color="0.35", linewidth=1, linestyle=(0, (5, 3)))
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    unit = f" ({measured.unit})" if measured.unit else ""
    for label, side in ((axes.set_xlabel, "reference"), (axes.set_ylabel, "predicted")):
        label(f"{name} {side}{unit}".strip(), fontsize=9, parse_math=False)
    _plain(axes, "both")
    return _saved(figure)


def short(name: str) -> str:
    """Return a name that fits beside a figure: long ones lose their middle, since many differ at the end."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 11].rstrip()}…{name[-10:].lstrip()}"


def compact(count: float) -> str:
    """Return a count in at most four characters, about: 9999, 12k, 3.4M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            scaled = count / (1e3 if sign == "k" else size)
            return f"{scaled:.1f}{sign}" if scaled < 10 else f"{scaled:.0f}{sign}"
    return f"{count:.0f}" if count >= 10 or float(count).is_integer() else f"{count:.1f}"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Any, grid: str) -> None:
    axes.grid(axis=grid, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK, labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=LINES)


def _saved(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.08)
    return file.getvalue()
