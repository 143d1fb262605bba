"""From a path to headers: one of a plain raster, or one a file of an agency's product with its bands named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dofa_cli.errors import NoBands
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery
from dofa_cli.raster.deliveries.unpack import unpack
from dofa_cli.raster.header import FileBand, Header, read_header


def headers_at(path: str) -> list[Header]:
    """Return the headers of what lies at ``path``.

    Bands of a product carry the names, scales, offsets, nodata and wavelengths of its metadata.
    """
    delivery = unpack(path)
    if delivery is None:
        return [read_header(path)]
    if not delivery.bands:
        raise NoBands(f"{path} is a {delivery.kind} without any band that could be read.")
    by_file: dict[str, list[DeliveredBand]] = {}
    for band in delivery.bands:
        by_file.setdefault(band.path, []).append(band)
    return [_delivered(delivery, file, bands) for file, bands in by_file.items()]


def _delivered(delivery: Delivery, file: str, delivered: Sequence[DeliveredBand]) -> Header:
    header = read_header(file)
    by_index = {band.index: band for band in header.bands}
    if absent := [band.index for band in delivered if band.index not in by_index]:
        raise NoBands(f"{file} has no band {absent[0]}, which the metadata of {delivery.path} name.")
    bands = tuple(_named(by_index[band.index], band) for band in delivered)
    return replace(header, bands=bands, delivery=delivery, taken=delivery.taken or header.taken)


def _named(found: FileBand, delivered: DeliveredBand) -> FileBand:
    """Lay what the product's metadata say over what the file says."""
    return replace(
        found,
        text=delivered.name,
        nodata=found.nodata if delivered.nodata is None else delivered.nodata,
        scale=found.scale if delivered.scale is None else delivered.scale,
        offset=found.offset if delivered.offset is None else delivered.offset,
        wavelength_um=delivered.wavelength_um or found.wavelength_um,
        fwhm_um=delivered.fwhm_um or found.fwhm_um,
        usable=delivered.usable and found.usable,
    )
