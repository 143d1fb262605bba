"""``dofa quicklook``: a picture of any raster; embeddings by their first three principal components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import rasterio

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.drawing.paint import PRIMARY, Look, classes, components, gather, grey, in_colour
from dofa_cli.pipelines.drawing.picture import LONGEST, Picture, draw, save_png
from dofa_cli.pipelines.scenes.results import MARK
from dofa_cli.pipelines.scenes.traces import traces
from dofa_cli.raster.ground import PixelSize, ground_pixel
from dofa_cli.raster.header import FileBand, Header, read_header
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.style import read_style
from dofa_cli.raster.thumbnail import thumbnail
from dofa_cli.raster.writer import check_output, working_file
from dofa_cli.sensors.names import wavelength_in
from dofa_cli.sensors.recognise import Candidate, candidates, settled
from dofa_cli.sensors.registry import sensors

MOST_CLASSES = 24
"""A band of whole numbers with more values and without a colour table is a picture, not a class map."""
CELLS_A_CLASS = 8
MANY_BANDS = 5
COLOURS_UM = {"red": 0.665, "green": 0.56, "blue": 0.49}
FARTHEST_UM = 0.04
LONGEST_CODE = 24


def quicklook(file: str | Path, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Draw a raster as PNG and return the picture's path (default: ``<name>_quicklook.png`` in the current folder).

    Raises the errors of :mod:`dofa_cli.raster.header`, :class:`OutputExists` and :class:`OutputUnwritable`.
    """
    path = Path(output) if output else Path(f"{PurePath(file).stem}_quicklook.png")
    if path.suffix.lower() != ".png":
        raise OptionError(f"A quicklook is a .png file, not '{path.name}'.")
    with rasterio.Env(**gdal_options([str(file)])):
        header = read_header(str(file))
        check_output(path, overwrite=overwrite, inputs=[str(file)])
        figure = draw(compose(header))
    with working_file(path) as working:
        save_png(figure, working)
    return path


def compose(header: Header) -> Picture:
    """Choose how a raster is best shown, and paint it."""
    origin = None if MARK in header.tags else settled(candidates(traces([header]), sensors()))
    look = _upright(_look(header, origin), header)
    cells = header.grid.height / look.pixels.shape[0], header.grid.width / look.pixels.shape[1]
    pixel = ground_pixel(header.grid) if header.is_affine else None
    return Picture(
        pixels=look.pixels,
        ground=PixelSize(pixel.height * cells[0], pixel.width * cells[1]) if pixel else None,
        title=header.name,
        subtitle=tuple(_subtitle(header, origin, pixel)),
        heading=look.heading,
        legend=look.legend,
    )


def _look(header: Header, origin: Candidate | None) -> Look:
    bands = header.bands
    if len(bands) == 1:
        return _one_band(header)
    colours = None if header.tags.get("level") == "patch" else _natural_colours(bands, origin)
    if colours:
        return in_colour(header, _with_nodata(colours, origin), "Natural colours")
    if header.tags.get("level") == "patch" or len(bands) >= MANY_BANDS:
        return components(header)
    if len(bands) >= len(PRIMARY):
        return in_colour(header, bands[: len(PRIMARY)], "The first three bands")
    return grey(header, bands[0])


def _one_band(header: Header) -> Look:
    band = header.bands[0]
    if band.dtype.kind not in "iu":
        return grey(header, band)
    style = read_style(header.path)
    values, valid = gather(thumbnail(header, [band], LONGEST))
    present = np.unique(values[0][valid])
    few = len(present) <= min(MOST_CLASSES, max(2, values.size // CELLS_A_CLASS))
    if style.is_empty and (not few or np.any(present < 0)):
        return grey(header, band)
    return classes(values[0], valid, present, style)


def _natural_colours(bands: Sequence[FileBand], origin: Candidate | None) -> tuple[FileBand, ...] | None:
    """Return the red, green and blue band where the file or its sensor tells them."""
    known = origin.sensor.by_id if origin else {}
    by_sensor = {at: known[name].common_name for at, name in origin.bands.items()} if origin else {}
    for names in (
        [band.colour for band in bands],
        [by_sensor.get(at) for at in range(len(bands))],
        [(band.text or "").strip().lower() for band in bands],
    ):
        if set(PRIMARY) <= set(names):
            return tuple(bands[names.index(colour)] for colour in PRIMARY)
    return _by_wavelength(bands)


def _by_wavelength(bands: Sequence[FileBand]) -> tuple[FileBand, ...] | None:
    stated = [(at, band) for band in bands if (at := wavelength_in(band.text or "")) is not None]
    if not stated:
        return None
    nearest = [min(stated, key=lambda pair: abs(pair[0] - wanted)) for wanted in COLOURS_UM.values()]
    near = all(abs(at - wanted) < FARTHEST_UM for (at, _), wanted in zip(nearest, COLOURS_UM.values(), strict=True))
    return tuple(band for _, band in nearest) if near else None


def _with_nodata(bands: Sequence[FileBand], origin: Candidate | None) -> list[FileBand]:
    """Let the sensor's usual nodata stand in where the file declares none."""
    usual = origin.sensor.usual_nodata() if origin else None
    return [replace(band, nodata=usual) if band.nodata is None else band for band in bands]


def _upright(look: Look, header: Header) -> Look:
    """Turn rasters that are stored from south to north, or from east to west."""
    step = header.grid.transform
    if header.grid.crs is None or step.b or step.d or not header.is_affine:
        return look
    return replace(look, pixels=look.pixels[:: -1 if step.e > 0 else 1, :: -1 if step.a < 0 else 1])


def _subtitle(header: Header, origin: Candidate | None, pixel: PixelSize | None) -> Iterator[str]:
    """Say what made the raster, and what its grid is."""
    tags, taken = header.tags, header.taken.date().isoformat() if header.taken else None
    facts = (tags.get("weights"), tags.get("sensor"), tags.get("datetime", "")[:10])
    told = facts if MARK in tags else (origin.sensor.name if origin else None, taken)
    yield " · ".join(fact for fact in told if fact)
    cells = "cells" if tags.get("level") == "patch" else "pixels"
    size = f"{header.grid.height} × {header.grid.width} {cells}"
    ground = f" of {_metres(pixel)} m" if pixel else ""
    code = header.grid.crs.to_string() if header.grid.crs else ""
    yield " · ".join(part for part in (f"{size}{ground}", code if len(code) < LONGEST_CODE else "own CRS") if part)


def _metres(pixel: PixelSize) -> str:
    height, width = f"{pixel.height:.3g}", f"{pixel.width:.3g}"
    return width if height == width else f"{height} × {width}"
