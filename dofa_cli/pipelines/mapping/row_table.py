"""One row an image or square, with its footprint: CSV, Parquet, GeoParquet, GeoJSON or GeoPackage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dofa_cli.errors import OptionError
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from dofa_cli.raster.vector import WGS84, footprint
from dofa_cli.raster.writer import explained, working_file

if TYPE_CHECKING:
    import geopandas as gpd

DRIVERS = {".geojson": "GeoJSON", ".json": "GeoJSON", ".gpkg": "GPKG"}
PARQUET = (".parquet", ".geoparquet")
DECIMALS = 6
LAYER = "classes"
ENDINGS = (".csv", *PARQUET, *DRIVERS)


def check_ending(path: Path, *others: str) -> None:
    """Raise :class:`OptionError` for a file whose ending names no known table, nor is one of ``others``."""
    if path.suffix.lower() not in (*ENDINGS, *others):
        raise OptionError(f"'{path.name}' ends in none of {', '.join((*ENDINGS, *others))}.")


def footprints(windows: Sequence[Window], grids: Sequence[Grid]) -> gpd.GeoSeries:
    """Return the ground under pixels of grids as polygons in WGS84, ``None`` where a grid has no coordinates."""
    import geopandas as gpd
    import pandas as pd

    shapes = [footprint(w, g) if g.crs is not None else None for w, g in zip(windows, grids, strict=True)]
    parts = []
    for crs in {grid.crs.to_wkt() for grid in grids if grid.crs is not None}:
        at = [n for n, grid in enumerate(grids) if grid.crs is not None and grid.crs.to_wkt() == crs]
        parts.append(gpd.GeoSeries([shapes[n] for n in at], index=at, crs=crs).to_crs(WGS84))
    found = pd.concat(parts) if parts else gpd.GeoSeries([], crs=WGS84)
    return gpd.GeoSeries(found.reindex(range(len(shapes))), crs=WGS84)


def write_rows(path: Path, columns: Mapping[str, Any], shapes: gpd.GeoSeries) -> str | None:
    """Write a table whole or not at all; return what the user should know of it.

    CSV has footprints as WKT in a column ``footprint``, and like GeoJSON six decimals. Raises :class:`OptionError` for
    a map format without any footprint.
    """
    import geopandas as gpd
    import pandas as pd

    placed, ending = bool(shapes.notna().any()), path.suffix.lower()
    frame = pd.DataFrame(dict(columns))
    if ending in DRIVERS and not placed:
        raise OptionError(f"No image has coordinates, so {path.name} would hold no places. Write a .csv or .parquet.")
    if ending not in PARQUET:
        frame = frame.round(DECIMALS)
    with working_file(path) as working, explained(path):
        if ending == ".csv":
            if placed:
                frame["footprint"] = [None if one is None else one.wkt for one in shapes]
            frame.to_csv(working, index=False)
        elif not placed:
            frame.to_parquet(working, index=False)
        elif ending in PARQUET:
            table = gpd.GeoDataFrame(frame, geometry=shapes.to_list(), crs=WGS84)
            table.to_parquet(working, index=False, write_covering_bbox=True, schema_version="1.1.0")
        else:
            table = gpd.GeoDataFrame(frame, geometry=shapes.to_list(), crs=WGS84)
            table.to_file(working, driver=DRIVERS[ending], layer=LAYER, engine="pyogrio")
    return None if placed else "no image has coordinates, so the table has no footprints"
