"""Vectors with footprints to GeoParquet, in WGS84 with a bbox column."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from dofa_cli.raster.writer import explained, working_file

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa
    from shapely.geometry import Polygon

WGS84 = "EPSG:4326"
EDGE_POINTS = 4
"""Points along each edge of a footprint, so that its sides stay straight in the scene's projection."""


def footprint(window: Window, grid: Grid) -> Polygon:
    """Return the ground under ``window`` (pixels of ``grid``) as a polygon in the scene's CRS."""
    from shapely.geometry import Polygon

    inside = window.intersect(Window(0, 0, grid.height, grid.width))
    steps = np.linspace(0, 1, EDGE_POINTS, endpoint=False)
    cols = inside.col + inside.width * np.concatenate([steps, np.ones(EDGE_POINTS), 1 - steps, np.zeros(EDGE_POINTS)])
    rows = inside.row + inside.height * np.concatenate([np.zeros(EDGE_POINTS), steps, np.ones(EDGE_POINTS), 1 - steps])
    return Polygon([grid.transform @ point for point in zip(cols, rows, strict=True)])


def write_geoparquet(
    path: Path,
    vectors: NDArray[np.float32],
    footprints: Sequence[Polygon],
    grid: Grid,
    *,
    columns: Mapping[str, Sequence[Any]],
    metadata: Mapping[str, str],
    taken: datetime | None,
) -> None:
    """Write one row a footprint: ``embedding`` (fixed-size list of D float32), ``geometry``, ``bbox``, ``datetime``.

    ``vectors`` is (rows, D); footprints are in the CRS of ``grid`` and are written in WGS84, or as they are where the
    scene has no CRS. ``metadata`` becomes the file's key-value metadata.
    """
    import geopandas as gpd  # slow to import, and only tables need it
    import pyarrow.parquet as pq

    frame = gpd.GeoDataFrame(
        {**columns, "datetime": [taken] * len(footprints)}, geometry=list(footprints), crs=grid.crs
    )
    frame["datetime"] = frame["datetime"].astype("datetime64[ms, UTC]")
    if grid.crs is not None:
        frame = frame.to_crs(WGS84)
    table = _with_embedding(frame, vectors)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), **{k: v.encode() for k, v in metadata.items()}}
    )
    with working_file(path) as working, explained(path):
        pq.write_table(table, working, compression="zstd")


def _with_embedding(frame: gpd.GeoDataFrame, vectors: NDArray[np.float32]) -> pa.Table:
    """Let geopandas describe the geometry, then put the vectors in as a fixed-size list, which pandas cannot hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = io.BytesIO()
    frame.to_parquet(described, index=False, write_covering_bbox=True, schema_version="1.1.0")
    described.seek(0)
    table = pq.read_table(described)
    values = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    return table.add_column(0, "embedding", embedding)
