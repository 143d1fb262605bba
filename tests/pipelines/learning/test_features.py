from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dofa_cli.pipelines.inference.interpolate import between, nodes_around
from dofa_cli.pipelines.learning.features import Field, nodes_at, tiles_with
from dofa_cli.raster.grid import CellGrid, plan_tiles

sizes = st.integers(1, 90)


@settings(max_examples=25)
@given(height=sizes, width=sizes, zoom=st.sampled_from([1, 2, 3]), detail=st.sampled_from([1, 2, 4]))
def test_pixels_take_what_the_map_takes(height, width, zoom, detail):
    grid = CellGrid(height, width, 8, zoom)
    values = np.random.default_rng(height).normal(size=(2, grid.rows * detail, grid.cols * detail)).astype(np.float32)
    values[:, np.random.default_rng(width).random(values.shape[1:]) < 0.2] = np.nan
    around = [nodes_around(range(n), size=n, zoom=zoom, lead=0, sub_cell=8 / detail) for n in (height, width)]
    part = values[:, : around[0].length, : around[1].length]
    mapped, near = between(np.ascontiguousarray(part), *around)
    rows, cols = (axis.ravel() for axis in np.mgrid[0:height, 0:width])
    found = Field(np.arange(values[0].size), values.reshape(2, -1).T).at(nodes_at(grid, rows, cols, detail))
    known = near.ravel()
    assert np.isnan(found[~known]).all()
    assert found[known] == pytest.approx(mapped.reshape(2, -1).T[known], abs=1e-5)


def test_a_ramp_of_cell_centres_is_a_ramp_of_pixels():
    grid = CellGrid(64, 64, 8, 2)
    ramp = np.tile((np.arange(grid.cols) + 0.5) * 4, grid.rows)[:, None].astype(np.float32)
    cols = np.arange(2, 62)
    found = Field(np.arange(len(ramp)), ramp).at(nodes_at(grid, np.full(60, 30), cols))
    assert found[:, 0] == pytest.approx(cols + 0.5)


def test_unknown_cells_are_left_out_and_points_without_any_are_nan():
    grid = CellGrid(8, 32, 8)
    values = np.array([[1], [np.nan], [np.nan], [np.nan]], np.float32)
    nodes = nodes_at(grid, np.array([4, 4, 4]), np.array([2, 9, 28]))
    found = Field(np.arange(4), values).at(nodes)[:, 0]
    assert found[:2].tolist() == [1, 1]
    assert np.isnan(found[2])


def test_only_tiles_with_a_wanted_cell_are_inferred():
    plan = plan_tiles(CellGrid(400, 400, 8), 8, 2, inward=True, per_tile=2)
    wanted = np.zeros((50, 50), bool)
    wanted[3, 40] = True
    found = tiles_with(plan, wanted)
    assert len(found) == 1
    assert wanted[found[0].core.slices].any()
    assert len(tiles_with(plan, np.ones((50, 50), bool))) == plan.tile_count
