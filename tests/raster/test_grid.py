"""Laws of the integer geometry: windows, cells, and their partition into tiles."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.raster.grid import CellGrid, TilePlan, Window, plan_tiles, window_starts

rectangles = st.builds(Window, st.integers(-20, 20), st.integers(-20, 20), st.integers(0, 25), st.integers(0, 25))


@st.composite
def grids(draw: st.DrawFn) -> CellGrid:
    """Small scenes, cells of any patch and zoom, snapped or not."""
    patch, zoom = draw(st.sampled_from([1, 2, 4, 14, 16])), draw(st.integers(1, 4))
    leads, sizes = st.integers(0, patch - 1), st.integers(1, max(1, 20 * patch // zoom))
    return CellGrid(draw(sizes), draw(sizes), patch, zoom, draw(leads), draw(leads))


@st.composite
def plans(draw: st.DrawFn) -> TilePlan:
    """Any windows over any small grid."""
    window = draw(st.integers(1, 9))
    overlap = draw(st.integers(0, window - 1))
    grid = draw(grids())
    return plan_tiles(grid, window, overlap, inward=draw(st.booleans()), per_tile=draw(st.integers(1, 5)))


def counted(plan: TilePlan, rectangles: list[Window]) -> np.ndarray:
    """How many of the rectangles cover each cell of the grid."""
    count = np.zeros((plan.grid.rows, plan.grid.cols), int)
    for rectangle in rectangles:
        assert rectangle.row >= 0
        assert rectangle.col >= 0
        count[rectangle.slices] += 1
    return count


def touching(plan: TilePlan) -> list[list[list[tuple[int, int]]]]:
    """The windows that a cell's tile knows to cover it, in the tile's order, by cell row and column."""
    found: list[list[list[tuple[int, int]]]] = [[[] for _ in range(plan.grid.cols)] for _ in range(plan.grid.rows)]
    for tile in plan.tiles():
        for number in tile.windows:
            common = plan.window_cells(number).intersect(tile.core)
            for row in range(common.row, common.bottom):
                for col in range(common.col, common.right):
                    found[row][col].append(number)
    return found


@given(rectangles, rectangles)
def test_intersection_is_the_rectangle_of_common_points(one, other):
    def points(window):
        rows, cols = range(window.row, window.bottom), range(window.col, window.right)
        return {(row, col) for row in rows for col in cols}

    common = one.intersect(other)
    assert points(common) == points(one) & points(other)
    assert points(common) == points(other.intersect(one))
    assert common.is_empty == (not points(common))


@given(rectangles, rectangles, st.integers(1, 5))
def test_window_algebra(one, other, factor):
    moved = one.relative_to(other)
    assert moved.relative_to(Window(-other.row, -other.col, 0, 0)) == one
    assert one.relative_to(one) == Window(0, 0, one.height, one.width)
    assert one.intersect(one) == one
    assert one.scaled(factor).height == one.height * factor
    assert one.scaled(factor).bottom == one.bottom * factor
    assert one.intersect(other).is_empty or one.intersect(other).scaled(factor) == one.scaled(factor).intersect(
        other.scaled(factor)
    )


def test_slices_are_rows_then_columns():
    assert Window(1, 2, 3, 4).slices == (slice(1, 4), slice(2, 6))


@given(grids())
def test_cells_cover_the_zoomed_scene_and_the_last_holds_some_of_it(grid):
    for cells, pixels, lead in ((grid.rows, grid.height, grid.lead_row), (grid.cols, grid.width, grid.lead_col)):
        assert (cells - 1) * grid.patch < pixels * grid.zoom + lead <= cells * grid.patch


@given(st.integers(1, 4000), st.integers(1, 4), st.sampled_from([14, 16]))
def test_unsnapped_grid_has_ceil_of_zoomed_size_over_patch_cells(size, zoom, patch):
    grid = CellGrid(size, 2 * size, patch, zoom)
    assert (grid.rows, grid.cols) == (ceil(size * zoom / patch), ceil(2 * size * zoom / patch))


@given(grids(), st.data(), st.integers(0, 2))
def test_pixels_hold_every_zoomed_pixel_of_the_cells_and_no_pixel_more(grid, data, margin):
    row, col = data.draw(st.integers(0, grid.rows - 1)), data.draw(st.integers(0, grid.cols - 1))
    cells = Window(row, col, data.draw(st.integers(1, grid.rows - row)), data.draw(st.integers(1, grid.cols - col)))
    pixels = grid.pixels(cells, margin)
    fine_rows = range(cells.row * grid.patch - grid.lead_row, cells.bottom * grid.patch - grid.lead_row)
    needed = {fine // grid.zoom + step for fine in fine_rows for step in range(-margin, margin + 1)}
    assert set(range(pixels.row, pixels.bottom)) == {pixel for pixel in needed if 0 <= pixel < grid.height}
    assert 0 <= pixels.col < pixels.right <= grid.width


@given(st.integers(1, 200), st.integers(1, 30), st.data())
def test_inward_windows_stay_inside_a_scene_of_at_least_a_window(cells, window, data):
    stride = data.draw(st.integers(1, window))
    starts = window_starts(cells, window, stride, inward=True)
    assert list(starts) == sorted(set(starts))
    assert starts[0] == 0
    if cells >= window:
        assert starts[-1] + window == cells
    else:
        assert starts == (0,)


@given(st.integers(1, 200), st.integers(1, 30))
def test_windows_side_by_side_start_at_multiples_of_the_window_and_only_the_last_reaches_past(cells, window):
    starts = window_starts(cells, window, window, inward=False)
    assert starts == tuple(range(0, cells, window))


@given(plans())
def test_tile_cores_partition_the_grid(plan):
    tiles = list(plan.tiles())
    assert (counted(plan, [tile.core for tile in tiles]) == 1).all()
    assert [tile.number for tile in tiles] == list(range(plan.tile_count))


@given(plans())
def test_tile_cores_begin_at_multiples_of_their_side_and_none_but_the_last_is_larger(plan):
    tiles, side = list(plan.tiles()), plan.core_side
    rows, cols = ({(tile.core.row, tile.core.bottom) for tile in tiles}, {(t.core.col, t.core.right) for t in tiles})
    for spans, cells in ((rows, plan.grid.rows), (cols, plan.grid.cols)):
        ordered = sorted(spans)
        assert [first for first, _ in ordered] == [number * side for number in range(len(ordered))]
        assert all(last - first == side for first, last in ordered[:-1])
        assert ordered[-1][1] == cells
        assert 0 < ordered[-1][1] - ordered[-1][0] <= side + plan.overlap


@given(plans())
def test_every_cell_lies_under_a_window_of_its_own_tile(plan):
    assert all(windows for row in touching(plan) for windows in row)


@given(plans())
def test_every_window_is_needed_by_some_tile_and_every_tile_needs_its_windows(plan):
    numbers = {(row, col) for row in range(len(plan.row_starts)) for col in range(len(plan.col_starts))}
    tiles = list(plan.tiles())
    assert {number for tile in tiles for number in tile.windows} == numbers
    assert plan.window_count == len(numbers)
    for tile in tiles:
        assert not any(plan.window_cells(number).intersect(tile.core).is_empty for number in tile.windows)


@given(plans())
def test_span_is_the_bounding_box_of_the_windows(plan):
    for tile in plan.tiles():
        cells = [plan.window_cells(number) for number in tile.windows]
        span = plan.span(tile.windows)
        assert (span.row, span.col) == (min(c.row for c in cells), min(c.col for c in cells))
        assert (span.bottom, span.right) == (max(c.bottom for c in cells), max(c.right for c in cells))


@given(grids(), st.integers(1, 9), st.data(), st.booleans())
def test_windows_do_not_depend_on_the_tile_size(grid, window, data, inward):
    overlap = data.draw(st.integers(0, window - 1))
    one, many = (plan_tiles(grid, window, overlap, inward=inward, per_tile=count) for count in (1, 16))
    assert (one.row_starts, one.col_starts) == (many.row_starts, many.col_starts)
    assert touching(one) == touching(many)


@pytest.mark.parametrize(("cells", "expected"), [(3, (0,)), (14, (0,)), (15, (0, 1)), (25, (0, 11)), (26, (0, 11, 12))])
def test_window_starts_by_hand(cells, expected):
    assert window_starts(cells, 14, 11, inward=True) == expected
