"""Polygons, lines and points become labels of the pixels under them, whatever the file, CRS and grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from shapely.geometry import LineString, MultiPolygon, Point, Polygon

from dofa_cli.classes import ClassTable
from dofa_cli.errors import LabelError, LabelsMiss, LabelsUnreadable, OptionError, TooFewLabels, UnknownField
from dofa_cli.raster.grid import Window
from dofa_cli.raster.labels import Labels, open_labels, vectors
from dofa_cli.raster.source import Grid
from tests.raster.grids_made import TRANSFORMS, centres_in, made_grid, on_ground, square

GRID = made_grid("projected", 40, 50)
WHOLE = Window(0, 0, 40, 50)
FOREST, WATER = 0, 1


@pytest.fixture
def vector(tmp_path):
    """Write geometries with columns, in the CRS of ``GRID`` unless said otherwise."""

    def write(
        geometries: list[Any], name: str = "labels.gpkg", crs: Any = GRID.crs, layer: str | None = None, **columns: Any
    ) -> Path:
        frame = gpd.GeoDataFrame(columns, geometry=geometries, crs=crs)
        path = tmp_path / name
        if name.endswith("parquet"):
            frame.to_parquet(path)
        else:
            frame.to_file(path, **({"layer": layer} if layer else {}))
        return path

    return write


def names_of(labels: Labels) -> tuple[str, ...]:
    assert labels.classes is not None
    return labels.classes.names


@pytest.fixture
def two(vector):
    """A forest and a water square with a gap between them."""
    return vector([square(GRID, 5, 5, 20, 20), square(GRID, 30, 10, 45, 30)], use=["forest", "water"])


@pytest.fixture
def two_opened(two):
    return open_labels(two, GRID, field="use")


# The pixel rule


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_pixels_are_labelled_whose_centres_lie_inside_on_every_kind_of_grid(vector, kind):
    grid = made_grid(kind, 40, 50)
    triangle = on_ground(grid, (3.2, 4.1), (41.3, 9.7), (12.9, 37.4))
    path = vector([triangle], crs=grid.crs, use=["forest"])
    block = open_labels(path, grid, field="use").read(WHOLE)
    np.testing.assert_array_equal(block.values == FOREST, centres_in(grid, triangle))
    np.testing.assert_array_equal(block.values >= 0, block.group == 0)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb", "a.parquet"])
def test_any_vector_format_is_read(vector, name):
    grid = made_grid("degrees", 40, 50)
    shape = square(grid, 5, 5, 20, 20)
    block = open_labels(vector([shape], name, grid.crs, use=["forest"]), grid, field="use").read(WHOLE)
    np.testing.assert_array_equal(block.values == FOREST, centres_in(grid, shape))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632", "EPSG:3035"])
@pytest.mark.parametrize("kind", TRANSFORMS)
def test_labels_in_another_coordinate_system_land_within_half_a_pixel(vector, kind, crs):
    grid = made_grid(kind, 40, 50)
    shape = square(grid, 4.5, 6.5, 33.5, 29.5)
    moved = gpd.GeoSeries([shape], crs=grid.crs).to_crs(crs)
    found = open_labels(vector(list(moved), crs=crs, use=["forest"]), grid, field="use").read(WHOLE).values == FOREST
    assert found[7:29, 5:33].all()
    found[6:30, 4:34] = False
    assert not found.any()


def test_a_long_edge_bends_with_the_ground(vector):
    """A rectangle of 55 km in degrees has a side along a parallel, which is curved in UTM by 46 m."""
    grid = made_grid("projected", 6000, 6000)
    west, south, east, parallel = 12.1, 52.0, 12.9, 52.2
    shape = Polygon([(west, south), (east, south), (east, parallel), (west, parallel)])
    labels = open_labels(vector([shape], crs="EPSG:4326", use=["land"]), grid, field="use")
    middle = gpd.GeoSeries([Point((west + east) / 2, parallel)], crs="EPSG:4326").to_crs(grid.crs)[0]
    col, row = (int(n) for n in ~grid.transform @ (middle.x, middle.y))
    column = labels.read(Window(row - 10, col, 20, 1)).values[:, 0]
    assert abs(int((column < 0).sum()) - 10) <= 1


@given(st.integers(0, 39), st.integers(0, 49), st.integers(1, 40), st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_window_reads_what_the_whole_holds(two_opened, row, col, height, width):
    labels = two_opened
    window = Window(row, col, height, width).intersect(WHOLE)
    part, whole = labels.read(window), labels.read(WHOLE)
    np.testing.assert_array_equal(part.values, whole.values[window.slices])
    np.testing.assert_array_equal(part.group, whole.group[window.slices])


def test_the_extent_holds_all_labels_and_no_more(two):
    assert open_labels(two, GRID, field="use").extent() == Window(5, 5, 25, 40)


def test_parts_of_a_multipolygon_are_groups_of_their_own(vector):
    both = MultiPolygon([square(GRID, 5, 5, 10, 10), square(GRID, 30, 30, 35, 35)])
    block = open_labels(vector([both], use=["forest"]), GRID, field="use").read(WHOLE)
    assert (block.values == FOREST).sum() == 50
    assert {*np.unique(block.group)} == {-1, 0, 1}


def test_a_hole_is_unlabelled(vector):
    ring = square(GRID, 5, 5, 25, 25).difference(square(GRID, 10, 10, 20, 20))
    block = open_labels(vector([ring], use=["forest"]), GRID, field="use").read(WHOLE)
    assert (block.values == FOREST).sum() == 300


# Small things, points and lines


def test_a_polygon_smaller_than_a_pixel_labels_the_pixel_it_lies_in(vector):
    shed = square(GRID, 7.1, 8.1, 7.3, 8.3)
    labels = open_labels(vector([shed, square(GRID, 20, 20, 30, 30)], use=["hut", "wood"]), GRID, field="use")
    block = labels.read(WHOLE)
    assert np.argwhere(block.values == 0).tolist() == [[8, 7]]
    assert any("1 parts" in note and "smaller than a pixel" in note for note in labels.notes)


def test_a_polygon_smaller_than_a_pixel_takes_no_pixel_from_another(vector):
    shed, wood = square(GRID, 7.1, 8.1, 7.3, 8.3), square(GRID, 5, 5, 20, 20)
    block = open_labels(vector([shed, wood], use=["hut", "wood"]), GRID, field="use").read(WHOLE)
    assert (block.values == 1).sum() == 225
    assert not (block.values == 0).any()


def test_a_point_labels_the_pixel_it_lies_in(vector):
    points = [Point(GRID.transform @ (7.2, 8.9)), Point(GRID.transform @ (30.5, 3.5))]
    labels = open_labels(vector(points, use=["a", "b"]), GRID, field="use")
    block = labels.read(WHOLE)
    assert [np.argwhere(block.values == index).tolist() for index in (0, 1)] == [[[8, 7]], [[3, 30]]]
    assert labels.smallest_px is None


@pytest.mark.parametrize("kind", ["projected", "degrees", "rotated", "south up"])
def test_a_buffer_widens_points_by_metres_on_the_ground(vector, kind):
    grid = made_grid(kind, 40, 50)
    path = vector([Point(grid.transform @ (25.5, 20.5))], crs=grid.crs, use=["a"])
    block = open_labels(path, grid, field="use", buffer_m=60).read(WHOLE)
    rows, cols = np.nonzero(block.values == 0)
    metres = {"projected": (10, 10), "rotated": (10, 10), "south up": (30, 30), "degrees": (7.79, 6.8)}[kind]
    distance = np.hypot((rows - 20) * metres[0], (cols - 25) * metres[1])
    assert distance.max() <= 60.5
    assert len(rows) * metres[0] * metres[1] == pytest.approx(np.pi * 60**2, rel=0.2)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")  # said while writing
def test_a_buffer_needs_ground(vector):
    grid = Grid(GRID.transform, None, 40, 50)
    path = vector([Point(GRID.transform @ (25.5, 20.5))], "a.fgb", None, use=["a"])
    with pytest.raises(OptionError, match="metres"):
        open_labels(path, grid, field="use", buffer_m=60)


def test_a_line_labels_the_pixels_it_runs_through(vector):
    line = LineString([GRID.transform @ corner for corner in ((3, 7.5), (30, 7.5))])
    block = open_labels(vector([line], use=["road"]), GRID, field="use").read(WHOLE)
    assert np.argwhere(block.values == 0).tolist() == [[7, col] for col in range(3, 30)]


def test_the_width_of_a_typical_object_is_the_side_of_a_square(vector):
    shapes = [square(GRID, 5, 5, 11, 11), square(GRID, 20, 20, 26, 26), square(GRID, 30, 5, 45, 20)]
    labels = open_labels(vector(shapes, use=["a", "b", "c"]), GRID, field="use")
    assert labels.smallest_px == pytest.approx(6)


# What is wrong with geometries


def test_pixels_that_two_classes_claim_are_unlabelled_and_told(vector):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 15, 5, 30, 20), square(GRID, 16, 5, 18, 20)]
    labels = open_labels(vector(shapes, use=["a", "b", "a"]), GRID, field="use")
    block = labels.read(WHOLE)
    assert (block.values[5:20, 15:20] == -1).all()
    assert (block.group[5:20, 15:20] == -1).all()
    assert [(block.values == index).sum() for index in (0, 1)] == [150, 150]
    assert any("2 pairs" in note and "overlap" in note for note in labels.notes)


def test_overlapping_polygons_of_one_class_are_no_conflict(vector):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 15, 5, 30, 20)]
    labels = open_labels(vector(shapes, use=["a", "a"]), GRID, field="use")
    assert (labels.read(WHOLE).values == 0).sum() == 25 * 15
    assert labels.notes == ()


def test_neighbours_that_share_an_edge_are_no_conflict(vector):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 20, 5, 30, 20)]
    labels = open_labels(vector(shapes, use=["a", "b"]), GRID, field="use")
    assert (labels.read(WHOLE).values >= 0).sum() == 25 * 15
    assert labels.notes == ()


def test_empty_and_missing_geometries_are_left_out_and_counted(vector):
    shapes = [square(GRID, 5, 5, 20, 20), None, Polygon()]
    labels = open_labels(vector(shapes, "a.parquet", use=["a", "b", "b"]), GRID, field="use")
    assert any(note.startswith("2 of the features") and "without geometry" in note for note in labels.notes)
    assert (labels.read(WHOLE).values >= 0).sum() == 225


def test_a_broken_polygon_is_repaired_and_counted(vector):
    bow = on_ground(GRID, (5, 5), (25, 28.3), (25, 5), (5, 25.1))
    assert not bow.is_valid
    labels = open_labels(vector([bow], use=["a"]), GRID, field="use")
    np.testing.assert_array_equal(labels.read(WHOLE).values == 0, centres_in(GRID, shapely.make_valid(bow)))
    assert any("broken geometry was repaired" in note for note in labels.notes)


def test_features_without_a_class_are_unlabelled_and_counted(vector):
    shapes = [square(GRID, 5, 5, 10, 10), square(GRID, 20, 5, 25, 10), square(GRID, 30, 5, 35, 10)]
    labels = open_labels(vector(shapes, use=["a", None, "  "]), GRID, field="use")
    assert names_of(labels) == ("a",)
    assert (labels.read(WHOLE).values >= 0).sum() == 25
    assert any(note.startswith("2 features") for note in labels.notes)


def test_features_outside_the_scene_are_counted(vector):
    shapes = [square(GRID, 5, 5, 10, 10), square(GRID, 200, 5, 205, 10)]
    labels = open_labels(vector(shapes, use=["a", "b"]), GRID, field="use")
    assert any("1 of the features" in note and "outside the scene" in note for note in labels.notes)
    assert names_of(labels) == ("a", "b")  # the classes are those of the file, alike for all scenes


# Fields and classes


def test_names_are_in_alphabetical_order_and_count_from_one(two):
    labels = open_labels(two, GRID, field="use")
    assert labels.classes is not None
    assert (labels.classes.values, labels.classes.names) == ((1, 2), ("forest", "water"))


@pytest.mark.parametrize("codes", [[7, 3], [7.0, 3.0]])
def test_whole_numbers_stay_class_values(vector, codes):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 30, 10, 45, 30)]
    labels = open_labels(vector(shapes, code=codes, code_name=["x", "y"]), GRID, field="code")
    assert labels.classes is not None
    assert (labels.classes.values, labels.classes.names) == ((3, 7), ("y", "x"))
    assert labels.read(WHOLE).values[7, 7] == 1


def test_numbers_too_large_for_a_raster_become_names(vector):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 30, 10, 45, 30)]
    labels = open_labels(vector(shapes, code=[700000, 31000]), GRID, field="code")
    assert labels.classes is not None
    assert (labels.classes.values, labels.classes.names) == ((1, 2), ("31000", "700000"))


def test_a_missing_field_names_the_fields_and_the_likely_one(two):
    with pytest.raises(UnknownField, match=r"no field 'uses'. Did you mean 'use'\? Its fields: use\."):
        open_labels(two, GRID, field="uses")


def test_the_only_plausible_field_is_taken_with_a_note(vector):
    shapes = [square(GRID, 5 * n, 5, 5 * n + 4, 9) for n in range(3)]
    path = vector(shapes, pid=[1, 2, 3], osm_id=[7, 7, 8], cid=[1, 1, 2], comment=[None, "x", "y"])
    labels = open_labels(path, GRID)
    assert labels.classes is not None
    assert labels.classes.values == (1, 2)
    assert any("field 'cid'" in note for note in labels.notes)


def test_several_plausible_fields_are_listed(vector):
    shapes = [square(GRID, 5 * n, 5, 5 * n + 4, 9) for n in range(3)]
    path = vector(shapes, code=[1, 1, 2], use=["a", "a", "b"])
    with pytest.raises(UnknownField, match="--class-field: code, use"):
        open_labels(path, GRID)


def test_a_file_without_fields_is_refused(vector):
    with pytest.raises(UnknownField, match="no fields"):
        open_labels(vector([square(GRID, 5, 5, 9, 9)]), GRID)


def test_fractions_are_no_classes_but_numbers(vector):
    path = vector([square(GRID, 5, 5, 10, 10), square(GRID, 20, 5, 25, 10)], height=[1.5, np.nan])
    with pytest.raises(LabelError, match=r"1\.5.*--task regress"):
        open_labels(path, GRID, field="height")
    labels = open_labels(path, GRID, numeric=True)
    block = labels.read(WHOLE)
    assert labels.classes is None
    assert block.values.dtype == np.float32
    assert (np.nan_to_num(block.values) == 1.5).sum() == np.isfinite(block.values).sum() == 25


def test_text_is_no_number(two):
    with pytest.raises(LabelError, match="'forest', which is no number"):
        open_labels(two, GRID, field="use", numeric=True)


@pytest.mark.parametrize("given", ["water", "WATER"])
def test_a_class_is_ignored_by_name(two, given):
    labels = open_labels(two, GRID, field="use", ignore=[given])
    assert names_of(labels) == ("forest",)
    assert (labels.read(WHOLE).values >= 0).sum() == 225


def test_an_unknown_class_to_ignore_is_named(two):
    with pytest.raises(LabelError, match=r"no class 'wtaer' to ignore. Did you mean 'water'\?"):
        open_labels(two, GRID, field="use", ignore=["wtaer"])


def test_nothing_left_after_ignoring_is_refused(two):
    with pytest.raises(TooFewLabels, match="holds no class"):
        open_labels(two, GRID, field="use", ignore=["water", "forest"])


def test_labels_take_the_classes_of_a_head_by_name_and_count_what_it_does_not_know(two):
    head = ClassTable.of([10, 20, 30], {10: "Water", 20: "town", 30: "meadow"})
    labels = open_labels(two, GRID, field="use", classes=head)
    assert labels.classes is head
    assert (labels.read(WHOLE).values == 0).sum() == 300
    assert any("forest (1 features)" in note for note in labels.notes)


def test_numbers_take_the_classes_of_a_head_by_value(vector):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 30, 10, 45, 30)]
    head = ClassTable.of([3, 7], {3: "water", 7: "town"})
    labels = open_labels(vector(shapes, code=[7, 9]), GRID, field="code", classes=head)
    assert (labels.read(WHOLE).values == 1).sum() == 225


def test_of_a_very_large_file_only_what_is_near_is_read_and_all_its_classes_are_known(vector, monkeypatch):
    shapes = [square(GRID, 5, 5, 20, 20), square(GRID, 300, 10, 345, 30), square(GRID, 30, 10, 45, 30)]
    path = vector(shapes, use=["water", "forest", "town"])
    expected = open_labels(path, GRID, field="use")
    monkeypatch.setattr(vectors, "MANY", 2)
    labels = open_labels(path, GRID, field="use")
    assert names_of(labels) == ("forest", "town", "water")
    np.testing.assert_array_equal(labels.read(WHOLE).values, expected.read(WHOLE).values)


# Files and places


def test_a_layer_is_named_behind_a_colon(vector, tmp_path):
    vector([square(GRID, 5, 5, 20, 20)], layer="old", use=["a"])
    path = vector([square(GRID, 30, 10, 45, 30)], layer="new", use=["b"])
    with pytest.raises(LabelsUnreadable, match=r"has 2 layers: old, new.*labels\.gpkg:old"):
        open_labels(path, GRID, field="use")
    assert names_of(open_labels(f"{path}:new", GRID, field="use")) == ("b",)
    with pytest.raises(LabelsUnreadable, match="no layer 'never'"):
        open_labels(f"{path}:never", GRID, field="use")


@pytest.mark.parametrize("name", ["missing.gpkg", "empty.gpkg", "words.txt", "table.csv", "broken.parquet"])
def test_what_holds_no_labels_is_refused_by_name(tmp_path, name):
    content = {"empty.gpkg": "", "words.txt": "no labels", "table.csv": "a,b\n1,2\n", "broken.parquet": "PAR1"}
    if name in content:
        (tmp_path / name).write_text(content[name])
    with pytest.raises(LabelsUnreadable, match=name):
        open_labels(tmp_path / name, GRID)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_labels_that_miss_the_scene_are_refused_with_both_places_in_degrees(vector, crs):
    far = gpd.GeoSeries([square(GRID, 5000, 5, 5020, 20)], crs=GRID.crs).to_crs(crs)
    with pytest.raises(LabelsMiss, match=r"covers longitude 12\.\d+ to .* the scene longitude 12\.\d+ to"):
        open_labels(vector(list(far), crs=crs, use=["a"]), GRID, field="use")


def test_labels_that_only_touch_the_scenes_edge_miss_it(vector):
    with pytest.raises(LabelsMiss):
        open_labels(vector([square(GRID, -20, 5, 0, 20)], use=["a"]), GRID, field="use")


def test_labels_where_the_projection_does_not_reach_miss_the_scene(vector):
    path = vector([shapely.box(105, 0, 106, 1)], crs="EPSG:4326", use=["a"])
    with pytest.raises(LabelsMiss):
        open_labels(path, GRID, field="use")


@pytest.mark.filterwarnings("ignore:'crs' was not provided")  # said while writing
def test_labels_without_a_coordinate_system_need_one(vector):
    path = vector([square(GRID, 5, 5, 20, 20)], "a.shp", None, use=["a"])
    with pytest.raises(LabelsMiss, match="ogr2ogr -a_srs"):
        open_labels(path, GRID, field="use")
    bare = Grid(GRID.transform, None, 40, 50)
    assert (open_labels(path, bare, field="use").read(WHOLE).values == 0).sum() == 225


def test_labels_with_a_coordinate_system_need_one_of_the_scene(two):
    with pytest.raises(LabelsMiss, match="The scene has no coordinate system"):
        open_labels(two, Grid(GRID.transform, None, 40, 50), field="use")


def test_a_local_system_is_named_in_its_own_units(vector):
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]')
    grid = Grid(GRID.transform, local, 40, 50)
    path = vector([square(GRID, 500, 5, 520, 20)], "a.gpkg", local, use=["a"])
    with pytest.raises(LabelsMiss, match="covers x 305000 to"):
        open_labels(path, grid, field="use")
