"""Which rule and statistics stand for which band: published, interpolated over wavelength, or the scene's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dofa_cli.errors import BadWavelengths
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.scene import Pixels
from dofa_cli.sensors.custom import from_wavelengths
from dofa_cli.sensors.normalise import BandNorm, normalisation, uncertain_statistics
from dofa_cli.sensors.registry import sensor
from dofa_cli.sensors.scale import AS_IS, DIVIDED, TRUE_COLOUR, PixelScale
from dofa_cli.sensors.schema import Band, Product, Quantity, Sensor

REFLECTANCE = Product(id="reflectance", quantity=Quantity.BOA_REFLECTANCE)
COUNTS = Product(id="counts", quantity=Quantity.DN)
TRAINED = ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")


def product(entry: Sensor, name: str) -> Product:
    (found,) = [known for known in entry.products if known.id == name]
    return found


def norms(entry: Sensor, product_id: str, *bands: str, family: str = "dofa_v1") -> tuple[BandNorm, ...]:
    return normalisation(entry, [entry.by_id[name] for name in bands], product(entry, product_id), family)


def norm_at(center_um: float, values: Product = REFLECTANCE) -> BandNorm:
    """The rule of a band that the weights never saw."""
    return normalisation(from_wavelengths((center_um,)), [Band(id="b1", center_um=center_um)], values, "dofa_v1")[0]


def published(band: str) -> tuple[float, float]:
    (statistics,) = sensor("sentinel2").statistics
    position = statistics.bands.index(band)
    return statistics.mean[position], statistics.std[position]


class TestPublished:
    def test_statistics_follow_the_band_and_not_its_position(self):
        entry = sensor("sentinel2")
        forward, backward = norms(entry, "l1c", *TRAINED), norms(entry, "l1c", *reversed(TRAINED))
        assert forward == backward[::-1]
        assert {norm.band: (norm.mean, norm.std) for norm in forward} == {band: published(band) for band in TRAINED}

    def test_the_origin_is_told(self):
        assert norms(sensor("sentinel2"), "l1c", "B04")[0].origin == "published (sentinel2-8bit, verified)"

    @pytest.mark.parametrize(("family", "wavelength"), [("dofa_v1", 3.75), ("dofa_v2", 5.405)])
    def test_weights_are_given_the_wavelength_they_were_trained_with(self, family, wavelength):
        found = norms(sensor("sentinel1"), "grd", "VV", "VH", family=family)
        assert [norm.wavelength_um for norm in found] == [wavelength, wavelength]

    def test_values_at_the_mean_become_zero_and_a_deviation_above_becomes_one(self):
        (norm,) = norms(sensor("sentinel1"), "grd", "VV")
        values = np.array([[[norm.mean, norm.mean + norm.std, norm.mean - norm.std]]], np.float32)
        x = Standardiser([norm], torch.device("cpu"))(Pixels(values, np.ones((1, 3), bool)))
        np.testing.assert_allclose(x.flatten(), [0, 1, -1], atol=1e-6)

    def test_sentinel_2_by_hand(self):
        entry = sensor("sentinel2")
        values = np.array([[[1200]], [[2500]]], np.uint16)
        x = Standardiser(norms(entry, "l1c", "B04", "B08"), torch.device("cpu"))(Pixels(values, np.ones((1, 1), bool)))
        red = (1 + 254 * 1200 / 3558 - 114.1099739) / 77.84352553
        nir = (2500 // 32 - 101.435633) / 60.29744676
        np.testing.assert_allclose(x.flatten(), [red, nir], rtol=1e-5)

    def test_invalid_pixels_become_the_mean(self):
        (norm,) = norms(sensor("sentinel2"), "l1c", "B08")
        block = Pixels(np.array([[[np.nan, 3200.0, np.inf]]], np.float32), np.array([[False, True, False]]))
        x = Standardiser([norm], torch.device("cpu"))(block).flatten().tolist()
        assert x == pytest.approx([0, (100 - 101.435633) / 60.29744676, 0], abs=1e-6)

    def test_the_pixels_handed_in_are_left_alone(self):
        (norm,) = norms(sensor("sentinel2"), "l1c", "B08")
        values = np.full((1, 2, 2), 3200, np.float32)
        Standardiser([norm], torch.device("cpu"))(Pixels(values, np.ones((2, 2), bool)))
        assert (values == 3200).all()


class TestInterpolated:
    @pytest.mark.parametrize("band", TRAINED)
    def test_at_a_trained_wavelength_it_returns_the_trained_statistics(self, band):
        trained = sensor("sentinel2").by_id[band]
        norm = norm_at(trained.center_um)
        assert (norm.mean, norm.std) == pytest.approx(published(band))
        rule = TRUE_COLOUR if trained.common_name in ("red", "green", "blue") else DIVIDED
        assert norm.scale == rule.after(1, 0)
        assert band in norm.origin

    def test_between_two_trained_bands_reflectance_statistics_are_linear(self):
        (low_mean, low_std), (high_mean, high_std) = published("B08"), published("B11")
        share = (0.8647 - 0.83277) / (1.61368 - 0.83277)
        (norm,) = norms(sensor("sentinel2"), "l1c", "B8A")
        assert norm.mean == pytest.approx(low_mean + share * (high_mean - low_mean))
        assert norm.std == pytest.approx(low_std + share * (high_std - low_std))
        assert norm.scale == DIVIDED.after(1e-4, 0)

    def test_between_two_pixel_scales_it_is_reflectance_that_is_interpolated(self):
        (red, _), (rededge, _) = published("B04"), published("B05")
        red_reflectance, rededge_reflectance = (red - 1) * 3558 / 254 / 10000, rededge * 32 / 10000
        share = (0.68 - 0.66462) / (0.70412 - 0.66462)
        reflectance = red_reflectance + share * (rededge_reflectance - red_reflectance)
        assert norm_at(0.68).mean == pytest.approx(1 + 254 * reflectance * 10000 / 3558)

    @pytest.mark.parametrize(("center", "nearest"), [(0.4, "B02"), (0.443, "B02"), (2.45, "B12")])
    def test_beyond_the_trained_bands_the_last_one_stands(self, center, nearest):
        norm = norm_at(center)
        assert (norm.mean, norm.std) == pytest.approx(published(nearest))

    def test_landsat_red_follows_its_physical_wavelength(self):
        (norm,) = norms(sensor("landsat8"), "c2-l2", "B4")
        assert norm.wavelength_um == 0.65461
        assert norm.scale == TRUE_COLOUR.after(2.75e-5, -0.2)
        assert norm.origin == "interpolated from sentinel2 at 0.655 µm (rule of B04)"

    def test_enmap_bands_outside_training_take_it_too(self):
        (norm,) = norms(sensor("enmap"), "l2a", "B130")
        assert norm.origin.startswith("interpolated from sentinel2")


class TestEstimated:
    @pytest.mark.parametrize(
        "found",
        [
            pytest.param(lambda: norm_at(0.665, COUNTS), id="uncalibrated"),
            pytest.param(lambda: norm_at(10.9), id="thermal"),
            pytest.param(lambda: norms(sensor("landsat8"), "c2-l2", "B10")[0], id="thermal of a known sensor"),
            pytest.param(lambda: norms(sensor("sentinel2"), "tci-l1c", "B08")[0], id="infrared in true colour"),
            pytest.param(lambda: norms(sensor("sentinel1"), "sigma0-db", "HH")[0], id="polarisation never seen"),
            pytest.param(lambda: norms(sensor("gaofen2"), "l1a", "B1")[0], id="counts where training saw pictures"),
            pytest.param(lambda: norms(sensor("naip"), "ortho", "N")[0], id="infrared that training never saw"),
        ],
    )
    def test_where_no_rule_is_known_the_scene_s_own_statistics_stand(self, found):
        norm = found()
        assert norm.is_estimated
        assert norm.scale == AS_IS
        filled = norm.estimated(3.0, 2.0)
        assert (filled.mean, filled.std, filled.is_estimated) == (3.0, 2.0, False)
        assert filled.origin == "estimated from the scene"

    def test_without_normalising_values_pass_as_they_are(self):
        (norm,) = norms(sensor("sentinel2"), "l1c", "B08")
        plain = norm.unscaled()
        assert (plain.scale, plain.mean, plain.std) == (PixelScale(), 0.0, 1.0)
        assert plain.wavelength_um == norm.wavelength_um
        assert not plain.is_estimated


def test_a_band_without_a_wavelength_for_the_weights_is_named():
    band = Band(id="VV", polarisation="VV", frequency_ghz=9.65)
    radar = Sensor(id="xband", name="X", kind="sar", status="given", products=(COUNTS,), bands=(band,))
    with pytest.raises(BadWavelengths, match=r"xband VV has no wavelength that dofa_v1 weights know.*--bands"):
        normalisation(radar, [band], COUNTS, "dofa_v1")


@pytest.mark.parametrize(
    ("instrument", "bands", "statuses"),
    [
        ("sentinel2", ("B04", "B08"), []),
        ("sentinel1", ("VV", "VH"), ["order_inferred"]),
        ("sentinel1", ("HH",), []),
        ("gaofen2", ("B1",), ["unverified_order"]),
        ("landsat8", ("B4",), []),
    ],
)
def test_uncertain_statistics_are_told_where_they_are_used(instrument, bands, statuses):
    entry = sensor(instrument)
    found = uncertain_statistics(entry, [entry.by_id[name] for name in bands], "dofa_v1")
    assert [statistics.status for statistics in found] == statuses
