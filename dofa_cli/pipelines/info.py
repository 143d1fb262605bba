"""``dofa info``: what files are, which sensor they look like, and whether their values fit its product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.scenes.histogram import Distribution, sample_values
from dofa_cli.pipelines.scenes.plausible import Verdict, judge
from dofa_cli.pipelines.scenes.results import MARK, TableFacts, is_table, made_by, read_table
from dofa_cli.pipelines.scenes.traces import delivered_sensors, traces
from dofa_cli.pipelines.suggest import Suggestion, suggestion
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.ground import PixelSize, ground_pixel
from dofa_cli.raster.header import Header
from dofa_cli.raster.source import Grid, gdal_options
from dofa_cli.raster.zarr_raster import open_raster
from dofa_cli.sensors import registry
from dofa_cli.sensors.names import wavelength_in
from dofa_cli.sensors.recognise import Candidate, candidates, settled, weigh
from dofa_cli.sensors.schema import Band, Product, Sensor


@dataclass(frozen=True)
class FileFacts:
    """One file's header. Sizes in pixels, ``pixel`` and ``extent`` (left, bottom, right, top) in CRS units."""

    path: str
    driver: str
    compression: str | None
    interleaving: str | None
    height: int
    width: int
    bands: int
    dtypes: tuple[str, ...]
    crs: str | None
    affine: bool
    pixel: tuple[float, float]
    ground_m: PixelSize | None
    extent: tuple[float, float, float, float]
    nodata: tuple[float | None, ...]
    mask: bool
    block: tuple[int, int]
    overviews: tuple[int, ...]
    datetime: str | None
    made_by: dict[str, Any] | None


@dataclass(frozen=True)
class BandFacts:
    """One band: what the file says of it, the sensor's band, and its values (``None`` if none is valid or sampled).

    ``physical`` are the 1, 50 and 99 % quantiles as reflectance.
    """

    file: str
    index: int
    description: str | None
    colour: str | None
    wavelength_um: float | None
    scale: float
    offset: float
    sensor_band: str | None
    values: Distribution | None
    physical: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class ProductFacts:
    """The product the values fit, if one does; ``fits`` is ``None`` where there is nothing to compare."""

    id: str | None
    quantity: str | None
    fits: bool | None
    message: str


@dataclass(frozen=True)
class SceneFacts:
    """Files that belong together. ``sensor`` is set when it was given or is beyond doubt."""

    files: tuple[FileFacts, ...]
    bands: tuple[BandFacts, ...]
    guesses: tuple[Suggestion, ...]
    sensor: str | None
    product: ProductFacts | None
    assumed_nodata: float | None
    damage: str | None


@dataclass(frozen=True)
class Report:
    """All that was found out."""

    scenes: tuple[SceneFacts, ...]
    tables: tuple[TableFacts, ...]

    @property
    def damage(self) -> str | None:
        """What could not be read, or ``None``."""
        return next((scene.damage for scene in self.scenes if scene.damage), None)

    def to_json(self) -> str:
        """Return one JSON object; NaN becomes null."""
        return to_json(asdict(self))


def info(files: Sequence[str | Path] | str | Path, *, sensor: str | None = None) -> Report:
    """Describe rasters and GeoParquet results; single-band rasters are taken as the bands of one scene.

    ``sensor`` (id, alias or ``.toml`` file) is compared with, instead of the one that the scene looks like. Raises the
    errors of :mod:`dofa_cli.raster.header` and :mod:`dofa_cli.sensors.registry`.
    """
    given = registry.sensor(sensor) if sensor else None
    paths = [str(path) for path in ([files] if isinstance(files, str | Path) else files)]
    with rasterio.Env(**gdal_options(paths)):
        tables = tuple(read_table(path) for path in paths if is_table(path))
        found = [headers_at(path) for path in paths if not is_table(path)]
        scenes = tuple(_scene(group, given) for group in _grouped(found))
    return Report(scenes, tables)


def _grouped(found: Sequence[list[Header]]) -> Iterator[list[Header]]:
    """Split files into scenes: single bands that the program did not write are one, every other path is its own."""
    yield from (group for group in found if group[0].delivery)
    headers = [header for group in found for header in group if not header.delivery]
    alone = [len(header.bands) > 1 or MARK in header.tags for header in headers]
    if together := [header for header, single in zip(headers, alone, strict=True) if not single]:
        yield together
    yield from ([header] for header, single in zip(headers, alone, strict=True) if single)


def _scene(headers: Sequence[Header], given: Sensor | None) -> SceneFacts:
    named = given or _delivered(headers)
    likely = (weigh(traces(headers), named),) if named else _likely(headers)
    chosen = likely[0] if named else settled(likely)
    nodata = chosen.sensor.usual_nodata() if chosen else None
    values, damage = sample_values(headers, chosen.bands if chosen else (), nodata)
    verdict = judge(headers, chosen.sensor, values) if chosen else None
    return SceneFacts(
        files=tuple(_file(header) for header in headers),
        bands=tuple(_bands(headers, values, chosen, verdict.product if verdict else None)),
        guesses=tuple(suggestion(one) for one in likely),
        sensor=chosen.sensor.id if chosen else None,
        product=_product(verdict) if verdict else None,
        assumed_nodata=nodata if any(b.nodata is None for h in headers for b in h.bands if not h.has_mask) else None,
        damage=damage,
    )


def _delivered(headers: Sequence[Header]) -> Sensor | None:
    told = delivered_sensors(headers)
    return registry.sensor(told.pop()) if len(told) == 1 else None


def _likely(headers: Sequence[Header]) -> tuple[Candidate, ...]:
    return () if made_by(headers[0].tags) else candidates(traces(headers), registry.sensors())


def _bands(
    headers: Sequence[Header],
    values: Sequence[Distribution | None],
    chosen: Candidate | None,
    product: Product | None,
) -> Iterator[BandFacts]:
    every = [(header.name, band) for header in headers for band in header.bands]
    for at, ((file, band), found) in enumerate(zip(every, values, strict=True)):
        known = chosen.sensor.by_id[chosen.bands[at]] if chosen and at in chosen.bands else None
        yield BandFacts(
            file=file,
            index=band.index,
            description=band.text,
            colour=band.colour,
            wavelength_um=band.wavelength_um or wavelength_in(band.text or ""),
            scale=band.scale,
            offset=band.offset,
            sensor_band=known.id if known else None,
            values=found,
            physical=_physical(found, known, product),
        )


def _physical(
    found: Distribution | None, band: Band | None, product: Product | None
) -> tuple[float, float, float] | None:
    """Return the 1, 50 and 99 % quantiles as reflectance, where the product's values are to be scaled to it."""
    if not found or not band or not product or band.is_thermal or not product.quantity.is_reflectance:
        return None
    low, median, high = (value * product.scale + product.offset for value in (found.low, found.median, found.high))
    return low, median, high


def _product(verdict: Verdict) -> ProductFacts:
    known = verdict.product
    return ProductFacts(
        known.id if known else None, known.quantity.value if known else None, verdict.fits, verdict.message
    )


def _file(header: Header) -> FileFacts:
    grid = header.grid
    with open_raster(header.path) as file:
        driver, profile, overviews = file.driver, file.profile, tuple(file.overviews(1))
    origin = made_by(header.tags)
    return FileFacts(
        path=header.path if header.delivery is None else f"{header.delivery.path} ({header.name})",
        driver=driver,
        compression=profile.get("compress"),
        interleaving=profile.get("interleave"),
        height=grid.height,
        width=grid.width,
        bands=len(header.bands),
        dtypes=tuple(name for name, _ in groupby(str(band.dtype) for band in header.bands)),
        crs=_crs_name(grid),
        affine=header.is_affine,
        pixel=(float(np.hypot(grid.transform.b, grid.transform.e)), grid.pixel_size),
        ground_m=ground_pixel(grid) if header.is_affine else None,
        extent=grid.bounds,
        nodata=tuple(value for value, _ in groupby(band.nodata for band in header.bands)),
        mask=header.has_mask,
        block=header.block,
        overviews=overviews,
        datetime=header.taken.isoformat(timespec="seconds") if header.taken else (origin or {}).get("datetime"),
        made_by=origin,
    )


def _crs_name(grid: Grid) -> str | None:
    if grid.crs is None:
        return None
    from pyproj import CRS

    code, name = grid.crs.to_epsg(), CRS.from_user_input(grid.crs.to_wkt()).name
    return f"EPSG:{code} ({name})" if code else str(name)
