"""Embeddings in fewer bits: half precision, or 8-bit integers linear per band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

INT8_NODATA = -128
INT8_MOST = 127
HEADROOM = 1.2
"""The 8-bit range is this much wider than the calibration sample's."""


class OutputDtype(StrEnum):
    """How embedding values are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"

    @property
    def bytes(self) -> int:
        """Bytes a value."""
        return {"float32": 4, "float16": 2, "int8": 1}[self.value]


@dataclass(frozen=True)
class Int8Scale:
    """Linear 8-bit code per band: value = code · ``scale`` + ``offset``; codes -127 to 127, nodata -128."""

    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    def encode(self, values: NDArray[np.float32]) -> tuple[NDArray[np.int8], int]:
        """Encode (…, D), NaN as nodata; also the number of values clipped to the range."""
        with np.errstate(over="ignore"):  # far outside the range of a band that the sample held constant
            codes = np.rint((values - self.offset) / self.scale)
        known = ~np.isnan(codes)
        clipped = int(np.count_nonzero(known & (np.abs(codes) > INT8_MOST)))
        codes = np.where(known, np.clip(codes, -INT8_MOST, INT8_MOST), INT8_NODATA)
        return codes.astype(np.int8), clipped

    def decode(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """Undo :meth:`encode`, with NaN for nodata."""
        values = codes.astype(np.float32) * self.scale + self.offset
        return np.where(codes == INT8_NODATA, np.float32(np.nan), values)

    def to_plain(self) -> dict[str, list[float]]:
        """Return the numbers as JSON holds them; :meth:`from_plain` gives them back to the last bit."""
        return {"scale": self.scale.tolist(), "offset": self.offset.tolist()}

    @classmethod
    def from_plain(cls, plain: dict[str, list[float]]) -> Int8Scale:
        """Undo :meth:`to_plain`."""
        return cls(np.array(plain["scale"], np.float32), np.array(plain["offset"], np.float32))

    def to_tags(self) -> dict[str, Any]:
        """Return what a reader needs to undo the code (the bands carry the numbers as GDAL scale and offset)."""
        return {"method": "linear per band", "formula": "code * scale + offset", "nodata": INT8_NODATA}


def fit_int8(samples: Sequence[NDArray[np.float32]], dim: int) -> Int8Scale:
    """Fix the code from sampled tokens (n, D): the range of each band, with some room."""
    found = np.concatenate([np.zeros((0, dim), np.float32), *samples])
    found = found[np.isfinite(found).all(axis=1)]
    if not len(found):
        return Int8Scale(np.ones(dim, np.float32), np.zeros(dim, np.float32))
    low, high = found.min(axis=0), found.max(axis=0)
    half = np.maximum((high - low) / 2 * HEADROOM, np.finfo(np.float32).tiny * INT8_MOST)
    return Int8Scale((half / INT8_MOST).astype(np.float32), ((low + high) / 2).astype(np.float32))


@dataclass
class Encoding:
    """Turn float32 tokens into the stored values, counting what the 8-bit range clips."""

    dtype: OutputDtype
    int8: Int8Scale | None = None
    clipped: int = 0
    values: int = 0

    def __call__(self, tokens: NDArray[np.float32]) -> NDArray[Any]:
        """Encode (rows, cols, D); NaN stays NaN, or becomes nodata -128."""
        if self.dtype is OutputDtype.FLOAT16:
            largest = float(np.finfo(np.float16).max)
            return tokens.clip(-largest, largest).astype(np.float16)
        if self.int8 is None:
            return tokens
        codes, clipped = self.int8.encode(tokens)
        self.clipped += clipped
        self.values += int(np.count_nonzero(codes != INT8_NODATA))
        return codes

    @property
    def clipped_share(self) -> float | None:
        """Share of values outside the 8-bit range, or ``None`` for other types."""
        return None if self.int8 is None else self.clipped / max(self.values, 1)
