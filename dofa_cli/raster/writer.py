"""Part files to one Cloud Optimized GeoTIFF: assembled block by block, converted once, renamed last."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from dofa_cli.classes import Rgb
from dofa_cli.errors import NoSpace, OutputExists, OutputUnwritable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.parts import Part, PartIndex
from dofa_cli.raster.source import GDAL_OPTIONS, Grid

BLOCK_BYTES = 16 * 10**6
"""Most bytes of one block over all bands; GDAL's usual 512 pixels would be 805 MB at 768 float32 bands."""
BLOCK_STEP = 16
LARGEST_BLOCK = 512
OVERVIEW_BYTES = 16 * 10**6
"""Overviews are made for results up to this size, where they cost less than a second."""
CACHE_SKEW = 16
"""Extra bands in a gathered block's memory: a stride of 4096 bytes (1024 bands) would make its transpose seven times
slower."""
VALUES_LEVEL, CLASSES_LEVEL = 1, 9
"""ZSTD levels: floats hardly shrink further, class maps do, and are small."""
OPAQUE = 255
COPIES = 3
"""Disk space needed at once, in results: parts, the assembled file and the final one."""


class Overviews(StrEnum):
    """How the pixels of an overview come from finer ones."""

    MEAN = "AVERAGE"
    MOST = "MODE"


@dataclass(frozen=True)
class RasterSpec:
    """What the output raster looks like.

    ``nbits`` stores float32 in fewer bits. ``scales`` and ``offsets`` are GDAL band metadata that turn codes into
    values, ``unit`` is that of all bands. ``colours`` by value become the colour table. ``overviews`` says how
    overviews are made in any case (``None``: by averages, where they cost little).
    """

    grid: Grid
    bands: int
    dtype: str
    nodata: float
    descriptions: Sequence[str]
    tags: dict[str, str]
    nbits: int | None = None
    scales: Sequence[float] | None = None
    offsets: Sequence[float] | None = None
    colours: Mapping[int, Rgb] | None = None
    unit: str = ""
    overviews: Overviews | None = None
    block: int = field(init=False)

    def __post_init__(self) -> None:
        """Choose the block size."""
        covering = -(-max(self.grid.height, self.grid.width) // BLOCK_STEP) * BLOCK_STEP
        side = min(block_side(self.bands, np.dtype(self.dtype).itemsize), covering)
        object.__setattr__(self, "block", side)

    @property
    def nbytes(self) -> int:
        """Bytes of the values, uncompressed."""
        return self.grid.height * self.grid.width * self.bands * np.dtype(self.dtype).itemsize


Blocks = Callable[[Window], NDArray[Any]]
"""Gives the values (rows, cols, bands) of any window of the result."""


def half_precision() -> dict[str, Any]:
    """Return how GDAL stores half precision: its own type where it has one, else float32 of 16 bits."""
    if hasattr(rasterio.dtypes, "float16"):
        return {"dtype": "float16"}
    return {"dtype": "float32", "nbits": 16}


def block_side(bands: int, itemsize: int) -> int:
    """Return the block side in pixels, a multiple of 16, whose bytes over all bands stay within 16 MB."""
    fits = isqrt(BLOCK_BYTES // (bands * itemsize)) // BLOCK_STEP * BLOCK_STEP
    return max(BLOCK_STEP, min(fits, LARGEST_BLOCK))


def save_part(path: Path, values: NDArray[Any]) -> None:
    """Write an array beside its name and rename it, so that a part file is always whole."""
    with working_file(path) as working, explained(path), working.open("wb") as file:
        np.save(file, values)


def write_cog(
    path: Path, source: Sequence[Part] | Blocks, spec: RasterSpec, on_block: Callable[[], object] = lambda: None
) -> None:
    """Assemble parts, or the blocks (rows, cols, bands) that a function gives for windows, into a COG at ``path``.

    Memory stays at a few blocks, whatever the size. Raises :class:`NoSpace` or :class:`OutputUnwritable`.
    """
    with (
        working_file(path) as final,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder,
    ):
        assembled = Path(folder) / "assembled.tif"
        with explained(path), rasterio.Env(**GDAL_OPTIONS):
            _assemble(assembled, source if callable(source) else partial(gather, PartIndex(source)), spec, on_block)
            rasterio.shutil.copy(assembled, final, driver="COG", **_cog_options(spec))


@contextmanager
def working_file(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, and rename it when the body succeeds; a failure leaves nothing."""
    working = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield working
        with explained(path):
            working.replace(path)
    finally:
        working.unlink(missing_ok=True)


def check_output(path: Path, *, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Fail before any work: :class:`OutputExists` or :class:`OutputUnwritable`; ``inputs`` are never replaced."""
    if path.exists() and any(Path(one).exists() and path.samefile(one) for one in inputs):
        raise OutputExists(f"{path} is an input of this run and is not overwritten. Name another file with -o.")
    if path.is_dir():
        raise OutputUnwritable(f"{path} is a folder. Name a file with -o.")
    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists already. Add --overwrite to replace it, or name another file with -o.")
    with explained(path), tempfile.TemporaryFile(dir=path.parent):
        pass


def check_space(path: Path, needed_bytes: int) -> None:
    """Raise :class:`NoSpace` unless the disk under ``path`` has ``needed_bytes`` free."""
    free = shutil.disk_usage(path.parent).free
    if free < needed_bytes:
        raise NoSpace(f"{path.parent} has {_gigabytes(free)} free; the run needs up to {_gigabytes(needed_bytes)}.")


@contextmanager
def space_for(path: Path, needed_bytes: int) -> Iterator[None]:
    """Check the disk under ``path``; where it fills up all the same, say what is needed too.

    Raises :class:`NoSpace`.
    """
    check_space(path, needed_bytes)
    try:
        yield
    except NoSpace as error:
        free = shutil.disk_usage(path.parent).free
        raise NoSpace(f"{error} {_gigabytes(free)} are free; make room for {_gigabytes(needed_bytes)}.") from None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what a file system says into errors of ours."""
    try:
        yield
    except RasterioError as error:
        if shutil.disk_usage(path.parent).free < BLOCK_BYTES:
            raise NoSpace(f"The disk is full while writing {path}.") from error
        raise OutputUnwritable(f"Cannot write {path}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"The disk is full while writing {path}.") from None
        raise OutputUnwritable(f"Cannot write {path}: {error.strerror or error}.") from None


def _assemble(path: Path, blocks: Blocks, spec: RasterSpec, on_block: Callable[[], object]) -> None:
    grid = spec.grid
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": grid.height,
        "width": grid.width,
        "count": spec.bands,
        "dtype": spec.dtype,
        "nodata": spec.nodata,
        "crs": grid.crs,
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": spec.block,
        "blockysize": spec.block,
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
        **({"nbits": spec.nbits} if spec.nbits else {}),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.update_tags(**spec.tags)
        file.descriptions = tuple(spec.descriptions)
        if spec.scales is not None and spec.offsets is not None:
            file.scales, file.offsets = tuple(spec.scales), tuple(spec.offsets)
        if spec.unit:
            file.units = (spec.unit,) * spec.bands
        if spec.colours is not None:
            file.write_colormap(1, {value: (*colour, OPAQUE) for value, colour in spec.colours.items()})
        for block in _blocks(grid, spec.block):
            values = blocks(block)
            window = RasterWindow(block.col, block.row, block.width, block.height)
            file.write(np.ascontiguousarray(values.transpose(2, 0, 1), dtype=spec.dtype), window=window)
            on_block()


def gather(parts: PartIndex, cells: Window) -> NDArray[Any]:
    """Return the values (rows, cols, bands) under ``cells`` from the parts that lie there."""
    result: NDArray[Any] | None = None
    for part in parts.under(cells):
        common = part.cells.intersect(cells)
        values = np.load(part.path, mmap_mode="r")
        if result is None:
            padded = np.empty((cells.height, cells.width, values.shape[-1] + CACHE_SKEW), values.dtype)
            result = padded[..., :-CACHE_SKEW]
        result[common.relative_to(cells).slices] = values[common.relative_to(part.cells).slices]
    assert result is not None, "parts cover the grid"
    return result


def _blocks(grid: Grid, side: int) -> Iterator[Window]:
    for row in range(0, grid.height, side):
        for col in range(0, grid.width, side):
            yield Window(row, col, min(side, grid.height - row), min(side, grid.width - col))


def _cog_options(spec: RasterSpec) -> dict[str, Any]:
    floating = np.issubdtype(np.dtype(spec.dtype), np.floating)
    return {
        "BLOCKSIZE": spec.block,
        "COMPRESS": "ZSTD",
        "LEVEL": CLASSES_LEVEL if spec.overviews is Overviews.MOST else VALUES_LEVEL,
        "PREDICTOR": "YES" if floating and not spec.nbits else "NO",
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
        "OVERVIEWS": "AUTO" if spec.overviews or spec.nbytes <= OVERVIEW_BYTES else "NONE",
        "RESAMPLING": (spec.overviews or Overviews.MEAN).value,
        **({"NBITS": spec.nbits} if spec.nbits else {}),
    }


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
