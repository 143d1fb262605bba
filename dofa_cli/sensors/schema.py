"""The format of a sensor file: frozen models, validated when read. Wavelengths in µm, sizes in metres, radar in GHz."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SHORTEST_OPTICAL_UM = 0.1
LONGEST_OPTICAL_UM = 30.0
"""Thermal bands end near 15 µm, so a larger number is almost certainly in nanometres."""


C_BAND_GHZ = 4.0, 8.0


class Kind(StrEnum):
    """What sort of instrument it is."""

    OPTICAL = "optical"
    HYPERSPECTRAL = "hyperspectral"
    SAR = "sar"


class Quantity(StrEnum):
    """What a product's values are once its scale and offset are applied."""

    TOA_REFLECTANCE = "toa_reflectance"
    BOA_REFLECTANCE = "boa_reflectance"
    DISPLAY = "display"
    DN = "dn"
    RADIANCE = "radiance"
    TEMPERATURE = "temperature"
    AMPLITUDE = "amplitude"
    SIGMA0_POWER = "sigma0_power"
    SIGMA0_DB = "sigma0_db"
    GAMMA0_POWER = "gamma0_power"
    GAMMA0_DB = "gamma0_db"

    @property
    def is_reflectance(self) -> bool:
        """Whether values are reflectance, 0 to about 1."""
        return self in (Quantity.TOA_REFLECTANCE, Quantity.BOA_REFLECTANCE)

    @property
    def is_power(self) -> bool:
        """Whether values are linear radar backscatter."""
        return self in (Quantity.SIGMA0_POWER, Quantity.GAMMA0_POWER)

    @property
    def is_decibel(self) -> bool:
        """Whether values are radar backscatter in dB."""
        return self in (Quantity.SIGMA0_DB, Quantity.GAMMA0_DB)


class Status(StrEnum):
    """How sure a number is."""

    VERIFIED = "verified"
    PARTLY_VERIFIED = "partly_verified"
    SINGLE_SOURCE = "single_source"
    NOMINAL = "nominal"
    DISAGREEMENT = "disagreement"
    GIVEN = "given"


class TrainingScale(StrEnum):
    """Pixel scales that statistics are given on (:mod:`dofa_cli.sensors.scale` has the arithmetic).

    All but ``VALUES`` are scales that the published weights were trained on; that one is for statistics of one's own.
    """

    SENTINEL2_8BIT = "sentinel2-8bit"
    AMPLITUDE_8BIT = "amplitude-8bit"
    DISPLAY_8BIT = "display-8bit"
    REFLECTANCE = "reflectance"
    VALUES = "values"


def _a_regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _micrometres(value: float) -> float:
    if value > LONGEST_OPTICAL_UM:
        raise ValueError(f"{value:g} looks like nanometres; sensor files hold micrometres ({value / 1000:g})")
    if value <= SHORTEST_OPTICAL_UM:
        raise ValueError(f"{value:g} µm is not above {SHORTEST_OPTICAL_UM:g} µm")
    return value


Micrometres = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_micrometres)]
Pattern = Annotated[str, AfterValidator(_a_regular_expression)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


class Strict(BaseModel):
    """A frozen model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Band(Strict):
    """One band.

    ``center_um`` is physics; ``model`` holds, per weights family, the wavelength in µm that the weights saw in
    training where it was another one (radar: 3.75 for ``dofa_v1``, 5.405 for ``dofa_v2``). ``status`` and ``source``
    are of centre and width, and default to the sensor's. ``polarisation`` names what is sent (C: circular waves), then
    what is received.
    """

    id: Identifier
    common_name: str | None = None
    center_um: Micrometres | None = None
    fwhm_um: float | None = Field(None, gt=0, allow_inf_nan=False)
    gsd_m: float | None = Field(None, gt=0, allow_inf_nan=False)
    aliases: tuple[str, ...] = ()
    polarisation: str | None = Field(None, pattern="^[CHV][HV]$")
    frequency_ghz: float | None = Field(None, gt=0.1, lt=100)
    model: dict[str, Micrometres] = {}
    status: Status | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _one_physics(self) -> Self:
        if (self.center_um is None) == (self.frequency_ghz is None):
            raise ValueError(f"band {self.id}: give either center_um (optical) or frequency_ghz (radar)")
        if self.fwhm_um and self.center_um and self.fwhm_um >= self.center_um:
            raise ValueError(f"band {self.id}: fwhm_um {self.fwhm_um} is not below center_um {self.center_um}")
        return self

    @property
    def is_thermal(self) -> bool:
        """Whether the band measures emitted rather than reflected light."""
        return self.center_um is not None and self.center_um > 3.0

    @property
    def is_familiar(self) -> bool:
        """Whether the weights may have seen the band's kind: any optical band, and radar of C-band VV and VH."""
        if self.frequency_ghz is None:
            return True
        low, high = C_BAND_GHZ
        return self.polarisation in ("VV", "VH") and low <= self.frequency_ghz <= high

    def wavelength_um(self, family: str) -> float | None:
        """Return the wavelength in µm to give to weights of ``family``, or ``None`` where none is known."""
        return self.model.get(family, self.center_um)


class Product(Strict):
    """How one kind of file stores its values: value·scale + offset is the ``quantity``.

    ``level`` and ``dtype`` are as the agency names them; ``offset_rule`` says in words when another offset holds.
    ``white`` is the reflectance that a display product shows as 255. ``pattern`` is searched in the file's path and
    tags; a product ``named_only`` is never assumed from the values alone, and none of which the file has one of the
    ``bands_absent``.
    """

    id: Identifier
    quantity: Quantity
    level: str | None = None
    dtype: str | None = None
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    offset: float = Field(0.0, allow_inf_nan=False)
    nodata: float | None = None
    white: float | None = Field(None, gt=0, allow_inf_nan=False)
    pattern: Pattern | None = None
    named_only: bool = False
    bands_absent: tuple[Identifier, ...] = ()
    eight_bit: bool = False
    offset_rule: str | None = None
    status: Status | None = None
    note: str | None = None

    def scaled(self, scale: float, offset: float) -> Product:
        """Return this product with scale and offset of one file; display values and raw numbers have none."""
        if self.quantity in (Quantity.DISPLAY, Quantity.DN):
            return self
        return self.model_copy(update={"scale": scale, "offset": offset})


class Statistics(Strict):
    """Means and standard deviations of bands on one training scale, for weights families."""

    weights: tuple[str, ...]
    training_scale: TrainingScale
    bands: tuple[Identifier, ...]
    mean: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    status: str
    source: str
    note: str | None = None

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if not len(self.bands) == len(self.mean) == len(self.std):
            lengths = f"{len(self.bands)} bands, {len(self.mean)} means, {len(self.std)} stds"
            raise ValueError(f"statistics have unequal lengths: {lengths}")
        return self


class Sensor(Strict):
    """One instrument.

    ``extends`` names the sensor whose file this one completes. ``wavelengths_vary`` says that products carry centres of
    their own, to be read from them where they are there. ``presets`` are named band lists; ``default`` names the preset
    for each weights family. ``stack_orders`` are the band orders in which stacks without names are found; more than one
    of the same length means that such a stack is never matched by count.
    """

    id: Identifier
    name: str
    kind: Kind
    extends: Identifier | None = None
    aliases: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    status: Status
    sources: tuple[str, ...] = ()
    note: str | None = None
    wavelengths_vary: bool = False
    file_patterns: tuple[Pattern, ...] = ()
    default_product: Identifier | None = None
    default: dict[str, str] = {}
    presets: dict[str, tuple[Identifier, ...]] = {}
    stack_orders: tuple[tuple[Identifier, ...], ...] = ()
    products: tuple[Product, ...] = Field(min_length=1)
    bands: tuple[Band, ...] = Field(min_length=1)
    statistics: tuple[Statistics, ...] = ()

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        _no_duplicates("band id", [band.id for band in self.bands])
        _no_duplicates("product id", [product.id for product in self.products])
        known = self.by_id.keys()
        for label, names in self._band_lists():
            if not names:
                raise ValueError(f"{label} names no band")
            _no_duplicates(f"band of {label}", names)
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"{label} names bands that the sensor does not have: {', '.join(unknown)}")
        if self.default_product and self.default_product not in {product.id for product in self.products}:
            raise ValueError(f"default_product '{self.default_product}' is not one of the products")
        if absent := sorted(set(self.default.values()) - self.presets.keys()):
            raise ValueError(f"default names presets that are not there: {', '.join(absent)}")
        return self

    @model_validator(mode="after")
    def _kind_fits_bands(self) -> Self:
        for band in self.bands:
            if (self.kind is Kind.SAR) != (band.frequency_ghz is not None):
                wanted = "frequency_ghz" if self.kind is Kind.SAR else "center_um"
                raise ValueError(f"band {band.id}: a sensor of kind {self.kind.value} needs {wanted}")
        return self

    def _band_lists(self) -> list[tuple[str, tuple[str, ...]]]:
        presets = [(f"preset '{name}'", ids) for name, ids in self.presets.items()]
        orders = [(f"stack order {n}", ids) for n, ids in enumerate(self.stack_orders, 1)]
        return presets + orders + [("statistics", stats.bands) for stats in self.statistics]

    @property
    def by_id(self) -> dict[str, Band]:
        """Bands by their id."""
        return {band.id: band for band in self.bands}

    def usual_nodata(self, product: str | None = None) -> float | None:
        """Return the nodata value for files that declare none: the product's, or the one that all products share."""
        values = {one.nodata for one in self.products if product in (None, one.id)}
        return values.pop() if len(values) == 1 else None

    def default_bands(self, family: str) -> tuple[str, ...]:
        """Return the band ids used when the user names none: the family's preset, else all bands."""
        preset = self.default.get(family)
        return self.presets[preset] if preset else tuple(band.id for band in self.bands)


def _no_duplicates(what: str, names: Sequence[str]) -> None:
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"{what} given twice: {', '.join(twice)}")
