"""One file as a lazy array: its header, and blocks read through one GDAL handle a thread."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DamagedRaster

OPEN_FILES = 64
"""Handles that a thread keeps open."""
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_CACHEMAX": 256 * 2**20,  # bytes; the default of 5 % of memory makes the footprint depend on the machine
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_NUM_THREADS": "ALL_CPUS",
}


_REMOTE = re.compile(r"^(?:https?|s3|gs|az)://|^/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)")


def gdal_options(paths: Iterable[str]) -> dict[str, Any]:
    """Return GDAL's options for reading ``paths``: without directory listings where those would be requests."""
    remote = any(_REMOTE.match(path) for path in paths)
    return GDAL_OPTIONS | ({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if remote else {})


@dataclass(frozen=True)
class Grid:
    """Where an array lies: affine transform of pixel corners, CRS (``None`` for ungeoreferenced), size in pixels."""

    transform: Affine
    crs: CRS | None
    height: int
    width: int

    @property
    def pixel_size(self) -> float:
        """Length of a pixel's column step in CRS units."""
        return float(np.hypot(self.transform.a, self.transform.d))

    def is_same(self, other: Grid) -> bool:
        """Whether the two grids coincide to a thousandth of a pixel."""
        size = (self.height, self.width) == (other.height, other.width) and self.crs == other.crs
        return size and self.transform.almost_equals(other.transform, precision=1e-3 * self.pixel_size)


@dataclass(frozen=True)
class Source:
    """A file, or one resampled to ``grid``, as an array (bands, height, width) that can be sliced and pickled.

    ``bands`` are 1-based; 0 stands for the validity that GDAL derives from alpha or mask bands (0 or 255).
    """

    path: str
    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    grid: Grid | None = None
    resampling: Resampling = Resampling.bilinear
    nodata: float | None = None
    ndim: int = field(default=3, init=False)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Read a block; :class:`DamagedRaster` names file and window."""
        bands, rows, cols = (_bounds(part, size) for part, size in zip(key, self.shape, strict=True))
        window = RasterWindow(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
        wanted = self.bands[slice(*bands)]
        try:
            file = _handle(self)
            if wanted == (0,):
                return np.asarray(file.dataset_mask(window=window)[None])
            return np.asarray(file.read(list(wanted), window=window))
        except RasterioError as error:
            place = f"rows {rows[0]} to {rows[1]}, columns {cols[0]} to {cols[1]}"
            raise DamagedRaster(f"Cannot read {place} of {self.path}: {_reason(error)}") from None


def open_source(source: Source) -> Any:
    """Open a source's file, warped to its grid where it has one."""
    file = rasterio.open(source.path)
    if source.grid is None:
        return file
    grid = source.grid
    own_nodata = file.nodata if source.nodata is None else source.nodata
    return WarpedVRT(
        file,
        src_crs=georeference(file),
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=source.resampling,
        src_nodata=own_nodata,
        nodata=own_nodata,
        add_alpha=own_nodata is None and not _has_alpha(file),
        **warp_options(file),
    )


def georeference(file: Any) -> CRS | None:
    """Return the CRS of a file, or that of its ground control points, RPCs or geolocation arrays."""
    if file.crs is None and file.transform.is_identity and (file.rpcs or file.tags(ns="GEOLOCATION")):
        return CRS.from_epsg(4326)
    return file.crs or file.gcps[1]


def warp_options(file: Any) -> dict[str, Any]:
    """Return what GDAL needs to be told to warp a file without an affine grid."""
    if file.transform.is_identity and file.rpcs:
        return {"rpcs": file.rpcs}
    if file.transform.is_identity and file.tags(ns="GEOLOCATION"):
        return {"SRC_METHOD": "GEOLOC_ARRAY"}
    return {}


class _Handles(threading.local):
    """Open files of one thread, the longest unused closed first."""

    def __init__(self) -> None:
        self.files: OrderedDict[Source, Any] = OrderedDict()


_handles = _Handles()


def _handle(source: Source) -> Any:
    files = _handles.files
    if source in files:
        files.move_to_end(source)
    else:
        files[source] = open_source(source)
        if len(files) > OPEN_FILES:
            files.popitem(last=False)[1].close()
    return files[source]


def close_handles() -> None:
    """Close the calling thread's files."""
    while _handles.files:
        _handles.files.popitem()[1].close()


def _has_alpha(file: Any) -> bool:
    return any(colour == rasterio.enums.ColorInterp.alpha for colour in file.colorinterp)


def _bounds(part: slice, size: int) -> tuple[int, int]:
    start, stop, _ = part.indices(size)
    return start, stop


def _reason(error: RasterioError) -> str:
    cause = error.__cause__ if isinstance(error, RasterioIOError) and error.__cause__ else error
    return str(cause).splitlines()[0]
