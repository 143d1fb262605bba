"""From bands that were found to the content of a sensor file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dofa_cli.errors import OptionError
from dofa_cli.sensors.files import Content
from dofa_cli.sensors.making.found import Found, FoundBand, clean, spectrum
from dofa_cli.sensors.making.naming import band_names, common_name
from dofa_cli.sensors.names import fold
from dofa_cli.sensors.registry import built_in
from dofa_cli.sensors.schema import C_BAND_GHZ, Kind, Quantity, Status
from dofa_cli.sensors.showing.description import FAMILIES

MANY_BANDS = 30
"""From here on an optical sensor is taken to be hyperspectral, and its bands are written as columns."""
RADAR = "sentinel1"
"""The sensor whose wavelengths stand in for radar that the weights never saw."""
PRIMARY = ("red", "green", "blue")
GOOD = "good"


@dataclass(frozen=True)
class ProductWish:
    """Reflectance = value · ``scale`` + ``offset`` if either is given, else uncalibrated values."""

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None

    @property
    def is_reflectance(self) -> bool:
        """Whether values are said to be reflectance."""
        return self.scale is not None or self.offset is not None

    def content(self) -> Content:
        """Return the product's table."""
        if self.is_reflectance:
            made = {"id": "reflectance", "quantity": Quantity.TOA_REFLECTANCE.value}
            numbers = {"scale": 1.0 if self.scale is None else self.scale, "offset": self.offset or 0.0}
        else:
            made, numbers = {"id": "values", "quantity": Quantity.DN.value}, {}
        return {**made, **numbers, **({} if self.nodata is None else {"nodata": self.nodata})}


@dataclass(frozen=True)
class Identity:
    """How a sensor is called, of what kind it is, and what its product is."""

    id: str
    name: str | None = None
    aliases: tuple[str, ...] = ()
    kind: Kind | None = None
    product: ProductWish = field(default_factory=ProductWish)

    @property
    def content(self) -> Content:
        """Return the fields that a file never takes from another."""
        named = {"id": self.id, "name": clean(self.name or "") or self.id}
        aliases = [alias for text in self.aliases if (alias := clean(text))]
        return {**named, **({"aliases": aliases} if aliases else {})}


@dataclass(frozen=True)
class BandWishes:
    """What the user says of the bands, in their order; pixel sizes in metres, one for all or one each."""

    names: tuple[str, ...] | None = None
    fwhm: tuple[float, ...] | None = None
    gsd: tuple[float, ...] | None = None

    def check(self, count: int) -> None:
        """Raise :class:`OptionError` unless there is one value for each of ``count`` bands."""
        for option, given in (("--names", self.names), ("--fwhm", self.fwhm), ("--gsd", self.gsd)):
            one_for_all = option == "--gsd" and given is not None and len(given) == 1
            if given is not None and len(given) != count and not one_for_all:
                raise OptionError(f"{option} gives {len(given)} values for {count} bands. Give one a band.")

    def sizes(self, count: int) -> tuple[float, ...] | None:
        """Return one pixel size a band."""
        return self.gsd * count if self.gsd and len(self.gsd) == 1 else self.gsd


def with_wishes(found: Found, wishes: BandWishes) -> Found:
    """Lay what the user says over what a source says; raises :class:`OptionError` and ``BadWavelengths``."""
    bands, count = list(found.bands), len(found.bands)
    wishes.check(count)
    if wishes.fwhm:
        labels = [band.name or f"band {place}" for place, band in enumerate(bands, 1)]
        checked = spectrum(labels, [band.center_um for band in bands], wishes.fwhm)
        bands = [replace(band, fwhm_um=width) for band, width in zip(bands, checked.fwhm_um, strict=True)]
    if sizes := wishes.sizes(count):
        bands = [replace(band, gsd_m=size) for band, size in zip(bands, sizes, strict=True)]
    if wishes.names:
        bands = [_renamed(band, name) for band, name in zip(bands, wishes.names, strict=True)]
    return replace(found, bands=tuple(bands))


def _renamed(band: FoundBand, name: str) -> FoundBand:
    return replace(band, name=name, aliases=(*([band.name] if band.name else []), *band.aliases))


def radar(frequency_ghz: float, polarisations: Sequence[str]) -> Found:
    """Return the bands of a radar, one a polarisation; raises :class:`OptionError` where one is given twice."""
    if len(set(polarisations)) < len(polarisations) or not polarisations:
        raise OptionError("--polarisations needs different ones, such as VV,VH.")
    bands = tuple(FoundBand(name, polarisation=name, frequency_ghz=frequency_ghz) for name in polarisations)
    low, high = C_BAND_GHZ
    familiar = low <= frequency_ghz <= high and set(polarisations) <= {"VV", "VH"}
    notices = [f"the network is given the wavelengths that stand for {RADAR} in training."]
    if not familiar:
        notices.append("the weights saw radar as C-band VV and VH only.")
    return Found(bands, "frequency and polarisations given by hand", notices=tuple(notices))


def content_of(found: Found, identity: Identity) -> tuple[Content, tuple[str, ...]]:
    """Return a sensor file's content, and notices of what was assumed.

    Raises :class:`~dofa_cli.errors.BadSensorFile` for bands that cannot be told apart and :class:`OptionError` for a
    kind that does not suit them.
    """
    names = band_names([band.name for band in found.bands])
    pairs = zip(found.bands, names, strict=True)
    bands = [_band(band, name.id, (*name.aliases, *band.aliases)) for band, name in pairs]
    drop_shared_names(bands)
    ids = [band["id"] for band in bands]
    content: Content = {
        **identity.content,
        "kind": _kind(found, identity).value,
        "status": Status.GIVEN.value,
        "sources": [found.origin],
        **({"stack_orders": [ids]} if found.in_order else {}),
        **_bands(bands),
        **_presets(found.bands, bands),
        "products": [identity.product.content()],
    }
    return content, tuple(_notices(found, identity.product))


def _band(band: FoundBand, name: str, aliases: Sequence[str]) -> Content:
    fields: Content = {
        "id": name,
        "common_name": band.common_name or common_name(band.name),
        "center_um": band.center_um,
        "fwhm_um": band.fwhm_um,
        "polarisation": band.polarisation,
        "frequency_ghz": band.frequency_ghz,
        "gsd_m": band.gsd_m,
        "aliases": list(dict.fromkeys(aliases)),
        "model": dict(built_in(RADAR).bands[0].model) if band.frequency_ghz else {},
    }
    return {key: value for key, value in fields.items() if value not in (None, [], {})}


def drop_shared_names(bands: Sequence[Content]) -> None:
    """Take away aliases that would name two bands, or any band by a number in a file's text."""
    counts: dict[str, int] = {}
    for band in bands:
        for name in {fold(name) for name in (band["id"], *band.get("aliases", ()))}:
            counts[name] = counts.get(name, 0) + 1
    for band in bands:
        own = fold(band["id"])
        kept = [a for a in band.pop("aliases", []) if (key := fold(a)) and counts[key] == 1 and not key.isdecimal()]
        if kept := [alias for alias in kept if fold(alias) != own]:
            band["aliases"] = kept


def _kind(found: Found, identity: Identity) -> Kind:
    is_radar = found.bands[0].frequency_ghz is not None
    if identity.kind and (identity.kind is Kind.SAR) != is_radar:
        wanted = "--frequency and --polarisations" if identity.kind is Kind.SAR else "wavelengths"
        raise OptionError(f"--kind {identity.kind.value} needs {wanted}.")
    if is_radar:
        return Kind.SAR
    return identity.kind or (Kind.HYPERSPECTRAL if len(found.bands) >= MANY_BANDS else Kind.OPTICAL)


def _bands(bands: Sequence[Content]) -> Content:
    """Write bands as a list of tables, or many bands that hold numbers alone as columns."""
    fields = list(bands[0])
    plain = all(list(band) == fields for band in bands) and set(fields) <= {"id", "center_um", "fwhm_um", "gsd_m"}
    if len(bands) <= MANY_BANDS or not plain:
        return {"bands": list(bands)}
    columns = {key: [band[key] for band in bands] for key in fields}
    common = {"gsd_m": columns.pop("gsd_m")[0]} if len(set(columns.get("gsd_m", ()))) == 1 else {}
    ids = columns.pop("id")
    numbered = ids == [f"b{place}" for place in range(1, len(ids) + 1)]
    named: Mapping[str, Any] = {"prefix": "b"} if numbered else {"id": ids}
    return {**({"band_defaults": common} if common else {}), "spectrum": {**named, **columns}}


def _presets(found: Sequence[FoundBand], bands: Sequence[Content]) -> Content:
    """Return presets for red, green and blue, and for the good bands where some are bad, which are then the default."""
    colours = {colour: [b["id"] for b in bands if b.get("common_name") == colour] for colour in PRIMARY}
    presets = {"rgb": [ids[0] for ids in colours.values()]} if all(len(ids) == 1 for ids in colours.values()) else {}
    good = [content["id"] for band, content in zip(found, bands, strict=True) if band.usable]
    if not good:
        raise OptionError("Every band is marked as bad, so none would be used.")
    if len(good) == len(bands):
        return {"presets": presets} if presets else {}
    return good_bands(good, presets)


def good_bands(ids: Sequence[str], presets: Mapping[str, Sequence[str]]) -> Content:
    """Return presets with one more, for the good bands, and make it the default."""
    return {"default": dict.fromkeys(FAMILIES, GOOD), "presets": {**presets, GOOD: list(ids)}}


def _notices(found: Found, product: ProductWish) -> Iterator[str]:
    yield from found.notices
    if bad := sum(not band.usable for band in found.bands):
        yield f"{bad} bad bands are kept in the file and left out by default (preset '{GOOD}' holds the others)."
    if not found.in_order:
        yield "the source does not tell the order of bands in files, so files need band names."
    if not product.is_reflectance:
        yield (
            "pixel values count as uncalibrated: --product-scale and --product-offset make them reflectance, and "
            "--stats-from measures their statistics once instead of in every scene."
        )
