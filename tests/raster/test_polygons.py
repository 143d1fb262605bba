"""Class rasters become polygons that, burnt again, are the same raster."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Geod
from scipy.ndimage import gaussian_filter, label

from dofa_cli.classes import ClassTable
from dofa_cli.errors import OptionError, OutputUnwritable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.labels import open_labels
from dofa_cli.raster.polygons import check_polygon_format, polygonise
from dofa_cli.raster.source import Grid
from tests.made import write_raster
from tests.raster.grids_made import TRANSFORMS, made_grid

CLASSES = ClassTable.of([0, 2, 7], {0: "bare", 2: "Grünland", 7: "water"})
NODATA = CLASSES.nodata


def class_map(folder: Path, values: np.ndarray, grid: Grid) -> Path:
    return write_raster(folder / "map.tif", values[None].astype(np.uint8), crs=grid.crs, transform=grid.transform)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(height, width)), 3) for _ in range(4)]
    return np.array([0, 2, 7, NODATA])[np.stack(layers).argmax(0)]


def read(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)


def burnt(path: Path, grid: Grid) -> np.ndarray:
    """Class values of polygons on a grid, by way of labels."""
    labels = open_labels(path, grid, field="value")
    assert labels.notes == ()
    indices = labels.read(Window(0, 0, grid.height, grid.width)).values
    assert labels.classes is not None
    return np.where(indices < 0, NODATA, np.array(labels.classes.values)[indices])


def areas_in(values: np.ndarray) -> int:
    """How many areas of one class share edges, by scipy."""
    return sum(label(values == value)[1] for value in CLASSES.values)


@given(
    st.sampled_from(sorted(TRANSFORMS)),
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 2, 7, NODATA])),
    st.integers(1, 9),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_polygons_burnt_again_are_the_class_map_on_every_kind_of_grid(tmp_path, kind, values, strip_rows):
    if (values == NODATA).all():
        values[0, 0] = 2
    grid = made_grid(kind, *values.shape)
    count = polygonise(class_map(tmp_path, values, grid), CLASSES, tmp_path / "o.parquet", strip_rows=strip_rows)
    assert count == areas_in(values)
    assert read(tmp_path / "o.parquet").is_valid.all()
    np.testing.assert_array_equal(burnt(tmp_path / "o.parquet", grid), values)


@pytest.mark.parametrize("simplify_px", [0, 1.5])
@pytest.mark.parametrize("strip_rows", [1, 7, 33])
def test_nothing_is_cut_at_strips(tmp_path, strip_rows, simplify_px):
    values, grid = smooth(60, 70), made_grid("projected", 60, 70)
    raster = class_map(tmp_path, values, grid)
    polygonise(raster, CLASSES, tmp_path / "whole.parquet", strip_rows=60, simplify_px=simplify_px)
    polygonise(raster, CLASSES, tmp_path / "strips.parquet", strip_rows=strip_rows, simplify_px=simplify_px)
    whole, strips = read(tmp_path / "whole.parquet"), read(tmp_path / "strips.parquet")
    assert len(whole) == len(strips) == areas_in(values)
    assert shapely.equals(whole.geometry.values, strips.geometry.values).all()
    assert (whole.value == strips.value).all()
    if not simplify_px:
        np.testing.assert_array_equal(shapely.get_num_coordinates(whole.geometry), strips.geometry.count_coordinates())


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geojson", "fgb"])
def test_every_format_holds_values_names_and_areas(tmp_path, suffix):
    values, grid = smooth(40, 50), made_grid("projected", 40, 50)
    out = tmp_path / f"areas.{suffix}"
    polygonise(class_map(tmp_path, values, grid), CLASSES, out)
    found = read(out)
    assert found.crs.to_epsg() == (4326 if suffix == "geojson" else 32633)
    assert (found.name == found.value.map(dict(zip(CLASSES.values, CLASSES.names, strict=True)))).all()
    sums = found.groupby("value").area_m2.sum()
    for value in CLASSES.values:
        assert sums[value] == pytest.approx((values == value).sum() * 100, rel=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "map.tif"])


def test_areas_are_measured_on_the_ellipsoid(tmp_path):
    grid = made_grid("degrees", 20, 30)
    polygonise(class_map(tmp_path, np.full((20, 30), 2), grid), CLASSES, tmp_path / "o.gpkg")
    (found,) = read(tmp_path / "o.gpkg").itertuples()
    left, bottom, right, top = grid.bounds
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter([left, right, right, left], [bottom, bottom, top, top])
    assert found.area_m2 == pytest.approx(area, rel=1e-9)


def test_holes_are_no_part_of_an_area(tmp_path):
    values = np.full((9, 9), 2)
    values[3:6, 3:6] = NODATA
    polygonise(class_map(tmp_path, values, made_grid("projected", 9, 9)), CLASSES, tmp_path / "o.gpkg", strip_rows=4)
    (found,) = read(tmp_path / "o.gpkg").itertuples()
    assert found.area_m2 == pytest.approx(72 * 100, rel=1e-3)
    assert len(found.geometry.interiors) == 1


def test_pixels_that_share_a_corner_only_are_apart(tmp_path):
    values = np.full((4, 4), NODATA)
    values[0, 0] = values[1, 1] = values[2, 2] = 7
    assert polygonise(class_map(tmp_path, values, made_grid("projected", 4, 4)), CLASSES, tmp_path / "o.gpkg") == 3


# Simplified


def test_simplified_neighbours_stay_flush(tmp_path):
    values, grid = smooth(120, 150), made_grid("projected", 120, 150)
    values[values == NODATA] = 0
    raster = class_map(tmp_path, values, grid)
    polygonise(raster, CLASSES, tmp_path / "plain.parquet")
    polygonise(raster, CLASSES, tmp_path / "simple.parquet", simplify_px=1.5, strip_rows=13)
    plain, simple = read(tmp_path / "plain.parquet"), read(tmp_path / "simple.parquet")
    assert len(plain) == len(simple)
    assert simple.geometry.count_coordinates().sum() < 0.5 * plain.geometry.count_coordinates().sum()
    assert shapely.coverage_is_valid(simple.geometry.values)
    union, whole = simple.union_all(), shapely.box(*grid.bounds)
    assert len(union.interiors) == 0  # no gaps
    assert union.symmetric_difference(whole).area < 0.001 * whole.area


def test_simplifying_moves_borders_by_about_a_pixel(tmp_path):
    values, grid = smooth(60, 70), made_grid("projected", 60, 70)
    polygonise(class_map(tmp_path, values, grid), CLASSES, tmp_path / "o.parquet", simplify_px=1)
    polygonise(class_map(tmp_path, values, grid), CLASSES, tmp_path / "p.parquet")
    simple, plain = read(tmp_path / "o.parquet"), read(tmp_path / "p.parquet")
    moved = max(
        shapely.hausdorff_distance(one, other) for one, other in zip(simple.geometry, plain.geometry, strict=True)
    )
    assert 0 < moved <= 20


@pytest.mark.parametrize("limit", [{"min_area_px": 4}, {"min_area_m2": 400 * 0.99}])
def test_small_areas_are_left_out(tmp_path, limit):
    values = np.full((20, 20), NODATA)
    values[0:2, 0:2], values[5, 5:8], values[10:15, 10:15] = 2, 7, 0
    count = polygonise(
        class_map(tmp_path, values, made_grid("projected", 20, 20)), CLASSES, tmp_path / "o.gpkg", **limit, strip_rows=3
    )
    assert count == 2
    assert set(read(tmp_path / "o.gpkg").value) == {0, 2}


# Bounds


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geojson", "fgb"])
def test_a_map_without_classes_is_an_empty_file(tmp_path, suffix):
    raster = class_map(tmp_path, np.full((5, 5), NODATA), made_grid("projected", 5, 5))
    assert polygonise(raster, CLASSES, tmp_path / f"o.{suffix}", simplify_px=1) == 0
    assert len(read(tmp_path / f"o.{suffix}")) == 0


def test_a_map_without_coordinates_measures_pixels(tmp_path):
    values = np.full((6, 6), NODATA)
    values[1:3, 1:4] = 2
    raster = write_raster(tmp_path / "map.tif", values[None].astype(np.uint8), crs=None, transform=None)
    polygonise(raster, CLASSES, tmp_path / "o.gpkg", min_area_px=2)
    (found,) = read(tmp_path / "o.gpkg").itertuples()
    assert found.area_px == 6
    with pytest.raises(OptionError, match="in pixels"):
        polygonise(raster, CLASSES, tmp_path / "o.gpkg", min_area_m2=2)


def test_an_unknown_format_is_refused_before_any_work(tmp_path):
    with pytest.raises(OptionError, match=r"o\.dwg: polygons are written as"):
        check_polygon_format(tmp_path / "o.dwg")
    with pytest.raises(OptionError):
        polygonise(tmp_path / "none.tif", CLASSES, tmp_path / "o.shp")


@pytest.mark.parametrize("suffix", ["gpkg", "parquet"])
def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path, suffix):
    raster = class_map(tmp_path, smooth(10, 10), made_grid("projected", 10, 10))
    with pytest.raises(OutputUnwritable, match=f"o.{suffix}"):
        polygonise(raster, CLASSES, tmp_path / "no" / f"o.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]
