"""Which product a file is: by name, by range, or refused; and what the user is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dofa_cli.errors import OptionError, ScaleMismatch
from dofa_cli.sensors.custom import from_wavelengths
from dofa_cli.sensors.products import Evidence, Identified, assume_product, identify_product
from dofa_cli.sensors.registry import sensor
from dofa_cli.sensors.schema import Product, Quantity

DN = Evidence(names="scene.tif", eight_bit=False, low=300, high=4200, band_lows=(120, 80, 60))
BYTES = Evidence(names="scene.tif", eight_bit=True, low=12, high=240)
UNIT = Evidence(names="scene.tif", eight_bit=False, low=0.02, high=0.42)
DECIBELS = Evidence(names="scene.tif", eight_bit=False, low=-25, high=-2)
POWER = Evidence(names="scene.tif", eight_bit=False, low=0.002, high=0.6)
AMPLITUDE = Evidence(names="scene.tif", eight_bit=False, low=20, high=900)
S2A_L1C = "S2A_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204.SAFE"
S2A_L1C_NEW = S2A_L1C.replace("N0204", "N0500")


def identified(instrument: str, evidence: Evidence, wanted: str | None = None, **changes: Any) -> Identified:
    return identify_product(sensor(instrument), replace(evidence, **changes), wanted)


def product_of(instrument: str, evidence: Evidence, wanted: str | None = None, **changes: Any) -> str:
    return identified(instrument, evidence, wanted, **changes).product.id


class TestByName:
    @pytest.mark.parametrize(
        ("instrument", "names", "evidence", "product"),
        [
            ("sentinel2", f"{S2A_L1C}/T33UUU_B02.jp2", DN, "l1c"),
            ("sentinel2", f"{S2A_L1C_NEW}/T33UUU_B02.jp2", DN, "l1c-0400"),
            ("sentinel2", S2A_L1C.replace("L1C", "L2A"), DN, "l2a"),
            ("sentinel2", S2A_L1C_NEW.replace("L1C", "L2A"), DN, "l2a-0400"),
            ("sentinel2", S2A_L1C_NEW.replace("N0500", "N0400"), DN, "l1c-0400"),
            ("sentinel2", S2A_L1C_NEW.replace("N0500", "N0301"), DN, "l1c"),
            ("sentinel2", S2A_L1C_NEW.replace("N0500", "N1000"), DN, "l1c-0400"),
            ("sentinel2", "IMG_DATA/T33UUU_20170216T102101_TCI.jp2", BYTES, "tci-l1c"),
            ("sentinel2", "R10m/T33UUU_20170216T102101_TCI_10m.jp2", BYTES, "tci-l2a"),
            ("sentinel2", f"{S2A_L1C}/T33UUU_20170216T102101_TCI.jp2", BYTES, "tci-l1c"),
            ("sentinel2", f"{S2A_L1C.replace('L1C', 'L2A')}/T33UUU_TCI_10m.jp2", BYTES, "tci-l2a"),
            ("landsat8", "LC08_L2SP_044034_20190101_20200829_02_T1_SR_B4.TIF", DN, "c2-l2"),
            ("landsat8", "LC08_L1TP_044034_20190101_20200829_02_T1_B4.TIF", DN, "c2-l1"),
            ("enmap", "ENMAP01-____L2A-DT0000001049_20220612T105735Z_028.TIF", DN, "l2a"),
            ("sentinel1", "S1A_IW_GRDH_1SDV_20170216.SAFE/measurement/s1a-iw-grd-vv.tiff", AMPLITUDE, "grd"),
            ("sentinel1", "S1A_IW_20170216_RTC_VV.tif", POWER, "gamma0-power"),
            ("sentinel1", "S1A_IW_20170216_gamma0_VV_db.tif", DECIBELS, "gamma0-db"),
            ("naip", "m_3807708_ne_18_060_20190901.tif", BYTES, "ortho"),
        ],
    )
    def test_the_name_states_it(self, instrument, names, evidence, product):
        wide = replace(evidence, names=names, low=8000, high=20000) if instrument == "landsat8" else evidence
        found = identify_product(sensor(instrument), replace(wide, names=names), None)
        assert (found.product.id, found.how) == (product, "by the file's name")

    def test_a_name_does_not_make_values_fit(self):
        with pytest.raises(ScaleMismatch, match=r"0\.02 to 0\.42.*not sentinel2 'l2a'"):
            identified("sentinel2", UNIT, names="S2A_MSIL2A.tif")

    def test_what_the_user_says_goes_before_the_name(self):
        found = identified("sentinel2", DN, "l1c", names=S2A_L1C_NEW)
        assert (found.product.id, found.how) == ("l1c", "given")


class TestByValues:
    @pytest.mark.parametrize(
        ("instrument", "evidence", "product"),
        [
            ("sentinel2", DN, "l1c"),
            ("sentinel2", BYTES, "tci-l1c"),
            ("sentinel1", DECIBELS, "sigma0-db"),
            ("sentinel1", POWER, "sigma0-power"),
            ("sentinel1", AMPLITUDE, "grd"),
            ("landsat8", UNIT, "reflectance"),
            ("naip", BYTES, "ortho"),
            ("enmap", DN, "l2a"),
        ],
    )
    def test_one_product_fits(self, instrument, evidence, product):
        found = identified(instrument, evidence)
        assert (found.product.id, found.how) == (product, "by its values")

    @pytest.mark.parametrize(
        ("decibels", "product"), [((-28, -8), "sigma0-db"), ((-45, 3), "sigma0-db"), ((-60, -25), "sigma0-db")]
    )
    def test_decibels_are_told_by_their_sign(self, decibels, product):
        assert product_of("sentinel1", DECIBELS, low=decibels[0], high=decibels[1]) == product

    def test_power_and_amplitude_of_the_same_scene_are_told_apart(self):
        for low, high in ((-28, -6), (-22, 0)):
            power = {"low": 10 ** (low / 10), "high": 10 ** (high / 10)}
            amplitude = {"low": 560 * 10 ** (low / 20), "high": 560 * 10 ** (high / 20)}
            assert product_of("sentinel1", POWER, **power) == "sigma0-power"
            assert product_of("sentinel1", AMPLITUDE, **amplitude) == "grd"

    def test_several_that_fit_are_refused_with_their_names(self):
        several = r"\(7000 to 20000\) fit several products of landsat8: c2-l2, c2-l1, reflectance-10000\..*--product"
        with pytest.raises(OptionError, match=several):
            identified("landsat8", DN, low=7000, high=20000)

    def test_a_default_among_several_is_taken_and_told(self):
        found = identified("sentinel1", POWER, low=0, high=30)
        assert found.product.id == "sigma0-db"
        assert "grd" in found.warnings[0]
        assert "--product" in found.warnings[0]

    def test_eight_bit_values_are_taken_as_pictures_and_told(self):
        assert "8-bit values are taken as sentinel2 'tci-l1c'" in identified("sentinel2", BYTES).warnings[0]


class TestRefused:
    def test_reflectance_from_0_to_1_with_the_option_that_helps(self):
        with pytest.raises(ScaleMismatch, match=r"0\.02 to 0\.42.*reflectance from 0 to 1: give --scale 1"):
            identified("sentinel2", UNIT)

    def test_8_bit_where_16_bit_is_expected(self):
        with pytest.raises(ScaleMismatch, match=r"Values are 8-bit \(12 to 240\), which is not sentinel2 'l1c'"):
            identified("sentinel2", BYTES, "l1c")

    def test_16_bit_where_8_bit_is_expected(self):
        with pytest.raises(ScaleMismatch, match=r"Values are not 8-bit .*not naip 'ortho'"):
            identified("naip", DN)

    @pytest.mark.parametrize("evidence", [DECIBELS, replace(DN, low=30000, high=60000), replace(DN, low=-9999)])
    def test_what_no_product_has(self, evidence):
        with pytest.raises(ScaleMismatch, match=r"--normalize scene.*Products: .*l1c"):
            identified("sentinel2", evidence)

    @pytest.mark.parametrize(
        ("wanted", "evidence"), [("grd", DECIBELS), ("sigma0-db", POWER), ("sigma0-power", DECIBELS)]
    )
    def test_radar_said_to_be_on_another_scale(self, wanted, evidence):
        with pytest.raises(ScaleMismatch, match=f"not sentinel1 '{wanted}'"):
            identified("sentinel1", evidence, wanted)

    def test_an_unknown_product_with_the_known_ones(self):
        with pytest.raises(OptionError, match=r"sentinel2 has no product 'l3'. It has .*l1c"):
            identified("sentinel2", DN, "l3")

    def test_a_sensor_whose_products_must_all_be_named(self):
        only = Product(id="sr", quantity=Quantity.BOA_REFLECTANCE, scale=1e-4, named_only=True, pattern="SR")
        entry = sensor("naip").model_copy(update={"products": (only,)})
        with pytest.raises(ScaleMismatch, match="Products: sr"):
            identify_product(entry, DN, None)

    def test_a_constant_scene_is_not_judged(self):
        assert product_of("sentinel2", UNIT, "l1c", low=0, high=0) == "l1c"


class TestScaleAndOffset:
    def test_those_of_the_file_take_the_product_s_place(self):
        found = identified("sentinel2", UNIT, scale=1.0, offset=0.0)
        assert (found.product.id, found.product.scale, found.product.offset) == ("l1c", 1.0, 0.0)

    def test_values_are_judged_with_them(self):
        found = identified("sentinel2", DN, low=1200, high=5200, scale=1e-4, offset=-0.1)
        assert (found.product.scale, found.product.offset) == (1e-4, -0.1)
        with pytest.raises(ScaleMismatch):
            identified("sentinel2", DN, scale=1.0, offset=0.0)

    def test_bands_by_hand_are_reflectance_once_they_are_known(self):
        entry = from_wavelengths((0.665,), reflectance=True)
        found = identify_product(entry, replace(DN, scale=1e-4, offset=0.0), None)
        assert (found.product.id, found.product.scale) == ("values", 1e-4)

    def test_radar_takes_them_too(self):
        hundredths = replace(AMPLITUDE, low=-2400, high=100, scale=0.01, offset=0.0)
        found = identified("sentinel1", hundredths)
        assert (found.product.id, found.product.scale) == ("sigma0-db", 0.01)

    def test_digital_numbers_that_end_below_256_are_doubted(self):
        (warning,) = identified("sentinel2", replace(DN, low=30, high=240)).warnings
        assert "8-bit" in warning


class TestShifted:
    SHIFTED = replace(DN, low=1150, high=5200, band_lows=(1010, 980, 1100))

    @pytest.mark.parametrize(("wanted", "advice"), [(None, "l1c-0400"), ("l1c", "l1c-0400"), ("l2a", "l2a-0400")])
    def test_a_scene_with_every_band_above_950_gets_a_warning_with_the_way_out(self, wanted, advice):
        (warning,) = identified("sentinel2", self.SHIFTED, wanted).warnings
        assert "1000" in warning
        assert f"--product {advice}" in warning

    def test_one_dark_band_is_enough_to_keep_quiet(self):
        assert not identified("sentinel2", self.SHIFTED, band_lows=(1010, 400, 1100)).warnings

    def test_products_that_take_it_off_keep_quiet(self):
        assert not identified("sentinel2", self.SHIFTED, "l1c-0400").warnings

    def test_a_stated_offset_keeps_quiet(self):
        assert not identified("sentinel2", self.SHIFTED, scale=1e-4, offset=-0.1).warnings


@pytest.mark.parametrize(("wanted", "evidence"), [("gamma0-power", POWER), ("gamma0-db", DECIBELS)])
def test_gamma_nought_is_mapped_with_a_warning(wanted, evidence):
    assert "γ⁰" in identified("sentinel1", evidence, wanted).warnings[0]
    assert not identified("sentinel1", evidence, wanted.replace("gamma", "sigma")).warnings


class TestAssumed:
    def test_the_usual_product_where_values_are_not_looked_at(self):
        found = assume_product(sensor("sentinel2"), None)
        assert (found.product.id, found.how, found.warnings) == ("l1c", "not looked at", ())

    def test_the_first_where_none_is_usual(self):
        assert assume_product(sensor("landsat8"), None).product.id == "c2-l2"

    def test_the_one_given(self):
        assert assume_product(sensor("sentinel2"), "l2a").how == "given"

    def test_an_unknown_one_is_refused(self):
        with pytest.raises(OptionError, match="no product 'x'"):
            assume_product(sensor("sentinel2"), "x")
