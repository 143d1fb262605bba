"""Sentinel-1 GRD products; the samples are built from ESA's published product specification, real GeoTIFF inside."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dofa_cli.errors import DamagedRaster, DofaError, GridError, NoBands, ScaleMismatch
from dofa_cli.raster.deliveries.sentinel1 import read
from dofa_cli.raster.scene import open_scene, read_headers
from tests.raster.deliveries.safe import AMPLITUDE, L2A_NEW, write_sentinel1, write_sentinel2, zipped

UTM = "EPSG:32633"


@pytest.fixture
def grd(tmp_path):
    return write_sentinel1(tmp_path, "GRD")


def one_line(path: Path, error: type[DofaError], warp: str | None = UTM) -> str:
    with pytest.raises(error) as caught:
        read_headers([str(path)], warp)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def facts(path: Path) -> list[tuple]:
    return [(band.name, band.scale, band.offset, band.nodata, Path(band.path).name) for band in read(str(path)).bands]


def test_a_product_is_amplitude_of_its_polarisations(grd):
    found = read(str(grd))
    assert (found.sensor, found.product, found.kind) == ("sentinel1", "grd", "Sentinel-1A GRD product")
    assert [band.name for band in found.bands] == ["VV", "VH"]
    assert {(band.scale, band.offset, band.nodata) for band in found.bands} == {(None, None, 0.0)}
    assert found.taken.isoformat() == "2015-07-05T06:42:41.504840+00:00"
    assert "terrain" in found.notes[-1]


def test_without_a_map_grid_warp_is_asked_for(grd):
    assert f"--warp {UTM}" in one_line(grd, GridError, warp=None)


def test_warped_values_are_those_of_the_product(grd, whole):
    headers = read_headers([str(grd)], UTM)
    scene = open_scene(headers, [band for header in headers for band in header.bands])
    assert scene.grid.pixel_size == pytest.approx(10, rel=0.1)
    pixels = whole(scene)
    assert pixels.valid.mean() == pytest.approx(0.9, abs=0.06)
    for band, name in zip(pixels.values, ("vv", "vh"), strict=True):
        np.testing.assert_array_equal(np.unique(band[pixels.valid]), [AMPLITUDE[name]])


@pytest.mark.parametrize("place", [{}, {"top": ""}, {"top": "a/b.SAFE/"}, {"separator": "\\"}])
def test_a_zip_reads_like_its_folder(grd, tmp_path, place):
    packed = zipped(grd, tmp_path / "anything.zip", **place)
    assert facts(packed) == facts(grd)
    assert len(read_headers([str(packed)], UTM)) == 2


def test_the_manifest_stands_for_its_product(grd):
    assert facts(grd / "manifest.safe") == facts(grd)


def test_cloud_optimised_products_are_read(tmp_path):
    assert [name for name, *_ in facts(write_sentinel1(tmp_path, cog="-cog"))] == ["VV", "VH"]


def test_a_missing_polarisation_is_named(grd):
    next(grd.glob("measurement/*-vh-*")).unlink()
    found = read(str(grd))
    assert [band.name for band in found.bands] == ["VV"]
    assert found.notes[0] == "no image file of VH was found."


def test_no_image_at_all(grd):
    shutil.rmtree(grd / "measurement")
    assert "GRD" in one_line(grd, NoBands)


def test_without_a_manifest_names_tell(grd):
    (grd / "manifest.safe").unlink()
    found = read(str(grd))
    assert [band.name for band in found.bands] == ["VV", "VH"]
    assert found.taken.isoformat() == "2015-07-05T06:42:41+00:00"
    assert "manifest" in found.notes[0]


def test_a_copy_of_an_image_counts_once(grd):
    image = next(grd.glob("measurement/*-vv-*"))
    (grd / "backup").mkdir()
    shutil.copy(image, grd / "backup" / "old").rename(grd / "backup" / image.name)
    assert facts(grd)[0][-1] == image.name
    assert len(facts(grd)) == 2


@pytest.mark.parametrize("with_manifest", [True, False])
def test_complex_products_are_refused(tmp_path, with_manifest):
    product = write_sentinel1(tmp_path, "SLC", ["vv"])
    if not with_manifest:
        (product / "manifest.safe").unlink()
    message = one_line(product, ScaleMismatch)
    assert "complex" in message
    assert "GRD" in message


def test_products_without_an_image_of_the_ground_are_refused(tmp_path):
    assert "OCN" in one_line(write_sentinel1(tmp_path, "OCN", []), NoBands)


def test_a_manifest_that_is_cut(grd):
    file = grd / "manifest.safe"
    file.write_bytes(file.read_bytes()[:900])
    assert "manifest.safe" in one_line(grd, DamagedRaster)


def test_a_manifest_without_a_product_type(grd):
    file = grd / "manifest.safe"
    file.write_text(file.read_text().replace("productType", "productKind"))
    assert "productType" in one_line(grd, DamagedRaster)


def test_two_products_in_one_folder(grd, tmp_path):
    shutil.copytree(grd, tmp_path / "other.SAFE")
    assert "2 Sentinel-1 products" in one_line(tmp_path, NoBands)


def test_images_of_two_products_without_manifests(grd):
    (grd / "manifest.safe").unlink()
    image = next(grd.glob("measurement/*-vv-*"))
    shutil.copy(image, image.with_name(image.name.replace("20150705", "20150717")))
    assert "2 VV images" in one_line(grd, NoBands)


def test_a_zip_that_is_cut(grd, tmp_path):
    packed = zipped(grd, tmp_path / "cut.zip")
    packed.write_bytes(packed.read_bytes()[:-200])
    assert "cut.zip" in one_line(packed, DamagedRaster)


def test_other_satellites_are_left_alone(tmp_path):
    assert read(str(write_sentinel2(tmp_path, L2A_NEW))) is None
    assert read(str(tmp_path / "absent.SAFE")) is None
