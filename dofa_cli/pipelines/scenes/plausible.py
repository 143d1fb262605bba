"""Whether a scene's values are what its sensor's product leads one to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dofa_cli.errors import BandMismatch, OptionError, ScaleMismatch
from dofa_cli.pipelines.scenes.histogram import Distribution, summarise
from dofa_cli.pipelines.scenes.traces import Range, declared_scales, delivered_product, evidence, labels
from dofa_cli.raster.header import Header
from dofa_cli.sensors.match import choose_bands
from dofa_cli.sensors.products import identify_product
from dofa_cli.sensors.schema import Product, Quantity, Sensor

FAMILY = "dofa_v1"
"""Weights family whose default bands the values are judged by."""
JUDGED = {Quantity.AMPLITUDE} | {one for one in Quantity if one.is_reflectance or one.is_power or one.is_decibel}
"""Quantities whose values have an expected range."""


@dataclass(frozen=True)
class Verdict:
    """The product that values were compared with, ``None`` if none fits or several do.

    ``fits`` is ``None`` where there is nothing to compare; ``message`` says why, or how the product was told.
    """

    product: Product | None
    fits: bool | None
    message: str


def judge(headers: Sequence[Header], sensor: Sensor, values: Sequence[Distribution | None]) -> Verdict:
    """Tell the product of a scene as ``dofa embed`` would, from the sensor's default bands.

    ``values`` holds one distribution a band, in file order.
    """
    every = [band for header in headers for band in header.bands]
    try:
        positions = choose_bands(labels(headers), sensor, None, FAMILY).positions
        used = [one for at in positions if (one := values[at])]
        if not used:
            return Verdict(None, None, "no valid pixel to judge by")
        bands = [every[at] for at in positions]
        scales = set(declared_scales(bands) or ())
        shown = evidence(headers, bands, sensor, Range(*summarise(used)), scales.pop() if len(scales) == 1 else None)
        known = identify_product(sensor, shown, None, delivered_product(headers))
    except ScaleMismatch as error:
        return Verdict(None, False, str(error))
    except (BandMismatch, OptionError) as error:
        return Verdict(None, None, str(error))
    fits = True if known.product.quantity in JUDGED else None
    return Verdict(known.product, fits, "\n".join((known.how, *known.warnings)))
