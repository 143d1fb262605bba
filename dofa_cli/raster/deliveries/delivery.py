"""What a reader of an agency's product returns: where each band lies, and what its values mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Screen(StrEnum):
    """Kinds of quality layers that tell clouds; :mod:`dofa_cli.raster.clouds` holds their classes."""

    SENTINEL2_SCL = "sentinel2-scl"
    LANDSAT_QA_PIXEL = "landsat-qa-pixel"
    HLS_FMASK = "hls-fmask"
    NONZERO = "nonzero"


@dataclass(frozen=True)
class QualityLayer:
    """A raster whose values tell clouds: band ``index`` (from 1) of what GDAL opens at ``path``."""

    path: str
    screen: Screen
    index: int = 1


@dataclass(frozen=True)
class DeliveredBand:
    """One band of a product.

    ``path`` is what GDAL opens and ``index`` the band in it, from 1; ``name`` is the id that the sensor's file gives
    the band. value · ``scale`` + ``offset`` is the product's quantity, ``None`` where the metadata are silent.
    ``wavelength_um`` and ``fwhm_um`` are those of this very product; ``usable`` is ``False`` for bands that its own
    list calls bad.
    """

    path: str
    name: str
    index: int = 1
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    wavelength_um: float | None = None
    fwhm_um: float | None = None
    usable: bool = True


@dataclass(frozen=True)
class Delivery:
    """A product found at ``path``, as the user gave it.

    ``sensor`` and ``product`` are ids of the registry (``None`` where the metadata do not tell). ``bands`` stand in the
    agency's order, each once, at its finest resolution. ``taken`` is the acquisition time in UTC.
    """

    path: str
    kind: str
    sensor: str | None
    product: str | None
    bands: tuple[DeliveredBand, ...]
    taken: datetime | None = None
    quality: QualityLayer | None = None
    notes: tuple[str, ...] = ()
