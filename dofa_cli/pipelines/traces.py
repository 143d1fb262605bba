"""From headers to what tells the instrument; imports no torch, so that inspecting a file stays quick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.sensors.match import Label
from dofa_cli.sensors.recognise import Traces


def traces(headers: Sequence[Header]) -> Traces:
    """Return what the files of one scene say of their sensor."""
    sizes = [size.width for header in headers if header.is_affine and (size := ground_pixel(header.grid))]
    return Traces(labels(headers), names(headers), min(sizes, default=None))


def labels(headers: Sequence[Header]) -> tuple[Label, ...]:
    """Return what the files say about their bands, in file order."""
    return tuple(
        Label(header.name, band.index, band.in_file, band.text, band.colour, header.grid.pixel_size)
        for header in headers
        for band in header.bands
    )


def names(headers: Sequence[Header]) -> str:
    """Return the last three parts of each path and the tags: where sensors are named, and little else."""
    parts = (("/".join(PurePath(header.path).parts[-3:]), *header.tags.values()) for header in headers)
    return " ".join(part for group in parts for part in group)


def paths_and_tags(headers: Sequence[Header]) -> str:
    """Return whole paths and tags: the folder that names a product may lie far above its bands."""
    return " ".join(part for header in headers for part in (header.path, *header.tags.values()))


def declared_scale(bands: Sequence[FileBand]) -> tuple[float | None, float | None]:
    """Return the scale and offset of GDAL's band metadata, where all bands have the same."""
    declared = {(band.scale, band.offset) for band in bands}
    return declared.pop() if len(declared) == 1 and declared != {(1.0, 0.0)} else (None, None)
