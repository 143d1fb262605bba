"""HLS granules (Harmonized Landsat Sentinel-2, L30 and S30): a folder or archive of one file a band."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

from dofa_cli.errors import NoBands
from dofa_cli.raster.deliveries.container import open_container
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery, QualityLayer, Screen

SCALE, THERMAL_SCALE, OFFSET, NODATA = 0.0001, 0.01, 0.0, -9999.0
"""Reflectance, brightness temperature in °C, and fill (HLS user guide, version 2.0)."""
THERMAL = {("L30", "B10"), ("L30", "B11")}
QUALITY = "FMASK"
PRODUCT = "sr"
"""The product's id in the sensors' files."""

_FILE = re.compile(
    r"(?P<granule>HLS\.(?P<sort>L30|S30)\.T\w{5}\.(?P<time>\d{7}T\d{6})\.v\d+\.\d+)\.(?P<band>B\d[\dA]|Fmask)\.tiff?$",
    re.IGNORECASE,
)


def read(path: str) -> Delivery | None:
    """Return the granule at ``path``, or ``None`` where there is none; :class:`NoBands` for several of them."""
    container = open_container(path)
    if container is None:
        return None
    found = [
        (match, container.gdal_path(member))
        for member in container.members
        if (match := _FILE.match(PurePosixPath(member).name))
    ]
    layers = {match["band"].upper(): file for match, file in found}
    mask = layers.pop(QUALITY, None)
    if not layers:
        return None
    granules = list(dict.fromkeys(match["granule"] for match, _ in found))
    if len(granules) > 1:
        raise NoBands(f"{path} holds {len(granules)} HLS granules ({', '.join(granules[:2])}, …). Name one's folder.")
    sort = found[0][0]["sort"].upper()
    return Delivery(
        path,
        kind=f"HLS {sort} granule",
        sensor=f"hls-{sort.lower()}",
        product=PRODUCT,
        bands=tuple(_band(sort, name, file) for name, file in layers.items()),
        taken=_taken(found[0][0]["time"]),
        quality=None if mask is None else QualityLayer(mask, Screen.HLS_FMASK),
    )


def _band(sort: str, name: str, file: str) -> DeliveredBand:
    scale = THERMAL_SCALE if (sort, name) in THERMAL else SCALE
    return DeliveredBand(file, name, scale=scale, offset=OFFSET, nodata=NODATA)


def _taken(text: str) -> datetime | None:
    """Read year, day of the year and time of day."""
    try:
        return datetime.strptime(text.upper(), "%Y%jT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
