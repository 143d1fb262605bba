"""From paths and options to a scene whose every band has its wavelength, pixel scale and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.scenes.instrument import Instrument, find_instrument
from dofa_cli.pipelines.scenes.screen import MaskOptions, Screened, masked_share, screened
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.pipelines.scenes.traces import Range, declared_scales, delivered_product, evidence, labels
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.sample import Sample, sample_scene
from dofa_cli.raster.scene import Pixels, Scene, open_scene, read_headers
from dofa_cli.sensors.match import Choice, Label, choose_bands
from dofa_cli.sensors.normalise import BandNorm, applied_again, normalisation, uncertain_statistics
from dofa_cli.sensors.products import Identified, assume_product, identify_product
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
    masks: MaskOptions = field(default_factory=MaskOptions)


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
    masked: tuple[str, ...]
    masked_share: float | None
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
    """Files whose headers are read, and the instrument they come from."""

    headers: tuple[Header, ...]
    instrument: Instrument

    @property
    def sensor(self) -> Sensor:
        """The instrument's bands and products."""
        return self.instrument.sensor

    @property
    def product(self) -> str | None:
        """The product that the agency's metadata name."""
        return delivered_product(self.headers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out on the way."""
        shipped = {id(header.delivery): header.delivery for header in self.headers if header.delivery}
        return (*(note for one in shipped.values() for note in one.notes), *self.instrument.notes)


def describe(paths: Sequence[str], options: SceneOptions) -> Described:
    """Read the headers of one scene's files and look the sensor up; nothing slow happens here.

    Raises the errors of :mod:`dofa_cli.raster.header` and :mod:`dofa_cli.sensors.registry`.
    """
    if options.resolution is not None and not 0 < options.resolution < float("inf"):
        raise OptionError(f"--resolution {options.resolution:g} is not a pixel size in units of the CRS.")
    headers = tuple(read_headers(paths, options.warp, options.resolution))
    bands = [band for header in headers for band in header.bands]
    reflectance = declared_scales(bands, options.scale, options.offset) is not None
    given = {"chosen": bool(options.bands), "reflectance": reflectance}
    return Described(headers, find_instrument(headers, options.sensor, options.wavelengths, **given))


@dataclass(frozen=True)
class Learnt:
    """Rules that a head was trained with, for values of ``product`` of its sensor."""

    product: str
    norms: tuple[BandNorm, ...]


def prepare_scene(described: Described, options: SceneOptions, family: str, learnt: Learnt | None = None) -> Prepared:
    """Settle bands, product and statistics of one scene for weights of ``family``.

    Rules ``learnt`` before are used again where bands and product are the same. Raises the errors of
    :mod:`dofa_cli.raster.scene`, :mod:`dofa_cli.sensors.match` and :mod:`dofa_cli.sensors.products`.
    """
    case = _Case(described, options, family, learnt)
    file_bands = [band for header in described.headers for band in header.bands]
    chosen = [file_bands[position] for position in case.choice.positions]
    nodata = described.sensor.usual_nodata(case.wanted_product)
    opened = _opened(case, chosen, nodata)
    masks = screened(described.headers, opened.grid, options.masks)
    scene, sample = _sampled(opened, masks)
    unlike = {product.nodata for product in described.sensor.products if product.nodata is not None}
    identified = _identify(case, chosen, sample.without_fill(unlike if None in scene.nodata else ()))
    if None in scene.nodata and identified.product.nodata is not None:
        scene, sample = _sampled(_opened(case, chosen, identified.product.nodata), masks)
    checks = _rules(case, identified.product, chosen, sample)
    return Prepared(
        scene=scene,
        sensor=described.sensor,
        product=identified.product,
        product_how=identified.how,
        checks=checks,
        valid_share=sample.valid_share,
        notes=(*described.notes, *case.choice.notes, *(mask.note for mask in masks)),
        masked=tuple(mask.what for mask in masks),
        masked_share=masked_share(masks),
        warnings=(*identified.warnings, *_warnings(case, scene, checks)),
    )


def standardised_statistics(norms: Sequence[BandNorm], sample: Sample) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and std of each band's sampled values after its rule."""
    x = Standardiser(norms, torch.device("cpu"))(_as_block(sample.values)).double()
    return x.mean(dim=(1, 2)).numpy(), x.std(dim=(1, 2), correction=0).numpy()


@dataclass(frozen=True)
class _Case:
    """One scene to understand, for weights of one family."""

    described: Described
    options: SceneOptions
    family: str
    learnt: Learnt | None = None

    @property
    def sensor(self) -> Sensor:
        return self.described.sensor

    @cached_property
    def choice(self) -> Choice:
        found: Sequence[Label] = labels(self.described.headers)
        if self.described.instrument.by_order:  # whatever the file calls its bands
            found = [
                Label("", number, len(found), pixel_size=label.pixel_size) for number, label in enumerate(found, 1)
            ]
        return choose_bands(found, self.sensor, self.options.bands, self.family)

    @property
    def wanted_product(self) -> str | None:
        """The product that the user names, else the one that the agency's metadata name."""
        return self.options.product or self.described.product

    @property
    def uses_sensor_statistics(self) -> bool:
        return self.options.normalize is Normalize.SENSOR


def _opened(case: _Case, chosen: Sequence[FileBand], nodata: float | None) -> Scene:
    return open_scene(case.described.headers, chosen, resolution=case.options.resolution, default_nodata=nodata)


def _sampled(scene: Scene, masks: Sequence[Screened]) -> tuple[Scene, Sample]:
    for found in masks:
        scene = scene.without(found.mask)
    return scene, sample_scene(scene)


def _identify(case: _Case, chosen: Sequence[FileBand], sample: Sample) -> Identified:
    if sample.is_empty or not case.uses_sensor_statistics:
        return assume_product(case.sensor, case.wanted_product)
    scales = declared_scales(chosen, case.options.scale, case.options.offset)
    if scales and len(set(scales)) > 1:  # each band on a scale of its own: compared as what they mean
        gain, shift = (np.array(column)[:, None] for column in zip(*scales, strict=True))
        sample, scales = replace(sample, values=sample.values * gain + shift), ((1.0, 0.0),)
    values = Range(
        float(np.median(sample.quantiles(0.01))),
        float(np.median(sample.quantiles(0.99))),
        tuple(sample.quantiles(0.001)),
    )
    shown = evidence(case.described.headers, chosen, case.sensor, values, scales[0] if scales else None)
    return identify_product(case.sensor, shown, case.options.product, case.described.product)


def _rules(case: _Case, product: Product, chosen: Sequence[FileBand], sample: Sample) -> tuple[BandCheck, ...]:
    sensor = case.sensor
    scales = declared_scales(chosen, case.options.scale, case.options.offset)
    if case.options.normalize is Normalize.SCENE:
        product = Product(id=product.id, quantity=Quantity.DN)
        sensor = sensor.model_copy(update={"statistics": ()})
    norms = normalisation(sensor, case.choice.bands, product, case.family, scales)
    if case.options.normalize is Normalize.NONE:
        norms = tuple(norm.unscaled() for norm in norms)
    if case.learnt is not None and case.learnt.product == product.id:
        norms = applied_again(case.learnt.norms, norms, scale_declared=scales is not None)
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
