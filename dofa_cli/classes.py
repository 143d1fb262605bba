"""The classes of a map: their values in the raster, names and colours."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import OptionError

Rgb = tuple[int, int, int]
"""Red, green, blue from 0 to 255."""
UNLABELLED = -1
"""Index of pixels without a class."""
LARGEST = 65535
_GOLDEN = 0.618034
USUAL_COLOURS: dict[str, Rgb] = {
    "wetland": (88, 180, 160), "marsh": (88, 180, 160), "water": (50, 110, 200), "river": (50, 110, 200),
    "lake": (50, 110, 200), "sea": (30, 80, 170), "forest": (25, 95, 40), "tree": (25, 95, 40), "wood": (25, 95, 40),
    "scrub": (140, 140, 60), "shrub": (140, 140, 60), "meadow": (165, 200, 90), "pasture": (165, 200, 90),
    "grass": (120, 190, 80), "farm": (230, 190, 90), "crop": (230, 190, 90), "agri": (230, 190, 90),
    "arable": (230, 190, 90), "cultivated": (230, 190, 90), "corn": (250, 210, 50), "soy": (50, 150, 30),
    "wheat": (170, 115, 0), "alfalfa": (255, 165, 225), "residential": (205, 90, 80), "urban": (205, 90, 80),
    "built": (205, 90, 80), "developed": (205, 90, 80), "artificial": (205, 90, 80), "industrial": (150, 85, 150),
    "road": (110, 110, 110), "highway": (110, 110, 110), "bare": (190, 165, 140), "soil": (190, 165, 140),
    "sand": (225, 205, 165), "snow": (230, 240, 250), "ice": (230, 240, 250), "cloud": (210, 210, 215),
    "shadow": (60, 60, 70),
}  # fmt: skip
"""What maps usually paint a class whose name holds a word; the first that fits is taken."""


@dataclass(frozen=True)
class ClassTable:
    """Classes by index 0 … K−1: ascending ``values`` in rasters, ``names``, ``colours``, and a ``nodata`` value.

    Raises :class:`OptionError` for values that are double, unordered, negative or above 65535.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[Rgb, ...]
    nodata: int

    def __post_init__(self) -> None:
        """Check that values are distinct and fit an unsigned raster."""
        if list(self.values) != sorted(set(self.values)):
            raise OptionError(f"Class values must ascend without repetition: {_listed(self.values)}.")
        if self.values and not (self.values[0] >= 0 and self.values[-1] <= LARGEST):
            raise OptionError(f"Class values must lie from 0 to {LARGEST}: {_listed(self.values)}.")
        if self.nodata in self.values:
            raise OptionError(f"Nodata {self.nodata} is the value of a class.")

    @classmethod
    def of(
        cls,
        values: Sequence[int],
        names: Mapping[int, str] | None = None,
        colours: Mapping[int, Rgb] | None = None,
        nodata: int | None = None,
    ) -> ClassTable:
        """Make a table of class values, with names and colours where they are known, and a nodata value outside."""
        ordered = tuple(sorted({int(value) for value in values}))
        called = tuple((names or {}).get(value) or str(value) for value in ordered)
        drawn = named_colours(called)
        return cls(
            ordered,
            called,
            tuple((colours or {}).get(value, drawn[at]) for at, value in enumerate(ordered)),
            _free(ordered) if nodata is None else nodata,
        )

    @classmethod
    def named(cls, names: Sequence[str]) -> ClassTable:
        """Make a table of class names in alphabetical order, with values from 1."""
        return cls.of(range(1, len(set(names)) + 1), dict(enumerate(sorted(set(names)), start=1)))

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.values)

    @property
    def dtype(self) -> str:
        """The smallest raster type that holds all values and nodata."""
        return "uint8" if max((*self.values, self.nodata)) <= 255 else "uint16"

    def indices(self, values: NDArray[Any]) -> NDArray[np.int16]:
        """Map raster values to class indices, :data:`UNLABELLED` where a value is no class."""
        table = np.asarray(self.values)
        at = np.searchsorted(table, values).clip(max=max(len(table) - 1, 0))
        return np.where(table[at] == values, at, UNLABELLED).astype(np.int16)

    def raster(self, indices: NDArray[Any]) -> NDArray[Any]:
        """Map class indices to raster values, nodata where an index is negative."""
        return np.where(indices < 0, self.nodata, np.asarray(self.values)[indices]).astype(self.dtype)

    def to_plain(self) -> dict[str, Any]:
        """Return lists and numbers, as JSON and head files hold them."""
        return {
            "values": list(self.values),
            "names": list(self.names),
            "colours": [list(colour) for colour in self.colours],
            "nodata": self.nodata,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ClassTable:
        """Read what :meth:`to_plain` returned."""
        colours = tuple((int(red), int(green), int(blue)) for red, green, blue in plain["colours"])
        return cls(tuple(map(int, plain["values"])), tuple(map(str, plain["names"])), colours, int(plain["nodata"]))


def named_colours(names: Sequence[str]) -> list[Rgb]:
    """Return a colour for each class: the usual one of its name unless another class has it, else a distinct one."""
    found: list[Rgb] = []
    for name, other in zip(names, distinct_colours(len(names)), strict=True):
        usual = next((colour for word, colour in USUAL_COLOURS.items() if word in name.lower()), other)
        found.append(other if usual in found else usual)
    return found


def distinct_colours(count: int) -> list[Rgb]:
    """Return colours that are easy to tell apart: hues a golden section apart, in three degrees of lightness."""
    found = []
    for number in range(count):
        hue, lightness = (0.08 + number * _GOLDEN) % 1, (0.5, 0.38, 0.66)[number % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return found


def _free(values: Sequence[int]) -> int:
    """Return the nodata value: 255 where classes fit 8 bits, else 65535, or whichever of the two is no class."""
    preferred = (255, LARGEST) if not values or values[-1] <= 255 else (LARGEST, 255)
    for value in preferred:
        if value not in values:
            return value
    raise OptionError(f"Classes 255 and {LARGEST} leave no value for nodata. Give one of them another value.")


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:12])) + (" …" if len(values) > 12 else "")
