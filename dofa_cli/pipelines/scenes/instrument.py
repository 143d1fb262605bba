"""Which instrument a scene comes from: as given, as its product says, as it looks, or made of wavelengths it states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dofa_cli.errors import BadWavelengths, OptionError
from dofa_cli.pipelines.scenes.traces import delivered_sensors, traces
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.spectrum import all_stated
from dofa_cli.sensors import registry
from dofa_cli.sensors.custom import from_spectrum, from_wavelengths, parse_wavelengths
from dofa_cli.sensors.names import wavelength_in
from dofa_cli.sensors.recognise import Candidate, candidates, settled
from dofa_cli.sensors.schema import Sensor

SHOWN_CANDIDATES = 4


@dataclass(frozen=True)
class Instrument:
    """A sensor and how it was told; ``by_order`` says that its bands are the file's, one by one."""

    sensor: Sensor
    how: str
    by_order: bool = False
    notes: tuple[str, ...] = ()


def find_instrument(
    headers: Sequence[Header], name: str | None, wavelengths: str | None, *, chosen: bool, reflectance: bool
) -> Instrument:
    """Settle the instrument of one scene's files.

    ``name`` and ``wavelengths`` are what the user gives, ``chosen`` whether bands are picked by hand, ``reflectance``
    whether scale or offset are given. Raises :class:`OptionError` with the candidates when nothing settles it.
    """
    if wavelengths:
        return _by_hand(headers, wavelengths, chosen=chosen, reflectance=reflectance)
    told = delivered_sensors(headers)
    if name:
        given = _named(registry.sensor(name), headers, "given")
        other = told - {given.sensor.id, given.sensor.extends}
        note = f"--sensor {given.sensor.id} is used, but the product's metadata say {', '.join(sorted(other))}."
        return replace(given, notes=(*given.notes, note)) if other else given
    if len(told) == 1:
        return _named(registry.sensor(told.pop()), headers, "by its metadata")
    likely = candidates(traces(headers), registry.sensors())
    if found := settled(likely):
        clues = "; ".join(found.evidence)
        note = f"taken as {found.sensor.id} ({found.sensor.name}): {clues}. --sensor says otherwise."
        taken = _named(found.sensor, headers, f"recognised: {clues}")
        return replace(taken, notes=(note, *taken.notes))
    bands = _with_described_wavelengths(headers)
    if all_stated(bands):
        sensor = _of_spectrum(bands, reflectance=reflectance)
        names = ", ".join(one.sensor.id for one in likely[:SHOWN_CANDIDATES])
        note = f"no --sensor given: the {len(bands)} wavelengths that the file states are used."
        note += f" It may be {names}, whose statistics --sensor would use." if names else ""
        return Instrument(sensor, "wavelengths stated by the file", by_order=True, notes=(note,))
    raise OptionError(_unsettled(likely))


def _by_hand(headers: Sequence[Header], text: str, *, chosen: bool, reflectance: bool) -> Instrument:
    sensor = from_wavelengths(parse_wavelengths(text), reflectance=reflectance)
    count = sum(len(header.bands) for header in headers)
    if count != len(sensor.bands) and not chosen:
        raise BadWavelengths(
            f"--wavelengths gives {len(sensor.bands)} values, the scene has {count} bands. Give one value a band, "
            "or choose with --bands b1=NUMBER,b2=NUMBER,…"
        )
    return Instrument(sensor, "wavelengths given", by_order=True)


def _named(sensor: Sensor, headers: Sequence[Header], how: str) -> Instrument:
    """Take a sensor of the registry, with the file's own wavelengths where products of that sensor differ in them."""
    bands = _with_described_wavelengths(headers)
    if not sensor.wavelengths_vary or not all_stated(bands):
        return Instrument(sensor, how)
    own = _of_spectrum(bands, reflectance=False)
    fields = {name: getattr(own, name) for name in ("bands", "presets", "default", "stack_orders", "statistics")}
    note = f"{sensor.id}: wavelengths are those that the file states."
    return Instrument(sensor.model_copy(update=fields), f"{how}, wavelengths of the file", by_order=True, notes=(note,))


def _of_spectrum(bands: Sequence[FileBand], *, reflectance: bool) -> Sensor:
    return from_spectrum(
        [band.wavelength_um or 0.0 for band in bands],
        [band.fwhm_um for band in bands],
        [band.usable for band in bands],
        reflectance=reflectance,
    )


def states_wavelengths(headers: Sequence[Header]) -> bool:
    """Whether the files state the wavelength of every band, in their metadata or their descriptions."""
    return all_stated(_with_described_wavelengths(headers))


def _with_described_wavelengths(headers: Sequence[Header]) -> list[FileBand]:
    """Return all bands, with wavelengths that only their descriptions state."""
    bands = [band for header in headers for band in header.bands]
    return [band if band.wavelength_um else _described(band) for band in bands]


def _described(band: FileBand) -> FileBand:
    stated = wavelength_in(band.text or "")
    return band if stated is None else band.stating(stated)


def _unsettled(likely: Sequence[Candidate]) -> str:
    ask = "Name the instrument with --sensor (for instance --sensor sentinel2), or give --wavelengths"
    if not likely:
        return f"{ask}: nothing in the file's name, tags or bands tells it. `dofa sensors list` shows what is known."
    shown = "; ".join(f"{one.sensor.id} ({', '.join(one.evidence)})" for one in likely[:SHOWN_CANDIDATES])
    return f"{ask}. It may be {shown}. `dofa sensors suggest` tells more."
