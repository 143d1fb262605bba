"""The built-in sensors as they are shipped: all there, consistent, findable, and equal to the tables they come from."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from dofa_cli.resources import data_folder
from dofa_cli.sensors import registry
from dofa_cli.sensors.names import fold
from dofa_cli.sensors.schema import Band, Kind, Quantity, Sensor

FOLDER = data_folder("sensors")
FILES = sorted(FOLDER.rglob("*.toml"))
IDS = [path.stem for path in FILES]
FAMILIES = ("dofa_v1", "dofa_v2")
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "sensors.json"
BANDS = {
    "aerial": """aerial-rgb 3, aerial-rgbn 4, altum 6, dji-m3m 4, dji-p4m 5, naip 4, parrot-sequoia 4, rededge-mx 5""",
    "commercial": """geoeye1 5, ikonos 5, kompsat3 5, planetscope-dove 4, planetscope-dove-r 4, pleiades 5,
        pleiades-neo 7, quickbird2 5, rapideye 5, satellogic 4, skysat 5, spot6 5, superdove 8, worldview-legion 9,
        worldview2 9, worldview3 17, worldview4 5""",
    "hyperspectral": """aviris 223, aviris-ng 425, desis 235, dragonette1 23, dragonette2 31, dragonette3 31, emit 285,
        enmap 224, hyperion 242, prisma 234""",
    "land": """alos-avnir2 4, amazonia1-wfi 4, aster 14, awifs 4, cbers4-mux 4, cbers4-pan 4, cbers4-wfi 4,
        cbers04a-mux 4, cbers04a-wfi 4, cbers04a-wpm 5, gaofen1-pms 5, gaofen1-wfv1 4, gaofen1-wfv2 4, gaofen1-wfv3 4,
        gaofen1-wfv4 4, gaofen1b-pms 5, gaofen2 5, gaofen6-pms 5, gaofen6-wfv 8, hls-l30 10, hls-s30 13, landsat5 7,
        landsat7 8, landsat8 11, landsat9 11, liss3 4, liss4 3, sentinel2 13, sentinel2a 13, sentinel2b 13,
        sentinel2c 13, spot5 5, theos 5, ziyuan3 5""",
    "ocean-weather": """goes-abi 16, himawari-ahi 16, modis 36, mtg-fci 16, pace-oci 291, sentinel3-olci 21,
        sentinel3-slstr 11, viirs 22""",
    "radar": """alos-palsar 4, capella 2, cosmo-skymed 4, esa-biomass 4, gaofen3 4, iceye 1, kompsat5 4, nisar-l 4,
        nisar-s 4, palsar2 4, palsar3 4, radarsat2 4, rcm 6, saocom 4, sentinel1 4, terrasar-x 4, umbra 2""",
}
RENAMED = {"biomass": "esa-biomass", "cbers-4a-wfi": "cbers04a-wfi"}
"""Ids of the tables that would name something else here."""
EVERYDAY = ("rgb", "rgbn", "cir", "re", "s3", "l3", "red", "rededge", "biomass", "sequoia", "pan", "pace", "paz", "tm")
"""Words of folders and files: a sensor of that name would be found in scenes of others."""


CHECKED = {Quantity.AMPLITUDE} | {one for one in Quantity if one.is_reflectance or one.is_power or one.is_decibel}
"""Quantities whose values lie in a known range, by which products are told apart."""


@pytest.fixture(scope="module")
def shipped() -> dict[str, Sensor]:
    return {name: registry.built_in(name) for name in IDS}


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    entries = json.loads(REFERENCE.read_text(encoding="utf-8"))["sensors"]
    return {entry["id"]: entry for entry in entries if entry["bands"]}


def default_bands(sensor: Sensor, family: str) -> list[Band]:
    return [sensor.by_id[name] for name in sensor.default_bands(family)]


def names(sensor: Sensor) -> set[str]:
    return {fold(name) for name in (sensor.id, sensor.name, *sensor.aliases)}


class TestTheWhole:
    def test_every_instrument_is_there_with_its_bands(self, shipped):
        rows = [row.split() for rows in BANDS.values() for row in rows.split(",")]
        assert {name: int(count) for name, count in rows} == {name: len(one.bands) for name, one in shipped.items()}

    def test_folders_are_those_of_the_table(self):
        found = {path.stem: path.parent.relative_to(FOLDER).as_posix() for path in FILES}
        assert found == {row.split()[0]: folder for folder, rows in BANDS.items() for row in rows.split(",")}

    def test_every_id_is_there_once_and_is_the_name_of_its_file(self, shipped):
        assert len(set(IDS)) == len(IDS)
        assert [one.id for one in shipped.values()] == IDS

    def test_no_two_sensors_have_a_name_in_common(self, shipped):
        common = [(a.id, b.id) for a, b in combinations(shipped.values(), 2) if names(a) & names(b)]
        assert common == []

    def test_everyday_words_name_no_sensor(self, shipped):
        assert [one.id for one in shipped.values() if names(one) & set(EVERYDAY)] == []

    def test_statistics_are_those_of_published_training_alone(self, shipped):
        own = [name for name, one in shipped.items() if one.statistics and not one.extends]
        assert own == ["naip", "enmap", "gaofen2", "sentinel2", "sentinel1"]

    def test_reading_all_of_them_is_quick(self, monkeypatch):
        monkeypatch.setattr(registry, "_read_before", {})
        began = time.perf_counter()
        assert len(registry.entries()) >= len(IDS)
        assert time.perf_counter() - began < 1

    def test_the_readme_names_every_folder(self):
        text = (FOLDER / "README.md").read_text(encoding="utf-8")
        assert [folder for folder in BANDS if f"`{folder}/`" not in text] == []


class TestEachSensor:
    """Laws that hold for every one; what breaks them is listed."""

    def test_no_spelling_of_a_name_is_listed_twice(self, shipped):
        spelt = {one.id: Counter(fold(alias) for alias in (one.id, *one.aliases)) for one in shipped.values()}
        assert [name for name, counts in spelt.items() if counts.most_common(1)[0][1] > 1] == []

    def test_all_say_where_their_numbers_come_from(self, shipped):
        assert [one.id for one in shipped.values() if not one.sources] == []
        assert [(one.id, band.id) for one in shipped.values() for band in one.bands if not band.source] == []

    @pytest.mark.parametrize("family", FAMILIES)
    def test_default_bands_can_be_given_to_the_network(self, family, shipped):
        chosen = [(one.id, band) for one in shipped.values() for band in default_bands(one, family)]
        assert {name for name, _ in chosen} == set(IDS)
        assert [(name, band.id) for name, band in chosen if band.wavelength_um(family) is None] == []

    def test_default_bands_are_neither_thermal_nor_panchromatic_nor_cirrus(self, shipped):
        chosen = [(one.id, band) for one in shipped.values() for band in default_bands(one, "dofa_v1")]
        unfit = [(name, band.id) for name, band in chosen if band.is_thermal or band.common_name in ("pan", "cirrus")]
        assert unfit == []

    def test_radar_has_no_wavelength_of_light_and_the_stand_in_of_each_family(self, shipped):
        bands = [band for one in shipped.values() if one.kind is Kind.SAR for band in one.bands]
        assert {(band.center_um, band.fwhm_um) for band in bands} == {(None, None)}
        assert {(band.model["dofa_v1"], band.model["dofa_v2"]) for band in bands} == {(3.75, 5.405)}

    def test_widths_are_smaller_than_centres_and_training_saw_much_the_same_centres(self, shipped):
        bands = [(one.id, band) for one in shipped.values() if one.kind is not Kind.SAR for band in one.bands]
        assert [(name, band.id) for name, band in bands if not band.fwhm_um < band.center_um] == []
        far = [(name, b.id) for name, b in bands if abs(b.wavelength_um("dofa_v1") - b.center_um) > 0.02]
        assert far == []

    def test_red_green_and_blue_make_a_preset(self, shipped):
        for one in shipped.values():
            colours = {band.common_name: band.id for band in one.bands}
            if {"red", "green", "blue"} <= colours.keys():
                assert one.presets["rgb"] == (colours["red"], colours["green"], colours["blue"])

    def test_hyperspectral_presets_for_pictures_are_near_the_colours(self, shipped):
        for one in shipped.values():
            if one.kind is Kind.HYPERSPECTRAL and "rgb" in one.presets:
                near = [one.by_id[band].center_um for band in one.presets["rgb"]]
                assert near == pytest.approx([0.665, 0.56, 0.49], abs=0.015), one.id

    def test_file_patterns_name_a_group_that_is_the_band(self, shipped):
        patterns = [(one.id, pattern) for one in shipped.values() for pattern in one.file_patterns]
        assert [(name, text) for name, text in patterns if "band" not in re.compile(text).groupindex] == []

    def test_no_two_bands_of_a_sensor_have_a_name_in_common(self, shipped):
        spelt = {
            one.id: Counter(name for band in one.bands for name in {fold(text) for text in (band.id, *band.aliases)})
            for one in shipped.values()
        }
        assert [name for name, counts in spelt.items() if counts.most_common(1)[0][1] > 1] == []

    def test_products_that_may_be_assumed_can_be_told_apart(self, shipped):
        """Raw numbers and radiance fit any values, so next to them nothing else may be assumed without a default."""
        for one in shipped.values():
            assumed = [product for product in one.products if not product.named_only]
            unchecked = [product for product in assumed if product.quantity not in CHECKED and not product.eight_bit]
            assert assumed, one.id
            assert not unchecked or one.default_product or len(assumed) == 1, one.id

    def test_display_products_are_marked_as_bytes(self, shipped):
        shown = [p for one in shipped.values() for p in one.products if p.quantity is Quantity.DISPLAY]
        assert len(shown) >= 5
        assert all(product.eight_bit for product in shown)


class TestFamilies:
    def test_sentinel2b_has_centres_of_its_own_and_all_else_of_sentinel2(self, shipped):
        base, own = shipped["sentinel2"], shipped["sentinel2b"]
        for ours, theirs in zip(own.bands, base.bands, strict=True):
            assert (ours.center_um, ours.fwhm_um) != (theirs.center_um, theirs.fwhm_um)
            same = {"id", "common_name", "gsd_m", "aliases", "model"}
            assert ours.model_dump(include=same) == theirs.model_dump(include=same)
        fields = {"statistics", "presets", "default", "products", "stack_orders", "file_patterns"}
        assert own.model_dump(include=fields) == base.model_dump(include=fields)

    def test_sentinel2a_is_sentinel2(self, shipped):
        assert shipped["sentinel2a"].bands == shipped["sentinel2"].bands

    def test_hls_takes_wavelengths_and_statistics_of_sentinel2_but_products_of_its_own(self, shipped):
        base, own = shipped["sentinel2"], shipped["hls-s30"]
        assert [band.wavelength_um("dofa_v1") for band in own.bands] == [b.wavelength_um("dofa_v1") for b in base.bands]
        assert own.statistics == base.statistics
        assert {band.gsd_m for band in own.bands} == {30}
        assert own.products[0].id == "sr"

    def test_cameras_of_one_satellite_differ_in_numbers_alone(self, shipped):
        one, four = shipped["gaofen1-wfv1"], shipped["gaofen1-wfv4"]
        assert one.products == four.products
        assert [band.id for band in one.bands] == [band.id for band in four.bands]
        assert [band.center_um for band in one.bands] != [band.center_um for band in four.bands]

    def test_statistics_of_gaofen2_are_not_those_of_its_sisters(self, shipped):
        assert not any(shipped[name].statistics for name in ("gaofen1-pms", "gaofen1b-pms", "gaofen6-pms"))


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the tables that the numbers were taken from are not here")
class TestAgainstTheTables:
    @staticmethod
    def ours(key: str) -> Sensor:
        return registry.sensor(RENAMED.get(key, key))

    def test_every_table_has_a_sensor_of_its_own_under_its_id(self, tables):
        found = {self.ours(key).id for key in tables}
        assert len(found) == len(tables) == 93
        assert set(IDS) - found == {"sentinel2"}

    def test_centres_widths_and_frequencies_are_equal(self, tables):
        for key, table in tables.items():
            sensor = self.ours(key)
            assert [band.id for band in sensor.bands] == [row["id"] for row in table["bands"]], key
            for band, row in zip(sensor.bands, table["bands"], strict=True):
                if sensor.kind is Kind.SAR:
                    assert band.frequency_ghz == pytest.approx(row["center_frequency_ghz"], abs=1e-9)
                    assert band.polarisation == row["polarisation"]
                else:
                    assert band.center_um == pytest.approx(row["center_um"], abs=1e-6), (key, band.id)
                    assert band.fwhm_um == pytest.approx(row["fwhm_um"], abs=1e-6), (key, band.id)
                    assert band.common_name == row["common_name"]
                assert band.gsd_m == row["gsd_m"], (key, band.id)

    def test_statuses_are_equal(self, tables):
        softer = {"nominal_unverified": "nominal", "unverified": "nominal"}
        for key, table in tables.items():
            sensor = self.ours(key)
            told = [(band.status or sensor.status).value for band in sensor.bands]
            assert told == [softer.get(row["status"], row["status"]) for row in table["bands"]], key

    def test_bad_bands_are_not_among_the_default(self, tables):
        for key, table in tables.items():
            bad = set(table.get("bad_bands") or ())
            assert not bad & set(self.ours(key).default_bands("dofa_v1")), key
