"""A finished Zarr store read like an open GDAL raster, since GDAL itself reads shards only in its newest versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterWindow

from dofa_cli.raster.style import ClassStyle
from dofa_cli.raster.zarr_places import is_url, is_zarr, local_path
from dofa_cli.raster.zarr_store import is_own, open_array

_CF = frozenset(("grid_mapping", "coordinates", "_CRS", "_FillValue", "long_name", "units", "band_names"))


def open_raster(path: str | Path, **options: Any) -> Any:
    """Open a raster for reading: a finished Zarr store of this program, or whatever GDAL reads.

    Raises :class:`DamagedRaster` for a store that was never finished, and rasterio's errors.
    """
    return ZarrRaster(str(path)) if is_zarr(path) and is_own(path) else rasterio.open(path, **options)


class ZarrRaster:
    """What the program asks of an open raster, answered by a store. Raises what ``open_array`` raises."""

    driver = "Zarr"
    gcps: tuple[tuple[Any, ...], None] = ((), None)
    rpcs = None
    subdatasets: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        self.name = path if is_url(path) else str(local_path(path))
        self.array, self._store = open_array(path)
        self._own = dict(self.array.attrs)
        self.count, self.height, self.width = (int(size) for size in self.array.shape)
        self.shape = self.height, self.width
        step = self._store["spatial:transform"]
        self.transform = Affine(*step)
        wkt = self._store.get("proj:wkt2")
        self.crs = None if wkt is None else CRS.from_wkt(wkt)

    def __enter__(self) -> ZarrRaster:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hold nothing open."""

    def close(self) -> None:
        """Hold nothing open."""

    @property
    def indexes(self) -> tuple[int, ...]:
        """Numbers of the bands, from 1."""
        return tuple(range(1, self.count + 1))

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Type of each band."""
        return (str(self.array.dtype),) * self.count

    @property
    def nodata(self) -> float:
        """The value of pixels without one; Zarr's fill value, which regions never written hold too."""
        return float(self.array.fill_value)

    @property
    def nodatavals(self) -> tuple[float, ...]:
        """Nodata of each band."""
        return (self.nodata,) * int(self.count)

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Name of each band."""
        return tuple(self._own.get("band_names") or [None] * self.count)

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each band."""
        return (self._own.get("units"),) * self.count

    @property
    def scales(self) -> tuple[float, ...]:
        """What to multiply the stored codes of each band by."""
        return self._numbers("scale", 1.0)

    @property
    def offsets(self) -> tuple[float, ...]:
        """What to add to the scaled codes of each band."""
        return self._numbers("offset", 0.0)

    @property
    def colorinterp(self) -> tuple[ColorInterp, ...]:
        """No band is a colour or a mask."""
        return (ColorInterp.undefined,) * self.count

    @property
    def mask_flag_enums(self) -> tuple[list[MaskFlags], ...]:
        """Nodata alone tells what is valid."""
        return ([MaskFlags.nodata],) * self.count

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Chunk of each band."""
        return [tuple(self.array.chunks[1:])] * self.count

    @property
    def profile(self) -> dict[str, Any]:
        """How values are stored."""
        return {"driver": self.driver, "compress": "zstd", "interleave": "band"}

    @property
    def style(self) -> ClassStyle:
        """Names and colours of classes."""
        values = self._own.get("flag_values", [])
        colours = [bytes.fromhex(code[1:]) for code in self._own.get("flag_colors", "").split()]
        return ClassStyle(
            {value: (one[0], one[1], one[2]) for value, one in zip(values, colours, strict=True)},
            dict(zip(values, self._own.get("flag_names", []), strict=True)),
        )

    def tags(self, bidx: int = 0, ns: str | None = None) -> dict[str, str]:
        """Return what the store says of its making; bands and domains say nothing."""
        if bidx or ns:
            return {}
        return {name: value for name, value in self._own.items() if isinstance(value, str) and name not in _CF}

    def overviews(self, bidx: int) -> list[int]:  # noqa: ARG002 - as GDAL is asked
        """Return none."""
        return []

    def read(self, indexes: int | Sequence[int] | None = None, window: RasterWindow | None = None) -> NDArray[Any]:
        """Read bands (one as (height, width)) under a window; chunks that cannot be decoded raise as GDAL's do."""
        rows, cols = (slice(None), slice(None)) if window is None else window.toslices()
        try:
            if isinstance(indexes, int | np.integer):
                return np.asarray(self.array[int(indexes) - 1, rows, cols])
            found = np.asarray(self.array[:, rows, cols])
        except (OSError, ValueError, RuntimeError) as error:
            raise RasterioIOError(f"{type(error).__name__}: {error}") from error
        return found if indexes is None else found[[int(index) - 1 for index in indexes]]

    def dataset_mask(self, window: RasterWindow | None = None) -> NDArray[np.uint8]:
        """Return 255 where the first band is valid, else 0."""
        first = self.read(1, window=window)
        invalid = np.isnan(first) if np.isnan(self.nodata) else first == self.nodata
        return np.where(invalid, np.uint8(0), np.uint8(255))

    def _numbers(self, name: str, otherwise: float) -> tuple[float, ...]:
        group = self._siblings()
        return tuple(float(one) for one in group[name][:]) if name in group else (otherwise,) * self.count

    def _siblings(self) -> Any:
        import zarr

        return zarr.open_group(self.array.store, mode="r", zarr_format=3)
