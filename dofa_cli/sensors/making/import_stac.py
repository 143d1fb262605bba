"""Bands from a STAC item or collection: ``bands`` of STAC 1.1, or ``eo:bands`` before.

Fields are those of https://github.com/stac-extensions/eo; wavelengths are µm there, and often nanometres in practice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dofa_cli.errors import BadSensorFile, BadWavelengths
from dofa_cli.sensors.making.found import Found, FoundBand, check_count, listed, number, spectrum, text_of

Object = Mapping[str, Any]
CENTER = ("eo:center_wavelength", "center_wavelength")
WIDTH = ("eo:full_width_half_max", "full_width_half_max")
COMMON = ("eo:common_name", "common_name")
SCALE = ("raster:scale", "scale")
OFFSET = ("raster:offset", "offset")
FAR_OFFSET = 1e6
"""No reflectance is shifted by as much."""
SAME = 1e-6
"""Relative difference up to which two statements of one wavelength agree."""


@dataclass
class _Band:
    """What all mentions of one band say together."""

    name: str
    numbers: dict[str, float] = field(default_factory=dict)
    common_name: str | None = None

    @property
    def is_spectral(self) -> bool:
        """Whether anything says that the band measures light; masks and quality layers are called bands too."""
        return bool({"center", "fwhm"} & self.numbers.keys() or self.common_name)


def is_stac(content: Any) -> bool:
    """Whether JSON is a STAC document, rather than a table."""
    return isinstance(content, dict) and bool(
        {"stac_version", "assets", "item_assets", "summaries", "properties", "eo:bands"} & content.keys()
    )


def from_stac(content: Object, origin: str) -> Found:
    """Return the bands of a document, each name once.

    Bands without a wavelength, width or common name are no spectral bands and left out. Raises :class:`BadSensorFile`
    and :class:`BadWavelengths`, which name the bands.
    """
    lists = list(_band_lists(content))
    bands = _gathered(lists, origin)
    spectral = [band for band in bands if band.is_spectral]
    if not spectral:
        raise BadSensorFile(
            f"{origin} is a STAC document without spectral bands (bands with eo:center_wavelength, or eo:bands)."
        )
    check_count(len(spectral))
    numbers = [band.numbers for band in spectral]
    found = spectrum(
        [band.name for band in spectral],
        [one.get("center") for one in numbers],
        [one.get("fwhm") for one in numbers],
    )
    rows = zip(spectral, found.centers_um, found.fwhm_um, strict=True)
    left_out = [band.name for band in bands if not band.is_spectral]
    notices = [f"not spectral, left out: {listed(left_out)}."] if left_out else []
    notices += _scale_told(content)
    return Found(
        tuple(FoundBand(b.name, center, width, b.numbers.get("gsd"), b.common_name) for b, center, width in rows),
        f"{origin} (STAC)",
        in_order=any(len(one) >= len(spectral) for one in lists),
        notices=(*found.notices, *notices),
    )


def _band_lists(content: Object) -> Iterator[list[Object]]:
    """Yield the lists of bands of the document, its properties, summaries and assets, with what those say of all."""
    properties, summaries = (_object(content.get(key)) for key in ("properties", "summaries"))
    general = _inherited(summaries) | _inherited(properties)
    for holder in (content, properties, summaries):
        yield from _lists_of(holder, general, {})
    for group in ("item_assets", "assets"):
        for key, asset in _object(content.get(group)).items():
            own = general | _inherited(_object(asset))
            alone = {"name": key, **_spectral_fields(_object(asset))}
            lists = list(_lists_of(_object(asset), own, alone))
            yield from lists or ([[{**own, **alone}]] if _first(alone, CENTER) is not None else [])


def _lists_of(holder: Object, general: Object, alone: Object) -> Iterator[list[Object]]:
    """Yield the lists of bands; each band takes ``general`` fields, an only band also those in ``alone``."""
    for key in ("bands", "eo:bands"):
        bands = holder.get(key)
        if isinstance(bands, list) and bands:
            check_count(len(bands))
            shared = alone if len(bands) == 1 else {}
            yield [{**general, **shared, **_object(band)} for band in bands]


def _inherited(holder: Object) -> dict[str, Any]:
    """Return the pixel size that a holder gives to its bands; summaries list several, of which none is chosen."""
    gsd = holder.get("gsd")
    if isinstance(gsd, list):
        gsd = gsd[0] if len(gsd) == 1 else None
    return {} if gsd is None or isinstance(gsd, dict) else {"gsd": gsd}


def _spectral_fields(holder: Object) -> dict[str, Any]:
    return {key: holder[key] for key in (*CENTER, *WIDTH, *COMMON) if holder.get(key) is not None}


def _gathered(lists: list[list[Object]], origin: str) -> list[_Band]:
    """Join mentions of one name; :class:`BadWavelengths` where they contradict each other."""
    found: dict[str, _Band] = {}
    for bands in lists:
        for place, fields in enumerate(bands, 1):
            common = text_of(_first(fields, COMMON))
            name = text_of(fields.get("name")) or common or f"b{place}"
            band = found.setdefault(name, _Band(name))
            band.common_name = band.common_name or (common.lower() if common else None)
            for key, names in (("center", CENTER), ("fwhm", WIDTH), ("gsd", ("gsd",))):
                value = number(_first(fields, names), f"{key} of {name} in {origin}")
                if value is not None:
                    _note(band, key, value, origin)
    return list(found.values())


def _note(band: _Band, key: str, value: float, origin: str) -> None:
    before = band.numbers.setdefault(key, value)
    if key == "gsd":
        band.numbers[key] = min(before, value)  # overviews and thumbnails are coarser
    elif abs(before - value) > SAME * abs(before):
        raise BadWavelengths(f"{origin} gives {listed([band.name])} two values of {key}: {before:g} and {value:g}.")


def _first(fields: Object, names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _scale_told(content: Object) -> list[str]:
    """Say which scale and offset the assets with spectral bands declare, where it is one; not what it leads to."""
    assets = [_object(asset) for group in ("item_assets", "assets") for asset in _object(content.get(group)).values()]
    found = {pair for asset in assets if _is_spectral(asset) for pair in _scales(asset)}
    if len(found) != 1:
        return []
    ((scale, offset),) = found
    options = f"--product-scale {scale:g} --product-offset {offset:g}"
    return [f"the assets declare scale {scale:g} and offset {offset:g}; if that is reflectance, give {options}."]


def _is_spectral(asset: Object) -> bool:
    return any(_first(band, CENTER) is not None for bands in _lists_of(asset, {}, asset) for band in bands)


def _scales(asset: Object) -> Iterator[tuple[float, float]]:
    """Yield scale and offset wherever an asset declares them: on itself or its raster bands."""
    stored = asset.get("raster:bands")
    for holder in (asset, *(map(_object, stored) if isinstance(stored, list) else ())):
        scale, offset = _first(holder, SCALE), _first(holder, OFFSET) or 0.0
        if isinstance(scale, float) and isinstance(offset, int | float) and abs(offset) < FAR_OFFSET:
            yield scale, float(offset)


def _object(value: Any) -> Object:
    return value if isinstance(value, dict) else {}
