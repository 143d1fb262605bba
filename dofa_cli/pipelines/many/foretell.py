"""What a run over many scenes would take: headers are read, the network is timed once, nothing is written."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import rasterio
import xarray as xr

from dofa_cli.errors import AreaError, DofaError, SomeFailed
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.plan import ground_km2
from dofa_cli.pipelines.many.scene_item import SceneItem, is_address
from dofa_cli.pipelines.scenes.prepare import Described, SceneOptions, describe
from dofa_cli.pipelines.scenes.traces import labels
from dofa_cli.raster.area import crop_to_area, snapped_grid
from dofa_cli.raster.grid import CellGrid, plan_tiles
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.header import Header, with_resolution
from dofa_cli.raster.scene import Scene, read_headers
from dofa_cli.raster.source import GDAL_OPTIONS, Grid, gdal_options
from dofa_cli.sensors.match import Label, choose_bands

SHOWN_FAILURES = 20
KINDS = 256
"""Kinds of scenes whose bands are remembered, so that they are matched to sensors once."""
_VARYING = re.compile(r"\d{3,}|(?<![A-Za-z0-9])T\d\d[A-Z]{3}(?![A-Za-z0-9])")
HEADERS_ONLY = GDAL_OPTIONS | {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""GDAL's options: beside each of thousands of files in a folder, all of them would be listed."""
_NO_PIXELS = xr.DataArray(da.zeros((0, 0, 0)), dims=("band", "y", "x"))


@dataclass(frozen=True)
class Pattern:
    """What is the same in all scenes of one number of bands, found by settling one of them.

    ``window``, ``overlap`` and ``per_tile`` are those of :class:`~dofa_cli.raster.grid.TilePlan`, ``inward`` whether
    the last windows are shifted inward. ``seconds`` are the network's for a window, ``cell_bytes`` the output's for a
    cell, and ``memory`` is that of the scene that was settled, in bytes.
    """

    patch: int
    zoom: int
    window: int
    overlap: int
    per_tile: int
    inward: bool
    snap: bool
    seconds: float
    cell_bytes: float
    memory: int


@dataclass(frozen=True)
class Size:
    """What one scene comes to; ``area_km2`` is ``None`` where the ground is unknown."""

    windows: int
    shards: int
    cells: int
    area_km2: float | None


@dataclass
class Outlook:
    """What a run would come to: sums over scenes, bytes of output and of the largest scene, and what would fail.

    ``seconds`` are the network's alone, in one process.
    """

    scenes: int = 0
    outside: int = 0
    failed: int = 0
    windows: int = 0
    shards: int = 0
    seconds: float = 0.0
    output_bytes: float = 0.0
    largest_output_bytes: float = 0.0
    memory_bytes: int = 0
    area_km2: float = 0.0
    unknown_ground: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, size: Size, pattern: Pattern) -> None:
        """Add a scene."""
        self.scenes += 1
        self.windows += size.windows
        self.shards += size.shards
        self.seconds += size.windows * pattern.seconds
        self.output_bytes += size.cells * pattern.cell_bytes
        self.largest_output_bytes = max(self.largest_output_bytes, size.cells * pattern.cell_bytes)
        self.memory_bytes = max(self.memory_bytes, pattern.memory)
        self.area_km2 += size.area_km2 or 0.0
        self.unknown_ground += size.area_km2 is None

    def fail(self, item: SceneItem, error: DofaError) -> None:
        """Note a scene that would fail."""
        self.failed += 1
        if len(self.failures) < SHOWN_FAILURES:
            self.failures.append({"scene": item.shown, "error": str(error)})

    def check(self) -> None:
        """Raise :class:`SomeFailed` where scenes would fail."""
        if self.failed:
            total = self.scenes + self.failed + self.outside
            raise SomeFailed(f"{self.failed} of {total} scenes would fail, {self.failures[0]['scene']} first.")

    def to_json(self) -> str:
        """Return one JSON object."""
        return to_json(asdict(self))


@dataclass(frozen=True)
class Question:
    """How scenes are understood: each one's options, the weights' family, the area of interest.

    ``pattern_of`` settles one scene in full and times the network on it.
    """

    options_of: Callable[[SceneItem], SceneOptions]
    family: str
    aoi: str | Path | None
    pattern_of: Callable[[SceneItem], Pattern]


def foretell(scenes: Iterable[SceneItem], question: Question) -> Outlook:
    """Add up what scenes come to, in constant memory: headers are read, and of each kind of scene one is settled."""
    outlook, bands = Outlook(), BandsInUse(question)
    patterns: dict[int, Pattern] = {}
    with rasterio.Env(**HEADERS_ONLY):
        for item in scenes:
            try:
                grid, count = bands.grid(item)
                if count not in patterns:
                    patterns[count] = question.pattern_of(item)
                outlook.add(size_of(grid, patterns[count], question.aoi), patterns[count])
            except AreaError:
                outlook.outside += 1
            except DofaError as error:
                outlook.fail(item, error)
    return outlook


class BandsInUse:
    """Which bands of scenes are used, found once for scenes whose files are described alike.

    To match bands to sensors takes ten times as long as to read a header.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.known: OrderedDict[Any, tuple[int, ...] | DofaError] = OrderedDict()

    def grid(self, item: SceneItem) -> tuple[Grid, int]:
        """Return the grid that a scene would be read on, and its number of bands in use, from its headers."""
        options = self.question.options_of(item)
        headers = _headers(item, options)
        positions = self._positions(item, headers, options)
        bands = [band for header in headers for band in header.bands]
        used = {bands[at].path for at in positions}
        grids = [header.grid for header in headers if header.path in used]
        finest = min(grids, key=_pixel_width) if len(grids) > 1 else grids[0]
        return (with_resolution(finest, options.resolution) if options.resolution else finest), len(positions)

    def _positions(self, item: SceneItem, headers: Sequence[Header], options: SceneOptions) -> tuple[int, ...]:
        kind = (options.sensor, options.wavelengths, *map(_kind, headers))
        if kind not in self.known:
            if len(self.known) >= KINDS:
                self.known.popitem(last=False)
            try:
                self.known[kind] = _matched(describe(item.paths, options), options, self.question.family)
            except DofaError as error:
                self.known[kind] = error
        found = self.known[kind]
        if isinstance(found, DofaError):
            raise found
        return found


def _headers(item: SceneItem, options: SceneOptions) -> list[Header]:
    if not any(map(is_address, item.paths)):
        return read_headers(item.paths, options.warp, options.resolution)
    with rasterio.Env(**gdal_options(item.paths)):
        return read_headers(item.paths, options.warp, options.resolution)


def _matched(described: Described, options: SceneOptions, family: str) -> tuple[int, ...]:
    """Return the positions of the bands in use among all bands of the files."""
    found: Sequence[Label] = labels(described.headers)
    if described.instrument.by_order:
        found = [Label("", number, len(found), pixel_size=one.pixel_size) for number, one in enumerate(found, 1)]
    return choose_bands(found, described.sensor, options.bands, family).positions


def _kind(header: Header) -> tuple[Any, ...]:
    """Return what tells a file's sensor and bands, but for dates and places in names."""
    shipped = header.delivery.sensor if header.delivery else None
    described = tuple((band.text, band.colour, band.dtype.str, band.wavelength_um) for band in header.bands)
    words = (header.name, Path(header.path).parent.name, *header.tags.values())
    return shipped, described, round(header.grid.pixel_size, 3), *(_VARYING.sub("#", word) for word in words)


def _pixel_width(grid: Grid) -> float:
    pixel = ground_pixel(grid)
    return pixel.width if pixel else grid.pixel_size


def size_of(grid: Grid, pattern: Pattern, aoi: str | Path | None) -> Size:
    """Return what a scene on ``grid`` comes to; :class:`AreaError` where it does not touch the area ``aoi``."""
    scene = Scene((), (), grid, _NO_PIXELS, None, ())
    if aoi is not None:
        scene = crop_to_area(scene, aoi, pattern.patch, pattern.zoom)
    if pattern.snap:
        cells = snapped_grid(scene, pattern.patch, pattern.zoom)
    else:
        cells = CellGrid(scene.height, scene.width, pattern.patch, pattern.zoom)
    plan = plan_tiles(cells, pattern.window, pattern.overlap, inward=pattern.inward, per_tile=pattern.per_tile)
    return Size(plan.window_count, plan.tile_count, cells.rows * cells.cols, ground_km2(scene))
