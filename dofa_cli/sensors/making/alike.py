"""A sensor like a known one: a file that extends that one's, or a copy where bands are called otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dofa_cli.errors import OptionError
from dofa_cli.sensors.files import OWN, Content
from dofa_cli.sensors.making.draft import BandWishes, Identity, ProductWish, drop_shared_names
from dofa_cli.sensors.making.found import listed, spectrum
from dofa_cli.sensors.making.naming import band_names
from dofa_cli.sensors.registry import Entry
from dofa_cli.sensors.schema import Kind, Sensor, Status


def content_like(
    parent: Entry, identity: Identity, wavelengths: Sequence[float] | None, wishes: BandWishes, *, may_extend: bool
) -> tuple[Content, tuple[str, ...]]:
    """Return the content of a file for a sensor like ``parent``, and notices.

    ``wavelengths`` and ``wishes`` are in the order of its bands. Where the file ``may_extend`` the parent's, it holds
    only what differs.

    Raises :class:`OptionError` for values of another number than the bands, and
    :class:`~dofa_cli.errors.BadWavelengths`.
    """
    sensor = parent.sensor
    changes, notices = _changes(sensor, wavelengths, wishes)
    ids = _ids(sensor, wishes.names)
    own = {
        **identity.content,
        **({"kind": identity.kind.value} if identity.kind else {}),
        **_products(sensor, identity.product),
    }
    if may_extend and list(ids) == list(ids.values()):
        differing = [{"id": name, **fields} for name, fields in changes.items() if fields]
        bands = {"bands": differing} if differing else {}
        return {**own, "extends": sensor.id, **bands}, notices
    return _copy(sensor, own, changes, ids), notices


def _changes(
    sensor: Sensor, wavelengths: Sequence[float] | None, wishes: BandWishes
) -> tuple[dict[str, Content], tuple[str, ...]]:
    """Return the fields of each band that are to change, by its id."""
    bands, count = sensor.bands, len(sensor.bands)
    if wavelengths is not None and len(wavelengths) != count:
        raise OptionError(
            f"--wavelengths gives {len(wavelengths)} values, {sensor.id} has {count} bands "
            f"({listed([band.id for band in bands])}). Give one a band, in that order."
        )
    wishes.check(count)
    if sensor.kind is Kind.SAR and (wavelengths or wishes.fwhm):
        raise OptionError(f"{sensor.id} is a radar, which has no --wavelengths and no --fwhm.")
    changes: dict[str, Content] = {band.id: {} for band in bands}
    notices: tuple[str, ...] = ()
    if wavelengths or wishes.fwhm:
        notices = _measure(sensor, wavelengths, wishes.fwhm, changes)
    for band, size in zip(bands, wishes.sizes(count) or [band.gsd_m for band in bands], strict=True):
        if size != band.gsd_m:
            changes[band.id]["gsd_m"] = size
    return changes, notices


def _measure(
    sensor: Sensor,
    wavelengths: Sequence[float] | None,
    widths: Sequence[float] | None,
    changes: Mapping[str, Content],
) -> tuple[str, ...]:
    """Note new centres and widths. A band that moves loses the wavelength that training gave it instead."""
    bands = sensor.bands
    labels = [band.id for band in bands]
    found = spectrum(labels, wavelengths or [band.center_um for band in bands], widths or [None] * len(bands))
    for band, center, width in zip(bands, found.centers_um, found.fwhm_um, strict=True):
        fields = changes[band.id]
        if wavelengths and center != band.center_um:
            fields |= {"center_um": center, **({"model": {}} if band.model else {})}
        if width is not None and width != band.fwhm_um:
            fields["fwhm_um"] = width
        if fields:
            fields["status"] = Status.GIVEN.value
    published = {name for stats in sensor.statistics for name in stats.bands}
    moved = [name for name, fields in changes.items() if "center_um" in fields and name in published]
    if not moved:
        return found.notices
    return (*found.notices, f"statistics of {sensor.id} still stand for {listed(moved)}; --stats-from replaces them.")


def _ids(sensor: Sensor, names: Sequence[str] | None) -> dict[str, str]:
    """Return the new id of each band by the old one."""
    old = [band.id for band in sensor.bands]
    return dict(zip(old, [name.id for name in band_names(names)] if names else old, strict=True))


def _products(sensor: Sensor, wish: ProductWish) -> Content:
    """Return what replaces the products: one of reflectance, or all with another nodata value."""
    if wish.is_reflectance:
        product = wish.content()
        return {"default_product": product["id"], "products": [product]}
    if wish.nodata is None:
        return {}
    return {"products": [{**_plain(product), "nodata": wish.nodata} for product in sensor.products]}


def _copy(sensor: Sensor, own: Content, changes: Mapping[str, Content], ids: Mapping[str, str]) -> Content:
    """Return all that the known sensor's file and those that it extends say, with bands called by their new ``ids``."""
    whole = {key: value for key, value in _plain(sensor).items() if key not in OWN}
    whole["bands"] = [_renamed({**band, **changes[band["id"]]}, ids) for band in whole["bands"]]
    if list(ids) != list(ids.values()):
        drop_shared_names(whole["bands"])
    for key in ("presets", "stack_orders"):
        if key in whole:
            whole[key] = _mapped(whole[key], ids)
    if "statistics" in whole:
        whole["statistics"] = [{**stats, "bands": _mapped(stats["bands"], ids)} for stats in whole["statistics"]]
    return {**own, **{key: value for key, value in whole.items() if key not in own}}


def _renamed(band: Content, ids: Mapping[str, str]) -> Content:
    """Give a band its new id; the old one becomes an alias."""
    new = ids[band["id"]]
    if new == band["id"]:
        return band
    return {**band, "id": new, "aliases": [*band.get("aliases", ()), band["id"]]}


def _mapped(names: Any, ids: Mapping[str, str]) -> Any:
    """Return band lists, of whatever depth, with new ids."""
    if isinstance(names, str):
        return ids[names]
    if isinstance(names, Mapping):
        return {key: _mapped(value, ids) for key, value in names.items()}
    return [_mapped(name, ids) for name in names]


def _plain(model: Any) -> Content:
    """Return a model's fields that are not their defaults."""
    fields: Content = model.model_dump(exclude_defaults=True, exclude_none=True)
    return fields
