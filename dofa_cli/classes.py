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
        drawn = distinct_colours(len(ordered))
        return cls(
            ordered,
            tuple((names or {}).get(value) or str(value) for value in ordered),
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


def distinct_colours(count: int) -> list[Rgb]:
    """Return colours that are easy to tell apart: hues a golden section apart, in three degrees of lightness."""
    found = []
    for number in range(count):
        hue, lightness = (0.08 + number * _GOLDEN) % 1, (0.5, 0.38, 0.66)[number % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return found


def _free(values: Sequence[int]) -> int:
    """Return the nodata value: 255, or 65535 where that is a class or classes need 16 bits."""
    if not values or (values[-1] <= 255 and 255 not in values):
        return 255
    if LARGEST in values:
        raise OptionError(f"Class {LARGEST} leaves no value for nodata. Use smaller class values.")
    return LARGEST


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:12])) + (" …" if len(values) > 12 else "")
