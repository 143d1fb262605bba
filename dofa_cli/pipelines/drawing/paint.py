"""Paint thumbnails: classes, principal components, three bands, or one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.pipelines.drawing.components import Components, fit_components
from dofa_cli.pipelines.drawing.picture import LONGEST, UNPAINTED, Entry
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.style import ClassStyle
from dofa_cli.raster.thumbnail import Thumbnail, thumbnail

Rgb = tuple[float, float, float]
Range = tuple[float, float]
FIT_PIXELS = 100_000
"""Most cells that principal components are fitted to."""
LOW, HIGH = 0.02, 0.98
"""Quantiles that are drawn darkest and brightest."""
_QUANTILES = f"the {LOW:.0%} and {HIGH:.0%} quantiles"
MOST_CLASSES = 24
"""Classes named in a legend."""
NOTHING = 1e-9
"""A component that explains a smaller share of the variance is rounding noise."""
PRIMARY: dict[str, Rgb] = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.65, 0.1), "blue": (0.15, 0.25, 0.95)}
LONGEST_NAME = 32


@dataclass(frozen=True)
class Look:
    """A painted thumbnail: ``pixels`` (height, width, 4) RGBA from 0 to 255, and its legend."""

    pixels: NDArray[np.uint8]
    heading: str
    legend: tuple[Entry, ...]


def classes(values: NDArray[Any], valid: NDArray[np.bool_], present: NDArray[Any], style: ClassStyle) -> Look:
    """Paint classes (height, width) in their own colours, or in distinct ones where the file has none."""
    colours = {int(value): _class_colour(style, int(value), at) for at, value in enumerate(present)}
    pixels = np.zeros((*values.shape, 4), np.uint8)
    counts = {}
    for value, colour in colours.items():
        where = valid & (values == value)
        pixels[where] = [*(round(level * 255) for level in colour), 255]
        counts[value] = int(where.sum())
    total = max(1, sum(counts.values()))
    shown = sorted(sorted(counts, key=lambda value: -counts[value])[:MOST_CLASSES])
    legend = [
        Entry(colours[v], f"{_short(style.names.get(v, f'class {v}'))} {_share(counts[v] / total)}") for v in shown
    ]
    hidden = f", {len(shown)} of {len(counts)} shown" if len(shown) < len(counts) else ""
    return Look(pixels, f"Classes and their share of the area{hidden}", _with_gaps(legend, valid))


def components(header: Header) -> Look:
    """Paint the first three principal components red, green and blue."""
    shown = thumbnail(header, header.bands, LONGEST)
    fitted = fit_components(_sampled(shown), len(PRIMARY))
    scores = np.zeros((len(PRIMARY), shown.height, shown.width), np.float32)
    valid = np.zeros((shown.height, shown.width), bool)
    for piece in shown.pieces():
        rows, cols = piece.window.slices
        valid[rows, cols] = piece.valid
        if fitted:
            scores[:, rows, cols] = fitted.project(_decoded(piece.values, shown.bands))
    legend = [
        Entry(c, f"PC{n} {_share(share)}") for (n, share), c in zip(_shares(fitted), PRIMARY.values(), strict=True)
    ]
    constant = [share < NOTHING for _, share in _shares(fitted)]
    scores[constant] = 0
    heading = "Principal components of the bands, and the share of the variance that each explains"
    return Look(_painted(scores, valid), heading, _with_gaps(legend, valid))


def _shares(fitted: Components | None) -> list[tuple[int, float]]:
    explained = [*(fitted.explained if fitted else ()), 0.0, 0.0, 0.0]
    return list(enumerate(explained[: len(PRIMARY)], 1))


def _sampled(shown: Thumbnail) -> Iterator[NDArray[Any]]:
    """Yield evenly spread valid cells (bands, cells), :data:`FIT_PIXELS` at most."""
    every = -(-shown.height * shown.width // FIT_PIXELS)
    for piece in shown.pieces():
        rows, cols = np.nonzero(piece.valid)
        place = (rows + piece.window.row) * shown.width + cols + piece.window.col
        kept = place % every == 0
        yield _decoded(piece.values[:, rows[kept], cols[kept]], shown.bands)


def in_colour(header: Header, bands: Sequence[FileBand], what: str) -> Look:
    """Paint three bands red, green and blue; ``what`` they are begins the legend."""
    values, valid = gather(thumbnail(header, bands, LONGEST))
    decoded = _decoded(values, bands)
    ranges = _ranges(decoded, valid)
    if all(band.dtype == np.uint8 for band in bands):  # made for the screen: one range for all keeps the hues
        ranges = [(min(low for low, _ in ranges), max(high for _, high in ranges))] * len(ranges)
    named = zip(bands, ranges, PRIMARY.values(), strict=True)
    legend = [Entry(colour, f"{_band_name(band)}: {_range(limits)}") for band, limits, colour in named]
    heading = f"{what}, stretched between {_QUANTILES}"
    return Look(_painted(decoded, valid, ranges), heading, _with_gaps(legend, valid))


def grey(header: Header, band: FileBand) -> Look:
    """Paint one band from black to white."""
    values, valid = gather(thumbnail(header, [band], LONGEST))
    decoded = _decoded(values, [band])
    ranges = _ranges(decoded, valid)
    (low, high), black, white = ranges[0], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    legend = [Entry(black, _number(low)), Entry(white, _number(high))]
    heading = f"{_band_name(band)}, stretched between {_QUANTILES}"
    return Look(_painted(decoded.repeat(3, axis=0), valid, ranges * 3), heading, _with_gaps(legend, valid))


def gather(shown: Thumbnail) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a thumbnail of few bands whole: values (bands, height, width) as in the file, valid (height, width)."""
    values = np.zeros((len(shown.bands), shown.height, shown.width), np.result_type(*(b.dtype for b in shown.bands)))
    valid = np.zeros((shown.height, shown.width), bool)
    for piece in shown.pieces():
        rows, cols = piece.window.slices
        values[:, rows, cols], valid[rows, cols] = piece.values, piece.valid
    return values, valid


def _decoded(values: NDArray[Any], bands: Sequence[FileBand]) -> NDArray[np.float32]:
    """Apply GDAL's scale and offset to values (bands, …)."""
    stored = values.astype(np.float32)
    if all((band.scale, band.offset) == (1, 0) for band in bands):
        return stored
    shape = (-1, *[1] * (values.ndim - 1))
    scale, offset = (np.array([getattr(b, n) for b in bands], np.float32).reshape(shape) for n in ("scale", "offset"))
    return np.asarray(stored * scale + offset)


def _ranges(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> list[Range]:
    """Return the :data:`LOW` and :data:`HIGH` quantile of each band's valid values (bands, height, width)."""
    if not valid.any():
        return [(np.nan, np.nan)] * len(values)
    found = np.quantile(values[:, valid], (LOW, HIGH), axis=1)
    return [(float(low), float(high)) for low, high in found.T]


def _painted(
    values: NDArray[np.float32], valid: NDArray[np.bool_], ranges: Sequence[Range] | None = None
) -> NDArray[np.uint8]:
    """Stretch three bands (3, height, width) to RGBA (height, width, 4); invalid pixels stay transparent."""
    pixels = np.zeros((*valid.shape, 4), np.uint8)
    for channel, (band, (low, high)) in enumerate(zip(values, ranges or _ranges(values, valid), strict=True)):
        level = (band[valid] - low) / (high - low) if high > low else np.full(np.count_nonzero(valid), 0.5)
        pixels[valid, channel] = np.rint(level.clip(0, 1) * 255)
    pixels[valid, 3] = 255
    return pixels


def _with_gaps(legend: Sequence[Entry], valid: NDArray[np.bool_]) -> tuple[Entry, ...]:
    """Add a line for cells without data, if there are any; leave nothing else if there is no other."""
    level = int(UNPAINTED[1:3], 16) / 255
    gaps = () if valid.all() else (Entry((level, level, level), f"no data {_share(1 - float(valid.mean()))}"),)
    return (*(legend if valid.any() else ()), *gaps)


def _class_colour(style: ClassStyle, value: int, at: int) -> Rgb:
    if value not in style.colours:
        return _distinct(at)
    red, green, blue = style.colours[value]
    return red / 255, green / 255, blue / 255


def _distinct(at: int) -> Rgb:
    """Return the colour of the class at a place in the list: matplotlib's twenty, then hues a golden angle apart."""
    from matplotlib import colormaps
    from matplotlib.colors import hsv_to_rgb

    twenty = colormaps["tab20"].colors  # type: ignore[attr-defined]
    red, green, blue = twenty[at] if at < len(twenty) else hsv_to_rgb((at * 0.618034 % 1, 0.6, 0.85))
    return float(red), float(green), float(blue)


def _band_name(band: FileBand) -> str:
    return f"band {band.index}" + (f" ({_short(band.text)})" if band.text else "")


def _range(limits: Range) -> str:
    return f"{_number(limits[0])} to {_number(limits[1])}"


def _number(value: float) -> str:
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _share(share: float) -> str:
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
