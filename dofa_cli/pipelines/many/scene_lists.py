"""Lists of scenes in files: text with one scene a line, and tables with a column of scenes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dofa_cli.errors import DamagedRaster, SceneError
from dofa_cli.pipelines.many.scene_item import SceneItem, is_address, name_of

TABLES = (".csv", ".parquet", ".geoparquet")
LISTS = (".txt", *TABLES)
"""Endings of files that list scenes, beside STAC's."""
SCENE_COLUMNS = ("scene", "path")
OUTPUT, SENSOR, TAKEN = "output", "sensor", "datetime"
_OWN_COLUMNS = (OUTPUT, SENSOR, TAKEN)
SEPARATOR = ";"
ROWS = 1024


def scenes_listed(path: Path) -> Iterator[SceneItem]:
    """Yield the scenes that a list names, in its order, reading it row by row.

    A scene's files are separated by semicolons. Relative paths start at the list's folder, or where they are not there,
    at the current one. Raises :class:`DamagedRaster` for a list that cannot be read, and :class:`SceneError` for a
    table without a column of scenes.
    """
    try:
        for row in _rows(path):
            if item := _item(path, row):
                yield item
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DamagedRaster(f"The list {path} cannot be read: {error}.") from None


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    match path.suffix.lower():
        case ".txt":
            return _lines(path)
        case ".csv":
            return _csv_rows(path)
        case _:
            return _parquet_rows(path)


def _item(listing: Path, row: Mapping[str, Any]) -> SceneItem | None:
    """Return a row's scene, ``None`` for an empty row."""
    named = next((str(row[column]) for column in SCENE_COLUMNS if row.get(column)), "")
    paths = tuple(_placed(listing, part.strip()) for part in named.split(SEPARATOR) if part.strip())
    if not paths:
        return None
    output, sensor, taken = (str(row[column]) if row.get(column) else None for column in _OWN_COLUMNS)
    return SceneItem(name_of(paths), paths, output, sensor, taken)


def _placed(listing: Path, path: str) -> str:
    if is_address(path) or Path(path).is_absolute():
        return path
    beside = listing.parent / path
    return path if Path(path).exists() and not beside.exists() else str(beside)


def _lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if not line.lstrip().startswith("#"):
                yield {SCENE_COLUMNS[0]: line.strip()}


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        _check_columns(path, reader.fieldnames or ())
        yield from reader


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa  # slow to import, and only such lists need it
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names)
            wanted = [name for name in (*SCENE_COLUMNS, *_OWN_COLUMNS) if name in names]
            for batch in file.iter_batches(ROWS, columns=wanted):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DamagedRaster(f"The list {path} cannot be read: {error}.") from None


def _check_columns(path: Path, names: Any) -> None:
    if not any(column in names for column in SCENE_COLUMNS):
        raise SceneError(
            f"{path} has no column '{SCENE_COLUMNS[0]}' or '{SCENE_COLUMNS[1]}', but {', '.join(names) or 'none'}. "
            "Name the column of scenes so."
        )
