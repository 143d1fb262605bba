"""From values in files to the pixel scale of training, against arithmetic by hand, in the float32 that runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.sensors.normalise import BandNorm, normalisation
from dofa_cli.sensors.registry import sensor
from dofa_cli.sensors.scale import (
    AMPLITUDE_AT_0_DB,
    AS_IS,
    DISPLAY,
    DIVIDED,
    REFLECTANCE,
    TRUE_COLOUR,
    Curve,
    PixelScale,
    pixel_scale,
    reflectance_of,
    sentinel2_rule,
)
from dofa_cli.sensors.schema import Band, Product, Quantity, TrainingScale

VISIBLE = ("B02", "B03", "B04")
DIVIDED_BANDS = ("B05", "B06", "B07", "B08", "B11", "B12")
ALL_DN = np.arange(1, 30000)


def mapped(rule: PixelScale, values) -> np.ndarray:
    """What the program makes of values (float32), before mean and standard deviation."""
    norm = BandNorm("b", 0.5, rule, 0.0, 1.0, "a test")
    x = torch.tensor(np.asarray(values, np.float32)).view(1, 1, -1)
    return Standardiser([norm], torch.device("cpu")).to_training_scale(x).flatten().numpy()


def rule_of(sensor_id: str, product: str, band: str) -> PixelScale:
    """The rule that a file of that product gets in that band."""
    entry = sensor(sensor_id)
    (chosen,) = [known for known in entry.products if known.id == product]
    return normalisation(entry, [entry.by_id[band]], chosen, "dofa_v1")[0].scale


class TestSentinel2:
    @pytest.mark.parametrize("band", VISIBLE)
    def test_colour_is_the_l1c_true_colour_image(self, band):
        found = mapped(rule_of("sentinel2", "l1c", band), ALL_DN)
        expected = np.clip(1 + 254 * ALL_DN / 3558, 1, 255)
        np.testing.assert_allclose(found, expected, atol=1e-4)

    @pytest.mark.parametrize(("dn", "value"), [(0, 1), (1779, 128), (3558, 255), (20000, 255)])
    def test_colour_at_known_points(self, dn, value):
        assert mapped(rule_of("sentinel2", "l1c", "B04"), [dn]) == pytest.approx(value, abs=1e-4)

    @pytest.mark.parametrize("band", DIVIDED_BANDS)
    def test_other_bands_are_divided_by_32_and_rounded_down_exactly(self, band):
        found = mapped(rule_of("sentinel2", "l1c", band), ALL_DN)
        assert np.array_equal(found, np.minimum(ALL_DN // 32, 255))

    @pytest.mark.parametrize("product", ["l1c-0400", "l2a-0400"])
    def test_baseline_4_takes_1000_off_first(self, product):
        shifted = ALL_DN + 1000
        divided, colour = rule_of("sentinel2", product, "B08"), rule_of("sentinel2", product, "B04")
        assert np.array_equal(mapped(divided, shifted), np.minimum(ALL_DN // 32, 255))
        np.testing.assert_allclose(mapped(colour, shifted), np.clip(1 + 254 * ALL_DN / 3558, 1, 255), atol=2e-4)

    def test_baseline_4_clips_what_falls_below_zero(self):
        assert mapped(rule_of("sentinel2", "l1c-0400", "B08"), [900]) == 0
        assert mapped(rule_of("sentinel2", "l1c-0400", "B04"), [900]) == 1

    @pytest.mark.parametrize("band", ["B04", "B08"])
    def test_l2a_goes_through_the_rule_of_l1c(self, band):
        assert rule_of("sentinel2", "l2a", band) == rule_of("sentinel2", "l1c", band)

    def test_the_l1c_true_colour_image_stays_as_it_is(self):
        values = np.arange(1, 256)
        assert np.array_equal(mapped(rule_of("sentinel2", "tci-l1c", "B04"), values), values)

    def test_the_l2a_true_colour_image_is_brought_from_2000_to_3558(self):
        values = np.arange(1, 256)
        dn = (values - 1) / 254 * 2000
        found = mapped(rule_of("sentinel2", "tci-l2a", "B04"), values)
        np.testing.assert_allclose(found, 1 + 254 * dn / 3558, atol=1e-4)

    def test_a_true_colour_image_says_nothing_of_other_bands(self):
        assert rule_of("sentinel2", "tci-l1c", "B08") == AS_IS

    @pytest.mark.parametrize("reflectance", [0.01, 0.1, 0.35])
    def test_reflectance_and_digital_numbers_agree(self, reflectance):
        unit = Product(id="unit", quantity=Quantity.TOA_REFLECTANCE)
        for name in ("B04", "B08"):
            band = sensor("sentinel2").by_id[name]
            rule = pixel_scale(band, unit, TrainingScale.SENTINEL2_8BIT)
            by_dn = mapped(rule_of("sentinel2", "l1c", name), [reflectance * 10000])
            np.testing.assert_allclose(mapped(rule, [reflectance]), by_dn, atol=1e-3)


class TestSentinel1:
    decibels = np.linspace(-35, 5, 81)
    amplitude = AMPLITUDE_AT_0_DB * 10 ** (decibels / 20)

    def standardised(self, product: str, band: str, values: np.ndarray) -> np.ndarray:
        entry = sensor("sentinel1")
        (chosen,) = [known for known in entry.products if known.id == product]
        norm = normalisation(entry, [entry.by_id[band]], chosen, "dofa_v1")[0]
        return (mapped(norm.scale, values) - norm.mean) / norm.std

    @pytest.mark.parametrize("band", ["VV", "VH"])
    def test_amplitude_power_and_decibels_of_one_place_come_out_equal(self, band):
        power = 10 ** (self.decibels / 10)
        amplitude = self.standardised("grd", band, self.amplitude)
        np.testing.assert_allclose(self.standardised("sigma0-db", band, self.decibels), amplitude, atol=1e-4)
        np.testing.assert_allclose(self.standardised("sigma0-power", band, power), amplitude, atol=1e-4)
        np.testing.assert_allclose(self.standardised("gamma0-db", band, self.decibels), amplitude, atol=1e-4)
        np.testing.assert_allclose(self.standardised("gamma0-power", band, power), amplitude, atol=1e-4)

    def test_amplitude_is_clipped_at_255(self):
        rule = rule_of("sentinel1", "grd", "VV")
        assert mapped(rule, [0, 1, 254.5, 255, 256, 60000]).tolist() == [0, 1, 254.5, 255, 255, 255]

    @pytest.mark.parametrize(("decibels", "value"), [(-20, 56), (-26.0206, 28), (0, 255), (-math.inf, 0)])
    def test_decibels_at_known_points(self, decibels, value):
        assert mapped(rule_of("sentinel1", "sigma0-db", "VV"), [decibels]) == pytest.approx(value, abs=1e-3)

    def test_power_below_zero_counts_as_none(self):
        assert mapped(rule_of("sentinel1", "sigma0-power", "VV"), [-0.01, 0.0]).tolist() == [0, 0]


class TestOthers:
    def test_enmap_is_reflectance_clipped_from_0_to_1(self):
        found = mapped(rule_of("enmap", "l2a", "B050"), [-100, 0, 2500, 10000, 12000])
        np.testing.assert_allclose(found, [0, 0, 0.25, 1, 1], rtol=1e-6)

    @pytest.mark.parametrize(("product", "scale", "offset"), [("c2-l2", 2.75e-5, -0.2), ("c2-l1", 2e-5, -0.1)])
    @pytest.mark.parametrize("instrument", ["landsat8", "landsat9"])
    def test_landsat_collection_2_is_scaled_and_shifted_first(self, instrument, product, scale, offset):
        dn = np.arange(7273, 40000, 13)
        reflectance = dn * scale + offset
        colour, divided = rule_of(instrument, product, "B4"), rule_of(instrument, product, "B6")
        np.testing.assert_allclose(mapped(colour, dn), np.clip(1 + 2540000 * reflectance / 3558, 1, 255), atol=3e-4)
        exact = reflectance * 10000 / 32
        clear = abs(exact - np.round(exact)) > 1e-3  # a step apart from rounding
        assert np.array_equal(mapped(divided, dn)[clear], np.clip(np.floor(exact), 0, 255)[clear])

    @pytest.mark.parametrize(("instrument", "product", "band"), [("naip", "ortho", "R"), ("gaofen2", "display", "B4")])
    def test_8_bit_pictures_pass_as_they_are(self, instrument, product, band):
        values = np.arange(256)
        assert np.array_equal(mapped(rule_of(instrument, product, band), values), values)


class TestPixelScale:
    @pytest.mark.parametrize("rule", [TRUE_COLOUR, REFLECTANCE, PixelScale(gain=3, offset=-2)])
    def test_scale_and_offset_of_a_file_go_first(self, rule):
        values = np.linspace(0, 40000, 101)
        composed = mapped(rule.after(2.75e-5, -0.2), values)
        np.testing.assert_allclose(composed, mapped(rule, values * 2.75e-5 - 0.2), rtol=1e-4, atol=1e-4)

    def test_composing_keeps_rounding_and_limits(self):
        rule = DIVIDED.after(1e-4, 0)
        assert (rule.gain, rule.whole, rule.low, rule.high) == (1 / 32, True, 0, 255)

    @pytest.mark.parametrize("name", ["red", "nir", None])
    def test_the_sentinel_2_rule_is_inverted_inside_its_range(self, name):
        rule = sentinel2_rule(name)
        assert reflectance_of(rule.gain * 0.2 + rule.offset, name) == pytest.approx(0.2)

    @pytest.mark.parametrize(("name", "rule"), [("blue", TRUE_COLOUR), ("red", TRUE_COLOUR), ("nir", DIVIDED)])
    def test_colours_take_the_true_colour_rule(self, name, rule):
        assert sentinel2_rule(name) == rule

    @pytest.mark.parametrize(
        ("quantity", "training"),
        [
            (Quantity.DN, TrainingScale.SENTINEL2_8BIT),
            (Quantity.RADIANCE, TrainingScale.REFLECTANCE),
            (Quantity.DN, TrainingScale.DISPLAY_8BIT),
            (Quantity.TOA_REFLECTANCE, TrainingScale.AMPLITUDE_8BIT),
            (Quantity.AMPLITUDE, TrainingScale.SENTINEL2_8BIT),
        ],
    )
    def test_where_no_rule_is_known_there_is_none(self, quantity, training):
        band = Band(id="red", common_name="red", center_um=0.66)
        assert pixel_scale(band, Product(id="p", quantity=quantity), training) is None

    @pytest.mark.parametrize(
        ("rule", "text"),
        [
            (AS_IS, "x"),
            (DISPLAY, "clip(x, 0, 255)"),
            (DIVIDED.after(1e-4, 0), "clip(⌊0.03125·x⌋, 0, 255)"),
            (DIVIDED.after(1e-4, -0.1), "clip(⌊0.03125·x - 31.25⌋, 0, 255)"),
            (TRUE_COLOUR.after(1e-4, 0), "clip(0.0713884·x + 1, 1, 255)"),
            (PixelScale(Curve.SQRT, 560, low=0, high=255), "clip(560·√x, 0, 255)"),
            (PixelScale(Curve.DECIBEL, 560, low=0, high=255), "clip(560·10^(x/20), 0, 255)"),
        ],
    )
    def test_rules_are_written_as_formulas(self, rule, text):
        assert rule.describe() == text
