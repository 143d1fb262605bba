"""Label rasters on any grid become labels of a scene's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from dofa_cli.classes import ClassTable
from dofa_cli.errors import LabelError, LabelsMiss, LabelsUnreadable, TooFewLabels
from dofa_cli.raster.grid import Window
from dofa_cli.raster.labels import open_labels, rasters
from dofa_cli.raster.source import Grid
from dofa_cli.raster.style_files import write_style
from tests.raster.grids_made import TRANSFORMS, made_grid

HEIGHT, WIDTH = 40, 50
GRID = made_grid("projected", HEIGHT, WIDTH)
WHOLE = Window(0, 0, HEIGHT, WIDTH)


def patches(dtype: str = "uint8", values: tuple[int, ...] = (3, 7, 9), seed: int = 0) -> np.ndarray:
    """Blocks of 5 pixels of random classes (1, height, width)."""
    rng = np.random.default_rng(seed)
    return rng.choice(values, (1, HEIGHT // 5, WIDTH // 5)).repeat(5, 1).repeat(5, 2).astype(dtype)


def values_of(labels: Any, window: Window = WHOLE) -> np.ndarray:
    """Class values under a window, −1 where unlabelled."""
    indices = labels.read(window).values
    return np.where(indices < 0, -1, np.array(labels.classes.values)[indices])


@pytest.fixture
def label(tif):
    def write(values: np.ndarray, grid: Grid = GRID, name: str = "labels.tif", **profile: Any) -> str:
        return tif(name, values, **{"crs": grid.crs, "transform": grid.transform, **profile})

    return write


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("kind", TRANSFORMS)
def test_class_values_on_the_scenes_own_grid_stay_as_they_are(label, kind, dtype):
    grid, values = made_grid(kind, HEIGHT, WIDTH), patches(dtype)
    labels = open_labels(label(values, grid), grid)
    np.testing.assert_array_equal(values_of(labels), values[0])
    assert (labels.read(WHOLE).group == -1).all()
    assert labels.notes == ()


@pytest.mark.parametrize("kind", TRANSFORMS)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_labels_on_another_grid_land_within_half_a_pixel(label, kind, crs):
    """A fine map of stripes in another CRS: each scene pixel takes the class at its centre, or of a neighbour."""
    grid, values = made_grid(kind, HEIGHT, WIDTH), patches()
    west, south, east, north = transform_bounds(grid.crs, crs, *grid.bounds)
    moved = np.zeros((1, 4 * HEIGHT, 4 * WIDTH), np.uint8)
    place = Affine((east - west) / WIDTH / 4, 0, west, 0, (south - north) / HEIGHT / 4, north)
    reproject(
        values,
        moved,
        src_transform=grid.transform,
        src_crs=grid.crs,
        dst_transform=place,
        dst_crs=crs,
        resampling=Resampling.nearest,
    )
    labels = open_labels(label(moved, crs=crs, transform=place, nodata=0), grid)
    found, padded = values_of(labels), np.pad(values[0], 1, mode="edge")
    near = [padded[r : r + HEIGHT, c : c + WIDTH] for r in range(3) for c in range(3)]
    assert (found[found >= 0] == np.stack(near)[:, found >= 0]).any(0).all()
    inner = np.ones((HEIGHT, WIDTH), bool)
    inner[:2], inner[-2:], inner[:, :2], inner[:, -2:] = False, False, False, False
    assert (found[inner] == values[0][inner]).mean() > 0.95


def test_pixels_outside_the_label_raster_are_unlabelled_even_where_0_is_a_class(label):
    values = np.zeros((1, 10, 10), np.uint8)
    values[0, :5] = 1
    part = Grid(GRID.transform @ Affine.translation(20, 10), GRID.crs, 10, 10)
    labels = open_labels(label(values, part), GRID)
    found = values_of(labels)
    assert (found[10:15, 20:30] == 1).all()
    assert (found[15:20, 20:30] == 0).all()
    assert (found >= 0).sum() == 100
    assert labels.extent() == Window(10, 20, 10, 10)


@pytest.mark.parametrize("blocks", [16, 1024])
def test_windows_and_surveys_of_any_size_see_the_same(label, monkeypatch, blocks):
    monkeypatch.setattr(rasters, "BLOCK", blocks)
    path = label(patches(), nodata=9)
    labels = open_labels(path, GRID)
    assert labels.classes is not None
    assert labels.classes.values == (3, 7)
    window = Window(7, 11, 13, 20)
    np.testing.assert_array_equal(values_of(labels, window), values_of(labels)[window.slices])
    assert (values_of(labels) == -1).sum() == (patches() == 9).sum()


def test_the_width_of_a_typical_object_is_the_mean_run(label):
    checks = np.indices((HEIGHT // 5, WIDTH // 5)).sum(0) % 2
    values = checks.repeat(5, 0).repeat(5, 1)[None].astype(np.uint8)
    assert open_labels(label(values), GRID).smallest_px == pytest.approx(5)


# Nodata and ignored values


@pytest.mark.parametrize(
    "given", [{"ignore": [7]}, {"ignore": ["7"]}, {"nodata": 7}, {"ignore": [3, 9, 7], "nodata": 7}]
)
def test_ignored_values_are_unlabelled(label, given):
    values = patches(values=(3, 7, 9, 11))
    labels = open_labels(label(values), GRID, **given)
    left = {3, 7, 9, 11} - {7, *map(int, given.get("ignore", ()))}
    assert set(np.unique(values_of(labels))) == {-1, *left}
    assert labels.classes is not None
    assert set(labels.classes.values) == left


def test_nodata_of_the_file_is_unlabelled_in_floats_too(label):
    values = patches("float32")
    values[0, :10] = np.nan
    assert (values_of(open_labels(label(values), GRID))[:10] == -1).all()


def test_0_is_a_class_and_said_so_where_it_covers_most(label):
    values = patches(values=(0, 0, 0, 4))
    labels = open_labels(label(values), GRID)
    assert labels.classes is not None
    assert labels.classes.values == (0, 4)
    assert any(note.startswith("0 covers ") and "--ignore 0" in note for note in labels.notes)
    assert open_labels(label(patches(values=(0, 4, 5, 6))), GRID).notes == ()


def test_nothing_left_is_refused(label):
    with pytest.raises(TooFewLabels):
        open_labels(label(patches()), GRID, ignore=[3, 7, 9])
    with pytest.raises(LabelsMiss, match="no labelled pixel"):
        open_labels(label(np.full((1, HEIGHT, WIDTH), 5, np.uint8), nodata=5), GRID)


# Values that are no classes


def test_fractions_look_like_numbers(label):
    values = patches("float32") + 0.25
    with pytest.raises(LabelError, match="--task regress"):
        open_labels(label(values), GRID)
    labels = open_labels(label(values, nodata=3.25), GRID, numeric=True)
    np.testing.assert_array_equal(labels.read(WHOLE).values, np.where(values[0] == 3.25, np.nan, values[0]))
    assert labels.classes is None


def test_numbers_are_scaled_as_the_file_says_after_ignoring(label):
    path = label(patches("int16"))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5,), (10.0,)
    found = open_labels(path, GRID, numeric=True, ignore=[7]).read(WHOLE).values
    np.testing.assert_array_equal(found, np.where(patches()[0] == 7, np.nan, patches()[0] * 0.5 + 10))


def test_more_than_a_thousand_values_look_like_numbers(label):
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(1, HEIGHT, WIDTH)
    with pytest.raises(LabelError, match="--task regress"):
        open_labels(label(values), GRID)
    values[values >= 1001] = 0
    with pytest.raises(LabelError, match="more than 1000"):
        open_labels(label(values), GRID)


def test_negative_values_may_mean_unlabelled(label):
    values = patches("int32")
    values[0, 0, 0] = -9999
    with pytest.raises(LabelError, match="--ignore -9999"):
        open_labels(label(values), GRID)
    assert values_of(open_labels(label(values), GRID, ignore=["-9999"]))[0, 0] == -1


@pytest.mark.parametrize("bands", [3, 4])
def test_several_bands_are_refused_with_a_way_to_name_one(label, bands):
    path = label(patches().repeat(bands, 0))
    with pytest.raises(LabelsUnreadable, match=f"has {bands} bands; labels need one"):
        open_labels(path, GRID)
    np.testing.assert_array_equal(values_of(open_labels(f"vrt://{path}?bands=2", GRID)), patches()[0])


# Names, colours and the classes of a head


def test_names_and_colours_come_from_the_file(label, tmp_path):
    path = label(patches())
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {3: (1, 2, 3, 255), 7: (4, 5, 6, 255), 9: (7, 8, 9, 255)})
    write_style(tmp_path / "labels.tif", ClassTable.of([3, 7, 9], {3: "wheat", 9: "Grünland"}))
    labels = open_labels(path, GRID, ignore=["WHEAT"])
    assert labels.classes is not None
    assert labels.classes.names == ("7", "Grünland")
    assert labels.classes.colours == ((4, 5, 6), (7, 8, 9))


def test_names_join_the_classes_of_a_head_before_values(label, tmp_path):
    path = label(patches())
    write_style(tmp_path / "labels.tif", ClassTable.of([3, 7, 9], {3: "wheat", 7: "maize", 9: "rye"}))
    head = ClassTable.of([3, 4, 9], {3: "maize", 4: "wheat", 9: "town"})
    labels = open_labels(path, GRID, classes=head)
    expected = np.select([patches()[0] == 3, patches()[0] == 7], [4, 3], 9)
    np.testing.assert_array_equal(values_of(labels), expected)


def test_values_that_a_head_does_not_know_are_unlabelled_and_counted(label):
    head = ClassTable.of([7, 9, 200])
    labels = open_labels(label(patches()), GRID, classes=head)
    np.testing.assert_array_equal(values_of(labels), np.where(patches()[0] == 3, -1, patches()[0].astype(int)))
    assert any(f"3 ({(patches() == 3).sum()} pixels)" in note for note in labels.notes)


def test_classes_that_a_head_does_not_know_at_all_leave_nothing_labelled(label):
    labels = open_labels(label(patches()), GRID, classes=ClassTable.of([100]))
    assert (labels.read(WHOLE).values == -1).all()


# Without coordinates


@pytest.mark.parametrize(("scene_crs", "label_crs"), [(None, None), (GRID.crs, None), (None, GRID.crs)])
def test_without_coordinates_rasters_of_one_size_share_their_pixels(label, scene_crs, label_crs):
    scene = Grid(GRID.transform if scene_crs else Affine.identity(), scene_crs, HEIGHT, WIDTH)
    path = label(patches(), crs=label_crs, transform=GRID.transform if label_crs else Affine.identity())
    labels = open_labels(path, scene)
    np.testing.assert_array_equal(values_of(labels), patches()[0])
    assert bool(labels.notes) == (scene_crs != label_crs)


@pytest.mark.parametrize(("scene_crs", "lacking"), [(None, "The scene"), (GRID.crs, "labels.tif")])
def test_without_coordinates_rasters_of_two_sizes_cannot_be_aligned(label, scene_crs, lacking):
    path = label(patches(), crs=None if scene_crs else GRID.crs, transform=GRID.transform)
    with pytest.raises(LabelsMiss, match=rf"{lacking} has no coordinate system.*40 × 50.*41 × 50"):
        open_labels(path, Grid(GRID.transform, scene_crs, HEIGHT + 1, WIDTH))


def test_a_raster_that_misses_the_scene_is_refused_with_both_places(label):
    far = Grid(Affine(10, 0, 400000, 0, -10, 5800020), CRS.from_epsg(32633), HEIGHT, WIDTH)
    with pytest.raises(LabelsMiss, match=r"does not touch the scene: it covers longitude 13\.\d+ to .* the scene lon"):
        open_labels(label(patches(), far), GRID)


def test_a_damaged_raster_is_unreadable(tmp_path):
    (tmp_path / "labels.tif").write_bytes(b"II*\0broken")
    with pytest.raises(LabelsUnreadable, match=r"labels\.tif"):
        open_labels(tmp_path / "labels.tif", GRID)
