"""Scenes made for measuring: values like a satellite's, stored as delivered scenes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from dofa_cli.errors import OptionError
from dofa_cli.model.config import DofaConfig
from dofa_cli.raster.source import GDAL_OPTIONS
from dofa_cli.sensors.custom import from_wavelengths, parse_wavelengths
from dofa_cli.sensors.registry import sensor as find_sensor

BLOCK = 512
"""Side of the file's blocks, and of the square of random ground in each of them: they are packed one by one."""
LOWEST, HIGHEST_UM = 0.443, 2.2
"""Wavelengths of bands of which only the number is given, in µm."""
TRANSFORM = Affine(10, 0, 300000, 0, -10, 5800020)
CRS = "EPSG:32633"
USUAL_SENSOR = "sentinel2"
MOST_BANDS = 500


class Codec(StrEnum):
    """How pixels are stored."""

    NONE = "none"
    DEFLATE = "deflate"
    ZSTD = "zstd"

    @property
    def options(self) -> dict[str, Any]:
        """GDAL's creation options."""
        if self is Codec.NONE:
            return {}
        return {"compress": self.value, "predictor": 2, "NUM_THREADS": "ALL_CPUS"}


@dataclass(frozen=True)
class Made:
    """A scene to make: names of its bands, rows and columns of pixels."""

    bands: tuple[str, ...]
    height: int
    width: int


def write_scene(path: Path, made: Made, codec: Codec) -> Path:
    """Write a tiled GeoTIFF of 16-bit values, band by band, in memory of a few blocks' rows."""
    pieces = ground(len(made.bands))
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": made.height,
        "width": made.width,
        "count": len(made.bands),
        "dtype": "uint16",
        "crs": CRS,
        "transform": TRANSFORM,
        "interleave": "band",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        **codec.options,
    }
    with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, "w", **profile) as file:
        file.descriptions = made.bands
        for index, piece in enumerate(pieces, 1):
            strip = np.tile(piece, (1, -(-made.width // BLOCK)))[:, : made.width]
            for row in range(0, made.height, BLOCK):
                rows = min(BLOCK, made.height - row)
                file.write(strip[:rows], index, window=Window(0, row, made.width, rows))
    return path


def ground(bands: int, seed: int = 0) -> list[NDArray[np.uint16]]:
    """Return a square of smooth random ground with noise for each band: digital numbers above 0."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 60, (BLOCK, BLOCK))
    turns = np.arange(BLOCK) * (2 * np.pi / BLOCK)
    found = []
    for _ in range(bands):
        rows, cols = rng.integers(2, 12, 2)
        wave = np.sin(rows * turns + rng.uniform(0, 6))[:, None] * np.sin(cols * turns + rng.uniform(0, 6))
        values = 1300 + 500 * wave + np.roll(noise, tuple(rng.integers(0, BLOCK, 2)), (0, 1))
        found.append(values.clip(1).astype(np.uint16))
    return found


@dataclass(frozen=True)
class Wish:
    """A scene to make: ``windows`` of a network's size, with bands by ``sensor`` or by ``wavelengths`` in µm."""

    sensor: str | None
    wavelengths: str | None
    windows: int
    codec: Codec

    def names(self, family: str) -> tuple[str, ...]:
        """Return the bands' names for weights of ``family``: a sensor's default ones, or numbers."""
        if self.sensor is not None:
            return find_sensor(self.sensor).default_bands(family)
        return tuple(f"b{number}" for number, _ in enumerate((self.wavelengths or "").split(","), 1))


def wished(sensor: str | None, wavelengths: str | None, bands: str | None, windows: int, codec: Codec) -> Wish:
    """Settle what scene to make from at most one option of its bands; without any they are :data:`USUAL_SENSOR`'s.

    Raises :class:`OptionError` for several options and for numbers that no scene can have, and what look-ups raise.
    """
    if windows < 1:
        raise OptionError(f"--windows {windows} makes no scene. Give a number above 0.")
    if sum(option is not None for option in (sensor, wavelengths, bands)) > 1:
        raise OptionError("Without a scene give one of --sensor, --wavelengths and --bands N.")
    if bands is not None:
        if not bands.isdigit() or not 0 < int(bands) <= MOST_BANDS:
            raise OptionError(f"--bands '{bands}': without a scene it is a number of bands, 1 to {MOST_BANDS}.")
        return Wish(None, ",".join(f"{value:g}" for value in spread_wavelengths(int(bands))), windows, codec)
    if wavelengths is not None:
        given = parse_wavelengths(wavelengths)
        from_wavelengths(given)
        return Wish(None, ",".join(f"{value:g}" for value in given), windows, codec)
    named = sensor or USUAL_SENSOR
    find_sensor(named)
    return Wish(named, None, windows, codec)


def made_scene(path: Path, wish: Wish, config: DofaConfig) -> Path:
    """Write a square scene of at least so many windows of a network's native size, a quarter of them overlapping."""
    cells = config.native_cells
    side = ((ceil(wish.windows**0.5) - 1) * (cells - cells // 4) + cells) * config.patch_size
    return write_scene(path, Made(wish.names(config.family), side, side), wish.codec)


def spread_wavelengths(count: int) -> Sequence[float]:
    """Return ``count`` wavelengths in µm, evenly spread."""
    return [float(value) for value in np.linspace(LOWEST, HIGHEST_UM, count).round(4)]
