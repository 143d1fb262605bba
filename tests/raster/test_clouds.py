"""What a quality layer leaves out: classes and bits against hand-made tables, the nearest pixel, widened areas."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dofa_cli.errors import GridError
from dofa_cli.raster.clouds import CloudOptions, cloud_mask, describe_screen, share_of, unwanted, widened
from dofa_cli.raster.deliveries.delivery import QualityLayer, Screen
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window, read_windows
from tests.made import TRANSFORM

PLAIN = CloudOptions()


def left_out(values, screen, options=PLAIN):
    told = unwanted(np.array([values]), screen, options)[0]
    return [value for value, out in zip(values, told, strict=True) if out]


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        (PLAIN, [0, 1, 3, 8, 9, 10]),
        (CloudOptions(cirrus=False), [0, 1, 3, 8, 9]),
        (CloudOptions(snow=True), [0, 1, 3, 8, 9, 10, 11]),
    ],
)
def test_classes_of_sentinel_2(options, classes):
    assert left_out(list(range(12)), Screen.SENTINEL2_SCL, options) == classes


@pytest.mark.parametrize(
    ("value", "options", "out"),
    [
        (21824, PLAIN, False),  # clear land
        (21952, PLAIN, False),  # clear water
        (1, PLAIN, True),  # fill
        (22280, PLAIN, True),  # cloud
        (23888, PLAIN, True),  # cloud shadow
        (21826, PLAIN, True),  # dilated cloud
        (54596, PLAIN, True),  # cirrus
        (21824 | 1 << 2, CloudOptions(cirrus=False), False),
        (30048, PLAIN, False),  # snow
        (30048, CloudOptions(snow=True), True),
    ],
)
def test_bits_of_landsat(value, options, out):
    assert bool(unwanted(np.array([[value]], np.uint16), Screen.LANDSAT_QA_PIXEL, options)[0, 0]) is out


@pytest.mark.parametrize(
    ("value", "options", "out"),
    [
        (0, PLAIN, False),
        (0b00000010, PLAIN, True),
        (0b00000100, PLAIN, True),
        (0b00001000, PLAIN, True),
        (0b00000001, PLAIN, True),
        (0b00000001, CloudOptions(cirrus=False), False),
        (0b00010000, PLAIN, False),
        (0b00010000, CloudOptions(snow=True), True),
        (0b00100000, PLAIN, False),  # water
        (0b11000000, PLAIN, False),  # aerosol level
        (255, CloudOptions(cirrus=False), True),  # fill
    ],
)
def test_bits_of_hls(value, options, out):
    assert bool(unwanted(np.array([[value]], np.uint8), Screen.HLS_FMASK, options)[0, 0]) is out


def test_a_mask_of_ones_own_leaves_out_what_is_not_zero_or_what_is_listed():
    assert left_out([0, 1, 2, 5], Screen.NONZERO) == [1, 2, 5]
    assert left_out([0, 1, 2, 5], Screen.NONZERO, CloudOptions(values=(0, 5))) == [0, 5]


@pytest.mark.parametrize("screen", list(Screen))
def test_every_layer_says_in_words_what_it_leaves_out(screen):
    assert describe_screen(screen, CloudOptions(snow=True))
    assert ("snow" in describe_screen(screen, CloudOptions(snow=True))) is (screen is not Screen.NONZERO)


def test_a_coarser_layer_is_laid_on_the_scene_by_the_nearest_pixel(tif, stack, whole):
    scene = stack([tif("scene.tif", np.ones((1, 6, 8), np.uint16))])
    classes = np.array([[[4, 9, 4, 3], [4, 4, 4, 4], [8, 4, 4, 4]]], np.uint8)
    path = tif("scl.tif", classes, transform=TRANSFORM @ rasterio.Affine.scale(2))
    mask = cloud_mask(QualityLayer(path, Screen.SENTINEL2_SCL), scene.grid, PLAIN)
    expected = np.kron(np.isin(classes[0], (3, 8, 9)), np.ones((2, 2), bool))
    np.testing.assert_array_equal(mask.compute(), expected)
    np.testing.assert_array_equal(whole(scene.without(mask)).valid, ~expected)
    assert share_of(mask) == pytest.approx(expected.mean())


def test_pixels_beyond_a_quality_layer_are_left_out_and_those_beyond_a_mask_of_ones_own_are_kept(tif, stack):
    scene = stack([tif("scene.tif", np.ones((1, 4, 4), np.uint16))])
    half = tif("half.tif", np.full((1, 4, 2), 4, np.uint8))
    layer = cloud_mask(QualityLayer(half, Screen.SENTINEL2_SCL), scene.grid, PLAIN).compute()
    assert layer[:, :2].sum() == 0
    assert layer[:, 2:].all()
    own = cloud_mask(QualityLayer(half, Screen.NONZERO), scene.grid, PLAIN).compute()
    assert own[:, :2].all()
    assert own[:, 2:].sum() == 0


def test_a_mask_without_coordinates_must_have_the_scenes_size(tif, stack):
    scene = stack([tif("scene.tif", np.ones((1, 4, 4), np.uint16))])
    other = tif("other.tif", np.ones((1, 3, 4), np.uint8), crs=None, transform=rasterio.Affine.identity())
    with pytest.raises(GridError, match="cannot mask"):
        cloud_mask(QualityLayer(other, Screen.NONZERO), scene.grid, PLAIN)


@given(arrays.arrays(bool, (17, 23)), st.integers(0, 6), st.integers(3, 23))
def test_widening_reaches_a_square_around_every_pixel_whatever_the_chunks(mask, reach, chunk):
    expected = np.zeros_like(mask)
    for row, col in zip(*np.nonzero(mask), strict=True):
        expected[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1] = True
    np.testing.assert_array_equal(widened(da.from_array(mask, chunks=chunk), reach).compute(), expected)


def test_masks_read_the_same_tile_by_tile(tif, stack):
    rng = np.random.default_rng(0)
    scene = stack([tif("scene.tif", np.ones((1, 90, 70), np.uint16))])
    path = tif("own.tif", (rng.random((1, 90, 70)) > 0.97).astype(np.uint8), tiled=True, blockxsize=16, blockysize=16)
    masked = scene.without(cloud_mask(QualityLayer(path, Screen.NONZERO), scene.grid, CloudOptions(dilate=3)))
    every = read_window(masked, Window(0, 0, 90, 70)).valid
    windows = [Window(row, col, min(33, 90 - row), min(25, 70 - col)) for row in (0, 33, 66) for col in (0, 25, 50)]
    for window, pixels in zip(windows, read_windows(masked, windows), strict=True):
        np.testing.assert_array_equal(pixels.valid, every[window.slices])
    assert 0.1 < every.mean() < 0.9


def test_widening_by_more_than_the_scene_takes_it_whole():
    mask = da.zeros((20, 30), chunks=8, dtype=bool)
    assert not widened(mask, 5000).compute().any()
    assert widened(da.from_array(np.eye(20, 30, dtype=bool), chunks=8), 5000).compute().all()


def test_a_layer_of_decimals_is_read_as_the_whole_numbers_it_holds():
    values = np.array([[21824.0, 22280.0, np.nan]], np.float32)
    assert unwanted(values, Screen.LANDSAT_QA_PIXEL, PLAIN).tolist() == [[False, True, False]]
