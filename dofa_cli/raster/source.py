"""One file as a lazy array: its header, and blocks read through one GDAL handle a thread."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DamagedRaster

OPEN_FILES = 64
"""Handles that a thread keeps open."""
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_CACHEMAX": 128 * 2**20,  # bytes; the default of 5 % of memory makes the footprint depend on the machine
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 1,  # seconds, longer each time
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 100,  # bytes a second; a server that sends less for so many seconds is given up
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_NUM_THREADS": "ALL_CPUS",
    "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE",  # said, since rasterio leaves threads with what a remote run had set
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",  # or GDAL leaves a file beside every archive it reads
}
# With several threads, GDAL before 3.11 gives zeros for blocks that a server failed to send.
REMOTE_OPTIONS: dict[str, Any] = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_NUM_THREADS": 1}
_REMOTE = re.compile(r"^(?:https?|s3|gs|az)://|^/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)")


def gdal_options(paths: Iterable[str]) -> dict[str, Any]:
    """Return GDAL's options for reading ``paths``: without directory listings where those would be requests.

    An option that stands in the environment is left to it, but for those that keep remote reads whole.
    """
    usual = {name: value for name, value in GDAL_OPTIONS.items() if name not in os.environ}
    return usual | (REMOTE_OPTIONS if any(map(_REMOTE.match, paths)) else {})


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

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in CRS units, around rotated grids too."""
        corners = ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        xs, ys = zip(*(self.transform @ corner for corner in corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def is_same(self, other: Grid) -> bool:
        """Whether the two grids coincide to a thousandth of a pixel."""
        size = (self.height, self.width) == (other.height, other.width) and self.crs == other.crs
        return size and self.transform.almost_equals(other.transform, precision=1e-3 * self.pixel_size)


@dataclass(frozen=True)
class Source:
    """A file, or one resampled to ``grid``, as an array (bands, height, width) that can be sliced and pickled.

    ``bands`` are 1-based. ``masked`` says that alpha or mask bands tell valid pixels. Values are resampled bilinearly,
    leaving nodata out, or by the ``nearest`` pixel where they are classes; with ``validity`` the array is
    (1, height, width), 1 where every band is valid, by the nearest pixel.
    """

    path: str
    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    grid: Grid | None = None
    nodata: float | None = None
    masked: bool = False
    validity: bool = False
    nearest: bool = False
    ndim: int = field(default=3, init=False)

    def of_validity(self) -> Source:
        """Return the validity of this source's pixels."""
        return replace(self, validity=True, dtype=np.dtype(np.uint8), shape=(1, *self.shape[1:]))

    @property
    def tells_validity(self) -> bool:
        """Whether validity follows from more than the values: mask bands, or a grid that reaches past the file."""
        return self.masked or self.grid is not None

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        """Read a block; :class:`DamagedRaster` names file and window."""
        ranges = [slice(part, part + 1) if isinstance(part, int) else part for part in key]
        block = self._read(*(part.indices(size)[:2] for part, size in zip(ranges, self.shape, strict=True)))
        return np.asarray(block[tuple(0 if isinstance(part, int) else slice(None) for part in key)])

    def _read(self, bands: tuple[int, int], rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[Any]:
        window = RasterWindow(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
        try:
            with rasterio.Env(**gdal_options([self.path])):  # options of another thread may not count in this one
                view = _view(self)
                if self.validity:
                    return _validity(self, view, window)[None].astype(np.uint8)
                return _values(view, self.bands[slice(*bands)], window).astype(self.dtype, copy=False)
        except RasterioError as error:
            close_handles()  # GDAL keeps blocks that it could not decode, and gives them without an error next time
            place = f"rows {rows[0]} to {rows[1]}, columns {cols[0]} to {cols[1]} of {self.path}"
            raise DamagedRaster(f"Cannot read {place}: {_reason(self.path, error)}") from None


def _values(view: Any, bands: tuple[int, ...], window: RasterWindow) -> NDArray[Any]:
    """Read bands of one type at once, and of several types one by one."""
    if len({view.dtypes[band - 1] for band in bands}) == 1:
        return np.asarray(view.read(list(bands), window=window))
    return np.stack([view.read(band, window=window) for band in bands])


def _validity(source: Source, view: Any, window: RasterWindow) -> NDArray[np.bool_]:
    """Read where pixels are valid: by alpha or mask bands, and after resampling by the nearest values too."""
    valid = np.ones((window.height, window.width), bool)
    if source.masked or view.count > _file(source)[0].count:
        alpha = _alpha_band(view)
        valid &= (view.read(alpha, window=window) if alpha else view.dataset_mask(window=window)) > 0
    if source.grid is not None:
        for values in _values(view, source.bands, window):
            valid &= is_valid(values, source.nodata)
    return valid


def is_valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | np.bool_:
    """Tell values that are finite and not nodata: an array, or ``True`` where no value of the type can be invalid."""
    floating = np.issubdtype(values.dtype, np.floating)
    valid = np.isfinite(values) if floating else np.True_
    return valid & (values != values.dtype.type(nodata)) if _can_hold(values.dtype, nodata) else valid


def _can_hold(dtype: np.dtype[Any], nodata: float | None) -> bool:
    """Whether a value of ``dtype`` can be ``nodata``."""
    if nodata is None or not np.isfinite(nodata):
        return False
    if np.issubdtype(dtype, np.floating):
        return abs(nodata) <= float(np.finfo(dtype).max)
    return float(nodata).is_integer() and np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max


def _open_view(source: Source, file: Any) -> Any:
    """Show a file on the source's grid.

    A file without an affine grid is first warped to one that GDAL chooses, since only that way control points count.
    """
    if source.grid is None:
        return file
    affine = not file.transform.is_identity or georeference(file) is None
    nodata = file.nodata if source.nodata is None else source.nodata
    options = {
        "resampling": Resampling.nearest if source.validity or source.nearest else Resampling.bilinear,
        "src_nodata": nodata,
        "nodata": nodata,
        "UNIFIED_SRC_NODATA": "NO",  # each band by its own nodata, or one band's would be mixed into its neighbours
    }
    alpha = {"add_alpha": nodata is None and _alpha_band(file) is None}
    if affine:
        return _on_grid(file, source.grid, options | alpha)
    free = {"src_crs": georeference(file), "crs": source.grid.crs}
    inner = WarpedVRT(file, **free, **options, **alpha, **warp_options(file))
    found = Grid(inner.transform, inner.crs, inner.height, inner.width)
    return inner if found.is_same(source.grid) else _on_grid(inner, source.grid, options)


def _on_grid(file: Any, grid: Grid, options: dict[str, Any]) -> Any:
    place = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
    return WarpedVRT(file, src_crs=file.crs or grid.crs, **place, **options)


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


@dataclass(frozen=True)
class _FileKey:
    """What tells one opened file from another; ``stamp`` changes when the file is replaced."""

    path: str
    stamp: tuple[int, int] | None
    unlabelled: bool


class _Handles(threading.local):
    """Files and views of one thread; the views of a file share its blocks."""

    def __init__(self) -> None:
        self.files: OrderedDict[_FileKey, Any] = OrderedDict()
        self.views: dict[_FileKey, dict[Source, Any]] = {}


_handles = _Handles()


def _view(source: Source) -> Any:
    """Return the calling thread's view of a source; the longest unused file is closed when many are open."""
    file, views = _file(source)
    if source not in views:
        views[source] = _open_view(source, file)
    return views[source]


def _file(source: Source) -> tuple[Any, dict[Source, Any]]:
    key = _FileKey(source.path, file_stamp(source.path), source.grid is not None and not source.masked)
    if key not in _handles.files:
        if len(_handles.files) >= OPEN_FILES:
            _close(next(iter(_handles.files)))
        from dofa_cli.raster.zarr_raster import open_raster  # which itself needs this module's grids

        _handles.files[key] = _open_unlabelled(source.path) if key.unlabelled else open_raster(source.path)
        _handles.views[key] = {}
    _handles.files.move_to_end(key)
    return _handles.files[key], _handles.views[key]


def file_stamp(path: str) -> tuple[int, int] | None:
    """Return a local file's time of change (ns) and size, ``None`` for anything else."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _open_unlabelled(path: str) -> Any:
    """Open a file; where a spectral band is labelled alpha, through a virtual raster that does not say so.

    GDAL's warp would otherwise weight the other bands by it.
    """
    file = rasterio.open(path)
    if _alpha_band(file) is None:
        return file
    file.close()
    with MemoryFile(ext=".vrt") as virtual:
        rasterio.shutil.copy(path, virtual.name, driver="VRT")
        described = virtual.read().decode()
    return rasterio.open(described.replace("<ColorInterp>Alpha</ColorInterp>", ""))


def _close(key: _FileKey) -> None:
    for view in _handles.views.pop(key).values():
        view.close()
    _handles.files.pop(key).close()


def close_handles() -> None:
    """Close the calling thread's files."""
    while _handles.files:
        _close(next(iter(_handles.files)))


def _alpha_band(view: Any) -> int | None:
    """Return the number of the last alpha band, which GDAL's own masks see only as the second or fourth."""
    found = [n for n, colour in zip(view.indexes, view.colorinterp, strict=True) if colour == ColorInterp.alpha]
    return found[-1] if found else None


def _reason(path: str, error: RasterioError) -> str:
    cause = error.__cause__ if isinstance(error, RasterioIOError) and error.__cause__ else error
    advice = " The server failed several times in a row; try again later." if _REMOTE.match(path) else ""
    return str(cause).splitlines()[0] + advice
