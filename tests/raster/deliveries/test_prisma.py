"""Reading PRISMA scenes. Samples have the structure of the PRISMA Products Specification Document, issue 2.3."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from dofa_cli.errors import DamagedRaster, NoBands, SceneError
from dofa_cli.raster.deliveries.delivery import Delivery
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.deliveries.prisma import read
from dofa_cli.raster.source import close_handles
from tests.raster.deliveries.hdf5_made import Array, Group, write_hdf5

NAME = "PRS_L2D_STD_20200813103056_20200813103100_0001"
ROWS, COLS = 9, 7
VNIR = [920.0, 640.5, 0.0, 406.25]
SWIR = [2490.0, 1200.0, 943.0, 0.0, 0.0]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_handles()


def cube(bands: int, seed: int) -> np.ndarray:
    """Values (rows, bands, columns), as the file has them."""
    return np.random.default_rng(seed).integers(1, 65535, (ROWS, bands, COLS), dtype=np.uint16)


def attributes(**changed: Any) -> dict[str, Any]:
    return {
        "List_Cw_Vnir": np.array(VNIR, np.float32),
        "List_Fwhm_Vnir": np.array([13.0, 11.5, 0.0, 10.0], np.float32),
        "List_Cw_Vnir_Flags": np.array([1, 1, 0, 1], np.uint8),
        "List_Cw_Swir": np.array(SWIR, np.float32),
        "List_Fwhm_Swir": np.array([9.0, 10.0, 11.0, 0.0, 0.0], np.float32),
        "L2ScaleVnirMin": np.float32(0.0),
        "L2ScaleVnirMax": np.float32(1.5),
        "L2ScaleSwirMin": np.float32(-0.25),
        "L2ScaleSwirMax": np.float32(0.75),
        "Epsg_Code": np.int64(32632),
        "Product_ULcorner_easting": np.float32(352755),
        "Product_ULcorner_northing": np.float32(5987235),
        "Product_LRcorner_easting": np.float32(352755 + 30 * (COLS - 1)),
        "Product_LRcorner_northing": np.float32(5987235 - 30 * (ROWS - 1)),
        "Product_StartTime": "2020-08-13T10:30:56.000000",
    } | changed


def scene(folder: Path, level: str = "2D", vnir_bands: int = 4, name: str = NAME, **changed: Any) -> Path:
    """Write a scene; attributes of value ``None`` are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"VNIR_Cube": Array(cube(vnir_bands, 0)), "SWIR_Cube": Array(cube(5, 1))}
    swath = Group({"Data Fields": Group(fields)})
    tree = {"HDFEOS": Group({"SWATHS": Group({f"PRS_L{level}_HCO": swath})})}
    given = {key: value for key, value in attributes(**changed).items() if value is not None}
    return write_hdf5(folder / f"{name}.he5", Group(tree, given))


def found(path: Path | str) -> Delivery:
    delivery = read(str(path))
    assert delivery is not None
    return delivery


def pixels(delivery: Delivery) -> np.ndarray:
    with rasterio.open(delivery.bands[0].path) as file:
        return np.asarray(file.read([band.index for band in delivery.bands]))


def test_bands_stand_from_short_to_long_waves_in_each_detector_without_the_empty_ones(tmp_path: Path) -> None:
    delivery = found(scene(tmp_path))
    assert [band.name for band in delivery.bands] == ["B001", "B002", "B003", "B004", "B005", "B006"]
    assert [band.wavelength_um for band in delivery.bands] == [0.40625, 0.6405, 0.92, 0.943, 1.2, 2.49]
    assert [band.fwhm_um for band in delivery.bands] == [0.01, 0.0115, 0.013, 0.011, 0.01, 0.009]


def test_pixels_are_those_of_the_cube_band_by_band(tmp_path: Path) -> None:
    vnir, swir = (values.transpose(1, 0, 2) for values in (cube(4, 0), cube(5, 1)))
    expected = np.concatenate([vnir[[3, 1, 0]], swir[[2, 1, 0]]])
    np.testing.assert_array_equal(pixels(found(scene(tmp_path))), expected)


def test_each_detector_has_its_own_scale(tmp_path: Path) -> None:
    bands = found(scene(tmp_path)).bands
    assert [band.scale for band in bands] == pytest.approx([1.5 / 65535] * 3 + [1 / 65535] * 3)
    assert [band.offset for band in bands] == [0, 0, 0, -0.25, -0.25, -0.25]
    assert {band.nodata for band in bands} == {0}


def test_corners_are_pixel_centres(tmp_path: Path) -> None:
    (header,) = headers_at(str(scene(tmp_path)))
    assert header.grid.transform == Affine(30, 0, 352740, 0, -30, 5987250)
    assert header.grid.crs.to_epsg() == 32632
    assert (header.grid.height, header.grid.width) == (ROWS, COLS)
    assert header.is_affine


def test_the_scene_tells_sensor_product_and_time(tmp_path: Path) -> None:
    delivery = found(scene(tmp_path))
    assert (delivery.sensor, delivery.product) == ("prisma", "l2d")
    assert delivery.taken == datetime(2020, 8, 13, 10, 30, 56, tzinfo=UTC)


def test_a_header_carries_wavelengths_scales_and_nodata(tmp_path: Path) -> None:
    (header,) = headers_at(str(scene(tmp_path)))
    band = header.bands[4]
    assert (band.text, band.wavelength_um, band.fwhm_um, band.nodata) == ("B005", 1.2, 0.01, 0)
    assert (band.scale, band.offset) == (pytest.approx(1 / 65535), -0.25)


def test_a_zip_reads_like_its_file_and_says_that_it_is_slow(tmp_path: Path) -> None:
    file = scene(tmp_path / "plain")
    archive = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(file, f"inner/{file.name}")
    delivery = found(archive)
    np.testing.assert_array_equal(pixels(delivery), pixels(found(file)))
    assert "without unpacking" in delivery.notes[0]


def test_a_folder_reads_like_its_file(tmp_path: Path) -> None:
    file = scene(tmp_path)
    assert found(tmp_path).bands == found(file).bands


def test_a_relative_path_with_any_letters_reads_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = scene(tmp_path / "Höhe & <mehr>")
    monkeypatch.chdir(file.parent)
    delivery = found(file.name)
    monkeypatch.chdir(tmp_path)
    assert pixels(delivery).shape == (6, ROWS, COLS)


def test_the_view_is_written_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    file = scene(tmp_path)
    first = found(file).bands[0].path
    written = Path(first).stat().st_mtime_ns
    assert found(file).bands[0].path == first
    assert Path(first).stat().st_mtime_ns == written
    scene(tmp_path, L2ScaleVnirMax=np.float32(2.0), Comment="longer than before")
    assert found(file).bands[0].path != first


@pytest.mark.parametrize("level", ["1", "2B", "2C"])
def test_other_levels_are_refused_with_the_one_to_order(tmp_path: Path, level: str) -> None:
    with pytest.raises(SceneError, match=f"PRISMA of level {level}.*Order the scene at level 2D"):
        read(str(scene(tmp_path, level)))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"L2ScaleSwirMax": None}, "L2ScaleSwirMax"),
        ({"List_Fwhm_Vnir": np.array([1.0, 2.0])}, "4 centres and 2 widths of Vnir"),
        ({"Epsg_Code": np.int64(1)}, "EPSG:1"),
        ({"Product_LRcorner_easting": np.float32(400000)}, "corners"),
        ({"List_Cw_Swir": "words"}, "List_Cw_Swir"),
        ({"vnir_bands": 3}, "VNIR_Cube .* has axes of 9, 3 and 7, and 4 wavelengths are listed. Export it"),
    ],
)
def test_damage_is_named(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(DamagedRaster, match=says):
        read(str(scene(tmp_path, **changed)))


def test_a_folder_of_two_scenes_is_refused(tmp_path: Path) -> None:
    scene(tmp_path)
    scene(tmp_path, name=NAME.replace("0001", "0002"))
    with pytest.raises(NoBands, match="2 PRISMA scenes"):
        read(str(tmp_path))


def test_other_files_are_none_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "text.he5").write_text("no HDF5")
    other = write_hdf5(tmp_path / "other.he5", Group({"values": Array(np.zeros((2, 2), np.float32))}))
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "text.he5", other, tmp_path / "missing.he5", tmp_path / "empty", "s3://bucket/PRS_L2D.he5"):
        assert read(str(path)) is None
