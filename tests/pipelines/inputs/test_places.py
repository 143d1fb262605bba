"""Which inputs make a place."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from dofa_cli.errors import GridError, OptionError
from dofa_cli.pipelines.inputs.named import Input, Key
from dofa_cli.pipelines.inputs.places import group_inputs, one_place, share_of, told_missing
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.raster.source import Grid
from tests.made import TRANSFORM, write_raster

SIDE = 40
OPTIONS = SceneOptions()


@pytest.fixture
def image(tmp_path):
    """Write an image of one band at a place in pixels, and name it as an input."""

    def image(name, sensor, col=0, row=0, side=SIDE, date="", **profile):
        place = {"transform": TRANSFORM @ Affine.translation(col, row)} | profile
        path = write_raster(tmp_path / f"{name}.tif", np.ones((1, side, side), np.uint8), **place)
        return Input((str(path),), sensor, date)

    return image


def names(places):
    return [[one.paths[0].rpartition("/")[2].removesuffix(".tif") for one in place.inputs] for place in places]


def test_each_key_joins_the_place_that_it_covers_most(image):
    inputs = [image("a", "sentinel2"), image("b", "sentinel2", col=36)]  # which overlap, as tiles do
    inputs += [image("c", "sentinel1", col=34), image("d", "sentinel1", col=-2)]
    assert names(group_inputs(inputs, OPTIONS)) == [["a", "d"], ["b", "c"]]


def test_a_large_input_serves_several_places(image):
    inputs = [image("a", "sentinel2"), image("b", "sentinel2", col=60), image("c", "sentinel1", side=150)]
    assert names(group_inputs(inputs, OPTIONS)) == [["a", "c"], ["b", "c"]]


def test_places_that_lack_the_first_key_stand_on_their_own_pixels(image):
    inputs = [image("a", "sentinel2"), image("b", "sentinel1"), image("c", "sentinel1", row=200)]
    places = group_inputs(inputs, OPTIONS)
    assert names(places) == [["a", "b"], ["c"]]
    assert places[1].of(Key("sentinel2")) is None
    assert told_missing(places, [Key("sentinel2"), Key("sentinel1")]) == ["1 of 2 places have no sentinel2."]


def test_dates_are_keys(image):
    inputs = [image("a", "sentinel2", date="may"), image("b", "sentinel2", date="june")]
    assert names(group_inputs(inputs, OPTIONS)) == [["a", "b"]]


def test_the_grid_is_the_first_ones_at_the_resolution_asked_for(image):
    coarse = image("a", "sentinel1", transform=TRANSFORM @ Affine.scale(2))
    place = one_place([coarse, image("b", "sentinel2")], OPTIONS)
    assert place.grid.pixel_size == 20
    assert one_place([coarse, image("c", "sentinel2")], SceneOptions(resolution=5)).grid.pixel_size == 5


def test_a_key_that_repeats_on_the_same_ground_is_refused(image):
    first = image("a", "sentinel2")
    for others in (
        [image("b", "sentinel1"), image("c", "sentinel1", col=3)],
        [image("b", "sentinel2", col=5), image("c", "sentinel1")],
    ):
        with pytest.raises(OptionError, match=r"are both sentinel\d of the same ground.*:2024-05"):
            group_inputs([first, *others], OPTIONS)


def test_inputs_that_lie_apart_are_refused(image):
    inputs = [image("a", "sentinel2"), image("b", "sentinel1", col=500)]
    with pytest.raises(GridError, match="do not cover the same ground"):
        group_inputs(inputs, OPTIONS)
    with pytest.raises(GridError, match="does not cover the ground"):
        one_place(inputs, OPTIONS)


def test_inputs_without_coordinates_are_of_one_place_if_their_size_is_the_same(image):
    nowhere = {"crs": None, "transform": Affine.identity()}
    one, same = (image(name, sensor, **nowhere) for name, sensor in (("a", "sentinel2"), ("b", "sentinel1")))
    assert names([one_place([one, same], OPTIONS)]) == [["a", "b"]]
    with pytest.raises(GridError):
        one_place([one, image("c", "sentinel1", side=30, **nowhere)], OPTIONS)


def test_shares_are_of_the_first_grid_in_any_system():
    metres = Grid(TRANSFORM, CRS.from_epsg(32633), 100, 100)
    assert share_of(metres, metres) == 1
    assert share_of(metres, Grid(TRANSFORM @ Affine.translation(50, 0), metres.crs, 100, 100)) == pytest.approx(0.5)
    assert share_of(metres, Grid(TRANSFORM @ Affine.translation(0, 100), metres.crs, 9, 9)) == 0
    up = Grid(TRANSFORM @ Affine.translation(0, 100) @ Affine.scale(1, -1), metres.crs, 100, 100)
    assert share_of(metres, up) == pytest.approx(1)
    other = Grid(Affine(0.01, 0, 11.5, 0, -0.01, 52.5), CRS.from_epsg(4326), 100, 200)
    assert share_of(metres, other) == pytest.approx(1)
    assert share_of(other, metres) < 0.01
    assert share_of(metres, Grid(TRANSFORM, None, 100, 100)) == 0
