"""Slicing cubes along any axis through GDAL, compared with numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from dofa_cli.errors import SceneError
from dofa_cli.raster.deliveries import view
from dofa_cli.raster.deliveries.view import Cube, slices, write_view
from dofa_cli.raster.source import Grid
from tests.raster.deliveries.hdf5_made import Array, Group, write_hdf5

VALUES = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
GRID = Grid(Affine(30, 0, 300000, 0, -30, 5800000), CRS.from_epsg(32633), 5, 6)


def made(folder: Path) -> Cube:
    file = write_hdf5(folder / "cube.h5", Group({"a group": Group({"a cube": Array(VALUES)})}))
    return Cube(str(file), "/a group/a cube", "Float32", (4, 5, 6))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_of_any_axis_are_those_of_the_array(tmp_path: Path, axis: int) -> None:
    size = VALUES.shape[axis]
    expected = np.moveaxis(VALUES, axis, 0)[::-1]
    grid = Grid(GRID.transform, GRID.crs, *expected.shape[1:])
    path = write_view("cube.h5", slices(made(tmp_path), axis, range(size - 1, -1, -1)), grid, "Float32", -1.0)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), expected)
        np.testing.assert_array_equal(file.read(2, window=((1, 3), (2, 4))), expected[1, 1:3, 2:4])
        assert (file.transform, file.crs, file.nodata) == (grid.transform, grid.crs, -1.0)


def test_views_of_other_planes_have_other_names(tmp_path: Path) -> None:
    cube = made(tmp_path)
    first, second = (write_view("cube.h5", slices(cube, 0, places), GRID, "Float32", 0.0) for places in ([0], [1]))
    assert first != second
    assert Path(first).name.startswith("cube-")


def test_a_gdal_that_cannot_slice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "OLDEST_GDAL", "99.0")
    with pytest.raises(SceneError, match=r"needs GDAL 99.0 or newer.*Install a newer rasterio"):
        write_view("cube.h5", slices(made(tmp_path), 0, [0]), GRID, "Float32", 0.0)
