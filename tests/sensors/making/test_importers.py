"""What text files say of bands: STAC documents, tables, ENVI headers, spectral responses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dofa_cli.errors import BadSensorFile, BadWavelengths, OptionError, SceneNotFound
from dofa_cli.sensors.making.found import Found, Unit, spectrum
from dofa_cli.sensors.making.importers import is_text, read_responses, read_source
from dofa_cli.sensors.making.naming import band_names, check_id, common_name, telling_names


@pytest.fixture
def read(tmp_path):
    """Write a source and read its bands."""

    def from_text(name: str, content: str | bytes | dict | list) -> Found:
        if isinstance(content, dict | list):
            content = json.dumps(content)
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_source(path)

    return from_text


def centers(found: Found) -> dict[str | None, float | None]:
    return {band.name: band.center_um for band in found.bands}


def widths(found: Found) -> list[float | None]:
    return [band.fwhm_um for band in found.bands]


class TestUnits:
    def test_micrometres_stay_and_say_nothing(self):
        found = spectrum(["a", "b"], [0.665, 10.9], [0.03, 0.6])
        assert (found.centers_um, found.fwhm_um, found.notices) == ((0.665, 10.9), (0.03, 0.6), ())

    def test_nanometres_are_converted_with_their_widths_and_told(self):
        found = spectrum(["a", "b"], [665, 10900], [30, None])
        assert (found.centers_um, found.fwhm_um) == ((0.665, 10.9), (0.03, None))
        assert "nanometres" in found.notices[0]

    def test_a_stated_unit_needs_no_telling(self):
        assert spectrum(["a"], [665], [30], unit=Unit.NANOMETRE).notices == ()

    def test_widths_may_have_a_unit_of_their_own(self):
        assert spectrum(["a"], [665], [0.03], width_unit=Unit.MICROMETRE).fwhm_um == (0.03,)

    def test_mixed_units_name_the_bands(self):
        with pytest.raises(BadWavelengths, match=r"mixed units: red, nir look like nanometres, green do not"):
            spectrum(["red", "green", "nir"], [665, 0.56, 840], [None] * 3)

    @pytest.mark.parametrize(
        ("center", "width"), [(0.665, 38), (665, 0.038), (0.665, -0.03), (0.665, math.nan), (0.665, math.inf)]
    )
    def test_widths_that_do_not_suit_their_centre_name_the_band(self, center, width):
        with pytest.raises(BadWavelengths, match=r"^red \(.*both in one unit"):
            spectrum(["red"], [center], [width])

    @pytest.mark.parametrize("value", [0, -0.5, 0.05, 50, 31000, math.nan, math.inf, -math.inf])
    def test_what_no_optical_band_has_names_the_band(self, value):
        with pytest.raises(BadWavelengths, match=r"^red \(.*no optical band"):
            spectrum(["red"], [value], [None])

    def test_missing_centres_are_all_named(self):
        with pytest.raises(BadWavelengths, match="No centre wavelength for b2, b4"):
            spectrum(["b1", "b2", "b3", "b4"], [0.5, None, 0.6, None], [None] * 4)

    def test_a_width_of_0_is_unknown(self):
        found = spectrum(["a"], [0.5], [0])
        assert found.fwhm_um == (None,)
        assert "not known: a" in found.notices[0]


BANDS_10 = [
    {"name": "B02", "common_name": "blue", "center_wavelength": 0.49, "full_width_half_max": 0.098},
    {"name": "B08", "common_name": "nir", "center_wavelength": 0.842, "full_width_half_max": 0.145, "gsd": 10},
]
BANDS_11 = [
    {"name": "B02", "eo:common_name": "blue", "eo:center_wavelength": 0.49, "eo:full_width_half_max": 0.098},
    {"name": "B08", "eo:common_name": "nir", "eo:center_wavelength": 0.842, "eo:full_width_half_max": 0.145},
]
ONE_ASSET_EACH = {band["name"]: {"href": "x", "bands": [band]} for band in BANDS_11}


class TestStac:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param({"properties": {"eo:bands": BANDS_10}}, id="1.0 on the item's properties"),
            pytest.param({"assets": {"data": {"eo:bands": BANDS_10}}}, id="1.0 on an asset"),
            pytest.param({"assets": {b["name"]: {"eo:bands": [b]} for b in BANDS_10}}, id="1.0 on assets"),
            pytest.param({"summaries": {"eo:bands": BANDS_10}}, id="1.0 in a collection's summaries"),
            pytest.param({"item_assets": {"data": {"eo:bands": BANDS_10}}}, id="1.0 in item_assets"),
            pytest.param({"properties": {"bands": BANDS_11}}, id="1.1 on the item's properties"),
            pytest.param({"bands": BANDS_11}, id="1.1 on a collection"),
            pytest.param({"assets": {"data": {"bands": BANDS_11}}}, id="1.1 on an asset"),
            pytest.param({"assets": ONE_ASSET_EACH}, id="1.1 on assets"),
            pytest.param({"summaries": {"bands": BANDS_11}}, id="1.1 in summaries"),
            pytest.param({"item_assets": ONE_ASSET_EACH}, id="1.1 in item_assets"),
        ],
    )
    def test_bands_are_found_wherever_they_stand(self, read, content):
        found = read("item.json", {"stac_version": "1.0.0", **content})
        assert centers(found) == {"B02": 0.49, "B08": 0.842}
        assert widths(found) == [0.098, 0.145]
        assert [band.common_name for band in found.bands] == ["blue", "nir"]

    def test_fields_of_an_asset_are_those_of_its_only_band(self, read):
        red = {"eo:center_wavelength": 0.665, "eo:common_name": "Red", "gsd": 10}
        found = read("item.json", {"stac_version": "1.1.0", "assets": {"red": red, "r": {**red, "bands": [{}]}}})
        assert [(band.name, band.common_name, band.gsd_m) for band in found.bands] == [
            ("red", "red", 10),
            ("r", "red", 10),
        ]

    def test_a_band_mentioned_again_is_one_band(self, read):
        again = {"name": "B02", "common_name": "blue", "gsd": 20}
        found = read("item.json", {"assets": {"b": {"eo:bands": BANDS_10}, "visual": {"eo:bands": [again]}}})
        assert len(found.bands) == 2
        assert found.bands[0].gsd_m == 20

    def test_two_values_for_one_band_are_refused(self, read):
        other = [{"name": "B02", "center_wavelength": 0.48}]
        with pytest.raises(BadWavelengths, match=r"gives B02 two values of center: 0\.49 and 0\.48"):
            read("item.json", {"assets": {"a": {"eo:bands": BANDS_10}, "b": {"eo:bands": other}}})

    def test_bands_that_measure_no_light_are_left_out_by_name(self, read):
        found = read("item.json", {"bands": [*BANDS_11, {"name": "SCL"}, {"name": "AOT"}], "stac_version": "1.1.0"})
        assert len(found.bands) == 2
        assert "not spectral, left out: SCL, AOT." in found.notices

    def test_a_coloured_band_without_a_centre_is_named(self, read):
        with pytest.raises(BadWavelengths, match="No centre wavelength for red"):
            read("item.json", {"stac_version": "1.1.0", "bands": [*BANDS_11, {"name": "red", "eo:common_name": "red"}]})

    def test_nanometres_are_told(self, read):
        bands = [{"name": "a", "center_wavelength": 490, "full_width_half_max": 65}]
        found = read("item.json", {"properties": {"eo:bands": bands}})
        assert (centers(found), widths(found)) == ({"a": 0.49}, [0.065])
        assert "nanometres" in found.notices[0]

    def test_the_order_of_files_is_known_where_one_list_holds_all(self, read):
        assert read("a.json", {"summaries": {"bands": BANDS_11}}).in_order
        assert not read("a.json", {"assets": ONE_ASSET_EACH}).in_order

    @pytest.mark.parametrize(
        ("content", "size"),
        [
            ({"properties": {"gsd": 3, "eo:bands": BANDS_10[:1]}}, 3),
            ({"properties": {"gsd": 3}, "assets": {"a": {"gsd": 5, "eo:bands": BANDS_10[:1]}}}, 5),
            ({"summaries": {"gsd": [30], "eo:bands": BANDS_10[:1]}}, 30),
            ({"summaries": {"gsd": [10, 20], "eo:bands": BANDS_10[:1]}}, None),
        ],
    )
    def test_pixel_sizes_come_from_the_nearest_level_that_tells_one(self, read, content, size):
        assert read("a.json", content).bands[0].gsd_m == size

    @pytest.mark.parametrize(
        "stored",
        [
            {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]},
            {"raster:scale": 0.0001, "raster:offset": -0.1},
        ],
    )
    def test_a_scale_that_assets_declare_is_told(self, read, stored):
        assets = {"b": {"eo:bands": BANDS_10[:1], **stored}, "mask": {"raster:bands": [{"scale": 5}]}}
        (notice,) = read("a.json", {"assets": assets}).notices
        assert "--product-scale 0.0001 --product-offset -0.1" in notice

    def test_several_scales_are_not(self, read):
        assets = {n: {"eo:bands": [BANDS_10[n]], "raster:bands": [{"scale": 0.1 + n}]} for n in (0, 1)}
        assert read("a.json", {"assets": assets}).notices == ()

    def test_a_document_without_bands_says_so(self, read):
        with pytest.raises(BadSensorFile, match=r"item\.json is a STAC document without spectral bands"):
            read("item.json", {"stac_version": "1.0.0", "type": "Catalog", "links": []})


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("name,center_um,fwhm_um\nred,0.66,0.03\nnir,0.84,0.1\n", id="plain"),
            pytest.param("Band;Centre (nm);FWHM (nm)\nred;660;30\nnir;840;100", id="semicolons and nanometres"),
            pytest.param("NAME\tWavelength [µm]\tBandwidth [µm]\nred\t0.66\t0.03\nnir\t0.84\t0.1", id="tabs"),
            pytest.param("id center_wavelength_nm width_nm\nred 660 30\nnir  840  100\n", id="blanks"),
            pytest.param("name;center_um;fwhm\nred;0,66;0,03\nnir;0,84;0,1", id="decimal commas"),
            pytest.param("name\tcenter_um\tfwhm\nred\t0,66\t0,03\nnir\t0,84\t0,1", id="tabs and decimal commas"),
            pytest.param('"name","center, (μm)","fwhm"\n"red","0.66","0.03"\n"nir","0.84","0.1"', id="quotes"),
            pytest.param("\ufeff# made by hand\nname,center_um,fwhm\n\nred,0.66,0.03\n,,\nnir,0.84,0.1", id="a mark"),
            pytest.param("name,min_nm,max_nm\nred,645,675\nnir,790,890", id="edges"),
            pytest.param("name,lower (µm),upper (µm)\nred,0.645,0.675\nnir,0.79,0.89", id="edges in micrometres"),
            pytest.param("name,wavelength,fwhm,unit\nred,660,30,nm\nnir,840,100,nm", id="a column of units"),
            pytest.param("name,center_nm,fwhm_um\nred,660,0.03\nnir,840,0.1", id="a unit each"),
        ],
    )
    def test_columns_are_found_by_their_names_and_units(self, read, text):
        found = read("bands.csv", text)
        assert centers(found) == pytest.approx({"red": 0.66, "nir": 0.84})
        assert widths(found) == pytest.approx([0.03, 0.1])

    @pytest.mark.parametrize("unit", ["nm", "Nanometers", "µm", "μm", "um", "micron", "Micrometres"])
    def test_units_in_any_writing(self, read, unit):
        value = 0.66 if unit[0] in "µμumM" and not unit.startswith("n") else 660
        assert centers(read("a.csv", f"name,center ({unit})\nred,{value}")) == {"red": 0.66}

    @pytest.mark.parametrize(("unit", "value"), [("Angstroms", 6600), ("mm", 6.6e-4), ("m", 6.6e-7)])
    def test_rarer_units(self, read, unit, value):
        assert centers(read("a.csv", f"name,center [{unit}]\nred,{value}")) == {"red": 0.66}

    def test_utf_16_as_spreadsheets_write_it(self, read):
        assert centers(read("a.txt", "name\tcenter (µm)\nred\t0.66".encode("utf-16"))) == {"red": 0.66}

    def test_all_other_columns_that_are_understood(self, read):
        found = read(
            "a.csv", "band,name,center_um,gsd (cm),common_name,bbl,vendor\n1,Deep Red,0.66,5,Red,0,x\n2,,0.5,5,,1,x"
        )
        first, second = found.bands
        assert (first.name, first.aliases, first.gsd_m, first.common_name) == ("1", ("Deep Red",), 0.05, "red")
        assert (first.usable, second.usable, second.aliases) == (False, True, ())
        assert "columns not used: vendor." in found.notices

    def test_wavelengths_alone_are_enough(self, read):
        assert centers(read("a.csv", "wavelength\n0.5\n0.6")) == {None: 0.6}

    @pytest.mark.parametrize(
        "content",
        [
            [{"name": "red", "center_nm": 660, "fwhm_nm": 30}, {"name": "nir", "center_nm": 840}],
            {"name": ["red", "nir"], "center_nm": [660, "840"], "fwhm_nm": [30, None], "sensor": "x"},
            {"bands": [{"id": "red", "wavelength_nm": 660, "fwhm_nm": 30}, {"id": "nir", "wavelength_nm": 840}]},
            {"bands": {"name": ["red", "nir"], "wavelength": [660, 840], "fwhm": [30, None]}, "unit": "x"},
            {"name": ["red", "nir"], "wavelength": [660, 840], "fwhm": [30, None], "unit": "nm"},
        ],
        ids=["rows", "columns", "rows under bands", "columns under bands", "a unit for all"],
    )
    def test_json_as_rows_or_columns(self, read, content):
        found = read("bands.json", content)
        assert centers(found) == {"red": 0.66, "nir": 0.84}
        assert widths(found) == [0.03, None]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("name,color\nred,1", r"no column of centre wavelengths.*It has name, color"),
            ("name,center_um\nred,0.66\ngreen,\nblue,", "No centre wavelength for green, blue"),
            ("name,min_nm,max_nm\nred,675,645", "lower edge is not below the upper one: red"),
            ("name,min_nm,max_um\nred,645,0.675", "are in different units"),
            ("name,center,unit\nred,0.66,um\nnir,840,nm", "in several: nm, um"),
            ("name,center,unit\nred,14000,cm-1", "units that are no lengths"),
        ],
    )
    def test_wavelengths_that_cannot_be_known_are_named(self, read, text, told):
        with pytest.raises(BadWavelengths, match=told):
            read("a.csv", text)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("name,center_um,wavelength\nred,0.66,0.67", "two columns for the same: center_um, wavelength"),
            ("name,name,center_um\na,b,0.66", "columns of the same name: name"),
            ("name,center_um\nred,abc", "'center_um' of red is 'abc', which is not a number"),
            ("name,center_um\nred,0.66,0.03", "row 'red' has 3 values, but there are 2 columns"),
            ("wavelength,B1,B2\n500,0.1,0\n510,0.9,0.2\n520,0,1", "spectral responses of B1, B2.*--from-srf"),
            ("name,center_um,gsd (nm)\nred,0.66,3", r"'gsd \(nm\)' is not in metres"),
        ],
    )
    def test_tables_that_are_not_understood_say_why(self, read, text, told):
        with pytest.raises(BadSensorFile, match=told):
            read("a.csv", text)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(SceneNotFound, match=r"No such file: .*nowhere\.csv"):
            read_source(tmp_path / "nowhere.csv")

    def test_a_folder_is_no_table(self, tmp_path):
        (tmp_path / "a.csv").mkdir()
        with pytest.raises(BadSensorFile, match="cannot be read"):
            read_source(tmp_path / "a.csv")

    @pytest.mark.parametrize(("name", "told"), [("a.json", True), ("A.CSV", True), ("a.hdr", True), ("a.tif", False)])
    def test_text_is_told_from_rasters_by_its_ending(self, tmp_path, name, told):
        assert is_text(tmp_path / name) is told


HEADER = """ENVI
description = {
  A scene, with = and numbers 1, 2}
samples = 4
lines   = 4
bands   = 3
; wavelength = {1, 2, 3}
Wavelength Units = Nanometers
wavelength = {
 450.5, 550.0,
 650.0}
fwhm = {10, 0, 12}
bbl = { 1, 0, 1 }
map info = {UTM, 1, 1, 300000, 5800020, 2.000e+01, 2.000e+01, 33, North, WGS-84, units=Meters}
reflectance scale factor = 10000
"""


class TestEnviHeaders:
    def test_all_that_it_says_of_bands(self, read):
        found = read("a.hdr", HEADER)
        assert [band.center_um for band in found.bands] == [0.4505, 0.55, 0.65]
        assert widths(found) == [0.01, None, 0.012]
        assert [band.usable for band in found.bands] == [True, False, True]
        assert {band.gsd_m for band in found.bands} == {20}
        assert {band.name for band in found.bands} == {None}
        assert any("--product-scale 0.0001" in notice for notice in found.notices)

    def test_names_of_its_bands(self, read):
        found = read("a.hdr", HEADER + "band names = {blue (450.5), green (550), red (650)}\n")
        assert [band.name for band in found.bands] == ["blue", "green", "red"]

    def test_units_by_size_where_none_is_stated(self, read):
        found = read("a.hdr", HEADER.replace("Nanometers", "Unknown"))
        assert found.bands[0].center_um == 0.4505

    @pytest.mark.parametrize(
        ("old", "new", "error", "told"),
        [
            ("ENVI\n", "", BadSensorFile, "not an ENVI header"),
            ("bands   = 3", "bands   = 5", BadSensorFile, "has 5 bands but 3 values of wavelength"),
            ("bbl = { 1, 0, 1 }", "bbl = {1, 0}", BadSensorFile, "3 bands but 2 values of bbl"),
            ("wavelength = {\n", "centres = {\n", BadWavelengths, "states no wavelengths.*--wavelengths"),
            ("550.0", "green", BadSensorFile, r"wavelength in a\.hdr is 'green'"),
            ("Nanometers", "GHz", BadWavelengths, "has wavelengths in 'GHz', which is no unit of length"),
            (" 650.0}", " 650.0", BadSensorFile, r"wavelength in a\.hdr is '650.0 fwhm"),
        ],
    )
    def test_what_is_wrong_is_named(self, read, old, new, error, told):
        assert old in HEADER
        with pytest.raises(error, match=told):
            read("a.hdr", HEADER.replace(old, new))

    def test_a_header_that_ends_inside_a_list_is_cut_off(self, read):
        with pytest.raises(BadSensorFile, match="cut off inside 'fwhm'"):
            read("a.hdr", HEADER[: HEADER.index(", 0, 12}")])

    def test_letters_that_are_not_utf_8_do_not_matter(self, read):
        assert len(read("a.hdr", HEADER.replace("A scene", "Grün").encode("latin-1")).bands) == 3


def srf(tmp_path, axis, curves: dict, title: str = "wavelength") -> Found:
    path = tmp_path / "srf.csv"
    rows = [",".join([title, *curves])]
    rows += [",".join(str(float(value)) for value in row) for row in zip(axis, *curves.values(), strict=True)]
    path.write_text("\n".join(rows))
    return read_responses(path)


NM = np.arange(400.0, 800.0, 1.0)


def gauss(center: float, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((NM - center) / sigma) ** 2)


class TestSpectralResponses:
    def test_a_bell_curve(self, tmp_path):
        found = srf(tmp_path, NM, {"a": gauss(560.4, 12), "b": 40 * gauss(665, 8)})
        assert centers(found) == pytest.approx({"a": 0.5604, "b": 0.665}, abs=1e-6)
        wide, narrow = widths(found)
        assert wide == pytest.approx(12 * 2.354820 / 1000, abs=2e-5)  # 2·sqrt(2·ln 2)
        assert narrow == pytest.approx(8 * 2.354820 / 1000, abs=2e-5)

    def test_a_box_between_samples(self, tmp_path):
        found = srf(tmp_path, [500, 510, 520, 530, 540], {"a": [0, 1, 1, 1, 0]})
        assert (centers(found), widths(found)) == ({"a": 0.52}, [0.03])

    def test_half_maximum_is_interpolated_and_the_mean_is_weighted(self, tmp_path):
        found = srf(tmp_path, [500, 510, 530], {"a": [0, 2, 0]})
        assert widths(found) == [0.015]  # 505 to 520
        mean = (1020 / 2 * 10 + 1020 / 2 * 20) / (2 / 2 * 10 + 2 / 2 * 20)  # trapezoids over their area
        assert centers(found) == pytest.approx({"a": mean / 1000})

    def test_response_far_outside_moves_no_centre(self, tmp_path):
        leaky = gauss(500, 8) + 0.2 * (NM > 700)
        found = srf(tmp_path, NM, {"good": gauss(600, 8), "leaky": leaky})
        assert centers(found) == pytest.approx({"good": 0.6, "leaky": 0.5}, abs=1e-5)
        assert [notice for notice in found.notices if notice.startswith("leaky: response far outside")]

    def test_a_lopsided_band_keeps_its_mean(self, tmp_path):
        lopsided = np.where(NM < 600, gauss(600, 5), gauss(600, 9))
        found = srf(tmp_path, NM, {"a": lopsided})
        mean = float((NM * lopsided).sum() / lopsided.sum()) / 1000
        assert centers(found) == pytest.approx({"a": mean}, abs=1e-6)
        assert abs(mean - 0.6) > 0.001

    def test_a_curve_that_the_table_cuts_off_is_told(self, tmp_path):
        found = srf(tmp_path, NM, {"edge": gauss(400, 20)})
        assert any(notice.startswith("edge: the curve ends above half") for notice in found.notices)

    def test_a_dip_inside_the_band_is_told_and_spanned(self, tmp_path):
        found = srf(tmp_path, [500, 510, 520, 530, 540], {"a": [0, 1, 0.4, 1, 0]})
        assert widths(found) == [0.03]
        assert any("dips below half" in notice for notice in found.notices)

    @pytest.mark.parametrize(("title", "factor"), [("wavelength_nm", 1), ("λ (µm)", 1e-3), ("wl", 1), ("wl", 1e-3)])
    def test_wavelengths_by_name_or_size(self, tmp_path, title, factor):
        found = srf(tmp_path, NM * factor, {"a": gauss(560, 12)}, title)
        assert centers(found) == pytest.approx({"a": 0.56}, abs=1e-6)

    def test_rows_in_any_order(self, tmp_path):
        found = srf(tmp_path, NM[::-1], {"a": gauss(560.4, 12)[::-1]})
        assert centers(found) == pytest.approx({"a": 0.5604}, abs=1e-6)

    def test_empty_cells_are_no_response(self, tmp_path):
        (tmp_path / "srf.csv").write_text("nm,a,b\n500,,1\n510,1,\n520,,\n")
        assert centers(read_responses(tmp_path / "srf.csv"))["a"] == 0.51

    @pytest.mark.parametrize(
        ("text", "error", "told"),
        [
            ("nm,a\n500,0\n510,0\n520,0", BadSensorFile, "a has no peak"),
            ("nm,a\n500,1\n510,inf\n520,0", BadSensorFile, "a has no peak"),
            ("nm,a\n500,1\n510,x\n520,0", BadSensorFile, "a response of a is 'x'"),
            ("nm,a\n500,1\n500,1\n520,0", BadWavelengths, "same wavelength in two rows"),
            ("nm,a\n500,1\n,1\n520,0", BadWavelengths, "no wavelength in row 2"),
            ("nm,a\n500,1\n510,1", BadSensorFile, "at least 3"),
            ("wl,a\n0.5,1\n510,1\n520,1", BadWavelengths, "mixed units"),
            ("nm\n500\n510\n520", BadSensorFile, "No band"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, text, error, told):
        (tmp_path / "srf.csv").write_text(text)
        with pytest.raises(error, match=told):
            read_responses(tmp_path / "srf.csv")


class TestNames:
    @pytest.mark.parametrize(
        ("texts", "names"),
        [
            (["R 650nm", "NIR (830 nm)"], ["R", "NIR"]),
            (["blue (0.4 Micrometers)", "red (0.6 Micrometers)"], ["blue", "red"]),
            (["400.5 Nanometers", "500 Nanometers"], [None, None]),
            (["400", "500"], [None, None]),
            ([".4 Micrometers", "5e-1 um"], [None, None]),
            (["band 1 (418.24 Nanometers)", "band 2 (423.87 Nanometers)"], [None, None]),
            (["B1", "B2"], [None, None]),
            (["B2", "B3"], ["B2", "B3"]),
            (["B01", "B8A"], ["B01", "B8A"]),
            (["red", "red"], [None, None]),
            (["red", None], [None, None]),
            ([], [None, None]),
        ],
    )
    def test_descriptions_name_bands_only_if_they_tell_them_apart(self, texts, names):
        assert telling_names(texts, 2) == names

    @pytest.mark.parametrize(
        ("name", "made", "aliases"),
        [
            ("red", "red", ()),
            ("Red Edge 1", "Red_Edge_1", ("Red Edge 1",)),
            ("../x", "x", ("../x",)),
            ("SR_B4", "SR_B4", ()),
            ("8", "b8", ()),
            ("красный", "b1", ("красный",)),
            (None, "b1", ()),
            ("a" * 100, "a" * 64, ("a" * 100,)),
        ],
    )
    def test_a_name_becomes_an_id(self, name, made, aliases):
        (found,) = band_names([name])
        assert (found.id, found.aliases) == (made, aliases)

    @pytest.mark.parametrize("names", [["R", "r"], ["B-1", "B1"], ["red", "red"], ["2", "b2"], [None, "b1"]])
    def test_names_that_files_could_not_tell_apart_are_refused(self, names):
        with pytest.raises(BadSensorFile, match=r"cannot be told apart.*--names"):
            band_names(names)

    @pytest.mark.parametrize(
        ("name", "common"), [("Red", "red"), ("NIR", "nir"), ("R", None), ("B4", None), (None, None)]
    )
    def test_common_names_are_those_of_stac(self, name, common):
        assert common_name(name) == common

    @pytest.mark.parametrize("name", ["sentinel2", "my-drone_v1.2", "A", "9", "x" * 64])
    def test_ids(self, name):
        assert check_id(name) == name

    @pytest.mark.parametrize("name", ["", "../x", "nul", "aux.1", "x" * 65, "ä", "x.toml"])
    def test_no_ids(self, name):
        with pytest.raises(OptionError, match="cannot be the id"):
            check_id(name)
