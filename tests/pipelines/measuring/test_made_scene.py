"""Scenes that are made hold what was wished: bands, windows, storage."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from dofa_cli.errors import BadWavelengths, OptionError, UnknownSensor
from dofa_cli.pipelines.measuring.made_scene import BLOCK, Codec, Made, made_scene, wished, write_scene
from dofa_cli.raster.grid import CellGrid, plan_tiles
from tests.made import TINY, TRAINED


@pytest.mark.parametrize("codec", list(Codec))
def test_a_scene_larger_than_its_ground_is_whole(tmp_path, codec):
    path = write_scene(tmp_path / "scene.tif", Made(("a", "b"), BLOCK + 40, BLOCK + 70), codec)
    with rasterio.open(path) as file:
        assert file.descriptions == ("a", "b")
        assert file.compression == (None if codec is Codec.NONE else rasterio.enums.Compression(codec.upper()))
        values = file.read()
    assert values.shape == (2, BLOCK + 40, BLOCK + 70)
    assert values.min() > 0
    assert np.array_equal(values[:, :40, :70], values[:, BLOCK:, BLOCK:])
    assert (values[0] != values[1]).mean() > 0.9


@pytest.mark.parametrize("windows", [1, 5, 9, 30])
def test_a_scene_holds_so_many_windows_at_least(tmp_path, windows):
    path = made_scene(tmp_path / "scene.tif", wished(None, None, "1", windows, Codec.NONE), TINY)
    with rasterio.open(path) as file:
        grid = CellGrid(file.height, file.width, TINY.patch_size, 1)
    found = plan_tiles(grid, 4, 1, inward=True, per_tile=4).window_count
    assert windows <= found < windows + 2 * windows**0.5 + 1


def test_bands_are_a_sensors_or_as_many_as_are_wished():
    assert wished(None, None, None, 9, Codec.ZSTD).names("dofa_v1") == TRAINED
    assert wished("landsat9", None, None, 9, Codec.ZSTD).names("dofa_v1")[:2] == ("B1", "B2")
    assert wished(None, "0.49,0.56,", None, 9, Codec.ZSTD).names("dofa_v1") == ("b1", "b2")
    many = wished(None, None, "202", 9, Codec.ZSTD)
    assert len(many.names("dofa_v1")) == len(set(many.wavelengths.split(","))) == 202


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (("sentinel2", None, "3", 9), OptionError, "one of --sensor"),
        ((None, None, "rgb", 9), OptionError, "--bands 'rgb'"),
        ((None, None, "0", 9), OptionError, "1 to 500"),
        ((None, "490", None, 9), BadWavelengths, "0.49"),
        ((None, None, None, 0), OptionError, "--windows 0"),
        (("sentinel", None, None, 9), UnknownSensor, "Did you mean"),
    ],
)
def test_wishes_that_cannot_be_met_are_named(options, error, words):
    with pytest.raises(error, match=words):
        wished(*options, Codec.NONE)
