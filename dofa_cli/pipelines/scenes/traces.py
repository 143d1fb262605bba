"""From headers to what tells the instrument; imports no torch, so that inspecting a file stays quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from dofa_cli.errors import BandMismatch
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.sensors.match import Label, choose_bands
from dofa_cli.sensors.products import Evidence
from dofa_cli.sensors.recognise import Traces
from dofa_cli.sensors.schema import Sensor


def traces(headers: Sequence[Header]) -> Traces:
    """Return what the files of one scene say of their sensor."""
    sizes = [size.width for header in headers if header.is_affine and (size := ground_pixel(header.grid))]
    return Traces(labels(headers), names(headers), min(sizes, default=None), folders(headers))


def labels(headers: Sequence[Header]) -> tuple[Label, ...]:
    """Return what the files say about their bands, in file order."""
    return tuple(
        Label(header.name, band.index, band.in_file, band.text, band.colour, header.grid.pixel_size)
        for header in headers
        for band in header.bands
    )


def names(headers: Sequence[Header]) -> str:
    """Return the names of files and products and the tags: where sensors are named, and little else."""
    parts = ((header.name, PurePath(header.given_path).name, *header.tags.values()) for header in headers)
    return " ".join(part for group in parts for part in group)


def folders(headers: Sequence[Header]) -> str:
    """Return the two folders above each file, which may be called after a sensor and hold anything."""
    return " ".join(sorted({"/".join(PurePath(header.path).parts[-3:-1]) for header in headers}))


def paths_and_tags(headers: Sequence[Header]) -> str:
    """Return whole paths and tags: the folder that names a product may lie far above its bands."""
    return " ".join(part for header in headers for part in (header.path, *header.tags.values()))


def declared_scales(
    bands: Sequence[FileBand], scale: float | None = None, offset: float | None = None
) -> tuple[tuple[float, float], ...] | None:
    """Return (scale, offset) of each band: the user's, else the file's; ``None`` where neither says anything."""
    if scale is not None or offset is not None:
        return ((1.0 if scale is None else scale, offset or 0.0),) * len(bands)
    declared = tuple((band.scale, band.offset) for band in bands)
    return None if set(declared) <= {(1.0, 0.0)} else declared


@dataclass(frozen=True)
class Range:
    """Where values of the used bands lie: 1st and 99th percentile (median of the bands), 0.1st percentile of each."""

    low: float
    high: float
    band_lows: tuple[float, ...]


def evidence(
    headers: Sequence[Header],
    used: Sequence[FileBand],
    sensor: Sensor,
    values: Range,
    scale: tuple[float, float] | None,
) -> Evidence:
    """Collect what shows the product of a scene; ``scale`` is the scale and offset that the used bands share."""
    dtypes = {str(band.dtype) for band in used}
    return Evidence(
        names=paths_and_tags(headers),
        eight_bit=dtypes == {"uint8"},
        low=values.low,
        high=values.high,
        band_lows=values.band_lows,
        scale=scale[0] if scale else None,
        offset=scale[1] if scale else None,
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
        bands=_bands_in_file(headers, sensor),
    )


def delivered_sensors(headers: Sequence[Header]) -> set[str]:
    """Return the sensors that the agencies' metadata name."""
    return {header.delivery.sensor for header in headers if header.delivery and header.delivery.sensor}


def delivered_product(headers: Sequence[Header]) -> str | None:
    """Return the product that the agency's metadata name, where all files belong to one."""
    told = {header.delivery.product if header.delivery else None for header in headers}
    return told.pop() if len(told) == 1 else None


def _bands_in_file(headers: Sequence[Header], sensor: Sensor) -> frozenset[str]:
    """Return all bands of the sensor that the files have, whether they are used or not."""
    try:
        return frozenset(band.id for band in choose_bands(labels(headers), sensor, "all", family="").bands)
    except BandMismatch:
        return frozenset()
