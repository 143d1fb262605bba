"""Which assets of a STAC item are bands, and what the item says of each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dofa_cli.raster.deliveries.delivery import DeliveredBand, QualityLayer, Screen
from dofa_cli.raster.deliveries.stac_item import Item
from dofa_cli.raster.spectrum import micrometres

SCREENS = {"scl": Screen.SENTINEL2_SCL, "qa_pixel": Screen.LANDSAT_QA_PIXEL, "fmask": Screen.HLS_FMASK}
"""Quality layers by the stem of their key."""
AUXILIARY = {
    *SCREENS,
    *("aot", "wvp", "cld", "snw", "cloud", "snow", "qa", "cloud_qa", "qa_radsat", "qa_aerosol", "sr_qa_aerosol"),
    *("sr_cloud_qa", "st_qa", "sr_atmos_opacity", "atmos_opacity", "vza", "vaa", "sza", "saa", "datamask", "product"),
    *("atran", "cdist", "drad", "urad", "trad", "emis", "emsd", "st_atran", "st_cdist", "st_drad", "st_urad"),
    *("st_trad", "st_emis", "st_emsd", "pvi", "image_preview"),
}
"""Rasters that are no bands: quality, angles, and what surface temperature is computed from. Catalogues give some of
them the role of data or reflectance."""

_PICTURES = re.compile(r"visual|tci|true[-_]?colou?r|thumb|overview|preview|rendered|browse|reduced_res|quicklook")
_PICTURE_ROLES = {"thumbnail", "overview", "visual", "metadata"}
_MEDIA = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "image/x.geotiff", "image/geotiff")
_SUFFIX = re.compile(r"\.(?:tiff?|jp2)$", re.IGNORECASE)
_TWIN = re.compile(r"(?:[-_](?:jp2|\d+m))+$", re.IGNORECASE)
_SIZE = re.compile(r"[-_](\d+)m(?=$|[-_])", re.IGNORECASE)
_INSTRUMENT = re.compile(r"^(?:OLI2?|TIRS2?|TM|ETM\+?|MSS|SR|ST)_(?=B\d)", re.IGNORECASE)


@dataclass(frozen=True)
class _Offer:
    """A band as one asset has it; ``metres`` is the size of its pixels, infinite where the item does not tell."""

    band: DeliveredBand
    metres: float
    is_jp2: bool


def bands_of(item: Item) -> list[DeliveredBand]:
    """Return the bands of an item in its order: each once, at its finest, as GeoTIFF rather than JPEG 2000."""
    rasters = {key: asset for key, asset in item.assets.items() if _is_raster(asset) and _is_band(key, asset)}
    named = {key: asset for key, asset in rasters.items() if any(_name(band) for band in _spectral(asset))}
    best: dict[str, _Offer] = {}
    for key, asset in (named or rasters).items():
        for offer in _offers(item, key, asset):
            name = offer.band.name.lower()
            if name not in best or _preference(offer) < _preference(best[name]):
                best[name] = offer
    return [offer.band for offer in best.values()]


def quality_of(item: Item) -> QualityLayer | None:
    """Return the layer that tells clouds, the finest if there are several."""
    found = [
        (_metres(key, asset, {}), _is_jp2(asset), key, screen)
        for key, asset in item.assets.items()
        if (screen := SCREENS.get(_stem(key).lower())) and _is_raster(asset)
    ]
    if not found:
        return None
    _, _, key, screen = min(found)
    return QualityLayer(item.resolve(item.assets[key]["href"]), screen)


def _is_raster(asset: Mapping[str, Any]) -> bool:
    href, media = asset.get("href"), str(asset.get("type") or "").lower()
    if not isinstance(href, str) or not href:
        return False
    return media.startswith(_MEDIA) if media else bool(_SUFFIX.search(href.partition("?")[0]))


def _is_band(key: str, asset: Mapping[str, Any]) -> bool:
    roles = asset.get("roles")
    if isinstance(roles, list) and any(role in roles for role in _PICTURE_ROLES):
        return False
    return not _PICTURES.match(key.lower()) and _stem(key).lower() not in AUXILIARY


def _is_jp2(asset: Mapping[str, Any]) -> bool:
    return "jp2" in str(asset.get("type") or "") or str(asset["href"]).lower().endswith(".jp2")


def _stem(key: str) -> str:
    """Return a key without suffix, pixel size and the word for its twin: ``B02_10m``, ``red-jp2``, ``SR_B4.TIF``."""
    return _TWIN.sub("", _SUFFIX.sub("", key))


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value if isinstance(value, dict) else {} for value in values] if isinstance(values, list) else []


def _spectral(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the list that names bands: ``bands`` since STAC 1.1, ``eo:bands`` before."""
    return _dicts(asset.get("bands")) or _dicts(asset.get("eo:bands"))


def _offers(item: Item, key: str, asset: Mapping[str, Any]) -> Iterator[_Offer]:
    spectral, stored = _spectral(asset), _dicts(asset.get("raster:bands"))
    path = item.resolve(asset["href"])
    count = max(len(spectral), len(stored), 1)
    for position in range(count):
        told = spectral[position] if position < len(spectral) else {}
        kept = stored[position] if position < len(stored) else {}
        name = _name(told) or (_stem(key) if count == 1 else f"{_stem(key)}-{position + 1}")
        band = _band(path, _INSTRUMENT.sub("", name), position + 1, (told, kept, asset))
        yield _Offer(band, _metres(key, asset, kept), _is_jp2(asset))


def _name(band: Mapping[str, Any]) -> str | None:
    name = band.get("name") or band.get("common_name") or band.get("eo:common_name")
    return str(name) if name else None


def _band(path: str, name: str, index: int, sources: Sequence[Mapping[str, Any]]) -> DeliveredBand:
    """Read a band's numbers from the first source that has them: the band itself, then its asset."""
    scale = _number(sources, "raster:scale", "scale")
    scale = scale if scale and 0 < scale < math.inf else None
    offset = _number(sources, "raster:offset", "offset") or 0.0
    offset = offset if math.isfinite(offset) else 0.0
    centre = _number(sources, "eo:center_wavelength", "center_wavelength")
    width = _number(sources, "eo:full_width_half_max", "full_width_half_max")
    wavelength, fwhm = _spectrum(centre, width)
    return DeliveredBand(
        path=path,
        name=name,
        index=index,
        scale=scale,
        offset=None if scale is None else offset,
        nodata=_number(sources, "nodata"),
        wavelength_um=wavelength,
        fwhm_um=fwhm,
    )


def _spectrum(centre: float | None, width: float | None) -> tuple[float | None, float | None]:
    """Return centre and width in µm; many catalogues state nanometres, a width in the unit of its centre."""
    in_um = None if centre is None else micrometres(centre, None)
    if centre is None or in_um is None or width is None:
        return in_um, None
    fwhm = round(width * in_um / centre, 9)
    return in_um, fwhm if 0 < fwhm < in_um else None


def _metres(key: str, asset: Mapping[str, Any], stored: Mapping[str, Any]) -> float:
    transform = asset.get("proj:transform")
    size = _SIZE.search(key)
    told = (
        _number((stored, asset), "spatial_resolution", "raster:spatial_resolution"),
        _float(transform[0]) if isinstance(transform, list) and transform else None,
        float(size[1]) if size else None,
        _number((asset,), "gsd"),
    )
    return next((abs(metres) for metres in told if metres), math.inf)


def _preference(offer: _Offer) -> tuple[float, bool]:
    return offer.metres, offer.is_jp2


def _number(sources: Iterable[Mapping[str, Any]], *names: str) -> float | None:
    found = (source[name] for source in sources for name in names if source.get(name) is not None)
    return next((number for value in found if (number := _float(value)) is not None), None)


def _float(value: Any) -> float | None:
    """Convert a number, also one in words such as ``"nan"``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
