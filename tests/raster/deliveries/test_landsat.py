"""Reading Landsat scenes. Samples are built from the structure that USGS publishes (:mod:`landsat_made`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import DamagedRaster, NoBands, SceneError
from dofa_cli.raster.deliveries.delivery import Delivery, Screen
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.deliveries.landsat import read
from dofa_cli.raster.deliveries.landsat_craft import SENSORS
from dofa_cli.raster.deliveries.landsat_mtl import parse_mtl
from dofa_cli.sensors import registry
from tests.made import write_raster
from tests.raster.deliveries.landsat_made import (
    L1TP,
    L2SP,
    Tree,
    factors,
    json_of,
    landsat_scene,
    level1_tree,
    level2_tree,
    packed,
    text_of,
    write_bands,
    xml_of,
)

NAMES = ["B1", "B2", "B3", "B4", "B5", "B6", "B7"]


def found(path: Path | str) -> Delivery:
    delivery = read(str(path))
    assert delivery is not None
    return delivery


def values(delivery: Delivery, name: str) -> float:
    """Return the first pixel of a band as the product's quantity."""
    band = next(band for band in delivery.bands if band.name == name)
    with rasterio.open(band.path) as file:
        return float(file.read(band.index)[0, 0]) * (band.scale or 1) + (band.offset or 0)


def one_line(error: Exception) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_a_level_2_scene_has_its_bands_factors_time_and_quality(tmp_path: Path) -> None:
    delivery = found(landsat_scene(tmp_path, level2_tree(), L2SP))
    assert (delivery.sensor, delivery.product, delivery.kind) == ("landsat8", "c2-l2", "Landsat 8 L2SP scene")
    assert [band.name for band in delivery.bands] == [*NAMES, "B10"]
    assert {(band.scale, band.offset) for band in delivery.bands[:7]} == {(2.75e-05, -0.2)}
    assert (delivery.bands[7].scale, delivery.bands[7].offset) == (0.00341802, 149.0)
    assert {band.nodata for band in delivery.bands} == {0.0}
    assert delivery.taken == datetime(2022, 6, 1, 10, 2, 3, 456078, UTC)
    assert delivery.quality is not None
    assert delivery.quality.screen is Screen.LANDSAT_QA_PIXEL
    assert delivery.quality.path.endswith(f"{L2SP}_QA_PIXEL.TIF")
    assert values(delivery, "B1") == pytest.approx(10000 * 2.75e-05 - 0.2)
    assert delivery.notes == ()


def test_level_1_reflectance_is_divided_by_the_sine_of_the_suns_elevation(tmp_path: Path) -> None:
    """The sun stands at 30°, whose sine is a half: 10000 is (2e-5 · 10000 - 0.1) / 0.5 = 0.2."""
    delivery = found(landsat_scene(tmp_path, level1_tree(), L1TP))
    assert delivery.product == "c2-l1"
    assert values(delivery, "B1") == pytest.approx(0.2)
    assert values(delivery, "B3") == pytest.approx((2e-5 * 10200 - 0.1) * 2)


def test_level_1_thermal_bands_keep_their_numbers(tmp_path: Path) -> None:
    delivery = found(landsat_scene(tmp_path, level1_tree(), L1TP))
    thermal = [band for band in delivery.bands if band.name in ("B10", "B11")]
    assert [(band.scale, band.offset) for band in thermal] == [(None, None)] * 2


def test_a_night_scene_is_not_turned_into_reflectance(tmp_path: Path) -> None:
    tree = level1_tree()
    tree["IMAGE_ATTRIBUTES"]["SUN_ELEVATION"] = "-21.5"
    delivery = found(landsat_scene(tmp_path, tree, L1TP))
    assert {band.scale for band in delivery.bands} == {None}
    assert "below the horizon" in delivery.notes[0]


@pytest.mark.parametrize("write", [text_of, json_of, xml_of])
def test_text_json_and_xml_tell_the_same(tmp_path: Path, write: Callable[[Tree], str]) -> None:
    tree = level2_tree()
    suffix = {text_of: "txt", json_of: "json", xml_of: "xml"}[write]
    expected = found(landsat_scene(tmp_path / "text", tree, L2SP))
    write_bands(tmp_path / "other", tree)
    metadata = tmp_path / "other" / f"{L2SP}_MTL.{suffix}"
    metadata.write_text(write(tree))
    for path in (metadata.parent, metadata):
        delivery = found(path)
        assert [(b.name, b.scale, b.offset) for b in delivery.bands] == [
            (b.name, b.scale, b.offset) for b in expected.bands
        ]
        assert (delivery.sensor, delivery.product, delivery.taken) == ("landsat8", "c2-l2", expected.taken)


@pytest.mark.parametrize("name", ["scene.tar", "scene.tar.gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_an_archive_reads_like_its_folder(tmp_path: Path, name: str, dotted: bool) -> None:
    folder = landsat_scene(tmp_path / "scene", level2_tree(), L2SP)
    archive = packed(folder, tmp_path / name, dotted=dotted)
    headers = headers_at(archive)
    assert [band.text for header in headers for band in header.bands] == [*NAMES, "B10"]
    assert headers[0].bands[0].scale == 2.75e-05
    assert values(found(archive), "B4") == values(found(folder), "B4")
    assert any("read slowly" in note for note in found(archive).notes) == name.endswith(".gz")


def test_a_whole_folder_with_all_three_metadata_files_is_one_scene(tmp_path: Path) -> None:
    folder = landsat_scene(tmp_path, level2_tree(), L2SP)
    (folder / f"{L2SP}_MTL.json").write_text(json_of(level2_tree()))
    (folder / f"{L2SP}_MTL.xml").write_text(xml_of(level2_tree()))
    assert len(found(folder).bands) == 8


def test_files_are_found_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    folder = landsat_scene(tmp_path, level2_tree(), L2SP)
    for file in folder.glob("*.TIF"):
        file.rename(file.with_name(file.name.lower()))
    assert len(found(folder).bands) == 8


@pytest.mark.parametrize(
    ("spacecraft", "sensor", "expected"),
    [
        ("LANDSAT_4", "TM", "landsat5"),
        ("LANDSAT_5", "TM", "landsat5"),
        ("LANDSAT_7", "ETM", "landsat7"),
        ("LANDSAT_9", "OLI_TIRS", "landsat9"),
    ],
)
def test_satellites_name_their_sensor(tmp_path: Path, spacecraft: str, sensor: str, expected: str) -> None:
    tree = level2_tree(spacecraft=spacecraft, sensor=sensor)
    assert found(landsat_scene(tmp_path, tree, L2SP)).sensor == expected


def test_both_gains_of_landsat_7s_thermal_band_keep_their_names(tmp_path: Path) -> None:
    tree = level1_tree("LE07_L1TP_193024_20020601_20220610_02_T1", "LANDSAT_7", "ETM")
    contents = tree["PRODUCT_CONTENTS"]
    contents["FILE_NAME_BAND_6_VCID_1"] = contents.pop("FILE_NAME_BAND_10").replace("B10", "B6_VCID_1")
    contents["FILE_NAME_BAND_6_VCID_2"] = contents.pop("FILE_NAME_BAND_11").replace("B11", "B6_VCID_2")
    delivery = found(landsat_scene(tmp_path, tree, "LE07"))
    thermal = [(band.name, band.scale) for band in delivery.bands if "VCID" in band.name]
    assert thermal == [("B6_VCID_1", None), ("B6_VCID_2", None)]


def test_collection_1_is_read_with_its_own_factors(tmp_path: Path) -> None:
    """(1.8807e-3 · value - 0.011757) / sin 30°, without a quality layer that is understood."""
    scene = "LT05_L1TP_193024_19950601_20180610_01_T1"
    files = {f"FILE_NAME_BAND_{key}": f'"{scene}_B{key}.TIF"' for key in ("1", "2", "6")}
    tree: Tree = {
        "METADATA_FILE_INFO": {"COLLECTION_NUMBER": "01"},
        "PRODUCT_METADATA": {
            "DATA_TYPE": '"L1TP"',
            "SPACECRAFT_ID": '"LANDSAT_5"',
            "SENSOR_ID": '"TM"',
            **TIME_OF_1995,
            **files,
            "FILE_NAME_BAND_QUALITY": f'"{scene}_BQA.TIF"',
        },
        "IMAGE_ATTRIBUTES": {"SUN_ELEVATION": "30.0"},
        "RADIOMETRIC_RESCALING": factors("REFLECTANCE", ("1", "2"), "1.8807E-03", "-0.011757"),
    }
    delivery = found(landsat_scene(tmp_path, tree, scene, "PRODUCT_METADATA"))
    assert (delivery.sensor, delivery.product, delivery.quality) == ("landsat5", "c2-l1", None)
    assert [band.name for band in delivery.bands] == ["B1", "B2", "B6"]
    assert delivery.bands[0].scale == pytest.approx(3.7614e-3)
    assert delivery.bands[0].offset == pytest.approx(-0.023514)
    assert delivery.bands[2].scale is None
    assert delivery.taken == datetime(1995, 6, 1, tzinfo=UTC)


TIME_OF_1995 = {"DATE_ACQUIRED": "1995-06-01", "SCENE_CENTER_TIME": "unknown"}


@pytest.mark.parametrize(("spacecraft", "green"), [("LANDSAT_2", "4"), ("LANDSAT_5", "1")])
def test_the_old_scanner_brings_its_wavelengths_in_place_of_a_sensor(
    tmp_path: Path, spacecraft: str, green: str
) -> None:
    tree = level1_tree(spacecraft=spacecraft, sensor="MSS")
    delivery = found(landsat_scene(tmp_path, tree, L1TP))
    assert (delivery.sensor, delivery.product) == (None, None)
    stated = {band.name: (band.wavelength_um, band.fwhm_um) for band in delivery.bands}
    assert stated[f"B{green}"] == (0.55, 0.1)
    assert stated[f"B{int(green) + 3}"] == (0.95, 0.3)
    assert stated["B9"] == (None, None)


def test_files_without_metadata_are_read_by_their_names(tmp_path: Path) -> None:
    folder = landsat_scene(tmp_path, level2_tree(), L2SP)
    (folder / f"{L2SP}_MTL.txt").unlink()
    delivery = found(folder)
    assert [band.name for band in delivery.bands] == [*NAMES, "B10"]
    assert [(band.scale, band.offset) for band in delivery.bands[6:]] == [(2.75e-05, -0.2), (0.00341802, 149.0)]
    assert (delivery.sensor, delivery.product, delivery.taken) == (
        "landsat8",
        "c2-l2",
        datetime(2022, 6, 1, tzinfo=UTC),
    )
    assert delivery.quality is not None
    assert "usual factors" in delivery.notes[0]


def test_level_1_files_without_metadata_say_that_the_sun_is_not_corrected_for(tmp_path: Path) -> None:
    folder = landsat_scene(tmp_path, level1_tree(), L1TP)
    (folder / f"{L1TP}_MTL.txt").unlink()
    delivery = found(folder)
    assert delivery.product == "c2-l1"
    assert {band.scale for band in delivery.bands} == {None}
    assert [band.name for band in delivery.bands] == [*NAMES, "B8", "B9", "B10", "B11"]
    assert "sun's elevation" in delivery.notes[0]


def test_listed_files_that_are_not_there_are_left_out_with_a_note(tmp_path: Path) -> None:
    folder = landsat_scene(tmp_path, level2_tree(), L2SP)
    (folder / f"{L2SP}_SR_B3.TIF").unlink()
    (folder / f"{L2SP}_QA_PIXEL.TIF").unlink()
    delivery = found(folder)
    assert [band.name for band in delivery.bands] == ["B1", "B2", "B4", "B5", "B6", "B7", "B10"]
    assert delivery.quality is None
    assert delivery.notes == (f"listed in {L2SP}_MTL.txt and not there: B3.",)


def test_metadata_alone_are_refused(tmp_path: Path) -> None:
    metadata = tmp_path / f"{L2SP}_MTL.txt"
    metadata.write_text(text_of(level2_tree()))
    for path in (tmp_path, metadata):
        with pytest.raises(NoBands, match="None of the 8 band files") as caught:
            read(str(path))
        one_line(caught.value)


def test_two_scenes_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    landsat_scene(tmp_path, level2_tree(), L2SP)
    landsat_scene(tmp_path, level1_tree(), L1TP)
    with pytest.raises(NoBands, match=f"2 Landsat scenes.*{L1TP}") as caught:
        read(str(tmp_path))
    one_line(caught.value)
    assert found(tmp_path / f"{L1TP}_MTL.txt").product == "c2-l1"


def without(tree: Tree, group: str, key: str | None = None) -> str:
    changed = {name: dict(keys) for name, keys in tree.items()}
    if key is None:
        del changed[group]
    else:
        del changed[group][key]
    return text_of(changed)


DAMAGE = {
    "cut in the middle": (text_of(level2_tree())[:900], "it ends inside group"),
    "a group closed twice": (
        text_of(level2_tree()).replace("END_GROUP = PRODUCT", "END_GROUP = X"),
        "END_GROUP = X_CONTENTS",
    ),
    "no list of files": (without(level2_tree(), "PRODUCT_CONTENTS"), "no group PRODUCT_CONTENTS or PRODUCT_METADATA"),
    "no factors": (
        without(level2_tree(), "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"),
        "no group LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",
    ),
    "no satellite": (without(level2_tree(), "IMAGE_ATTRIBUTES", "SPACECRAFT_ID"), "no SPACECRAFT_ID"),
    "another satellite": (text_of(level2_tree(spacecraft="ENVISAT")), "SPACECRAFT_ID = 'ENVISAT'"),
    "no level": (without(level2_tree(), "PRODUCT_CONTENTS", "PROCESSING_LEVEL"), "no PROCESSING_LEVEL"),
    "a factor that is no number": (
        text_of(level2_tree()).replace("MULT_BAND_3 = 2.75e-05", "MULT_BAND_3 = abc"),
        "REFLECTANCE_MULT_BAND_3 = 'abc'",
    ),
    "no sun": (without(level1_tree(), "IMAGE_ATTRIBUTES", "SUN_ELEVATION"), "no SUN_ELEVATION"),
    "something else": ("hello\n", "holds no groups"),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damaged_metadata_are_one_line(tmp_path: Path, damage: str) -> None:
    text, message = DAMAGE[damage]
    tree = level1_tree() if damage == "no sun" else level2_tree()
    folder = landsat_scene(tmp_path, tree, "scene")
    (folder / "scene_MTL.txt").write_text(text)
    with pytest.raises(DamagedRaster, match=re.escape(message)) as caught:
        read(str(folder))
    assert "scene_MTL.txt" in one_line(caught.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a_MTL.json", b'{"LANDSAT_METADATA_FILE": {"PRODUCT_CONTENTS": {'),
        ("a_MTL.json", b"[1, 2]"),
        ("a_MTL.json", b'{"LANDSAT_METADATA_FILE": 3}'),
        ("a_MTL.xml", b"<LANDSAT_METADATA_FILE><PRODUCT_CONTENTS>"),
        ("a_MTL.xml", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><LANDSAT_METADATA_FILE/>'),
        ("a_MTL.xml", b""),
        ("a_MTL.txt", b"\xff\xfe\x00GROUP"),
    ],
)
def test_what_is_no_metadata_file_is_refused_in_one_line(name: str, data: bytes) -> None:
    with pytest.raises(DamagedRaster, match=name) as caught:
        parse_mtl(name, data)
    one_line(caught.value)


def test_a_tar_that_is_cut_is_refused(tmp_path: Path) -> None:
    archive = Path(packed(landsat_scene(tmp_path / "scene", level2_tree(), L2SP), tmp_path / "scene.tar"))
    archive.write_bytes(archive.read_bytes()[:-12000])
    with pytest.raises(SceneError) as caught:
        read(str(archive))
    assert str(archive) in one_line(caught.value)


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    plain = write_raster(tmp_path / "LC08_something.tif", np.ones((1, 4, 4), np.uint16))
    assert read(str(plain)) is None
    assert read(str(tmp_path)) is None
    assert read(str(tmp_path / "not_there_MTL.txt")) is None
    assert read("https://example.com/LC08_MTL.txt") is None


@given(st.binary(max_size=60), st.sampled_from(["txt", "json", "xml"]))
def test_whatever_bytes_are_read_or_refused(data: bytes, suffix: str) -> None:
    try:
        assert parse_mtl(f"a_MTL.{suffix}", data).groups
    except DamagedRaster as error:
        one_line(error)


words = st.text("ABCXYZ_019", min_size=1, max_size=9).filter(lambda word: word not in ("END", "GROUP", "END_GROUP"))
contents = st.text("abc XYZ.-:/0123", max_size=12).map(str.strip)


@given(st.dictionaries(words, st.dictionaries(words, contents, min_size=1, max_size=4), min_size=1, max_size=4))
def test_text_that_is_written_is_read_back(tree: Tree) -> None:
    quoted = {name: {key: f'"{value}"' for key, value in keys.items()} for name, keys in tree.items()}
    assert parse_mtl("a_MTL.txt", text_of(quoted, "A_ROOT_GROUP").encode()).groups == tree


def test_a_scene_is_prepared_with_its_clouds_masked(tmp_path: Path) -> None:
    from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
    from dofa_cli.pipelines.scenes.screen import MaskOptions

    tree = level2_tree()
    folder = landsat_scene(tmp_path, tree, L2SP)
    cloudy = np.full((1, 8, 8), 21824, np.uint16)
    cloudy[0, :2] = 22280  # USGS: cloud with high confidence
    write_raster(folder / f"{L2SP}_QA_PIXEL.TIF", cloudy)
    described = describe([str(folder)], SceneOptions(masks=MaskOptions(clouds=True)))
    prepared = prepare_scene(described, SceneOptions(masks=MaskOptions(clouds=True)), "dofa_v1")
    assert (prepared.sensor.id, prepared.product.id) == ("landsat8", "c2-l2")
    assert [norm.band for norm in prepared.norms] == NAMES
    assert prepared.masked_share == 0.25
    assert prepared.valid_share == 0.75


@pytest.mark.parametrize("sensor", sorted(set(SENSORS.values())))
def test_the_registry_knows_the_sensor_and_both_its_products(sensor: str) -> None:
    known = registry.built_in(sensor)
    assert {"c2-l1", "c2-l2"} <= {product.id for product in known.products}
    assert {"B1", "B2", "B3", "B4", "B5", "B7"} <= set(known.by_id)
