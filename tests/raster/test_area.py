"""Areas of interest cut scenes on their own cells; snapped grids of any scenes share one lattice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from shapely import contains_xy
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from dofa_cli.errors import AreaError, GridError
from dofa_cli.pipelines.inference.plan import output_grid
from dofa_cli.raster.area import crop_to_area, read_area, snapped_grid
from dofa_cli.raster.grid import TilePlan, Window, plan_tiles
from dofa_cli.raster.scene import Scene
from tests.made import UTM

HEIGHT, WIDTH = 100, 130


@pytest.fixture
def scene(scene_of):
    values = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(1, HEIGHT, WIDTH)
    return scene_of(values)


@pytest.fixture
def vector(tmp_path):
    """Write geometries as GeoPackage, in UTM unless said otherwise."""

    def write(*geometries: Any, crs: str | None = UTM, name: str = "area.gpkg") -> Path:
        gpd.GeoDataFrame(geometry=list(geometries), crs=crs).to_file(tmp_path / name)
        return tmp_path / name

    return write


def at(scene: Scene, col: float, row: float, right: float, bottom: float) -> Polygon:
    """The rectangle between pixel corners of a scene, in its CRS."""
    corners = ((col, row), (right, row), (right, bottom), (col, bottom))
    return Polygon([scene.grid.transform @ corner for corner in corners])


def centres_inside(scene: Scene, shape: Any) -> np.ndarray:
    """Which pixel centres lie inside a shape, by shapely."""
    cols, rows = np.meshgrid(np.arange(scene.width) + 0.5, np.arange(scene.height) + 0.5)
    t = scene.grid.transform
    return contains_xy(shape, t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f)


def origin_in(part: Scene, scene: Scene) -> tuple[int, int]:
    """Row and column of a crop's first pixel in the scene it was cut from."""
    col, row = ~scene.grid.transform @ (part.grid.transform.c, part.grid.transform.f)
    assert (col, row) == pytest.approx((round(col), round(row)), abs=1e-6)
    return round(row), round(col)


@pytest.mark.parametrize(("zoom", "step"), [(1, 16), (2, 8), (3, 16), (4, 4), (16, 1)])
def test_the_crop_reaches_outward_to_whole_cells_of_the_scene(scene, vector, whole, zoom, step):
    part = crop_to_area(scene, vector(at(scene, 35.5, 20.5, 60.5, 40.5)), 16, zoom)
    row, col = origin_in(part, scene)
    assert (row, col) == (20 // step * step, 35 // step * step)
    assert (row + part.height, col + part.width) == (-(-41 // step) * step, -(-61 // step) * step)
    np.testing.assert_array_equal(whole(part).values[0, 0, 0], row * WIDTH + col)


def test_the_crop_stops_at_the_scenes_edge(scene, vector):
    part = crop_to_area(scene, vector(at(scene, 90, 70, 500, 500)), 16, 1)
    assert origin_in(part, scene) == (64, 80)
    assert (part.height, part.width) == (HEIGHT - 64, WIDTH - 80)


def test_an_area_on_pixel_edges_takes_no_pixel_more(scene, vector):
    part = crop_to_area(scene, vector(at(scene, 32, 16, 64, 48)), 16, 1)
    assert (*origin_in(part, scene), part.height, part.width) == (16, 32, 32, 32)


def test_pixels_are_valid_whose_centres_lie_inside(scene, vector, whole):
    triangle = Polygon([scene.grid.transform @ corner for corner in ((10.2, 8.1), (70.3, 20.7), (30.9, 77.4))])
    part = crop_to_area(scene, vector(triangle), 16, 1)
    np.testing.assert_array_equal(whole(part).valid, centres_inside(part, triangle))


def test_several_polygons_and_their_holes_are_one_area(scene, vector, whole):
    ring = at(scene, 10, 10, 50, 50).difference(at(scene, 20, 20, 40, 40))
    far = MultiPolygon([at(scene, 70, 70, 80, 80), at(scene, 100, 5, 110, 15)])
    part = crop_to_area(scene, vector(ring, far), 16, 1)
    np.testing.assert_array_equal(whole(part).valid, centres_inside(part, ring.union(far)))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_an_area_in_another_coordinate_system_is_reprojected(scene, vector, whole, crs):
    shape = at(scene, 35, 20, 60, 40)
    path = vector(*gpd.GeoSeries([shape], crs=UTM).to_crs(crs), crs=crs)
    part = crop_to_area(scene, path, 16, 1)
    assert origin_in(part, scene) == (16, 32)
    np.testing.assert_array_equal(whole(part).valid, centres_inside(part, shape))


@pytest.mark.parametrize("name", ["area.geojson", "area.gpkg", "area.shp", "area.fgb"])
def test_any_vector_format_is_read(scene, vector, name):
    shape = at(scene, 35, 20, 60, 40)
    found = read_area(vector(shape, name=name), scene.grid.crs)
    assert found.symmetric_difference(shape).area < 1


@pytest.mark.filterwarnings("ignore:'crs' was not provided")  # said while writing
def test_a_file_without_a_coordinate_system_is_taken_to_be_in_the_scenes(scene, vector):
    part = crop_to_area(scene, vector(at(scene, 35, 20, 60, 40), crs=None, name="area.shp"), 16, 1)
    assert origin_in(part, scene) == (16, 32)


@pytest.mark.parametrize("angle", [0, 30, 180])
def test_rotated_scenes_are_cropped_around_the_area(scene_of, vector, whole, angle):
    transform = Affine.translation(300000, 5800000) @ Affine.rotation(angle) @ Affine.scale(10, -10)
    scene = scene_of(np.ones((1, HEIGHT, WIDTH), np.uint8), transform=transform)
    shape = at(scene, 33.4, 20.2, 60.1, 40.7)
    part = crop_to_area(scene, vector(shape), 16, 1)
    assert whole(part).valid.sum() == centres_inside(scene, shape).sum()
    assert origin_in(part, scene) == (16, 32) or angle == 30  # the bounding box of a rotated area is wider


@pytest.mark.parametrize(
    "geometries", [[Point(300100, 5799900)], [LineString([(300100, 5799900), (300200, 5799900)])], []]
)
def test_a_file_without_polygons_is_refused(scene, vector, geometries):
    with pytest.raises(AreaError, match="no polygons"):
        crop_to_area(scene, vector(*geometries), 16, 1)


def test_points_beside_polygons_do_no_harm(scene, vector):
    shape = at(scene, 35, 20, 60, 40)
    found = read_area(vector(shape, Point(300100, 5799900), name="area.geojson"), scene.grid.crs)
    assert found.symmetric_difference(shape).area < 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing.gpkg", None), ("area.txt", "no vector"), ("area.csv", "name,size\na,1\n"), ("area.gpkg", "")],
)
def test_what_is_no_vector_file_is_refused(scene, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(AreaError, match=name):
        crop_to_area(scene, tmp_path / name, 16, 1)


@pytest.mark.parametrize(
    ("shape", "crs"),
    [
        (box(310000, 5700000, 310100, 5700100), UTM),
        (box(-60, -30, -59, -29), "EPSG:4326"),  # the other side of the world, outside of the projection
        (box(105, 0, 106, 1), "EPSG:4326"),
        (box(100, -1, 101, 0), "EPSG:4326"),
        (box(150, -89.9, 170, -80), "EPSG:4326"),
    ],
    ids=["near by", "other hemisphere", "at infinity", "partly at infinity", "pole"],
)
def test_an_area_that_misses_the_scene_is_refused(scene, vector, shape, crs):
    with pytest.raises(AreaError):
        crop_to_area(scene, vector(shape, crs=crs), 16, 1)


def test_an_area_that_only_touches_the_scenes_edge_is_refused(scene, vector):
    with pytest.raises(AreaError, match="does not touch"):
        crop_to_area(scene, vector(at(scene, -20, 0, 0, 50)), 16, 1)


def test_polygons_inside_a_collection_count(scene, vector):
    shape = at(scene, 35, 20, 60, 40)
    path = vector(GeometryCollection([shape, Point(300100, 5799900)]), name="area.geojson")
    assert read_area(path, scene.grid.crs).symmetric_difference(shape).area < 1


def test_a_self_touching_polygon_is_repaired(scene, vector):
    bow = Polygon([scene.grid.transform @ corner for corner in ((20, 20), (60, 60), (60, 20), (20, 60))])
    assert not bow.is_valid
    assert read_area(vector(bow), scene.grid.crs).is_valid


# Snapping


def cells_of(scene: Scene, patch: int, zoom: int) -> Affine:
    """Transform of the snapped cells."""
    grid = snapped_grid(scene, patch, zoom)
    plan: TilePlan = plan_tiles(grid, 4, 1, inward=True, per_tile=1)
    return output_grid(scene, plan).transform


@given(
    st.integers(-500, 500),
    st.integers(-500, 500),
    st.sampled_from([(16, 1), (16, 2), (16, 4), (14, 1), (14, 2), (14, 7)]),
    st.sampled_from([10.0, 0.5, 30.0, 1 / 3]),
    st.booleans(),
)
def test_snapped_cells_start_at_multiples_of_the_cell(scene_of, row, col, lattice, pixel, south_up):
    patch, zoom = lattice
    down = pixel if south_up else -pixel
    transform = Affine(pixel, 0, col * pixel, 0, down, row * down)
    scene = scene_of(np.ones((1, 50, 60), np.uint8), transform=transform)
    cells = cells_of(scene, patch, zoom)
    cell = pixel * patch / zoom
    assert (cells.a, abs(cells.e)) == pytest.approx((cell, cell))
    for start in (cells.c / cell, cells.f / cell):
        assert start == pytest.approx(round(start), abs=1e-6)


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([(16, 1), (16, 2), (14, 1)]))
def test_scenes_offset_by_any_pixels_share_one_lattice(scene_of, rows, cols, lattice):
    origin = Affine(30, 0, 300015, 0, -30, 5800005)  # Landsat's grids lie half a pixel off the multiples of 30 m
    moved = origin @ Affine.translation(cols, rows)
    first, second = (
        cells_of(scene_of(np.ones((1, 50, 60), np.uint8), transform=transform), *lattice)
        for transform in (origin, moved)
    )
    col, row = ~first @ (second.c, second.f)
    assert (col, row) == pytest.approx((round(col), round(row)), abs=1e-6)


@given(st.integers(-50, 50), st.integers(-50, 50), st.sampled_from([(16, 1), (16, 4), (14, 2)]))
def test_snapped_cells_cover_the_scene_and_none_lies_outside(scene_of, row, col, lattice):
    transform = Affine(10, 0, col * 10, 0, -10, row * 10)
    scene = scene_of(np.ones((1, 50, 60), np.uint8), transform=transform)
    grid = snapped_grid(scene, *lattice)
    assert 0 <= grid.lead_row < grid.patch
    assert 0 <= grid.lead_col < grid.patch
    assert grid.pixels(Window(0, 0, grid.rows, grid.cols)) == Window(0, 0, 50, 60)
    assert not grid.pixels(Window(0, 0, 1, 1)).is_empty
    assert not grid.pixels(Window(grid.rows - 1, grid.cols - 1, 1, 1)).is_empty


def test_a_crop_to_an_area_keeps_the_snapped_lattice(scene, vector):
    part = crop_to_area(scene, vector(at(scene, 35, 21, 60, 43)), 16, 1)
    col, row = ~cells_of(scene, 16, 1) @ (cells_of(part, 16, 1).c, cells_of(part, 16, 1).f)
    assert (col, row) == pytest.approx((round(col), round(row)), abs=1e-9)


@pytest.mark.parametrize(
    ("transform", "crs", "zoom"),
    [
        (None, None, 1),
        (Affine.translation(3e5, 5e6) @ Affine.rotation(5) @ Affine.scale(10, -10), UTM, 1),
        (None, UTM, 3),
    ],
    ids=["no coordinates", "rotated", "a zoom that does not divide the patch"],
)
def test_scenes_that_cannot_be_snapped_are_refused(scene_of, transform, crs, zoom):
    scene = scene_of(np.ones((1, 50, 60), np.uint8), transform=transform, crs=crs)
    with pytest.raises(GridError, match="--snap"):
        snapped_grid(scene, 16, zoom)
