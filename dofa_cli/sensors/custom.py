"""A sensor made of wavelengths alone: given by hand, or stated by a file."""

from __future__ import annotations

from collections.abc import Sequence

from dofa_cli.errors import BadWavelengths
from dofa_cli.sensors.schema import (
    LONGEST_OPTICAL_UM,
    SHORTEST_OPTICAL_UM,
    Band,
    Kind,
    Product,
    Quantity,
    Sensor,
    Status,
)

CUSTOM = "custom"
"""Id of a sensor made from ``--wavelengths``."""


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
        status=Status.GIVEN,
        products=(Product(id="values", quantity=Quantity.TOA_REFLECTANCE if reflectance else Quantity.DN),),
        bands=bands,
        stack_orders=(tuple(band.id for band in bands),),
    )


def from_spectrum(
    centres_um: Sequence[float], widths_um: Sequence[float | None], usable: Sequence[bool], *, reflectance: bool = False
) -> Sensor:
    """Return a sensor for wavelengths and widths in µm that a file states, in its order; bad bands are left out."""
    plain = from_wavelengths(centres_um, reflectance=reflectance)
    rows = zip(plain.bands, widths_um, strict=True)
    bands = tuple(band.model_copy(update={"fwhm_um": width}) for band, width in rows)
    good = tuple(band.id for band, is_good in zip(bands, usable, strict=True) if is_good)
    return plain.model_copy(
        update={
            "name": "wavelengths stated by the file",
            "bands": bands,
            "presets": {"good": good},
            "default": {"dofa_v1": "good", "dofa_v2": "good"},
        }
    )


def check_micrometres(value: float) -> None:
    """Raise :class:`BadWavelengths` unless ``value`` can be an optical wavelength in µm."""
    if 100 <= value <= 1000 * LONGEST_OPTICAL_UM:
        raise BadWavelengths(f"Wavelength {value:g} looks like nanometres. Give micrometres: {value / 1000:g}.")
    if not SHORTEST_OPTICAL_UM < value <= LONGEST_OPTICAL_UM:
        raise BadWavelengths(
            f"Wavelength {value:g} µm is outside {SHORTEST_OPTICAL_UM:g} to {LONGEST_OPTICAL_UM:g} µm."
        )


def parse_wavelengths(text: str) -> tuple[float, ...]:
    """Read ``"0.665,0.56,0.49"`` as µm."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadWavelengths(f"Cannot read '{text}' as wavelengths. Write 0.665,0.56,0.49 (micrometres).") from None
