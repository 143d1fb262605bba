"""What all tests share: one torch thread, hypothesis without clocks, and small factories of files and scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from hypothesis import settings
from rasterio.crs import CRS

from dofa_cli.raster.grid import Window
from dofa_cli.raster.header import FileBand
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.scene import Pixels, Scene, open_scene, read_headers
from dofa_cli.raster.source import Grid, close_handles
from tests.made import write_raster

settings.register_profile("tests", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """Keep results and run times independent of the number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keep what tests remember of checksums out of the user's cache, in subprocesses too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def tif(tmp_path: Path) -> Any:
    """Write (bands, height, width) under a name, in UTM zone 33 unless said otherwise; the path as text."""

    def write(name: str, values: np.ndarray, **profile: object) -> str:
        return str(write_raster(tmp_path / name, values, **profile))

    yield write
    close_handles()


@pytest.fixture(scope="session")
def stack() -> Callable[..., Scene]:
    """Open files as one scene, all bands or those at ``order`` (positions over all files)."""

    def opened(
        paths: Sequence[str],
        order: Sequence[int] | None = None,
        warp: str | None = None,
        resolution: float | None = None,
        default_nodata: float | None = None,
    ) -> Scene:
        headers = read_headers(paths, warp, resolution)
        bands = [band for header in headers for band in header.bands]
        chosen = bands if order is None else [bands[position] for position in order]
        return open_scene(headers, chosen, resolution=resolution, default_nodata=default_nodata)

    return opened


@pytest.fixture(scope="session")
def whole() -> Callable[[Scene], Pixels]:
    """Read all pixels of a scene."""
    return lambda scene: read_window(scene, Window(0, 0, scene.height, scene.width), threads=2)


@pytest.fixture(scope="session")
def scene_of() -> Callable[..., Scene]:
    """Make a scene of an array (bands, height, width) in memory, 10 m pixels in UTM unless said otherwise."""

    def made(
        values: np.ndarray,
        nodata: float | None = None,
        transform: Affine | None = None,
        crs: str | None = "EPSG:32633",
    ) -> Scene:
        bands, height, width = values.shape
        grid = Grid(
            transform or Affine(10, 0, 300000, 0, -10, 5800000),
            None if crs is None else CRS.from_user_input(crs),
            height,
            width,
        )
        lazy = xr.DataArray(da.from_array(values, chunks=(bands, 64, 64)), dims=("band", "y", "x"))
        described = tuple(
            FileBand("memory", index, bands, None, None, values.dtype, nodata, 1.0, 0.0)
            for index in range(1, bands + 1)
        )
        return Scene(("memory",), described, grid, lazy, None, (nodata,) * bands)

    return made
