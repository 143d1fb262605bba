"""What results of this program say of their making: tags of rasters, metadata of GeoParquet tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dofa_cli.errors import DamagedRaster, NotAResult

MARK = "dofa_version"
"""The tag that every result carries."""
_MAGIC = b"PAR1"
_FOREIGN = ("AREA_OR_POINT",)


@dataclass(frozen=True)
class TableFacts:
    """A GeoParquet table of embeddings. ``extent`` is (left, bottom, right, top) in ``crs`` units."""

    path: str
    rows: int
    dimensions: int | None
    columns: tuple[str, ...]
    crs: str | None
    extent: tuple[float, ...] | None
    made_by: dict[str, Any]


def made_by(tags: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the tags of a result, those that hold JSON read; ``None`` for files of other programs."""
    if MARK not in tags:
        return None
    return {name: _read(value) for name, value in tags.items() if name not in _FOREIGN}


def is_table(path: str) -> bool:
    """Whether a local file is Parquet, by its first bytes."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_table(path: str) -> TableFacts:
    """Describe a table of embeddings from its metadata.

    Raises :class:`NotAResult` for other tables, :class:`DamagedRaster` for a file that is cut off.
    """
    try:
        metadata = pq.read_metadata(path)
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedRaster(f"{path} cannot be opened: {str(error).splitlines()[0]}") from None
    stored = schema.metadata or {}
    if b"dofa" not in stored:
        raise NotAResult(
            f"{path} is a Parquet table that dofa did not write. Name a raster, or a result of dofa embed."
        )
    geometry = json.loads(stored.get(b"geo", b"{}")).get("columns", {}).get("geometry", {})
    return TableFacts(
        path=path,
        rows=metadata.num_rows,
        dimensions=_dimensions(schema),
        columns=tuple(schema.names),
        crs=_crs(geometry),
        extent=tuple(geometry["bbox"]) if "bbox" in geometry else None,
        made_by=made_by(json.loads(stored[b"dofa"])) or {},
    )


def _dimensions(schema: pa.Schema) -> int | None:
    if "embedding" not in schema.names:
        return None
    kind = schema.field("embedding").type
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def _crs(geometry: Mapping[str, Any]) -> str | None:
    """Name the CRS of a geometry column: absent means longitude and latitude, null means none (GeoParquet 1.1)."""
    crs = geometry.get("crs", {"name": "WGS 84", "id": {"authority": "OGC", "code": "CRS84"}})
    if not crs:
        return None
    code = crs.get("id")
    return f"{code['authority']}:{code['code']} ({crs['name']})" if code else str(crs.get("name"))


def _read(value: str) -> Any:
    """Read JSON objects and lists; leave other text as it is."""
    try:
        return json.loads(value) if value[:1] in ("{", "[") else value
    except json.JSONDecodeError:
        return value
