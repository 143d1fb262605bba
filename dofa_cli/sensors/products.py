"""Tell which product a file is, from its name or from the range of its values, and refuse to guess between two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dofa_cli.errors import OptionError, ScaleMismatch
from dofa_cli.sensors.schema import Product, Quantity, Sensor


@dataclass(frozen=True)
class Evidence:
    """What a file shows of its product.

    ``names`` are paths and tags as text, ``eight_bit`` whether pixels are bytes, ``dtype`` their type where all bands
    have the same, ``bands`` the sensor's bands that the file has. ``low`` and ``high`` are the 1st and 99th percentile
    of the valid values (median of the bands), ``band_lows`` the 0.1st percentile of each band; ``scale`` and ``offset``
    come from the file's own band metadata or the user.
    """

    names: str
    eight_bit: bool
    low: float
    high: float
    band_lows: tuple[float, ...] = ()
    scale: float | None = None
    offset: float | None = None
    dtype: str | None = None
    bands: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Identified:
    """The product, how it was told, and warnings that the user should see."""

    product: Product
    how: str
    warnings: tuple[str, ...] = ()


Ranges = dict[Quantity, tuple[tuple[float, float], tuple[float, float]]]

_USUAL: Ranges = {
    Quantity.TOA_REFLECTANCE: ((-0.15, 0.75), (0.002, 2.6)),
    Quantity.BOA_REFLECTANCE: ((-0.15, 0.75), (0.002, 2.6)),
    Quantity.AMPLITUDE: ((0, 2000), (20, 65535)),
    Quantity.SIGMA0_POWER: ((0, 1), (1e-4, 20)),
    Quantity.GAMMA0_POWER: ((0, 1), (1e-4, 20)),
    Quantity.SIGMA0_DB: ((-70, 0), (-40, 40)),
    Quantity.GAMMA0_DB: ((-70, 0), (-40, 40)),
}
"""Where the 1st and the 99th percentile of a scene usually lie, by which products are told apart; quantities that are
not here are not checked."""

_POSSIBLE: Ranges = _USUAL | {
    Quantity.TOA_REFLECTANCE: ((-0.5, 1.6), (0.002, 3.2)),
    Quantity.BOA_REFLECTANCE: ((-0.5, 1.6), (0.002, 3.2)),
}
"""Where they can lie at all: a scene may be nothing but cloud or snow."""

BYTE = 255
LEAST_BANDS = 3
"""Fewer bands may all be bright, as over snow or in the red edge, and tell nothing of an offset."""
UNSHIFTED_LOW = 950
"""Every band above this digital number: Sentinel-2's +1000 of baseline 04.00 has probably not been taken off."""


def identify_product(
    sensor: Sensor, evidence: Evidence, wanted: str | None, delivered: str | None = None
) -> Identified:
    """Return the product of a file.

    That is the one ``wanted``, the one ``delivered`` by its metadata, the one its name states, or the only one its
    values fit.

    Raises :class:`ScaleMismatch` when none fits, :class:`OptionError` when several do or ``wanted`` is unknown.
    """
    found = _stated(sensor, evidence, wanted, delivered) or _by_values(sensor, evidence)
    product = _with_file_scale(found.product, evidence)
    if evidence.high > evidence.low and not _fits(product, evidence, _POSSIBLE):
        raise ScaleMismatch(_explain(sensor, product, evidence))
    own: tuple[str, ...] = ()
    if wanted and (product.scale, product.offset) != (found.product.scale, found.product.offset):
        own = (
            f"scale {product.scale:g} and offset {product.offset:g} of the file or the options are used, not those of "
            f"{product.id}.",
        )
    return Identified(product, found.how, found.warnings + own + _doubts(sensor, product, evidence))


def assume_product(sensor: Sensor, wanted: str | None) -> Identified:
    """Settle a product where values need not, or cannot, be looked at: the one wanted, else the usual one."""
    known = {product.id: product for product in sensor.products}
    if wanted and wanted not in known:
        raise OptionError(f"{sensor.id} has no product '{wanted}'. It has {', '.join(known)}.")
    product = known[wanted or sensor.default_product or sensor.products[0].id]
    return Identified(product, "given" if wanted else "not looked at")


def _stated(sensor: Sensor, evidence: Evidence, wanted: str | None, delivered: str | None) -> Identified | None:
    if wanted:
        return assume_product(sensor, wanted)
    if delivered in {product.id for product in sensor.products}:
        return replace(assume_product(sensor, delivered), how="by its metadata")
    named = [product for product in sensor.products if product.pattern and re.search(product.pattern, evidence.names)]
    if not named:
        return None
    fitting = (product for product in named if product.eight_bit == evidence.eight_bit)  # a TCI in an MSIL1C folder
    return Identified(next(fitting, named[0]), "by the file's name")


def _by_values(sensor: Sensor, evidence: Evidence) -> Identified:
    candidates = [p for p in sensor.products if not p.named_only and not evidence.bands.intersection(p.bands_absent)]
    usual, possible = (
        [p for p in candidates if _fits(_with_file_scale(p, evidence), evidence, ranges)]
        for ranges in (_USUAL, _POSSIBLE)
    )
    fits = usual or possible
    default = next((product for product in fits if product.id == sensor.default_product), None)
    typed = [product for product in fits if product.dtype and product.dtype == evidence.dtype]
    if default or len(fits) == 1 or len(typed) == 1:
        product = default or (typed if len(typed) == 1 else fits)[0]
        return Identified(product, "by its values", _assumption(sensor, product, fits))
    if fits:
        raise OptionError(
            f"The values ({_range(evidence)}) fit several products of {sensor.id}: {_ids(fits)}. "
            "Say which with --product."
        )
    raise ScaleMismatch(_explain(sensor, (candidates or sensor.products)[0], evidence))


def _with_file_scale(product: Product, evidence: Evidence) -> Product:
    """Take scale and offset that stand in the file, or were given, instead of the product's usual ones."""
    return product if evidence.scale is None else product.scaled(evidence.scale, evidence.offset or 0.0)


def _fits(product: Product, evidence: Evidence, ranges: Ranges) -> bool:
    unlike = product.eight_bit != evidence.eight_bit and not (product.quantity is Quantity.DN and evidence.eight_bit)
    if unlike and not (evidence.scale is not None and product.quantity.is_reflectance):  # a scale suits its file's type
        return False
    if product.quantity not in ranges:
        return True
    (low_from, low_to), (high_from, high_to) = ranges[product.quantity]
    low, high = (value * product.scale + product.offset for value in (evidence.low, evidence.high))
    return low_from <= low <= low_to and high_from <= high <= high_to


def _assumption(sensor: Sensor, product: Product, fits: Sequence[Product]) -> tuple[str, ...]:
    if product.eight_bit and any(not p.eight_bit for p in sensor.products):
        return (f"8-bit values are taken as {sensor.id} '{product.id}'. Say otherwise with --product.",)
    others = [p for p in fits if p is not product]
    return (f"product taken as '{product.id}' (values also fit {_ids(others)}; --product chooses).",) if others else ()


def _doubts(sensor: Sensor, product: Product, evidence: Evidence) -> tuple[str, ...]:
    shifted = f"{product.id}-0400"
    known = {p.id for p in sensor.products}
    several = len(evidence.band_lows) >= LEAST_BANDS
    if shifted in known and evidence.scale is None and several and min(evidence.band_lows) >= UNSHIFTED_LOW:
        return (
            f"every band lies above {UNSHIFTED_LOW}: the +1000 of processing baseline 04.00 may still be in. "
            f"If so, give --product {shifted}.",
        )
    if product.quantity.is_reflectance and product.scale < 1 and 0 < evidence.high <= BYTE and evidence.scale is None:
        return ("values end below 256 and look like 8-bit pixels, not reflectance. Check --product and --scale.",)
    if product.quantity in (Quantity.GAMMA0_DB, Quantity.GAMMA0_POWER):
        return ("γ⁰ is mapped like σ⁰, which the weights were trained near; slopes look brighter than in training.",)
    return ()


def _explain(sensor: Sensor, product: Product, evidence: Evidence) -> str:
    seen = f"Values run from {_range(evidence)}"
    if evidence.eight_bit != product.eight_bit:
        seen = f"Values are {'8-bit' if evidence.eight_bit else 'not 8-bit'} ({_range(evidence)})"
    hint = "--product names another one"
    if not evidence.eight_bit and evidence.low >= -0.2 and evidence.high <= 2.5:
        hint = "they look like reflectance from 0 to 1: give --scale 1 (value · scale = reflectance)"
    elif product.quantity.is_reflectance:
        hint += ", or --scale and --offset turn values into reflectance"
    return (
        f"{seen}, which is not {sensor.id} '{product.id}' ({product.quantity.value}, scale {product.scale:g}). "
        f"{hint}; --normalize scene uses the scene's own statistics. Products: {_ids(sensor.products)}."
    )


def _range(evidence: Evidence) -> str:
    return f"{evidence.low:.5g} to {evidence.high:.5g}"


def _ids(products: Sequence[Product]) -> str:
    return ", ".join(product.id for product in products)
