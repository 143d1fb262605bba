"""From paths and options to a scene whose every band has its wavelength, pixel scale and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dofa_cli.errors import BadWavelengths, OptionError
from dofa_cli.pipelines.standardise import Standardiser
from dofa_cli.pipelines.traces import declared_scale, labels, paths_and_tags
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.sample import Sample, sample_scene
from dofa_cli.raster.scene import Pixels, Scene, open_scene, read_headers
from dofa_cli.sensors import registry
from dofa_cli.sensors.match import Choice, Label, choose_bands
from dofa_cli.sensors.normalise import BandNorm, normalisation, uncertain_statistics
from dofa_cli.sensors.products import Evidence, Identified, assume_product, identify_product
from dofa_cli.sensors.schema import Product, Quantity, Sensor

SUSPICIOUS_MEAN = 3.0
"""A standardised band whose mean lies further from 0 than this is probably on another scale than was thought."""
SMALLEST_STD = 1e-6


class Normalize(StrEnum):
    """Whose statistics standardise the pixels."""

    SENSOR = "sensor"
    SCENE = "scene"
    NONE = "none"


@dataclass(frozen=True)
class SceneOptions:
    """How to understand the input; fields are the command line's options of the same names."""

    sensor: str | None = None
    wavelengths: str | None = None
    bands: str | None = None
    product: str | None = None
    scale: float | None = None
    offset: float | None = None
    normalize: Normalize = Normalize.SENSOR
    warp: str | None = None
    resolution: float | None = None


@dataclass(frozen=True)
class BandCheck:
    """One band's rule and what it makes of the scene: mean and std after standardising (NaN without valid pixels)."""

    norm: BandNorm
    mean: float
    std: float


@dataclass(frozen=True)
class Prepared:
    """A scene ready to stream: its sensor, product, band rules, and everything the user should know of them."""

    scene: Scene
    sensor: Sensor
    product: Product
    product_how: str
    checks: tuple[BandCheck, ...]
    valid_share: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def on(self, scene: Scene) -> Prepared:
        """Return the same rules for another cut of the scene."""
        return replace(self, scene=scene)

    @property
    def norms(self) -> tuple[BandNorm, ...]:
        """One rule a band, in the order of the scene's bands."""
        return tuple(check.norm for check in self.checks)

    @property
    def wavelengths_um(self) -> tuple[float, ...]:
        """What the weights are given, in µm."""
        return tuple(norm.wavelength_um for norm in self.norms)


@dataclass(frozen=True)
class Described:
    """Files whose headers are read, and the sensor they are said to come from."""

    headers: tuple[Header, ...]
    sensor: Sensor


def describe(paths: Sequence[str], options: SceneOptions) -> Described:
    """Read the headers of one scene's files and look the sensor up; nothing slow happens here.

    Raises the errors of :mod:`dofa_cli.raster.header` and :mod:`dofa_cli.sensors.registry`.
    """
    headers = tuple(read_headers(paths, options.warp, options.resolution))
    return Described(headers, _sensor(options, headers))


def prepare_scene(described: Described, options: SceneOptions, family: str) -> Prepared:
    """Settle bands, product and statistics of one scene for weights of ``family``.

    Raises the errors of :mod:`dofa_cli.raster.scene`, :mod:`dofa_cli.sensors.match` and
    :mod:`dofa_cli.sensors.products`.
    """
    case = _Case(described, options, family)
    file_bands = [band for header in described.headers for band in header.bands]
    chosen = [file_bands[position] for position in case.choice.positions]
    nodata = described.sensor.usual_nodata(options.product)
    scene, sample = _opened(case, chosen, nodata)
    identified = _identify(case, chosen, sample)
    if None in scene.nodata and identified.product.nodata is not None:
        scene, sample = _opened(case, chosen, identified.product.nodata)
    checks = _rules(case, identified.product, sample)
    return Prepared(
        scene=scene,
        sensor=described.sensor,
        product=identified.product,
        product_how=identified.how,
        checks=checks,
        valid_share=sample.valid_share,
        notes=case.choice.notes,
        warnings=(*identified.warnings, *_warnings(case, scene, checks)),
    )


def standardised_statistics(norms: Sequence[BandNorm], sample: Sample) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and std of each band's sampled values after its rule."""
    x = Standardiser(norms, torch.device("cpu"))(_as_block(sample.values)).double()
    return x.mean(dim=(1, 2)).numpy(), x.std(dim=(1, 2), correction=0).numpy()


def _sensor(options: SceneOptions, headers: Sequence[Header]) -> Sensor:
    if options.wavelengths:
        sensor = registry.from_wavelengths(
            registry.parse_wavelengths(options.wavelengths),
            reflectance=options.scale is not None or options.offset is not None,
        )
        count = sum(len(header.bands) for header in headers)
        if count != len(sensor.bands) and not options.bands:
            raise BadWavelengths(
                f"--wavelengths gives {len(sensor.bands)} values, the scene has {count} bands. Give one value a band, "
                "or choose with --bands b1=NUMBER,b2=NUMBER,…"
            )
        return sensor
    if not options.sensor:
        raise OptionError("Name the instrument with --sensor (for instance --sensor sentinel2), or give --wavelengths.")
    return registry.sensor(options.sensor)


@dataclass(frozen=True)
class _Case:
    """One scene to understand, for weights of one family."""

    described: Described
    options: SceneOptions
    family: str

    @property
    def sensor(self) -> Sensor:
        return self.described.sensor

    @cached_property
    def choice(self) -> Choice:
        found: Sequence[Label] = labels(self.described.headers)
        if self.options.wavelengths:  # given in file order, whatever the file calls its bands
            found = [
                Label("", number, len(found), pixel_size=label.pixel_size) for number, label in enumerate(found, 1)
            ]
        return choose_bands(found, self.sensor, self.options.bands, self.family)

    @property
    def uses_sensor_statistics(self) -> bool:
        return self.options.normalize is Normalize.SENSOR


def _opened(case: _Case, chosen: Sequence[FileBand], nodata: float | None) -> tuple[Scene, Sample]:
    headers, resolution = case.described.headers, case.options.resolution
    scene = open_scene(headers, chosen, resolution=resolution, default_nodata=nodata)
    return scene, sample_scene(scene)


def _identify(case: _Case, chosen: Sequence[FileBand], sample: Sample) -> Identified:
    if sample.is_empty or not case.uses_sensor_statistics:
        return assume_product(case.sensor, case.options.product)
    scale, offset = _scale(case.options, chosen)
    evidence = Evidence(
        names=paths_and_tags(case.described.headers),
        eight_bit=all(band.dtype == np.uint8 for band in chosen),
        low=float(np.median(sample.quantiles(0.01))),
        high=float(np.median(sample.quantiles(0.99))),
        band_lows=tuple(sample.quantiles(0.001)),
        scale=scale,
        offset=offset,
    )
    return identify_product(case.sensor, evidence, case.options.product)


def _scale(options: SceneOptions, chosen: Sequence[FileBand]) -> tuple[float | None, float | None]:
    """Return the scale and offset that the user gives, or that the file's bands agree on."""
    if options.scale is None and options.offset is None:
        return declared_scale(chosen)
    return 1.0 if options.scale is None else options.scale, options.offset or 0.0


def _rules(case: _Case, product: Product, sample: Sample) -> tuple[BandCheck, ...]:
    sensor = case.sensor
    if case.options.normalize is Normalize.SCENE:
        product = Product(id=product.id, quantity=Quantity.DN)
        sensor = sensor.model_copy(update={"statistics": ()})
    norms = normalisation(sensor, case.choice.bands, product, case.family)
    if case.options.normalize is Normalize.NONE:
        norms = tuple(norm.unscaled() for norm in norms)
    norms = _estimated(norms, sample)
    if sample.is_empty:
        return tuple(BandCheck(norm, np.nan, np.nan) for norm in norms)
    means, stds = standardised_statistics(norms, sample)
    return tuple(BandCheck(norm, float(m), float(s)) for norm, m, s in zip(norms, means, stds, strict=True))


def _estimated(norms: Sequence[BandNorm], sample: Sample) -> tuple[BandNorm, ...]:
    """Fill in scene statistics where a rule has none; a constant band keeps std 1."""
    if sample.is_empty:
        return tuple(norm.estimated(0.0, 1.0) if norm.is_estimated else norm for norm in norms)
    values = sample.values.astype(np.float64)
    means, stds = values.mean(axis=1), values.std(axis=1)
    return tuple(
        norm.estimated(float(mean), float(std) if std > SMALLEST_STD else 1.0) if norm.is_estimated else norm
        for norm, mean, std in zip(norms, means, stds, strict=True)
    )


def _warnings(case: _Case, scene: Scene, checks: Sequence[BandCheck]) -> list[str]:
    found = []
    if scene.grid.crs is None:
        found.append("the scene has no coordinate system; the output will have none either.")
    if np.isnan(checks[0].mean):
        found.append("no valid pixel was found in a sample of the scene; cells without valid pixels become nodata.")
    if strange := [band.id for band in case.choice.bands if not band.is_familiar]:
        found.append(f"{', '.join(strange)}: the weights saw radar as C-band VV and VH only.")
    if case.uses_sensor_statistics:
        found += [
            f"{case.sensor.id} statistics are {stats.status.replace('_', ' ')}: {stats.note or stats.source}"
            for stats in uncertain_statistics(case.sensor, case.choice.bands, case.family)
        ]
        far = [f"{check.norm.band} ({check.mean:+.1f})" for check in checks if abs(check.mean) > SUSPICIOUS_MEAN]
        found += [_FAR.format(", ".join(far[:8]))] if far else []
    return found


_FAR = (
    "standardised values lie far from 0 in {}. Is it the right --sensor and --product? --normalize scene uses the "
    "scene's own statistics."
)


def _as_block(values: NDArray[Any]) -> Pixels:
    """Lay sampled values (bands, pixels) out as a block one pixel high."""
    return Pixels(values[:, None, :], np.ones((1, values.shape[1]), bool))
