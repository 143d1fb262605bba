"""Means and standard deviations of a sensor's bands, measured on scenes of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath

import numpy as np
import rasterio

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.scenes.instrument import Instrument
from dofa_cli.pipelines.scenes.prepare import (
    SMALLEST_STD,
    Described,
    Prepared,
    SceneOptions,
    prepare_scene,
    standardised_statistics,
)
from dofa_cli.pipelines.scenes.traces import declared_scales
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.sample import Sample, sample_scene
from dofa_cli.raster.scene import read_headers
from dofa_cli.raster.source import gdal_options, is_valid
from dofa_cli.sensors.files import Content
from dofa_cli.sensors.making.found import clean, listed
from dofa_cli.sensors.normalise import ESTIMATED, BandNorm
from dofa_cli.sensors.scale import own_scale, pixel_scale
from dofa_cli.sensors.schema import Product, Sensor
from dofa_cli.sensors.showing.description import FAMILIES

DIGITS = 8
BLOCK, PER_SIDE = 256, 3
SHOWN_SCENES = 3


@dataclass(frozen=True)
class Moments:
    """Count, mean and variance of one band's sampled pixels."""

    count: int
    mean: float
    variance: float

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both samples together."""
        count = self.count + other.count
        mean = (self.count * self.mean + other.count * other.mean) / count
        spread = sum(one.count * (one.variance + (one.mean - mean) ** 2) for one in (self, other))
        return Moments(count, mean, spread / count)


@dataclass(frozen=True)
class Measured:
    """Tables for ``[[statistics]]`` of a sensor file, the bands that they hold, and notices."""

    tables: tuple[Content, ...]
    bands: tuple[str, ...]
    notices: tuple[str, ...]


def measure(sensor: Sensor, scenes: Sequence[str]) -> Measured:
    """Measure each band over a sample of every scene, after the rule that the network's pixels will go through.

    Reflectance is measured from 0 to 1, values without a known rule as they are stored; every sampled pixel weighs the
    same. Nodata and pixels that are masked are left out.

    Raises :class:`OptionError` for a scene without valid pixels and for scenes of different products, and the errors of
    :func:`~dofa_cli.pipelines.scenes.prepare.prepare_scene`.
    """
    totals: dict[str, Moments] = {}
    held: dict[str, frozenset[str]] = {}
    products: dict[str, str] = {}
    settled: Product | None = None
    with rasterio.Env(**gdal_options(scenes)):
        for path in scenes:
            prepared, sample = _sampled(sensor, path)
            settled = prepared.product
            products.setdefault(settled.id, path)
            moments = dict(_moments(sensor, prepared, sample))
            held[path] = frozenset(moments)
            for name, found in moments.items():
                totals[name] = totals[name] + found if name in totals else found
    if settled is None or len(products) > 1:
        told = ", ".join(f"{clean(path)} is {name}" for name, path in products.items())
        raise OptionError(f"--stats-from needs scenes of one product: {told}.")
    for path, bands in held.items():
        if lacking := [band.id for band in sensor.bands if band.id in totals and band.id not in bands]:
            raise OptionError(
                f"--stats-from needs scenes with the same bands: {clean(path)} has no {listed(lacking)}, or no valid "
                "pixel of them."
            )
    measured = tuple(band.id for band in sensor.bands if band.id in totals)
    return Measured(tuple(_tables(sensor, settled, totals, scenes)), measured, tuple(_notices(sensor, totals)))


def _sampled(sensor: Sensor, path: str) -> tuple[Prepared, Sample]:
    """Open a scene with all bands of the sensor, or without those that have no valid pixel."""
    described = Described(tuple(read_headers([path])), Instrument(sensor, "given"))
    prepared = prepare_scene(described, SceneOptions(bands="all"), FAMILIES[0])
    sample = sample_scene(prepared.scene)
    if sample.is_empty and (alive := _alive(prepared)):
        prepared = prepare_scene(described, SceneOptions(bands=",".join(alive)), FAMILIES[0])
        sample = sample_scene(prepared.scene)
    if sample.is_empty:
        raise OptionError(f"{clean(path)} has no pixel that is valid in all bands, so --stats-from cannot use it.")
    return prepared, sample


def _alive(prepared: Prepared) -> list[str]:
    """Return the bands that have a valid pixel in one of 3 × 3 blocks."""
    scene = prepared.scene
    found = np.zeros(len(scene.bands), bool)
    tops, lefts = (range(0, size, max(BLOCK, size // PER_SIDE)) for size in (scene.height, scene.width))
    whole = Window(0, 0, scene.height, scene.width)
    for top, left in product(tops, lefts):
        values = read_window(scene, Window(top, left, BLOCK, BLOCK).intersect(whole)).values
        found |= [bool(is_valid(band, nodata).any()) for band, nodata in zip(values, scene.nodata, strict=True)]
    return [norm.band for norm, is_alive in zip(prepared.norms, found, strict=True) if is_alive]


def _moments(sensor: Sensor, prepared: Prepared, sample: Sample) -> Iterator[tuple[str, Moments]]:
    """Yield each band's moments on its own scale (:func:`~dofa_cli.sensors.scale.own_scale`)."""
    names = [norm.band for norm in prepared.norms]
    scales = declared_scales(prepared.scene.bands) or [None] * len(names)
    rules = []
    for name, own in zip(names, scales, strict=True):
        band = sensor.by_id[name]
        values = prepared.product if own is None else prepared.product.scaled(*own)
        training = own_scale(band, values)
        rule = pixel_scale(band, values, training) if training else None
        if rule is None:
            raise OptionError(f"No rule is known for {name} of product '{values.id}', so --stats-from cannot be used.")
        rules.append(BandNorm(name, 1.0, rule, 0.0, 1.0, ""))
    means, stds = standardised_statistics(rules, sample)
    for name, mean, std in zip(names, means, stds, strict=True):
        yield name, Moments(sample.values.shape[1], float(mean), float(std) ** 2)


def _tables(
    sensor: Sensor, settled: Product, totals: Mapping[str, Moments], scenes: Sequence[str]
) -> Iterator[Content]:
    """Yield one table a scale, bands in the sensor's order."""
    by_scale: dict[str, list[str]] = {}
    for band in sensor.bands:
        if band.id in totals and (scale := own_scale(band, settled)):
            by_scale.setdefault(scale.value, []).append(band.id)
    for training, names in by_scale.items():
        yield {
            "weights": list(FAMILIES),
            "training_scale": training,
            "bands": names,
            "mean": [_rounded(totals[name].mean) for name in names],
            "std": [_rounded(_std(totals[name])) for name in names],
            "status": ESTIMATED,
            "source": _source(scenes),
            "note": f"at least {min(totals[name].count for name in names)} pixels a band",
        }


def _std(found: Moments) -> float:
    """Return the standard deviation; 1 for a band that is the same everywhere."""
    std = float(found.variance**0.5)
    return std if std > SMALLEST_STD else 1.0


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _source(scenes: Sequence[str]) -> str:
    names = [clean(PurePath(path).name) for path in scenes]
    more = f" and {len(names) - SHOWN_SCENES} more" if len(names) > SHOWN_SCENES else ""
    return f"sample of {', '.join(names[:SHOWN_SCENES])}{more}"


def _notices(sensor: Sensor, totals: Mapping[str, Moments]) -> Iterator[str]:
    if absent := [band.id for band in sensor.bands if band.id not in totals]:
        yield f"no statistics for {listed(absent)}, which the scenes do not have, or without any valid pixel."
    if flat := [name for name, found in totals.items() if found.variance**0.5 <= SMALLEST_STD]:
        yield f"the same value everywhere in the scenes, so 1 stands for the deviation: {listed(flat)}."
