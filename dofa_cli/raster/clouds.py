"""Clouds, their shadows and other pixels that a quality layer says not to use."""

from __future__ import annotations

from dataclasses import dataclass, field

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import GridError
from dofa_cli.raster.deliveries.delivery import QualityLayer, Screen
from dofa_cli.raster.header import Header, read_header
from dofa_cli.raster.scene import lazy_source, overlap
from dofa_cli.raster.source import Grid, Source

SCL_UNWANTED = {0: "no data", 1: "saturated", 3: "cloud shadow", 8: "cloud, medium", 9: "cloud, high"}
"""Classes of Sentinel-2's scene classification (Sen2Cor) that are left out."""
SCL_CIRRUS, SCL_SNOW = 10, 11
LANDSAT_UNWANTED = {0: "fill", 1: "dilated cloud", 3: "cloud", 4: "cloud shadow"}
"""Bits of Landsat Collection 2 QA_PIXEL."""
LANDSAT_CIRRUS, LANDSAT_SNOW = 2, 5
FMASK_UNWANTED = {1: "cloud", 2: "beside cloud or shadow", 3: "cloud shadow"}
"""Bits of HLS Fmask; bit 0 is cirrus in version 2.0 files that carry it."""
FMASK_CIRRUS, FMASK_SNOW = 0, 4
FMASK_FILL = 255


@dataclass(frozen=True)
class CloudOptions:
    """What to leave out besides clouds and their shadows, and by how many scene pixels to widen it."""

    cirrus: bool = True
    snow: bool = False
    dilate: int = 0
    values: tuple[int, ...] = field(default=())


def unwanted(values: NDArray[np.integer], screen: Screen, options: CloudOptions) -> NDArray[np.bool_]:
    """Tell the pixels of a quality layer (height, width) that are not to be used."""
    if screen is not Screen.NONZERO and not np.issubdtype(values.dtype, np.integer):
        values = np.nan_to_num(values).astype(np.int64)
    match screen:
        case Screen.SENTINEL2_SCL:
            classes = [*SCL_UNWANTED, *_switched(SCL_CIRRUS, SCL_SNOW, options)]
            return np.asarray(np.isin(values, classes))
        case Screen.LANDSAT_QA_PIXEL:
            return _any_bit(values, [*LANDSAT_UNWANTED, *_switched(LANDSAT_CIRRUS, LANDSAT_SNOW, options)])
        case Screen.HLS_FMASK:
            bits = [*FMASK_UNWANTED, *_switched(FMASK_CIRRUS, FMASK_SNOW, options)]
            return np.asarray(_any_bit(values, bits) | (values == FMASK_FILL))
        case Screen.NONZERO:
            return np.isin(values, options.values) if options.values else np.asarray(values != 0)


def describe_screen(screen: Screen, options: CloudOptions) -> str:
    """Name what is left out."""
    tables = {
        Screen.SENTINEL2_SCL: (SCL_UNWANTED, SCL_CIRRUS, SCL_SNOW, "SCL classes"),
        Screen.LANDSAT_QA_PIXEL: (LANDSAT_UNWANTED, LANDSAT_CIRRUS, LANDSAT_SNOW, "QA_PIXEL bits"),
        Screen.HLS_FMASK: (FMASK_UNWANTED, FMASK_CIRRUS, FMASK_SNOW, "Fmask bits"),
    }
    if screen is Screen.NONZERO:
        return f"values {', '.join(map(str, options.values))}" if options.values else "values other than 0"
    table, cirrus, snow, kind = tables[screen]
    named = table | ({cirrus: "cirrus"} if options.cirrus else {}) | ({snow: "snow"} if options.snow else {})
    return f"{kind} " + ", ".join(f"{number} ({named[number]})" for number in sorted(named))


def cloud_mask(layer: QualityLayer, grid: Grid, options: CloudOptions) -> da.Array:
    """Return the pixels of ``grid`` (height, width) to leave out, lazily; the layer is resampled to the nearest pixel.

    Raises the errors of :func:`read_header`, and :class:`GridError` where the layer cannot be laid on the grid.
    """
    header = read_header(layer.path)
    _check(header, grid)
    same = header.grid.is_same(grid)
    band = header.bands[layer.index - 1]
    shape = (1, grid.height, grid.width)
    source = Source(layer.path, (layer.index,), band.dtype, shape, None if same else grid, nearest=True)
    values = lazy_source(source, header)[0]
    told = values.map_blocks(unwanted, layer.screen, options, dtype=bool)
    if not same:
        beyond = lazy_source(source.of_validity(), header)[0] == 0
        told = told & ~beyond if layer.screen is Screen.NONZERO else told | beyond
    return widened(told, options.dilate)


def widened(mask: da.Array, pixels: int) -> da.Array:
    """Widen ``True`` areas of a lazy mask (height, width) by a square of ``pixels`` on every side."""
    if pixels <= 0:
        return mask
    if pixels >= min(mask.shape):
        return mask.rechunk(mask.shape).map_blocks(_widen, dtype=bool, reach=pixels)
    return da.map_overlap(_widen, mask, depth=pixels, boundary=False, dtype=bool, reach=pixels)


def share_of(mask: da.Array) -> float:
    """Return the share of ``True`` pixels of a lazy mask, read block by block."""
    return float(mask.mean().compute(scheduler="threads")) if mask.size else 0.0


def _check(header: Header, grid: Grid) -> None:
    if (header.grid.crs is None or grid.crs is None) and not header.grid.is_same(grid):
        raise GridError(f"{header.path} has no coordinates and another size than the scene, so it cannot mask it.")
    if grid.crs is not None and not overlap(header.grid, grid):
        raise GridError(f"{header.path} does not touch the scene, so it cannot mask it.")


def _switched(cirrus: int, snow: int, options: CloudOptions) -> list[int]:
    return [number for number, chosen in ((cirrus, options.cirrus), (snow, options.snow)) if chosen]


def _any_bit(values: NDArray[np.integer], bits: list[int]) -> NDArray[np.bool_]:
    return np.asarray(values & values.dtype.type(sum(1 << bit for bit in bits)), bool)


def _widen(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    for axis in (0, 1):
        count = np.cumsum(mask, axis=axis, dtype=np.int32)
        size = mask.shape[axis]
        last = np.take(count, np.minimum(np.arange(size) + reach, size - 1), axis=axis)
        before = np.take(count, np.maximum(np.arange(size) - reach - 1, 0), axis=axis)
        inside = np.arange(size) - reach - 1 >= 0
        mask = last - before * (inside[:, None] if axis == 0 else inside[None, :]) > 0
    return mask
