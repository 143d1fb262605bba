"""Reading HLS granules. Samples are built from the structure in the HLS user guide, version 2.0."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from dofa_cli.errors import NoBands
from dofa_cli.raster.deliveries.delivery import Delivery, Screen
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.deliveries.hls import read
from dofa_cli.sensors import registry
from tests.made import write_raster

L30 = "HLS.L30.T33UUU.2022001T100000.v2.0"
S30 = "HLS.S30.T33UUU.2022152T101559.v2.0"
LANDSAT = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11")
SENTINEL = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


def granule(folder: Path, name: str, bands: tuple[str, ...]) -> Path:
    """Write bands of 1500, the quality layer and an angle."""
    folder.mkdir(parents=True, exist_ok=True)
    for band in bands:
        write_raster(folder / f"{name}.{band}.tif", np.full((1, 6, 6), 1500, np.int16), nodata=-9999)
    write_raster(folder / f"{name}.Fmask.tif", np.zeros((1, 6, 6), np.uint8), nodata=255)
    write_raster(folder / f"{name}.SZA.tif", np.full((1, 6, 6), 4000, np.uint16))
    (folder / f"{name}.cmr.xml").write_text("<Granule/>")
    return folder


def found(path: Path | str) -> Delivery:
    delivery = read(str(path))
    assert delivery is not None
    return delivery


def test_a_landsat_granule_has_reflectance_and_temperature(tmp_path: Path) -> None:
    delivery = found(granule(tmp_path, L30, LANDSAT))
    assert (delivery.sensor, delivery.product, delivery.kind) == ("hls-l30", "sr", "HLS L30 granule")
    assert [band.name for band in delivery.bands] == list(LANDSAT)
    scales = {band.name: band.scale for band in delivery.bands}
    assert {scales[name] for name in LANDSAT[:8]} == {0.0001}
    assert (scales["B10"], scales["B11"]) == (0.01, 0.01)
    assert {(band.offset, band.nodata) for band in delivery.bands} == {(0.0, -9999.0)}
    assert delivery.taken == datetime(2022, 1, 1, 10, tzinfo=UTC)


def test_a_sentinel_granule_has_reflectance_in_all_thirteen_bands(tmp_path: Path) -> None:
    delivery = found(granule(tmp_path, S30, SENTINEL))
    assert delivery.sensor == "hls-s30"
    assert sorted(band.name for band in delivery.bands) == sorted(SENTINEL)
    assert {band.scale for band in delivery.bands} == {0.0001}
    assert delivery.taken == datetime(2022, 6, 1, 10, 15, 59, tzinfo=UTC)


def test_the_quality_layer_is_fmask(tmp_path: Path) -> None:
    delivery = found(granule(tmp_path, S30, ("B04",)))
    assert delivery.quality is not None
    assert delivery.quality.screen is Screen.HLS_FMASK
    assert delivery.quality.path == str(tmp_path / f"{S30}.Fmask.tif")


def test_a_granule_without_fmask_is_read_without_a_quality_layer(tmp_path: Path) -> None:
    (granule(tmp_path, S30, ("B04", "B8A")) / f"{S30}.Fmask.tif").unlink()
    assert found(tmp_path).quality is None


def test_a_zip_reads_like_its_folder(tmp_path: Path) -> None:
    folder = granule(tmp_path / "granule", L30, ("B04", "B03"))
    with zipfile.ZipFile(tmp_path / "granule.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{L30}/{file.name}")
    bands = [band for header in headers_at(str(tmp_path / "granule.zip")) for band in header.bands]
    assert [(band.text, band.scale, band.nodata) for band in bands] == [("B03", 0.0001, -9999), ("B04", 0.0001, -9999)]


def test_two_granules_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    granule(tmp_path, L30, ("B04",))
    granule(tmp_path, S30, ("B04",))
    with pytest.raises(NoBands, match=f"2 HLS granules.*{L30}") as caught:
        read(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_other_folders_and_files_are_left_to_other_readers(tmp_path: Path) -> None:
    (tmp_path / f"{S30}.jpg").write_bytes(b"")
    band = write_raster(tmp_path / "HLS.S30.T33UUU.B04.tif", np.ones((1, 4, 4), np.int16))
    assert read(str(tmp_path)) is None
    assert read(str(band)) is None
    assert read(str(tmp_path / "none")) is None


def test_a_time_that_is_none_is_left_out(tmp_path: Path) -> None:
    name = L30.replace("2022001", "2022400")
    assert found(granule(tmp_path, name, ("B04",))).taken is None


def test_a_granule_is_prepared_without_its_thermal_bands(tmp_path: Path) -> None:
    from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene

    folder = granule(tmp_path, L30, LANDSAT)
    prepared = prepare_scene(describe([str(folder)], SceneOptions()), SceneOptions(), "dofa_v1")
    assert (prepared.sensor.id, prepared.product.id) == ("hls-l30", "sr")
    assert [norm.band for norm in prepared.norms] == ["B01", "B02", "B03", "B04", "B05", "B06", "B07"]


@pytest.mark.parametrize(("sensor", "bands"), [("hls-l30", LANDSAT), ("hls-s30", SENTINEL)])
def test_the_registry_knows_the_sensor_its_product_and_its_bands(sensor: str, bands: tuple[str, ...]) -> None:
    known = registry.built_in(sensor)
    assert "sr" in {product.id for product in known.products}
    assert set(bands) <= set(known.by_id)
