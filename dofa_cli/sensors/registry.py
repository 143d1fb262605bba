"""Look sensors up by id, alias or file, and read wavelengths given by hand."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from dofa_cli.errors import BadSensorFile, BadWavelengths, UnknownSensor
from dofa_cli.resources import data_folder
from dofa_cli.sensors.schema import LONGEST_OPTICAL_UM, Band, Kind, Product, Quantity, Sensor

CUSTOM = "custom"
"""Id of a sensor made from ``--wavelengths``."""


def sensor(name: str) -> Sensor:
    """Return the sensor of that id or alias, or the one in a ``.toml`` file; :class:`UnknownSensor` suggests others."""
    if name.endswith(".toml"):
        return read_sensor(Path(name))
    by_id = {path.stem: path for path in data_folder("sensors").glob("*.toml")}
    if path := by_id.get(name.lower()):
        return read_sensor(path)
    by_alias = {_fold(alias): entry for entry in sensors() for alias in (entry.id, entry.name, *entry.aliases)}
    if found := by_alias.get(_fold(name)):
        return found
    raise UnknownSensor(f"No sensor '{name}'. {_suggestion(name, by_alias, by_alias.values())}")


@cache
def sensors() -> tuple[Sensor, ...]:
    """Return every built-in sensor, by id."""
    return tuple(read_sensor(path) for path in sorted(data_folder("sensors").glob("*.toml")))


@cache
def read_sensor(path: Path) -> Sensor:
    """Read one sensor file; :class:`BadSensorFile` names file, field and fault."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return Sensor.model_validate(content)
    except FileNotFoundError:
        raise UnknownSensor(f"No sensor file {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadSensorFile(f"{path} is not a readable TOML file: {error}.") from None
    except ValidationError as error:
        raise BadSensorFile(f"{path} is not a valid sensor file: {_explain(error)}") from None


def from_wavelengths(wavelengths_um: Sequence[float], *, reflectance: bool = False) -> Sensor:
    """Return a sensor for wavelengths given by hand, in the order of the file's bands.

    Values are taken as uncalibrated, or as reflectance once scale and offset are applied.

    Raises :class:`BadWavelengths` for values that cannot be µm.
    """
    if not wavelengths_um:
        raise BadWavelengths("No wavelength is given. Write 0.665,0.56,0.49 (micrometres).")
    for value in wavelengths_um:
        check_micrometres(value)
    bands = tuple(Band(id=f"b{n}", center_um=value) for n, value in enumerate(wavelengths_um, 1))
    return Sensor(
        id=CUSTOM,
        name="wavelengths given by hand",
        kind=Kind.OPTICAL,
        status="given by hand",
        products=(Product(id="values", quantity=Quantity.TOA_REFLECTANCE if reflectance else Quantity.DN),),
        bands=bands,
        stack_orders=(tuple(band.id for band in bands),),
    )


def check_micrometres(value: float) -> None:
    """Raise :class:`BadWavelengths` unless ``value`` can be an optical wavelength in µm."""
    if 100 <= value <= 1000 * LONGEST_OPTICAL_UM:
        raise BadWavelengths(f"Wavelength {value:g} looks like nanometres. Give micrometres: {value / 1000:g}.")
    if not 0.1 < value <= LONGEST_OPTICAL_UM:
        raise BadWavelengths(f"Wavelength {value:g} µm is outside 0.1 to {LONGEST_OPTICAL_UM:g} µm.")


def parse_wavelengths(text: str) -> tuple[float, ...]:
    """Read ``"0.665,0.56,0.49"`` as µm."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadWavelengths(f"Cannot read '{text}' as wavelengths. Write 0.665,0.56,0.49 (micrometres).") from None


def _fold(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _suggestion(name: str, known: Iterable[str], entries: Iterable[Sensor]) -> str:
    ids = {_fold(alias): entry.id for entry in entries for alias in (entry.id, entry.name, *entry.aliases)}
    close = dict.fromkeys(ids[match] for match in difflib.get_close_matches(_fold(name), list(known), n=3, cutoff=0.55))
    if close:
        return f"Did you mean {' or '.join(repr(i) for i in close)}?"
    everything = ", ".join(sorted(set(ids.values())))
    return f"Known are {everything}; or give --wavelengths 0.665,0.56,0.49 (micrometres, in the file's band order)."


def _explain(error: ValidationError) -> str:
    """One line per fault: where it is, and what is wrong."""
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "file"
        faults.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults[:5])
