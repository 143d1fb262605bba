"""Blocks cut the ground into units, units are dealt into folds, and a guard keeps the sides apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dofa_cli.errors import OptionError
from dofa_cli.raster.blocks import Blocks, apart, assign_folds, choose_blocks, folds_of, stated_blocks
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from tests.raster.grids_made import made_grid

EXTENT = Window(30, 40, 500, 700)


def samples(count: int, seed: int = 0, extent: Window = EXTENT) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(extent.row, extent.bottom, count), rng.integers(extent.col, extent.right, count)


# Blocks


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(1, 500))
def test_there_are_blocks_enough_for_five_folds_where_there_are_pixels_enough(height, width, window):
    blocks = choose_blocks(Window(5, 7, height, width), window)
    assert len(blocks) >= min(5, height * width)
    assert len(blocks) <= height * width


@given(st.integers(200, 5000), st.integers(200, 5000), st.integers(16, 300))
def test_blocks_are_as_large_as_a_window_where_the_extent_allows(height, width, window):
    blocks = choose_blocks(Window(0, 0, height, width), window)
    if height * width >= 25 * window**2 and min(height, width) >= window:
        assert min(blocks.height, blocks.width) >= 0.6 * window
        assert max(blocks.height, blocks.width) <= 6 * window
        assert len(blocks) >= 15


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40))
def test_blocks_partition_their_extent(height, width, block_height, block_width):
    blocks = Blocks(Window(3, 4, height, width), block_height, block_width)
    rows, cols = np.mgrid[3 : 3 + height, 4 : 4 + width]
    numbers = blocks.block_of(rows, cols)
    for number in range(len(blocks)):
        window = blocks.window(number)
        inside = numbers[window.relative_to(blocks.extent).slices]
        assert (inside == number).all()
        assert inside.size == (numbers == number).sum() == window.height * window.width


def test_pixels_outside_the_extent_belong_to_the_nearest_block():
    blocks = Blocks(Window(10, 10, 20, 20), 10, 10)
    assert blocks.block_of(np.array([0, 100]), np.array([0, 100])).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("640", "projected", (64, 64)),
        ("640m", "projected", (64, 64)),
        ("0.64 km", "projected", (64, 64)),
        ("64px", "projected", (64, 64)),
        ("778m", "degrees", (100, 114)),  # 1e-4 degrees east are 6.8 m at 52.4 degrees north, 7e-5 degrees north 7.8 m
        ("5m", "projected", (1, 1)),
    ],
)
def test_a_stated_side_is_metres_on_the_ground_or_pixels(text, kind, expected):
    blocks = stated_blocks(EXTENT, text, made_grid(kind, 600, 800))
    assert (blocks.height, blocks.width) == expected


@pytest.mark.parametrize("text", ["0", "-5m", "wide", "10 miles", ""])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(OptionError, match="is no length"):
        stated_blocks(EXTENT, text, made_grid("projected", 600, 800))


def test_metres_need_a_coordinate_system():
    grid = made_grid("projected", 600, 800)
    bare = Grid(grid.transform, None, 600, 800)
    with pytest.raises(OptionError, match="64px"):
        stated_blocks(EXTENT, "640m", bare)
    assert stated_blocks(EXTENT, "64px", bare).height == 64


# Folds


@given(st.integers(0, 1000), st.integers(1, 400), st.integers(2, 12))
def test_whole_blocks_and_groups_stand_on_one_side(seed, count, groups):
    rows, cols = samples(count, seed)
    group = np.random.default_rng(seed).integers(-1, groups, count)
    blocks = choose_blocks(EXTENT, 64)
    units, folds = blocks.units_of(rows, cols, group), blocks.fold_of(rows, cols, group, seed=seed)
    for number in range(groups):
        assert len(np.unique(folds[group == number])) <= 1
    for unit in np.unique(units):
        assert len(np.unique(folds[units == unit])) == 1
    np.testing.assert_array_equal(units[group < 0], blocks.block_of(rows, cols)[group < 0])


def test_a_group_goes_with_the_block_of_its_centre():
    blocks = Blocks(Window(0, 0, 100, 100), 50, 50)
    rows, cols = np.array([40, 48, 60, 10]), np.array([10, 10, 10, 90])
    assert blocks.units_of(rows, cols, np.array([7, 7, 7, -1])).tolist() == [0, 0, 0, 1]
    assert blocks.units_of(rows, cols).tolist() == [0, 0, 2, 1]


@given(st.integers(0, 500), st.integers(5, 80), st.integers(1, 8), st.integers(2, 5))
def test_every_class_in_enough_units_is_in_every_fold(seed, units, classes, folds):
    """Each unit holds one class, so that nothing stands in the way."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((units, classes), np.int64)
    counts[np.arange(units), rng.integers(0, classes, units)] = 10
    found = assign_folds(counts, folds, seed)
    for index in range(classes):
        per_fold = [counts[found == fold, index].sum() for fold in range(folds)]
        assert max(per_fold) - min(per_fold) <= 10


@given(st.integers(0, 500), st.integers(40, 120))
def test_folds_are_of_much_the_same_size(seed, units):
    counts = np.random.default_rng(seed).integers(0, 50, (units, 6))
    found = assign_folds(counts, 5, seed)
    share = np.array([counts[found == fold].sum(0) for fold in range(5)]) / counts.sum(0)
    assert abs(share - 0.2).max() < 0.1


def test_a_class_in_few_units_is_spread_before_others():
    counts = np.full((20, 2), (100, 0))
    counts[:3] = (100, 5)
    found = assign_folds(counts, 3)
    assert sorted(found[:3]) == [0, 1, 2]


def test_folds_follow_from_the_seed_alone():
    counts = np.random.default_rng(1).integers(0, 9, (50, 4))
    np.testing.assert_array_equal(assign_folds(counts, 5, 3), assign_folds(counts, 5, 3))
    assert (assign_folds(counts, 5, 3) != assign_folds(counts, 5, 4)).any()


def test_fewer_units_than_folds_leave_folds_empty_and_units_without_samples_have_one():
    assert len(set(assign_folds(np.ones((3, 2), int), 5).tolist())) == 3
    assert set(assign_folds(np.zeros((10, 2), int), 5).tolist()) == {0, 1, 2, 3, 4}
    assert assign_folds(np.zeros((0, 2), int), 5).shape == (0,)


def test_samples_without_a_class_go_with_their_unit():
    units, classes = np.array([3, 3, 9, 9, 4]), np.array([0, -1, 0, 1, 1])
    folds = folds_of(units, classes, folds=2)
    assert folds[0] == folds[1]
    assert folds[2] == folds[3]
    assert {*folds.tolist()} == {0, 1}


# The guard


@pytest.mark.parametrize("kind", [np.int32, np.float64], ids=["pixels", "positions"])
@given(st.integers(0, 1000), st.integers(0, 60), st.integers(0, 60), st.floats(0, 40))
@settings(max_examples=30)
def test_the_guard_is_exact(kind, seed, train_count, test_count, guard):
    extent = Window(0, 0, 90, 120)
    train, test = ([axis.astype(kind) for axis in samples(n, seed + n, extent)] for n in (train_count, test_count))
    if seed % 2:
        guard = round(guard)
    kept = apart(*train, *test, guard)
    for row, col, keep in zip(*train, kept, strict=True):
        nearest = np.maximum(abs(test[0] - row), abs(test[1] - col)).min(initial=1000)
        assert keep == (nearest > guard)
