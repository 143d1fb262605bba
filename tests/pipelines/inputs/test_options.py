"""How inputs are read: options that suit each."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.inputs.named import Input
from dofa_cli.pipelines.inputs.options import check_options, options_of
from dofa_cli.pipelines.inputs.places import one_place
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from tests.made import TRANSFORM, UTM, write_raster

INPUTS = (Input(("a.tif",), "sentinel2", "may"), Input(("b.tif",), "sentinel2"), Input(("c.tif",), "sentinel1"))


@pytest.fixture
def files(tmp_path):
    """The inputs as files of one band."""
    for one in INPUTS:
        write_raster(tmp_path / one.paths[0], np.ones((1, 20, 20), np.uint8))
    return [Input((str(tmp_path / one.paths[0]),), one.sensor, one.date) for one in INPUTS]


def test_options_of_one_sensor_are_refused():
    check_options(INPUTS, SceneOptions(warp="EPSG:32633", resolution=10))
    with pytest.raises(OptionError, match="--sensor, --scale would hold for all"):
        check_options(INPUTS, SceneOptions(sensor="sentinel2", scale=0.1))


def test_products_and_bands_are_told_by_sensor_or_by_input(files):
    said = SceneOptions(product="sentinel2=l1c; sentinel2:may=l1c-0400", bands="sentinel1=VV=1,VH=2")
    found = list(options_of(files, said, CRS.from_string(UTM)).values())
    assert [one.product for one in found] == ["l1c-0400", "l1c", None]
    assert [one.bands for one in found] == [None, None, "VV=1,VH=2"]
    assert [one.sensor for one in found] == ["sentinel2", "sentinel2", "sentinel1"]


@pytest.mark.parametrize("option", ["product", "bands"])
@pytest.mark.parametrize("text", ["l1c", "landsat8=l2sp", "sentinel2:june=l1c", "B04,B03", "B04=1,B03=2"])
def test_what_is_said_of_no_input_is_refused(option, text):
    with pytest.raises(OptionError, match=rf"--{option} .* Write --{option} 'sentinel2=.* sentinel2:may, sentinel2,"):
        check_options(INPUTS, SceneOptions(**{option: text}))


def test_clouds_stay_asked_for_where_no_product_tells_them(files):
    masks = MaskOptions(clouds=True, dilate=2)
    found = options_of(files, SceneOptions(masks=masks), None)
    assert {one.masks for one in found.values()} == {masks}


def test_clouds_are_masked_in_the_inputs_whose_product_tells_them(files, monkeypatch):
    monkeypatch.setattr("dofa_cli.pipelines.inputs.options._tells_clouds", lambda header: header.name == "a.tif")
    asked = MaskOptions(clouds=True, snow=True, dilate=2)
    found = list(options_of(files, SceneOptions(masks=asked), None).values())
    assert [one.masks for one in found] == [asked, MaskOptions(), MaskOptions()]
    own = MaskOptions(clouds=True, dilate=2, file="mask.tif", values="3")
    found = list(options_of(files, SceneOptions(masks=own), None).values())
    assert [one.masks for one in found] == [own, *[MaskOptions(dilate=2, file="mask.tif", values="3")] * 2]


def test_files_on_control_points_are_warped_to_the_first_ones_system(files, tmp_path):
    corners = [(0, 0), (0, 30), (30, 0), (30, 30)]
    points = [GroundControlPoint(row, col, *(TRANSFORM @ (col, row))) for row, col in corners]
    path = tmp_path / "swath.tif"
    shape = {"count": 2, "height": 30, "width": 30, "dtype": "float32"}
    with rasterio.open(path, "w", driver="GTiff", **shape) as file:
        file.write(np.ones((2, 30, 30), np.float32))
        file.gcps = (points, CRS.from_string(UTM))
    swath = Input((str(path),), "sentinel1")
    found = options_of([files[0], swath], SceneOptions(), CRS.from_string(UTM))
    assert found[files[0]].warp is None
    assert CRS.from_user_input(found[swath].warp) == CRS.from_string(UTM)
    assert one_place([files[0], swath], SceneOptions()).grid.height == 20
