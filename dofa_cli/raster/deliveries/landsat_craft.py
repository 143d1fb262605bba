"""Which Landsat took a scene, and how its values become reflectance or kelvin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dofa_cli.errors import DamagedRaster
from dofa_cli.raster.deliveries.landsat_mtl import Mtl

SENSORS = {4: "landsat5", 5: "landsat5", 7: "landsat7", 8: "landsat8", 9: "landsat9"}
"""Sensors by the number of the satellite; the Multispectral Scanner (MSS) of Landsat 1-5 has none."""
LAST_WITH_MSS_ALONE = 3
MSS_UM = (0.55, 0.1), (0.65, 0.1), (0.75, 0.1), (0.95, 0.3)
"""Centre and width of the scanner's four bands in µm (USGS: 0.5-0.6, 0.6-0.7, 0.7-0.8, 0.8-1.1)."""

Factors = tuple[float | None, float | None]
"""Scale and offset, ``None`` where values cannot be turned into the product's quantity."""


@dataclass(frozen=True)
class Craft:
    """The satellite's number, whether its old scanner (MSS) took the scene, and the level such as ``L2SP``."""

    number: int
    is_mss: bool
    level: str

    @classmethod
    def of(cls, mtl: Mtl, contents: Mapping[str, str]) -> Self:
        """Read the metadata file, of which ``contents`` is the group that lists the product's files."""
        text = mtl.need("SPACECRAFT_ID")
        level = contents.get("PROCESSING_LEVEL") or contents.get("DATA_TYPE")  # Collection 2, Collection 1
        if not text[-1:].isdecimal():
            raise DamagedRaster(f"{mtl.name} states SPACECRAFT_ID = '{text}', which is no Landsat satellite.")
        if not level:
            raise mtl.lacks("PROCESSING_LEVEL")
        return cls(int(text[-1]), int(text[-1]) <= LAST_WITH_MSS_ALONE or mtl.find("SENSOR_ID") == "MSS", level)

    @property
    def sensor(self) -> str | None:
        """The sensor's id."""
        return None if self.is_mss else SENSORS.get(self.number)

    @property
    def is_level2(self) -> bool:
        """Whether values are surface reflectance and temperature."""
        return self.level.startswith("L2")

    @property
    def product(self) -> str | None:
        """The product's id in the sensor's file."""
        return ("c2-l2" if self.is_level2 else "c2-l1") if self.sensor else None

    @property
    def kind(self) -> str:
        """What to call the scene."""
        return f"Landsat {self.number} {'MSS ' if self.is_mss else ''}{self.level} scene"

    def spectrum(self, band: str) -> tuple[float | None, float | None]:
        """Return centre and width of a band in µm where no sensor's file has them."""
        first = 4 if self.number <= LAST_WITH_MSS_ALONE else 1
        names = [f"B{first + step}" for step in range(len(MSS_UM))]
        return MSS_UM[names.index(band)] if self.is_mss and band in names else (None, None)


@dataclass(frozen=True)
class Calibration:
    """The factors in a metadata file; ``sine`` is that of the sun's elevation, ``None`` at night, 1 for Level 2."""

    mtl: Mtl
    is_level2: bool
    sine: float | None

    @classmethod
    def of(cls, mtl: Mtl, craft: Craft) -> Self:
        """Read the sun's elevation, which only Level 1 needs."""
        if craft.is_level2:
            return cls(mtl, True, 1.0)
        elevation = mtl.number("SUN_ELEVATION", mtl.need("SUN_ELEVATION")) or 0.0
        return cls(mtl, False, math.sin(math.radians(elevation)) if elevation > 0 else None)

    def factors(self, key: str) -> Factors:
        """Return scale and offset of the band with that key, such as ``4`` or ``ST_B10``.

        Level 1 reflectance at the top of the atmosphere is (mult · value + add) / sin(sun elevation), as in the USGS
        Landsat Collection 2 Level-1 data format control book. Level 1 thermal bands have radiance alone.
        """
        quantity = "TEMPERATURE" if key.startswith("ST_") else "REFLECTANCE"
        if self.is_level2:
            group = self.mtl.group(f"LEVEL2_SURFACE_{quantity}_PARAMETERS")
        else:
            group = self.mtl.group("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
        names = f"{quantity}_MULT_BAND_{key}", f"{quantity}_ADD_BAND_{key}"
        mult, add = (self.mtl.number(name, group.get(name)) for name in names)
        if mult is None or add is None or self.sine is None:
            return None, None
        return mult / self.sine, add / self.sine
