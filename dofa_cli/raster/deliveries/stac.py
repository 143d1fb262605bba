"""STAC items, read from a file or an address: every asset that is a band, with the scales that the catalogue states."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dofa_cli.errors import NoBands
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery
from dofa_cli.raster.deliveries.hls import PRODUCT as HLS_PRODUCT
from dofa_cli.raster.deliveries.stac_assets import bands_of, quality_of
from dofa_cli.raster.deliveries.stac_item import Item, is_local, open_item

FIRST_SHIFTED_BASELINE = 4.0
"""From this processing baseline on, Sentinel-2 values carry an offset of 1000."""
APPLIED = "earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"
"""Properties that say that the offset was taken off already, whatever ``raster:bands`` states."""
DOUBTED_COLLECTION = "sentinel-2-l2a"
"""Earth Search's collection in which the offset of some items was taken off although they say that it was not."""

_SENSORS = (
    (re.compile(r"hls\d?[-.]?l30"), "hls-l30"),
    (re.compile(r"hls\d?[-.]?s30"), "hls-s30"),
    (re.compile(r"sentinel-?2"), "sentinel2"),
    (re.compile(r"sentinel-?1"), "sentinel1"),
    (re.compile(r"landsat-?[45]"), "landsat5"),
    (re.compile(r"landsat-?7"), "landsat7"),
    (re.compile(r"landsat-?8"), "landsat8"),
    (re.compile(r"landsat-?9"), "landsat9"),
    (re.compile(r"naip"), "naip"),
)


@dataclass(frozen=True)
class _Settled:
    """The product's id, bands with the offsets that hold, and what was settled against the item's own words."""

    product: str | None
    bands: Sequence[DeliveredBand]
    notes: tuple[str, ...] = ()


def read(path: str) -> Delivery | None:
    """Return the scene of the STAC item at ``path``, or ``None`` where it is something else.

    Raises the errors of :func:`open_item`, and :class:`NoBands` for items without bands, or none of whose files is
    there.
    """
    item = open_item(path)
    if item is None:
        return None
    bands = bands_of(item)
    if not bands:
        keys = ", ".join(item.assets) or "none"
        raise NoBands(f"{path} has no assets that are GeoTIFF or JPEG 2000 bands. Its assets: {keys}.")
    there = [band for band in bands if not is_local(band.path) or Path(band.path).exists()]
    if not there:
        raise NoBands(f"None of the {len(bands)} bands of {path} is there; {bands[0].name} should be {bands[0].path}.")
    absent = [band.name for band in bands if band not in there]
    sensor = _sensor(item)
    settled = _settled(item, sensor, there)
    notes = (f"not there: {', '.join(absent)}.",) if absent else ()
    return Delivery(
        path=path,
        kind="STAC item",
        sensor=sensor,
        product=settled.product,
        bands=tuple(settled.bands),
        taken=_taken(item),
        quality=quality_of(item),
        notes=(*notes, *settled.notes),
    )


def _sensor(item: Item) -> str | None:
    """Tell the sensor by the collection, which may harmonise several, else by the platform; ``None`` if unknown."""
    told = item.properties
    if "mss" in str(told.get("instruments")).lower():
        return None  # the scanner that the same satellites carried before
    words = (item.collection, told.get("platform"), told.get("constellation"))
    names = [str(word).lower().replace("_", "-").replace(" ", "-") for word in words if word]
    return next((sensor for name in names for pattern, sensor in _SENSORS if pattern.search(name)), None)


def _settled(item: Item, sensor: str | None, bands: Sequence[DeliveredBand]) -> _Settled:
    if sensor == "sentinel2":
        return _sentinel2(item, bands)
    if sensor and sensor.startswith("landsat"):
        return _landsat(item, bands)
    return _Settled(HLS_PRODUCT if sensor and sensor.startswith("hls") else None, bands)


def _sentinel2(item: Item, bands: Sequence[DeliveredBand]) -> _Settled:
    """Settle whether 1000 is still to be taken off the values.

    The offset holds where the item states it, or where its baseline demands it and no scale is stated; but not where
    the item says that it was applied, nor before baseline 04.00.
    """
    level, baseline = _level(item), _baseline(item)
    flags = [item.properties[name] for name in APPLIED if name in item.properties]
    stated = any(band.offset for band in bands)
    if any(flags) or (baseline is not None and baseline < FIRST_SHIFTED_BASELINE):
        why = "its boa_offset_applied says that it was applied" if any(flags) else "it is older than baseline 04.00"
        note = (f"the offset that the item states is left out: {why}.",) if stated else ()
        return _Settled(level, [replace(b, offset=0.0) if b.offset else b for b in bands], note)
    unstated = all(band.scale is None for band in bands)
    shifted = stated or (unstated and baseline is not None)
    product = f"{level}-0400" if level and shifted else level
    doubted = item.collection == DOUBTED_COLLECTION and bool(flags) and stated
    return _Settled(product, bands, (_DOUBT,) if doubted else ())


_DOUBT = (
    "the item says that 1000 is still in the values. Some of this catalogue say so wrongly: if many reflectances come "
    "out below 0, give --scale 0.0001 --offset 0."
)


def _level(item: Item) -> str | None:
    told = item.properties
    words = (item.collection, told.get("s2:product_type"), told.get("processing:level"), item.id)
    found = (re.search(r"(?:L|MSI)(1C|2A)", str(word), re.IGNORECASE) for word in words)
    return next((f"l{match[1].lower()}" for match in found if match), None)


def _baseline(item: Item) -> float | None:
    """Return the processing baseline as a number: 5.11 for ``05.11`` or a product named ``_N0511_``."""
    told = item.properties
    for name in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        if match := re.fullmatch(r"(\d\d?)\.(\d\d)", str(told.get(name))):
            return float(match[0])
    for product in (told.get("s2:product_uri"), told.get("sentinel:product_id"), item.id):
        if match := re.search(r"_N(\d\d)(\d\d)_", str(product)):
            return float(f"{match[1]}.{match[2]}")
    return None


def _landsat(item: Item, bands: Sequence[DeliveredBand]) -> _Settled:
    correction = str(item.properties.get("landsat:correction"))
    level = re.match(r"L([12])", correction) or re.search(r"c2-?l([12])", item.collection)
    if level is None:
        return _Settled(None, bands)
    product = f"c2-l{level[1]}"
    unstated = product == "c2-l1" and all(band.scale is None for band in bands)
    return _Settled(product, bands, (_NO_SUN,) if unstated else ())


_NO_SUN = (
    "Level 1 values are not corrected for the sun's elevation; give the scene's folder or MTL file instead to have "
    "them corrected."
)


def _taken(item: Item) -> datetime | None:
    text = item.properties.get("datetime") or item.properties.get("start_datetime")
    try:
        found = None if text is None else datetime.fromisoformat(str(text))
        return found and (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
