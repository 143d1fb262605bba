"""How the values of a file's bands are distributed, from a small sample read in bounded memory."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import DamagedRaster
from dofa_cli.pipelines.scenes.results import MARK
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.sample import BLOCK, BLOCKS_PER_SIDE, sample_scene
from dofa_cli.raster.scene import open_scene

BINS = 24
GROUP_BYTES = 128 * 2**20
"""Sampled values held at once; wide files are sampled a group of bands at a time."""
MOST_BANDS = 512
SAMPLED_DIMENSIONS = 16
"""Bands sampled of an embedding, or of a file with more than :data:`MOST_BANDS`."""
SHARES = (0.001, 0.01, 0.5, 0.99)


@dataclass(frozen=True)
class Distribution:
    """One band's valid sampled values, as in the file.

    ``floor``, ``low``, ``median`` and ``high`` are the 0.1, 1, 50 and 99 % quantiles; ``counts`` are of equal bins from
    ``low`` to ``high`` (at most :data:`BINS`). ``valid_share`` is that of the sampled pixels.
    """

    minimum: float
    floor: float
    low: float
    median: float
    high: float
    maximum: float
    counts: tuple[int, ...]
    valid_share: float


def sample_values(
    headers: Sequence[Header], matched: Container[int], nodata: float | None
) -> tuple[list[Distribution | None], str | None]:
    """Return one distribution a band, in file order, and the message of the first file that cannot be read.

    A band without valid or without sampled pixels has ``None``. Bands at the positions ``matched`` are those of a
    sensor, whose usual ``nodata`` stands in where the file declares none; other bands are sampled apart from them.
    """
    found: list[Distribution | None] = []
    damage = None
    for header in headers:
        own: list[Distribution | None] = [None] * len(header.bands)
        for is_matched, usual in ((True, nodata), (False, None)):
            chosen = [at for at in _chosen(header) if (len(found) + at in matched) is is_matched]
            try:
                for at, one in zip(chosen, _distributions(header, chosen, usual), strict=True):
                    own[at] = one
            except DamagedRaster as error:
                damage = damage or str(error)
        found += own
    return found, damage


def _chosen(header: Header) -> Sequence[int]:
    """Return the positions of bands to sample: all, or evenly spaced ones of an embedding."""
    count = len(header.bands)
    if count <= MOST_BANDS and MARK not in header.tags:
        return range(count)
    return sorted({round(at) for at in np.linspace(0, count - 1, min(count, SAMPLED_DIMENSIONS))})


def _distributions(header: Header, positions: Sequence[int], nodata: float | None) -> Iterator[Distribution | None]:
    """Yield one distribution a band, read in groups of :data:`GROUP_BYTES`."""
    side = BLOCK * BLOCKS_PER_SIDE
    pixels = min(header.grid.height, side) * min(header.grid.width, side)
    itemsize = max(band.dtype.itemsize for band in header.bands)
    size = max(1, GROUP_BYTES // (pixels * itemsize))
    for first in range(0, len(positions), size):
        yield from _of_group(header, [header.bands[at] for at in positions[first : first + size]], nodata)


def _of_group(header: Header, bands: Sequence[FileBand], nodata: float | None) -> list[Distribution | None]:
    """Sample bands together; one by one where they share no valid pixel."""
    sample = sample_scene(open_scene([header], bands, default_nodata=nodata))
    if not sample.is_empty:
        return [_describe(values, sample.valid_share) for values in sample.values]
    if len(bands) > 1:
        return [found for band in bands for found in _of_group(header, [band], nodata)]
    return [None]


def _describe(values: NDArray[Any], valid_share: float) -> Distribution:
    """Describe one band's values (pixels,)."""
    bottom, low, median, high = (float(value) for value in np.quantile(values, SHARES))
    spread = _counts(values, low, high)
    return Distribution(float(values.min()), bottom, low, median, high, float(values.max()), spread, valid_share)


def _counts(values: NDArray[Any], low: float, high: float) -> tuple[int, ...]:
    """Count values from ``low`` to ``high`` in :data:`BINS` bins; whole numbers in at most as many of equal width."""
    if np.issubdtype(values.dtype, np.integer):
        first, steps = floor(low), ceil(high) - floor(low) + 1
        width = ceil(steps / BINS)
        edges = first - 0.5 + width * np.arange(ceil(steps / width) + 1)
    else:
        edges = np.histogram_bin_edges([], BINS, (low, high))
    return tuple(int(count) for count in np.histogram(values, edges)[0])


def summarise(found: Sequence[Distribution]) -> tuple[float, float, tuple[float, ...]]:
    """Return the median over bands of the 1 % and 99 % quantiles, and each band's 0.1 % quantile."""
    low, high = (float(np.median([getattr(one, name) for one in found])) for name in ("low", "high"))
    return low, high, tuple(one.floor for one in found)
