"""What a scene is taken for, from file names, formats and values together."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt

from dofa_cli.pipelines.scenes.prepare import Prepared, SceneOptions, describe, prepare_scene
from tests.made import TRAINED, reflectance, write_raster


def prepared(*paths: object, **options: object) -> Prepared:
    given = SceneOptions(**options)
    return prepare_scene(describe([str(path) for path in paths], given), given, "dofa_v1")


def test_baseline_is_read_from_the_product_folder_far_above_the_bands(tmp_path):
    folder = (
        tmp_path / "S2B_MSIL2A_20230101T101031_N0509_R022_T33UUU_20230101T120000.SAFE" / "GRANULE" / "L2A" / "IMG_DATA"
    )
    folder.mkdir(parents=True)
    path = write_raster(folder / "T33UUU_20230101T101031_B04_10m.tif", reflectance(1, 40, 40) + 1000)
    found = prepared(path, sensor="sentinel2")
    assert found.product.id == "l2a-0400"
    assert found.norms[0].scale.offset == pytest.approx(1 - 1000 * 254 / 3558)


def test_scale_of_the_bands_metadata_is_taken(tmp_path):
    path = write_raster(tmp_path / "scaled.tif", reflectance(9, 40, 40), TRAINED)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [1e-4] * 9, [-0.1] * 9
    assert prepared(path, sensor="sentinel2").norms[3].scale.describe() == "clip(⌊0.03125·x - 31.25⌋, 0, 255)"


def test_nodata_of_the_product_is_used_where_the_file_declares_none(tmp_path):
    values = reflectance(9, 40, 40)
    values[:, :20] = 0
    found = prepared(write_raster(tmp_path / "zeros.tif", values, TRAINED), sensor="sentinel2")
    assert found.scene.nodata == (0.0,) * 9
    assert found.valid_share == pytest.approx(0.5)


def test_decibels_in_hundredths_are_the_same_scene(tmp_path):
    decibels = np.random.default_rng(0).normal(-12, 3, (2, 40, 40)).astype(np.float32)
    plain = write_raster(tmp_path / "plain.tif", decibels, ("VV", "VH"))
    stored = write_raster(tmp_path / "stored.tif", (decibels * 100).round().astype(np.int16), ("VV", "VH"))
    with rasterio.open(stored, "r+") as file:
        file.scales = [0.01] * 2
    one, other = (prepared(path, sensor="sentinel1") for path in (plain, stored))
    assert [check.mean for check in one.checks] == pytest.approx([check.mean for check in other.checks], abs=1e-3)
    assert one.product.id == other.product.id == "sigma0-db"


def test_polarisations_that_the_weights_never_saw_are_warned_about(tmp_path):
    decibels = np.random.default_rng(0).normal(-12, 3, (1, 40, 40)).astype(np.float32)
    found = prepared(write_raster(tmp_path / "hh.tif", decibels, ("HH",)), sensor="sentinel1")
    assert any("HH" in warning and "VV and VH" in warning for warning in found.warnings)


def test_values_far_from_the_training_set_are_warned_about(tmp_path):
    bright = (reflectance(9, 40, 40).astype(np.int32) + 7000).clip(0, 65535).astype(np.uint16)
    path = write_raster(tmp_path / "bright.tif", bright, TRAINED)
    assert any("far from 0" in warning for warning in prepared(path, sensor="sentinel2", product="l1c").warnings)


def test_envi_cube_with_its_header_beside_it(tmp_path):
    values = reflectance(3, 40, 50)
    path = write_raster(tmp_path / "cube.img", values, ("B04", "B03", "B02"), driver="ENVI")
    found = prepared(path, sensor="sentinel2")
    assert [norm.band for norm in found.norms] == ["B04", "B03", "B02"]
    assert found.scene.grid.crs.to_epsg() == 32633


def test_virtual_raster(tmp_path):
    path = write_raster(tmp_path / "real.tif", reflectance(3, 40, 50), ("B04", "B03", "B02"))
    with rasterio.open(path) as file, rasterio.vrt.WarpedVRT(file, crs="EPSG:3857") as view:
        rasterio.shutil.copy(view, tmp_path / "view.vrt", driver="VRT")
    found = prepared(tmp_path / "view.vrt", sensor="sentinel2", bands="B04,B03,B02")
    assert found.scene.grid.crs.to_epsg() == 3857
