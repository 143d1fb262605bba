"""Vectors as GeoParquet: fixed-size lists, WGS84, a bbox column; readable by geopandas and pyarrow alike."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from shapely.geometry import Polygon, box

from dofa_cli.errors import NoSpace, OutputUnwritable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from dofa_cli.raster.vector import footprint, write_geoparquet
from tests.made import UTM

DIM = 6
TAKEN = datetime(2020, 2, 15, 10, 1, tzinfo=UTC)
NORTH_UP = Affine(10, 0, 300000, 0, -10, 5800000)
GRID = Grid(NORTH_UP, CRS.from_user_input(UTM), 500, 700)
ADRIFT = Grid(Affine.identity(), None, 500, 700)
WINDOWS = [Window(0, 0, 224, 224), Window(0, 224, 224, 224), Window(448, 672, 224, 224)]
VECTORS = np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.parquet"


def write(path: Path, rows: int = 3, grid: Grid = GRID, taken: datetime | None = TAKEN) -> None:
    columns: dict[str, Any] = {
        "window_row": list(range(rows)),
        "valid_share": [0.5] * rows,
        "source": ["scene.tif"] * rows,
    }
    shapes = [footprint(window, grid) for window in WINDOWS[:rows]]
    metadata = {"dofa": '{"weights": "tiny"}'}
    write_geoparquet(path, VECTORS[:rows], shapes, grid, columns=columns, metadata=metadata, taken=taken)


def geo(path: Path) -> dict[str, Any]:
    return json.loads(pq.read_schema(path).metadata[b"geo"])


def test_embeddings_are_fixed_size_lists_of_float32(path):
    write(path)
    table = pq.read_table(path)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), DIM)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), VECTORS)


def test_geometry_is_in_wgs84_where_the_pixels_are(path):
    write(path)
    frame = gpd.read_parquet(path)
    assert frame.crs.to_epsg() == 4326
    for shape, window in zip(frame.geometry, WINDOWS, strict=True):
        left, top = NORTH_UP @ (window.col, window.row)
        right, bottom = NORTH_UP @ (min(window.right, GRID.width), min(window.bottom, GRID.height))
        expected = gpd.GeoSeries([box(left, bottom, right, top)], crs=UTM).to_crs(4326)[0]
        assert shape.symmetric_difference(expected).area < 1e-3 * expected.area


def test_footprints_stop_at_the_scenes_edge():
    assert footprint(Window(448, 672, 224, 224), GRID).equals(box(306720, 5795000, 307000, 5795520))


@pytest.mark.parametrize("transform", [NORTH_UP, NORTH_UP @ Affine.rotation(40), Affine(10, 0, 3e5, 0, 10, 5.8e6)])
def test_footprints_are_simple_polygons_of_the_windows_area(transform):
    shape = footprint(Window(10, 20, 30, 40), Grid(transform, GRID.crs, 500, 700))
    assert shape.is_valid
    assert shape.area == pytest.approx(30 * 40 * 100)
    corners = [transform @ corner for corner in ((20, 10), (60, 10), (60, 40), (20, 40))]
    assert shape.symmetric_difference(Polygon(corners)).area == pytest.approx(0, abs=1e-3)


def test_the_bbox_column_holds_the_bounds_and_is_declared_as_covering(path):
    write(path)
    boxes = pq.read_table(path)["bbox"].to_pylist()
    found = [[bounds[name] for name in ("xmin", "ymin", "xmax", "ymax")] for bounds in boxes]
    np.testing.assert_allclose(found, gpd.read_parquet(path).geometry.bounds.to_numpy())
    covering = geo(path)["columns"]["geometry"]["covering"]["bbox"]
    assert covering["xmin"] == ["bbox", "xmin"]


def test_the_bbox_column_lets_readers_filter_by_place(path):
    write(path)
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(300500, 5799500)
    found = gpd.read_parquet(path, bbox=(lon, lat, lon + 1e-6, lat + 1e-6))
    assert found["window_row"].tolist() == [0]


def test_columns_time_and_metadata_survive(path):
    write(path)
    frame = gpd.read_parquet(path)
    assert frame["window_row"].tolist() == [0, 1, 2]
    assert frame["valid_share"].tolist() == [0.5] * 3
    assert frame["source"].tolist() == ["scene.tif"] * 3
    assert [time.to_pydatetime() for time in frame["datetime"]] == [TAKEN] * 3
    assert json.loads(pq.read_schema(path).metadata[b"dofa"]) == {"weights": "tiny"}
    assert geo(path)["primary_column"] == "geometry"


def test_a_scene_without_a_date_has_an_empty_datetime_of_the_same_type(path, tmp_path):
    write(path, taken=None)
    write(tmp_path / "dated.parquet")
    assert gpd.read_parquet(path)["datetime"].isna().all()
    types = [pq.read_schema(file).field("datetime").type for file in (path, tmp_path / "dated.parquet")]
    assert types[0] == types[1]


@pytest.mark.parametrize("taken", [TAKEN, None])
def test_no_rows_give_a_readable_file_of_the_same_columns(path, tmp_path, taken):
    write(path, rows=0, taken=taken)
    write(tmp_path / "rows.parquet")
    assert len(gpd.read_parquet(path)) == 0
    empty, full = pq.read_schema(path), pq.read_schema(tmp_path / "rows.parquet")
    assert empty.names == full.names
    for name in ("embedding", "datetime", "geometry", "bbox"):
        assert empty.field(name).type == full.field(name).type
    assert geo(path)["columns"]["geometry"]["crs"] is not None


@pytest.mark.parametrize("rows", [0, 3])
def test_a_scene_without_coordinates_keeps_pixels_as_coordinates(path, rows):
    write(path, rows=rows, grid=ADRIFT)
    frame = gpd.read_parquet(path)
    assert frame.crs is None
    if rows:
        assert frame.geometry[0].bounds == (0, 0, 224, 224)


def test_vectors_that_are_nan_stay_nan(path):
    shapes = [footprint(WINDOWS[0], GRID)]
    nothing = np.full((1, DIM), np.nan, np.float32)
    write_geoparquet(path, nothing, shapes, GRID, columns={}, metadata={}, taken=None)
    assert np.isnan(np.stack(pq.read_table(path)["embedding"].to_numpy())).all()


@pytest.mark.parametrize(("code", "expected"), [(errno.ENOSPC, NoSpace), (errno.EIO, OutputUnwritable)])
def test_a_failure_is_named_and_leaves_nothing_behind(path, monkeypatch, code, expected):
    in_memory = pq.write_table

    def failing(table: pa.Table, where: Any, **options: Any) -> None:
        if not isinstance(where, str | Path):
            return in_memory(table, where, **options)
        Path(where).write_text("half a file")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(pq, "write_table", failing)
    with pytest.raises(expected, match=r"out\.parquet"):
        write(path)
    assert list(path.parent.iterdir()) == []
