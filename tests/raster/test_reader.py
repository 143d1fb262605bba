"""Blocks of a lazy array are decoded whole and once, in bounded memory."""

from __future__ import annotations

from collections import Counter

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import BlockCache

VALUES = np.arange(3 * 50 * 70, dtype=np.int32).reshape(3, 50, 70)
CHUNKS = ((2, 1), (16, 16, 16, 2), (32, 32, 6))


class Counted:
    """An array that counts how often each of its blocks is read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.reads: Counter[tuple[int, ...]] = Counter()

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        self.reads[tuple(part.start or 0 for part in key)] += 1
        return self.values[key]


@given(
    st.lists(st.tuples(st.integers(0, 49), st.integers(0, 69), st.integers(1, 50), st.integers(1, 70)), min_size=1),
    st.sampled_from([0, 3000, 10**6]),
)
def test_any_window_is_the_arrays_slice(windows, most_bytes):
    cache = BlockCache(da.from_array(VALUES, chunks=CHUNKS), most_bytes)
    for row, col, height, width in windows:
        window = Window(row, col, min(height, 50 - row), min(width, 70 - col))
        np.testing.assert_array_equal(cache.read(window), VALUES[:, *window.slices])
        assert cache.bytes == sum(block.nbytes for block in cache.held.values()) <= most_bytes


def test_a_mask_is_read_without_bands():
    cache = BlockCache(da.from_array(VALUES[0], chunks=(16, 16)))
    np.testing.assert_array_equal(cache.read(Window(10, 20, 30, 40)), VALUES[0, 10:40, 20:60])


@pytest.mark.parametrize("step", [7, 16, 20])
def test_neighbouring_tiles_decode_each_block_once(step):
    source = Counted(VALUES)
    cache = BlockCache(da.from_array(source, chunks=CHUNKS, lock=False, meta=np.empty((0, 0, 0), np.int32)))
    for row in range(0, 50, step):
        for col in range(0, 70, step):
            cache.read(Window(row, col, min(step, 50 - row), min(step, 70 - col)))
    assert len(source.reads) == 2 * 4 * 3
    assert set(source.reads.values()) == {1}


@pytest.mark.parametrize("step", [20, 24, 40])
def test_room_for_a_row_of_blocks_and_a_tile_is_enough_to_decode_each_once(step):
    values = np.zeros((3, 160, 400), np.int32)
    source = Counted(values)
    row_of_blocks, tile = values[:, :16].nbytes, values[:, : step + 32, : step + 32].nbytes
    array = da.from_array(source, chunks=(3, 16, 32), lock=False, meta=np.empty((0, 0, 0), np.int32))
    cache = BlockCache(array, row_of_blocks + tile)
    for row in range(0, 160, step):
        for col in range(0, 400, step):
            cache.read(Window(row, col, min(step, 160 - row), min(step, 400 - col)))
    assert set(source.reads.values()) == {1}
    assert len(source.reads) == 10 * 13
