"""Which band of the file is which band of the sensor: by description, file name, colour, or a unique stack order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dofa_cli.errors import BandMismatch
from dofa_cli.sensors.names import BandNames, fold, wavelength_in
from dofa_cli.sensors.schema import Band, Sensor

LOOSELY = 0.05
"""Share of its wavelength by which a band of a stack in the usual order may be stated differently."""


@dataclass(frozen=True)
class Label:
    """What a file says about one of its bands. ``pixel_size`` is in units of the CRS; ``index`` counts from 1."""

    file: str
    index: int
    in_file: int
    text: str | None = None
    colour: str | None = None
    pixel_size: float = 1.0

    def describe(self) -> str:
        """Write the label for a message."""
        return f"{self.index} '{self.text}'" if self.text else str(self.index)


@dataclass(frozen=True)
class Choice:
    """The bands to use, in order: ``positions`` index the labels, ``bands`` are the sensor's."""

    bands: tuple[Band, ...]
    positions: tuple[int, ...]
    notes: tuple[str, ...] = ()


def choose_bands(labels: Sequence[Label], sensor: Sensor, request: str | None, family: str) -> Choice:
    """Match ``labels`` to ``sensor`` and pick the requested bands.

    ``request`` is a preset (``rgb``), a list (``B04,B03``), an assignment of file bands (``B04=3,B03=2``), or ``None``
    for the sensor's default. Raises :class:`BandMismatch` with what was found, what the sensor has, and what to give.
    """
    names = BandNames(sensor)
    asked = _parse_request(request, sensor, names) if request else None
    if asked and any(index is not None for _, index in asked):
        return _by_assignment(labels, sensor, asked)
    found = _match(labels, sensor, names)
    if not found and asked and request not in (*sensor.presets, "all") and len(asked) == len(labels):
        found = {band.id: position for position, (band, _) in enumerate(asked)}
    if not found:
        raise BandMismatch(_no_match(labels, sensor))
    if asked and request != "all":
        return _pick([band for band, _ in asked], found, labels, sensor)
    by_id = sensor.by_id
    default = [band for band, _ in asked] if asked else [by_id[name] for name in sensor.default_bands(family)]
    present = [band for band in default if band.id in found] or [band for band in sensor.bands if band.id in found]
    absent = [band.id for band in default if band.id not in found]
    choice = _pick(present, found, labels, sensor)
    notes = (f"not in the file: {', '.join(absent)}",) if absent else ()
    return Choice(choice.bands, choice.positions, choice.notes + notes)


def _match(labels: Sequence[Label], sensor: Sensor, names: BandNames) -> dict[str, int]:
    """Return label positions by band id; the finest pixel wins where two labels name one band.

    Raises :class:`BandMismatch` where two labels of one size do, since they belong to several scenes.
    """
    told = [_band_of(label, names) for label in labels]
    if not any(told) or (not all(told) and _agrees_with_order(labels, told, sensor)):
        told = _by_order(labels, sensor, names)
    found: dict[str, int] = {}
    for position, name in enumerate(told):
        if not name:
            continue
        if name in found and labels[position].pixel_size == labels[found[name]].pixel_size:
            _refuse_twins(name, labels[found[name]], labels[position], names)
        if name not in found or labels[position].pixel_size < labels[found[name]].pixel_size:
            found[name] = position
    return found


def _refuse_twins(name: str, first: Label, second: Label, names: BandNames) -> None:
    """Refuse two labels that both call themselves one band; wavelengths alone may well fall on the same."""
    if all(not label.text or names.by_name(label.text) for label in (first, second)):
        places = " and ".join(f"{label.file} (band {label.index})" for label in (first, second))
        raise BandMismatch(
            f"{name} stands in {places}. Give one scene at a time, or say which with --bands {name}=NUMBER,…"
        )


def _agrees_with_order(labels: Sequence[Label], told: Sequence[str | None], sensor: Sensor) -> bool:
    """Whether the bands found stand where the sensor's only order of that length has them, and the others may too.

    So a stack in a sensor's own order is read whole although some of its wavelengths are stated a little differently.
    """
    orders = [order for order in sensor.stack_orders if len(order) == len(labels)]
    if len(orders) != 1 or any(label.in_file == 1 for label in labels):
        return False
    bands = sensor.by_id
    rows = zip(labels, told, orders[0], strict=True)
    return all(name == usual or (name is None and _is_near(label, bands[usual])) for label, name, usual in rows)


def _is_near(label: Label, band: Band) -> bool:
    """Whether a label says nothing, or a wavelength within a twentieth of the band's."""
    stated = wavelength_in(label.text or "")
    if stated is None or band.center_um is None:
        return not label.text or _says_its_number_only(label)
    return abs(stated - band.center_um) <= LOOSELY * band.center_um


def _band_of(label: Label, names: BandNames) -> str | None:
    if label.text and not _says_its_number_only(label):
        return names.by_text(label.text)
    return names.by_file_name(label.file) if label.in_file == 1 else None


def _says_its_number_only(label: Label) -> bool:
    """Whether a description is no more than the "Band 3" that many writers give to the third band."""
    return fold(label.text or "") == f"band{label.index}"


def _by_order(labels: Sequence[Label], sensor: Sensor, names: BandNames) -> list[str | None]:
    """Name an unnamed stack by colours, or by count when only one order of that length is plausible."""
    if len(labels) > 1 and any(label.in_file == 1 for label in labels):
        return [None] * len(labels)
    colours = [names.by_name(label.colour) if label.colour else None for label in labels]
    if all(colours):
        return colours
    orders = [order for order in sensor.stack_orders if len(order) == len(labels)]
    return list(orders[0]) if len(orders) == 1 else [None] * len(labels)


def _parse_request(request: str, sensor: Sensor, names: BandNames) -> list[tuple[Band, int | None]]:
    by_id = sensor.by_id
    if request in sensor.presets:
        return [(by_id[name], None) for name in sensor.presets[request]]
    if request == "all":
        return [(band, None) for band in sensor.bands]
    asked = []
    for part in filter(None, (part.strip() for part in request.split(","))):
        name, _, index = part.partition("=")
        band = by_id.get(names.by_name(name) or "")
        if band is None or (index and not index.isdecimal()):
            presets = ", ".join(sensor.presets) or "none"
            raise BandMismatch(
                f"--bands '{part}' is not a band of {sensor.id}. It has {_list(sensor)}; presets: {presets}; "
                "or write NAME=NUMBER for a band of the file."
            )
        asked.append((band, int(index) if index else None))
    if len({index is None for _, index in asked}) > 1:
        raise BandMismatch(f"--bands '{request}' numbers some bands only. Write NAME=NUMBER for every band, or none.")
    if len({band.id for band, _ in asked}) < len(asked) or not asked:
        raise BandMismatch(f"--bands '{request}' names a band twice or none.")
    return asked


def _by_assignment(labels: Sequence[Label], sensor: Sensor, asked: list[tuple[Band, int | None]]) -> Choice:
    for band, index in asked:
        if not 1 <= (index or 0) <= len(labels):
            raise BandMismatch(
                f"--bands {band.id}={index}: the file has {_bands(len(labels))}. {_no_match(labels, sensor)}"
            )
    return Choice(tuple(band for band, _ in asked), tuple((index or 1) - 1 for _, index in asked))


def _pick(bands: Sequence[Band], found: dict[str, int], labels: Sequence[Label], sensor: Sensor) -> Choice:
    if missing := [band.id for band in bands if band.id not in found]:
        raise BandMismatch(
            f"The file has no {', '.join(missing)}. Found: {', '.join(found)}. {_no_match(labels, sensor)}"
        )
    unused = len(labels) - len(bands)
    notes = (f"{_bands(unused)} of the file left out",) if unused else ()
    return Choice(tuple(bands), tuple(found[band.id] for band in bands), notes)


def _no_match(labels: Sequence[Label], sensor: Sensor) -> str:
    shown = ", ".join(label.describe() for label in labels[:14]) + (", …" if len(labels) > 14 else "")
    return (
        f"The file has {_bands(len(labels))} ({shown}); {sensor.id} has {_list(sensor)}. Say which is which with "
        "--bands NAME,NAME,… in file order or --bands NAME=NUMBER,…, or give --wavelengths in µm."
    )


def _list(sensor: Sensor, most: int = 14) -> str:
    names = [band.id for band in sensor.bands]
    return ", ".join(names) if len(names) <= most else f"{len(names)} bands, {names[0]} to {names[-1]}"


def _bands(count: int) -> str:
    return f"{count} band" + ("" if count == 1 else "s")
