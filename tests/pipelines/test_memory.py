"""Peak memory does not grow with the scene: a Sentinel-2 tile's worth of pixels in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from dofa_cli.model.config import DofaConfig
from tests.made import TRAINED, TRANSFORM, UTM, reflectance, tiny_weights

SIDE = 10980
GIB = 2**30
RUN = """
import json, resource, sys
from dofa_cli.pipelines.embed import embed
scene, weights, output, *limit = sys.argv[1:]
report = embed(scene, output, sensor="sentinel2", weights=weights, memory_limit=int(limit[0]) if limit else None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"peak": peak, "seconds": report.seconds, "foretold": report.memory_bytes, "shape": report.height}))
"""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="resource is for Unix")]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A 10980 × 10980 × 9 stack, sparse: two squares of ground, the rest nodata."""
    path = tmp_path_factory.mktemp("tile") / "tile.tif"
    shape = {"height": SIDE, "width": SIDE, "count": 9, "dtype": "uint16", "nodata": 0}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd", "SPARSE_OK": True}
    with rasterio.open(path, "w", driver="GTiff", crs=UTM, transform=TRANSFORM, **shape, **layout) as file:
        file.descriptions = TRAINED
        for corner in (0, SIDE // 2):
            file.write(reflectance(9, 1024, 1024), window=Window(corner, corner, 1024, 1024))
    return path


def measured(*arguments):
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(found)
    return found


def test_a_limit_is_kept(scene, tmp_path):
    weights = tiny_weights(tmp_path / "weights.safetensors")
    limit = 17 * 10**8
    assert measured(scene, weights, tmp_path / "out.tif", limit)["peak"] <= limit


@pytest.mark.parametrize(("dimensions", "most"), [(24, 2 * GIB), (768, 3 * GIB), (1024, 3 * GIB)])
def test_peak_memory(scene, tmp_path, dimensions, most):
    """The tiny network within 2 GiB; 768 and 1024 float32 bands written and made a COG within 3 GiB and minutes."""
    config = DofaConfig(1, 16, dimensions, 1, dimensions // 64 or 3)
    weights = tiny_weights(tmp_path / "weights.safetensors", config)
    output = tmp_path / "out.tif"
    found = measured(scene, weights, output)
    assert found["peak"] <= most
    assert found["foretold"] <= 1.5 * found["peak"]
    assert found["seconds"] <= 300
    with rasterio.open(output) as file:
        assert (file.count, file.height, file.width) == (dimensions, 687, 687)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.isfinite(file.read(1, window=Window(0, 0, 60, 60))).all()
        assert np.isnan(file.read(dimensions, window=Window(200, 0, 60, 60))).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "weights.safetensors"]
