"""Whether what a run wrote is still there and whole: opened, its tags compared, some of it read."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DofaError
from dofa_cli.raster.zarr_places import Place
from dofa_cli.raster.zarr_raster import open_raster

RASTERS = (".tif", ".tiff", ".zarr")
TABLES = (".parquet", ".geoparquet")
METADATA = "zarr.json"
CHUNK = 2**22


def content(path: Place) -> tuple[int, str]:
    """Return a file's bytes and what identifies its content.

    That is the checksum of a raster's or a table's own words on its making, and of the whole of any other file; at an
    address it is the store's own mark of a version.
    """
    return _nbytes(path), _identity(path)


def fault(path: Place, expected: tuple[int, str]) -> str | None:
    """Say what is wrong with a file that had ``expected`` of :func:`content`; ``None`` where it is whole.

    Of rasters and tables that lie here the first, the middle and the last block are read.
    """
    if not path.exists():
        return "it is gone"
    if (size := _nbytes(path)) != expected[0]:
        return f"it has {size} bytes, not {expected[0]}"
    try:
        if _identity(path) != expected[1]:
            return "its content is another"
        if isinstance(path, Path):
            _read_some(path)
    except (DofaError, RasterioError, OSError, ValueError) as error:
        return f"it cannot be read: {str(error).splitlines()[0]}"
    return None


def _nbytes(path: Place) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


def _identity(path: Place) -> str:
    if not isinstance(path, Path):
        marked = path / METADATA if path.is_dir() else path
        return str(marked.fs.ukey(marked.path))
    if path.suffix.lower() in RASTERS or path.is_dir():
        with open_raster(path) as file:
            return _digest(file.tags() | {"shape": file.shape, "count": file.count, "dtype": file.dtypes[0]})
    if path.suffix.lower() in TABLES:
        import pyarrow.parquet as pq  # slow to import, and only tables need it

        with pq.ParquetFile(path) as table:
            told = {key.decode(): value.decode() for key, value in (table.metadata.metadata or {}).items()}
            return _digest(told | {"rows": table.metadata.num_rows})
    return f"{_crc(path):08x}"


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


def _read_some(path: Path) -> None:
    """Read three blocks of one band, or three row groups."""
    if path.suffix.lower() in RASTERS or path.is_dir():
        with open_raster(path) as file:
            height, width = file.block_shapes[0]
            for share in (0.0, 0.5, 1.0):
                row, col = (int(share * (size - 1)) for size in file.shape)
                row, col = row // height * height, col // width * width
                window = RasterWindow(col, row, min(width, file.width - col), min(height, file.height - row))
                file.read(1, window=window)
    elif path.suffix.lower() in TABLES:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as table:
            groups = table.metadata.num_row_groups
            for number in sorted({0, groups // 2, groups - 1} & set(range(groups))):
                table.read_row_group(number)
