"""The index finds the parts under a window, all of them and no others."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.raster.grid import CellGrid, Window, plan_tiles
from dofa_cli.raster.parts import Part, PartIndex

SIDES = st.integers(1, 60)


@given(st.integers(16, 900), st.integers(16, 900), st.integers(1, 5), st.data())
def test_a_window_finds_what_a_look_at_every_part_finds(height, width, per_tile, data):
    plan = plan_tiles(CellGrid(height, width, 16), 4, 1, inward=True, per_tile=per_tile)
    parts = [Part(Path(f"{tile.number}"), tile.core) for tile in plan.tiles()]
    row, col = data.draw(st.integers(0, plan.grid.rows - 1)), data.draw(st.integers(0, plan.grid.cols - 1))
    window = Window(row, col, data.draw(SIDES), data.draw(SIDES))
    found = PartIndex(parts).under(window)
    assert sorted(found, key=parts.index) == [one for one in parts if not one.cells.intersect(window).is_empty]


@given(st.integers(0, 70), st.integers(0, 70), SIDES, SIDES)
def test_parts_that_overlap_their_neighbours_are_all_found(row, col, height, width):
    places = product(range(0, 64, 16), range(0, 64, 16))
    parts = [Part(Path(f"{row}-{col}"), Window(row, col, 17, 17)) for row, col in places]
    window = Window(row, col, height, width)
    expected = [one for one in parts if not one.cells.intersect(window).is_empty]
    assert sorted(PartIndex(parts).under(window), key=parts.index) == expected
