"""Reading EnMAP scenes. Samples have the elements of the METADATA.XML that EnMAP products carry."""

from __future__ import annotations

import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from dofa_cli.errors import DamagedRaster, NoBands, SceneError
from dofa_cli.raster.deliveries.delivery import Delivery, Screen
from dofa_cli.raster.deliveries.enmap import read
from dofa_cli.raster.deliveries.headers import headers_at
from tests.made import write_raster

NAME = "ENMAP01-____L2A-DT0000001280_20220627T104548Z_012_V010400_20231124T152718Z"
CENTRES = (418.416, 900.1, 902.3, 1390.5, 2445.3)
BAND = """
      <bandID number="{number}">
        <wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>
        <FWHMOfBand>{width}</FWHMOfBand>
        <GainOfBand>{gain}</GainOfBand>
        <OffsetOfBand>{offset}</OffsetOfBand>
      </bandID>"""
STATISTICS = '<bandID number="{number}"><mean>{mean}</mean><stdDeviation>{deviation}</stdDeviation></bandID>'
XML = """<?xml version="1.0" encoding="UTF-8"?>
<level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <metadata><schema><processingLevel>{level}</processingLevel></schema></metadata>
  <processing><startTime>2023-11-24T15:27:18Z</startTime></processing>
  <base>
    <level>{level}</level>
    <temporalCoverage>
      <startTime>2022-06-27T10:45:48.109128Z</startTime>
      <stopTime>2022-06-27T10:45:52.650000Z</stopTime>
    </temporalCoverage>
  </base>
  <specific>
    <backgroundValue>-32768</backgroundValue>
    <bandCharacterisation>{bands}
    </bandCharacterisation>
  </specific>
  <product>
    <image><merge><channels>{count}</channels><name>{image}</name></merge></image>
    <bandStatistics>{statistics}</bandStatistics>
  </product>
</level_X>
"""


def metadata(name: str, centres: tuple[float, ...] = CENTRES, empty: tuple[int, ...] = (), image: str = "") -> str:
    """Describe bands in the order of the image; those numbered in ``empty`` have no valid pixel."""
    bands = "".join(
        BAND.format(number=number, centre=centre, width=6.5 + number, gain=1e-4, offset=0)
        for number, centre in enumerate(centres, 1)
    )
    statistics = "".join(
        STATISTICS.format(number=n, mean=-1000000 if n in empty else 812.5, deviation=0 if n in empty else 99.1)
        for n in range(1, len(centres) + 1)
    )
    level = name.split("____")[1][:3]
    image = image or f"{name}-SPECTRAL_IMAGE.TIF"
    return XML.format(level=level, bands=bands, count=len(centres), image=image, statistics=statistics)


def scene(folder: Path, name: str = NAME, image: str = "-SPECTRAL_IMAGE.TIF", text: str | None = None) -> Path:
    """Write image, clouds, and metadata ``text``; return the metadata file."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)
    write_raster(folder / f"{name}{image}", values, nodata=-32768)
    write_raster(folder / f"{name}-QL_QUALITY_CLOUD.TIF", np.zeros((1, 4, 3), np.uint8))
    write_raster(folder / f"{name}-QL_QUALITY_CLOUDSHADOW.TIF", np.zeros((1, 4, 3), np.uint8))
    path = folder / f"{name}-METADATA.XML"
    path.write_text(metadata(name) if text is None else text)
    return path


def found(path: Path | str) -> Delivery:
    delivery = read(str(path))
    assert delivery is not None
    return delivery


def test_bands_carry_what_the_metadata_say(tmp_path: Path) -> None:
    bands = found(scene(tmp_path)).bands
    assert [band.name for band in bands] == ["B001", "B002", "B003", "B004", "B005"]
    assert [band.wavelength_um for band in bands] == [0.418416, 0.9001, 0.9023, 1.3905, 2.4453]
    assert [band.fwhm_um for band in bands] == [0.0075, 0.0085, 0.0095, 0.0105, 0.0115]
    assert {(band.scale, band.offset, band.nodata) for band in bands} == {(0.0001, 0.0, -32768.0)}
    assert all(band.usable for band in bands)


def test_names_follow_wavelengths_where_the_image_lists_one_detector_after_the_other(tmp_path: Path) -> None:
    by_detector = (418.416, 902.3, 900.1, 1390.5, 2445.3)
    bands = found(scene(tmp_path, text=metadata(NAME, by_detector))).bands
    assert [(band.name, band.index) for band in bands[:3]] == [("B001", 1), ("B002", 3), ("B003", 2)]
    assert [band.wavelength_um for band in bands] == [0.418416, 0.9001, 0.9023, 1.3905, 2.4453]


def test_bands_without_a_valid_pixel_are_unusable_as_the_statistics_say(tmp_path: Path) -> None:
    bands = found(scene(tmp_path, text=metadata(NAME, empty=(4,)))).bands
    assert [band.usable for band in bands] == [True, True, True, False, True]


def test_the_scene_tells_sensor_product_and_time(tmp_path: Path) -> None:
    delivery = found(scene(tmp_path))
    assert (delivery.sensor, delivery.product, delivery.kind) == ("enmap", "l2a", "EnMAP L2A scene")
    assert delivery.taken == datetime(2022, 6, 27, 10, 45, 48, 109128, tzinfo=UTC)


def test_clouds_are_found_and_shadows_not_taken_for_them(tmp_path: Path) -> None:
    quality = found(scene(tmp_path)).quality
    assert quality is not None
    assert (Path(quality.path).name, quality.screen) == (f"{NAME}-QL_QUALITY_CLOUD.TIF", Screen.NONZERO)


def test_level_1c_stays_in_digital_numbers(tmp_path: Path) -> None:
    delivery = found(scene(tmp_path, NAME.replace("L2A", "L1C")))
    assert (delivery.product, delivery.kind) == ("l1", "EnMAP L1C scene")
    assert {(band.scale, band.offset) for band in delivery.bands} == {(None, None)}


def test_folder_image_and_metadata_file_read_alike(tmp_path: Path) -> None:
    file = scene(tmp_path)
    expected = found(file).bands
    assert found(tmp_path).bands == expected
    assert found(tmp_path / f"{NAME}-SPECTRAL_IMAGE.TIF").bands == expected


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_reads_like_its_folder(tmp_path: Path, suffix: str) -> None:
    folder = scene(tmp_path / "plain").parent
    archive = tmp_path / f"{NAME}{suffix}"
    files = [(file, f"{NAME}/{file.name}") for file in folder.iterdir()]
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file, name in files:
                packed.write(file, name)
    else:
        with tarfile.open(archive, "w:gz", format=tarfile.GNU_FORMAT) as tarball:
            for file, name in files:
                tarball.add(file, name)
    (plain,), (header,) = headers_at(str(folder)), headers_at(str(archive))
    assert [(band.text, band.wavelength_um, band.scale) for band in header.bands] == [
        (band.text, band.wavelength_um, band.scale) for band in plain.bands
    ]
    assert header.grid == plain.grid


def test_one_scene_of_many_in_a_folder_can_be_named_by_its_files(tmp_path: Path) -> None:
    other = NAME.replace("_012_", "_013_")
    scene(tmp_path)
    file = scene(tmp_path, other)
    assert Path(found(file).bands[0].path).name == f"{other}-SPECTRAL_IMAGE.TIF"
    with pytest.raises(NoBands, match="2 EnMAP scenes"):
        read(str(tmp_path))


def test_an_image_renamed_by_its_distributor_is_found(tmp_path: Path) -> None:
    file = scene(tmp_path, image="-SPECTRAL_IMAGE_COG.tiff")
    assert Path(found(file).bands[0].path).name == f"{NAME}-SPECTRAL_IMAGE_COG.tiff"


def test_level_1b_is_refused_with_the_one_to_order(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"level L1B.*Order the scene at level L2A"):
        read(str(scene(tmp_path, NAME.replace("L2A", "L1B"))))


def test_a_scene_without_its_image_is_named(tmp_path: Path) -> None:
    file = scene(tmp_path)
    (tmp_path / f"{NAME}-SPECTRAL_IMAGE.TIF").unlink()
    with pytest.raises(NoBands, match=r"no spectral image \(ENMAP01.*-SPECTRAL_IMAGE.TIF\)"):
        read(str(file))


def test_a_product_packed_twice_says_what_to_unpack(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.ZIP").write_bytes(b"")
    with pytest.raises(NoBands, match=r"packed itself. Unpack that and name it"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("</level_X>", "", "not whole XML"),
        ("<GainOfBand>0.0001</GainOfBand>", "<GainOfBand/>", "no GainOfBand for band 1"),
        ("418.416", "blue", "no wavelengthCenterOfBand for band 1"),
        ('<bandID number="2">\n', "<bandID>\n", "without its number"),
        ("bandCharacterisation>", "bands>", "describes no band"),
    ],
)
def test_damaged_metadata_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = metadata(NAME).replace(old, new)
    with pytest.raises(DamagedRaster, match=says):
        read(str(scene(tmp_path, text=text)))


def test_a_band_that_the_image_lacks_is_named(tmp_path: Path) -> None:
    file = scene(tmp_path, text=metadata(NAME, (*CENTRES, 2450.0)))
    with pytest.raises(NoBands, match="no band 6"):
        headers_at(str(file))


def test_other_folders_and_files_are_none_of_its_kind(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", np.zeros((1, 2, 2), np.uint8))
    for path in (tmp_path, tmp_path / "scene.tif", tmp_path / f"{NAME}-METADATA.XML"):
        assert read(str(path)) is None
    assert read(str(write_raster(tmp_path / f"{NAME}-SPECTRAL_IMAGE.TIF", np.zeros((1, 2, 2), np.uint8)))) is None
