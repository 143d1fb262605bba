"""Which rule, mean and standard deviation stand for each band: published where there are any, derived where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dofa_cli.errors import BadWavelengths
from dofa_cli.sensors.registry import built_in
from dofa_cli.sensors.scale import AS_IS, PixelScale, pixel_scale, reflectance_of, sentinel2_rule
from dofa_cli.sensors.schema import Band, Product, Sensor, Statistics

REFERENCE = "sentinel2"
"""The sensor whose training scale and statistics stand in for optical bands that the weights never saw."""
ESTIMATED = "estimated"
"""Status of statistics that a user measured on scenes of their own."""


@dataclass(frozen=True)
class BandNorm:
    """Everything between a band's value in the file and the network's input.

    ``wavelength_um`` is what the weights are given. ``mean`` and ``std`` are on the scale that ``scale`` maps to, or
    ``None`` where they must be estimated from the scene; ``origin`` says where they come from.
    """

    band: str
    wavelength_um: float
    scale: PixelScale
    mean: float | None
    std: float | None
    origin: str

    @property
    def is_estimated(self) -> bool:
        """Whether mean and standard deviation are still to be estimated from the scene."""
        return self.mean is None

    def estimated(self, mean: float, std: float) -> BandNorm:
        """Return this rule with statistics of the scene itself."""
        return replace(self, mean=mean, std=std, origin="estimated from the scene")

    def unscaled(self) -> BandNorm:
        """Return the rule that passes values on as they are (``--normalize none``)."""
        return replace(self, scale=AS_IS, mean=0.0, std=1.0, origin="none: values pass as they are")

    def to_plain(self) -> dict[str, Any]:
        """Return text, numbers and ``None``, without loss, as head files hold them."""
        return {
            "band": self.band,
            "wavelength_um": self.wavelength_um,
            "scale": self.scale.to_plain(),
            "mean": self.mean,
            "std": self.std,
            "origin": self.origin,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BandNorm:
        """Read what :meth:`to_plain` returned."""
        return cls(**(dict(plain) | {"scale": PixelScale.from_plain(plain["scale"])}))


def normalisation(
    sensor: Sensor,
    bands: Sequence[Band],
    product: Product,
    family: str,
    scales: Sequence[tuple[float, float]] | None = None,
) -> tuple[BandNorm, ...]:
    """Return the rule of each band for values of ``product`` and weights of ``family``.

    ``scales`` are the scale and offset of each band where its file or the user gives them. Raises
    :class:`BadWavelengths` when a band has no wavelength that the weights could be given.
    """
    if scales is None:
        return tuple(_band_norm(sensor, band, product, family) for band in bands)
    own = [product.scaled(*pair) for pair in scales]
    return tuple(_band_norm(sensor, band, one, family) for band, one in zip(bands, own, strict=True))


def applied_again(learnt: Sequence[BandNorm], own: Sequence[BandNorm], *, scale_declared: bool) -> tuple[BandNorm, ...]:
    """Return the rules ``learnt`` on other scenes where they are of the same bands, else the scene's ``own``.

    Where the scene's files or the user declare a scale, and both rules lead to the same scale of training, values go
    there by the scene's own; mean and standard deviation are those learnt.
    """
    if [(norm.band, norm.wavelength_um) for norm in learnt] != [(norm.band, norm.wavelength_um) for norm in own]:
        return tuple(own)
    return tuple(
        replace(old, scale=new.scale) if scale_declared and new.origin == old.origin else old
        for old, new in zip(learnt, own, strict=True)
    )


def uncertain_statistics(sensor: Sensor, bands: Sequence[Band], family: str) -> tuple[Statistics, ...]:
    """Return the published statistics in use whose status is not ``verified``."""
    names = {band.id for band in bands}
    used = [stats for stats in sensor.statistics if family in stats.weights and names & set(stats.bands)]
    return tuple(stats for stats in used if stats.status not in ("verified", ESTIMATED))


def _band_norm(sensor: Sensor, band: Band, product: Product, family: str) -> BandNorm:
    wavelength = band.wavelength_um(family)
    if wavelength is None:
        raise BadWavelengths(
            f"{sensor.id} {band.id} has no wavelength that {family} weights know. Leave it out with --bands, or give "
            "--wavelengths."
        )
    for stats in sensor.statistics:
        if family in stats.weights and band.id in stats.bands:
            rule = pixel_scale(band, product, stats.training_scale)
            if rule is not None:
                position = stats.bands.index(band.id)
                origin = _origin(stats)
                return BandNorm(band.id, wavelength, rule, stats.mean[position], stats.std[position], origin)
    if product.quantity.is_reflectance and not band.is_thermal:
        return _interpolated(band, product, family, wavelength)
    return BandNorm(band.id, wavelength, AS_IS, None, None, "to be estimated from the scene")


def _origin(stats: Statistics) -> str:
    if stats.status == ESTIMATED:
        return f"estimated from scenes ({stats.training_scale.value})"
    return f"published ({stats.training_scale.value}, {stats.status})"


def _interpolated(band: Band, product: Product, family: str, wavelength: float) -> BandNorm:
    """Apply the Sentinel-2 rule of the nearest trained band, with statistics interpolated over wavelength.

    The trained bands lie on two pixel scales, so their statistics are interpolated as reflectance.
    """
    trained = _trained_reflectance(family)
    at = band.center_um or wavelength
    nearest = min(trained, key=lambda entry: abs(entry.center_um - at))
    rule = sentinel2_rule(nearest.common_name)
    centres = [entry.center_um for entry in trained]
    mean = float(np.interp(at, centres, [entry.mean for entry in trained])) * rule.gain + rule.offset
    std = float(np.interp(at, centres, [entry.std for entry in trained])) * rule.gain
    origin = f"interpolated from {REFERENCE} at {at:.3f} µm (rule of {nearest.band})"
    return BandNorm(band.id, wavelength, rule.after(product.scale, product.offset), mean, std, origin)


@dataclass(frozen=True)
class _Trained:
    """A trained band's statistics as reflectance."""

    band: str
    common_name: str | None
    center_um: float
    mean: float
    std: float


def _trained_reflectance(family: str) -> list[_Trained]:
    reference = built_in(REFERENCE)
    entries = []
    for stats in reference.statistics:
        if family in stats.weights:
            for name, mean, std in zip(stats.bands, stats.mean, stats.std, strict=True):
                band = reference.by_id[name]
                gain = sentinel2_rule(band.common_name).gain
                centre = band.center_um or 0.0
                reflectance = reflectance_of(mean, band.common_name)
                entries.append(_Trained(name, band.common_name, centre, reflectance, std / gain))
    return sorted(entries, key=lambda entry: entry.center_um)
