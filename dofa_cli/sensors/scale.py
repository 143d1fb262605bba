"""From product values to the pixel scale that the weights were trained on.

Every rule is ``clip(gain · curve(value) + offset, low, high)``, rounded down first where the published rule divides
integers, so one small class describes them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from dofa_cli.sensors.schema import Band, Product, Quantity, TrainingScale

DN_PER_REFLECTANCE = 10000.0
"""Sentinel-2 digital numbers per unit of reflectance; the training rules are written in them."""
TRUE_COLOUR_WHITE = 3558.0
"""Digital number that ESA's Level-1C true-colour image shows as 255."""
LEVEL_2A_TRUE_COLOUR_WHITE = 2000.0
"""The same for the Level-2A true-colour image."""
TRUE_COLOUR_STEPS = 254.0
OTHER_BANDS_DIVISOR = 32.0
"""Bands without a true-colour image: digital number // 32 (Satlas, confirmed by DOFA's author)."""
AMPLITUDE_AT_0_DB = 560.0
"""Ground-range amplitude that stands for a backscatter of 0 dB, so that decibels and linear power meet the amplitude
scale of training. Fitted on five Sentinel-1 land scenes in dB: there the mean of VV and VH, clipped at 255, meets the
published 166 and 88 to within 0.07 standard deviations."""
VISIBLE = ("blue", "green", "red")
PLAIN = (Quantity.DN, Quantity.RADIANCE, Quantity.TEMPERATURE)
"""Quantities that no scale of training fits: their statistics are of the values as they are stored."""
OWN_SCALES = (
    TrainingScale.REFLECTANCE,
    TrainingScale.DISPLAY_8BIT,
    TrainingScale.AMPLITUDE_8BIT,
    TrainingScale.VALUES,
)


class Curve(StrEnum):
    """What is done to a value before gain and offset."""

    LINEAR = "linear"
    SQRT = "sqrt"
    DECIBEL = "decibel"


@dataclass(frozen=True)
class PixelScale:
    """One band's rule: value → ``clip(gain · curve(inner · value) + offset, low, high)``, rounded down if ``whole``."""

    curve: Curve = Curve.LINEAR
    gain: float = 1.0
    offset: float = 0.0
    whole: bool = False
    low: float = -math.inf
    high: float = math.inf
    inner: float = 1.0

    def after(self, scale: float, offset: float) -> PixelScale:
        """Return the rule for values that still need ``value · scale + offset`` (linear rules only)."""
        gain, shift = (float(f"{value:.12g}") for value in (self.gain * scale, self.gain * offset + self.offset))
        return replace(self, gain=gain, offset=shift)

    def to_plain(self) -> dict[str, Any]:
        """Return text, numbers and ``None`` for no limit, as JSON and head files hold them."""
        limits = {
            name: value if math.isfinite(value) else None for name, value in (("low", self.low), ("high", self.high))
        }
        return asdict(self) | {"curve": self.curve.value} | limits

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PixelScale:
        """Read what :meth:`to_plain` returned."""
        open_ends = {"low": -math.inf, "high": math.inf}
        limits = {name: end if plain[name] is None else float(plain[name]) for name, end in open_ends.items()}
        return cls(**(dict(plain) | {"curve": Curve(plain["curve"])} | limits))

    def describe(self) -> str:
        """Write the rule as a formula of ``x``, the value in the file."""
        x = "x" if self.inner == 1 else f"{self.inner:g}·x"
        shapes = {Curve.LINEAR: x, Curve.SQRT: f"√({x})" if "·" in x else "√x", Curve.DECIBEL: f"10^({x}/20)"}
        text = shapes[self.curve] if self.gain == 1 else f"{self.gain:.6g}·{shapes[self.curve]}"
        text += f" {'+' if self.offset > 0 else '-'} {abs(self.offset):.6g}" if self.offset else ""
        text = f"⌊{text}⌋" if self.whole else text
        return text if math.isinf(self.high) else f"clip({text}, {self.low:g}, {self.high:g})"


AS_IS = PixelScale()
DISPLAY = PixelScale(low=0, high=255)
REFLECTANCE = PixelScale(low=0, high=1)
TRUE_COLOUR = PixelScale(gain=DN_PER_REFLECTANCE * TRUE_COLOUR_STEPS / TRUE_COLOUR_WHITE, offset=1, low=1, high=255)
DIVIDED = PixelScale(gain=DN_PER_REFLECTANCE / OTHER_BANDS_DIVISOR, whole=True, low=0, high=255)


def pixel_scale(band: Band, product: Product, training: TrainingScale) -> PixelScale | None:
    """Return the rule from ``product``'s values to the ``training`` scale, or ``None`` where none is known."""
    quantity = product.quantity
    match training:
        case TrainingScale.SENTINEL2_8BIT:
            return _sentinel2_8bit(band, product)
        case TrainingScale.AMPLITUDE_8BIT:
            return _amplitude_8bit(product)
        case TrainingScale.DISPLAY_8BIT:
            return DISPLAY if quantity is Quantity.DISPLAY else None
        case TrainingScale.REFLECTANCE:
            return REFLECTANCE.after(product.scale, product.offset) if quantity.is_reflectance else None
        case TrainingScale.VALUES:
            return AS_IS if quantity in PLAIN or band.is_thermal else None


def own_scale(band: Band, product: Product) -> TrainingScale | None:
    """Return the scale on which statistics of one's own scenes are kept, or ``None`` where no rule is known."""
    if band.is_thermal:
        return TrainingScale.VALUES
    return next((one for one in OWN_SCALES if pixel_scale(band, product, one) is not None), None)


def sentinel2_rule(common_name: str | None) -> PixelScale:
    """Return the Sentinel-2 rule on reflectance: true colour for blue, green and red, DN // 32 for the others."""
    return TRUE_COLOUR if common_name in VISIBLE else DIVIDED


def reflectance_of(training_value: float, common_name: str | None) -> float:
    """Invert :func:`sentinel2_rule` inside its clip range."""
    rule = sentinel2_rule(common_name)
    return (training_value - rule.offset) / rule.gain


def _sentinel2_8bit(band: Band, product: Product) -> PixelScale | None:
    if product.quantity.is_reflectance:
        return sentinel2_rule(band.common_name).after(product.scale, product.offset)
    if product.quantity is Quantity.DISPLAY and product.white and band.common_name in VISIBLE:
        stretch = product.white * DN_PER_REFLECTANCE / TRUE_COLOUR_WHITE
        return PixelScale(gain=stretch, offset=1 - stretch, low=1, high=255) if stretch != 1 else DISPLAY
    return None


def _amplitude_8bit(product: Product) -> PixelScale | None:
    """Map radar values, stored as value · scale + offset, to clipped amplitude."""
    quantity, scale, offset = product.quantity, product.scale, product.offset
    if quantity is Quantity.AMPLITUDE:
        return DISPLAY.after(scale, offset)
    if quantity.is_decibel:
        return PixelScale(Curve.DECIBEL, AMPLITUDE_AT_0_DB * 10 ** (offset / 20), low=0, high=255, inner=scale)
    if quantity.is_power and not offset:
        return PixelScale(Curve.SQRT, AMPLITUDE_AT_0_DB, low=0, high=255, inner=scale)
    return None
