"""Looking sensors up in layers of files, the numbers of published training, and wavelengths given by hand."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint

import pytest

from dofa_cli.errors import BadSensorFile, BadWavelengths, UnknownSensor
from dofa_cli.sensors import registry
from dofa_cli.sensors.custom import check_micrometres, from_wavelengths, parse_wavelengths
from dofa_cli.sensors.registry import sensor
from dofa_cli.sensors.schema import Quantity

FAMILIES = ("dofa_v1", "dofa_v2")
SENTINEL2 = (0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19)
RGB = (0.665, 0.56, 0.49)
SMALL = """
id = "mine"
name = "Mine"
kind = "optical"
status = "given"
products = [{ id = "dn", quantity = "dn" }]
bands = [{ id = "red", center_um = 0.66 }]
"""


class TestLookUp:
    @pytest.mark.parametrize(
        "name", ["sentinel2", "Sentinel2", "SENTINEL-2", "Sentinel 2", "s2", "S2", "sentinel_2", "Sentinel-2 MSI"]
    )
    def test_ids_aliases_and_names_in_any_writing(self, name):
        assert sensor(name).id == "sentinel2"

    def test_a_platform_has_a_name_of_its_own(self):
        assert sensor("S2B").id == "sentinel2b"
        assert sensor("Sentinel-2C").extends == "sentinel2"

    def test_a_file_of_one_s_own(self, tmp_path):
        (tmp_path / "mine.toml").write_text(SMALL)
        assert sensor(str(tmp_path / "mine.toml")).id == "mine"

    @pytest.mark.parametrize(
        ("name", "suggestion"),
        [
            ("sentinel", "'sentinel2'"),
            ("sentinell2", "'sentinel2'"),
            ("senitnel1", "'sentinel1'"),
            ("landsat", "'landsat"),
            ("gaofen", "'gaofen2'"),
            ("enmp", "'enmap'"),
        ],
    )
    def test_a_name_that_is_nearly_one_gets_a_suggestion(self, name, suggestion):
        with pytest.raises(UnknownSensor, match=f"No sensor '{name}'. Did you mean .*{suggestion}"):
            sensor(name)

    @pytest.mark.parametrize("name", ["zzz", "", "x" * 300])
    def test_a_name_like_none_is_told_where_the_list_is_and_another_way(self, name):
        with pytest.raises(UnknownSensor, match=r"`dofa sensors list` shows what is known.*--wavelengths 0\.665"):
            sensor(name)

    def test_names_do_not_lead_out_of_the_folder(self):
        with pytest.raises(UnknownSensor, match="weights/dofa-base"):
            sensor("../weights/dofa-base")

    def test_a_file_that_is_not_there(self):
        with pytest.raises(UnknownSensor, match=r"No sensor file nowhere\.toml"):
            sensor("nowhere.toml")

    @pytest.mark.parametrize("content", [b"id = ", b"\xff\xfe", b"just words"], ids=["cut", "not UTF-8", "prose"])
    def test_files_that_are_no_toml(self, tmp_path, content):
        (tmp_path / "mine.toml").write_bytes(content)
        with pytest.raises(BadSensorFile, match=r"mine\.toml is not a readable TOML file"):
            sensor(str(tmp_path / "mine.toml"))

    def test_a_folder_is_no_file(self, tmp_path):
        (tmp_path / "mine.toml").mkdir()
        with pytest.raises(BadSensorFile, match=r"mine\.toml"):
            sensor(str(tmp_path / "mine.toml"))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders of files by layer, the highest first; none of the user's own are looked at."""
    found = {name: tmp_path / name for name in ("named", "project", "user")}
    monkeypatch.setenv(registry.SEARCH_PATH, str(found["named"]))
    monkeypatch.setattr(registry, "PROJECT_FOLDER", found["project"])
    monkeypatch.setattr(registry, "user_folder", lambda: found["user"])
    for folder in found.values():
        folder.mkdir()
    return found


class TestLayers:
    @pytest.mark.parametrize(
        ("written", "winner"), [("user", "user"), ("user project", "project"), ("user named", "$")]
    )
    def test_the_higher_layer_has_the_word(self, folders, written, winner):
        for layer in written.split():
            (folders[layer] / "mine.toml").write_text(SMALL)
        found = registry.entry("mine")
        assert found.layer.startswith(winner)
        assert len(found.hidden) == len(written.split()) - 1

    def test_files_in_subfolders_are_found(self, folders):
        (folders["user"] / "drones").mkdir()
        (folders["user"] / "drones" / "mine.toml").write_text(SMALL)
        assert sensor("mine").name == "Mine"
        assert "mine" in [one.id for one in registry.sensors()]

    def test_a_file_may_complete_the_built_in_one_of_its_own_id(self, folders):
        (folders["user"] / "naip.toml").write_text('id = "naip"\nname = "Our NAIP"\nextends = "naip"\nnote = "ours"\n')
        found = registry.entry("naip")
        assert (found.sensor.note, found.sensor.bands) == ("ours", registry.built_in("naip").bands)
        assert [path.parent for path in found.file.lineage] == [folders["user"], *(p.parent for p in found.hidden)]
        assert registry.built_in("naip").note != "ours"

    def test_what_is_extended_is_looked_for_in_the_same_layer_and_below(self, folders):
        (folders["user"] / "mine.toml").write_text(SMALL)
        (folders["project"] / "twin.toml").write_text('id = "twin"\nname = "Twin"\nextends = "mine"\n')
        (folders["named"] / "mine.toml").write_text(SMALL.replace("0.66", "0.61"))
        assert sensor("twin").bands[0].center_um == 0.66

    def test_a_file_that_extends_nothing_there_is(self, folders):
        (folders["user"] / "twin.toml").write_text('id = "twin"\nname = "Twin"\nextends = "twin"\n')
        with pytest.raises(BadSensorFile, match=r"twin\.toml extends 'twin', which is no sensor"):
            sensor("twin")

    def test_a_broken_file_leaves_the_others_alone(self, folders):
        (folders["user"] / "bad.toml").write_text("id = ")
        (folders["user"] / "mine.toml").write_text(SMALL)
        assert {"mine", "sentinel2"} <= {one.id for one in registry.sensors()}
        (fault,) = registry.broken()
        assert "bad.toml" in fault
        assert sensor("Mine").id == "mine"

    def test_a_changed_file_is_read_again(self, folders):
        path = folders["user"] / "mine.toml"
        path.write_text(SMALL)
        assert sensor("mine").bands[0].center_um == 0.66
        path.write_text(SMALL.replace("0.66", "0.61"))
        os.utime(path, ns=(1, 1))
        assert sensor("mine").bands[0].center_um == 0.61


def trained(name: str, family: str) -> tuple[float | None, ...]:
    """The wavelengths (µm) that weights of a family are given for a sensor's trained bands, in order."""
    entry = sensor(name)
    return tuple(entry.by_id[band].wavelength_um(family) for band in entry.presets["trained"])


class TestPublishedTraining:
    """Numbers of the published pretraining, copied here by hand."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_optical_wavelengths(self, family):
        assert trained("sentinel2", family) == SENTINEL2
        assert trained("naip", family) == RGB
        assert trained("gaofen2", family) == (0.49, 0.56, 0.665, 0.83)

    @pytest.mark.parametrize(("family", "value"), [("dofa_v1", 3.75), ("dofa_v2", 5.405)])
    def test_radar_stands_for_another_wavelength_in_each_version(self, family, value):
        assert trained("sentinel1", family) == (value, value)

    def test_enmap_has_202_of_224_bands_rounded_to_nanometres(self):
        entry = sensor("enmap")
        left_out = [number for number in range(1, 225) if f"B{number:03}" not in entry.presets["trained"]]
        assert left_out == [*range(127, 142), *range(161, 168)]
        wavelengths = trained("enmap", "dofa_v1")
        assert len(wavelengths) == 202
        assert sum(wavelengths) == pytest.approx(256.862)
        for name, wavelength in zip(entry.presets["trained"], wavelengths, strict=True):
            assert wavelength == pytest.approx(entry.by_id[name].center_um, abs=0.00051)

    @pytest.mark.parametrize(
        ("name", "band", "mean", "std"),
        [
            ("sentinel2", "B04", 114.1099739, 77.84352553),
            ("sentinel2", "B02", 126.63977424, 67.42465279),
            ("sentinel2", "B08", 101.435633, 60.29744676),
            ("sentinel2", "B12", 56.66528851, 42.55886798),
            ("sentinel1", "VV", 166.36275909, 64.83126309),
            ("sentinel1", "VH", 88.45542715, 43.07350145),
            ("naip", "R", 123.675, 58.395),
            ("naip", "B", 103.53, 57.375),
            ("gaofen2", "B1", 123.94924583, 67.34487297),
            ("gaofen2", "B4", 90.31526596, 60.3946299),
            ("enmap", "B001", 0.04904891, 0.05438845),
            ("enmap", "B126", 0.25776253, 0.15312391),
            ("enmap", "B142", 0.19769041, 0.14626474),
            ("enmap", "B224", 0.11266357, 0.10822126),
        ],
    )
    def test_statistics_belong_to_their_bands(self, name, band, mean, std):
        (statistics,) = sensor(name).statistics
        position = statistics.bands.index(band)
        assert (statistics.mean[position], statistics.std[position]) == (mean, std)

    def test_enmap_statistics_are_complete(self):
        (statistics,) = sensor("enmap").statistics
        assert len(statistics.bands) == 202
        assert sum(statistics.mean) == pytest.approx(32.79717535)
        assert sum(statistics.std) == pytest.approx(23.52879194)


class TestWavelengthsByHand:
    def test_they_become_bands_in_the_order_given(self):
        made = from_wavelengths((0.665, 0.56, 10.9))
        assert [(band.id, band.center_um) for band in made.bands] == [("b1", 0.665), ("b2", 0.56), ("b3", 10.9)]

    @pytest.mark.parametrize(("reflectance", "quantity"), [(False, Quantity.DN), (True, Quantity.TOA_REFLECTANCE)])
    def test_values_are_uncalibrated_unless_scale_or_offset_is_known(self, reflectance, quantity):
        assert from_wavelengths((0.665,), reflectance=reflectance).products[0].quantity is quantity

    @pytest.mark.parametrize("given", [(665, 560, 490), (0.665, 2190.0), (100,)])
    def test_nanometres_are_refused_with_the_number_in_micrometres(self, given):
        wrong = next(value for value in given if value >= 100)
        with pytest.raises(
            BadWavelengths, match=f"{wrong:g} looks like nanometres. Give micrometres: {wrong / 1000:g}"
        ):
            from_wavelengths(given)

    @pytest.mark.parametrize("value", [0, -0.6, 0.1, 30.5, 99, 1e6, float("nan"), float("inf")])
    def test_what_no_optical_band_has_is_refused(self, value):
        with pytest.raises(BadWavelengths, match=r"outside 0\.1 to 30"):
            check_micrometres(value)

    @pytest.mark.parametrize("value", [0.11, 0.443, 2.19, 3.75, 5.405, 12.0, 30.0])
    def test_what_bands_have_is_accepted(self, value):
        check_micrometres(value)

    def test_none_at_all_are_refused(self):
        with pytest.raises(BadWavelengths, match="No wavelength"):
            from_wavelengths(())

    @pytest.mark.parametrize("text", ["0.665,0.56,0.49", " 0.665, 0.56 ,0.49,"])
    def test_text_is_read(self, text):
        assert parse_wavelengths(text) == RGB

    @pytest.mark.parametrize("text", ["red,green", "0.665;0.56", "0.665 µm"])
    def test_text_that_is_no_numbers_is_refused_with_an_example(self, text):
        with pytest.raises(BadWavelengths, match=r"Write 0\.665,0\.56,0\.49"):
            parse_wavelengths(text)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package that brings a sensor of its own and one of a built-in's id."""
    package = tmp_path / "fieldkit_sensors"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mine.toml").write_text(SMALL)
    (package / "naip.toml").write_text(SMALL.replace('"mine"', '"naip"'))
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("fieldkit", "fieldkit_sensors", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == registry.ENTRY_POINTS else [])
    registry._package_layers.cache_clear()
    yield package
    registry._package_layers.cache_clear()


class TestPackages:
    def test_sensors_of_a_package_are_found_before_the_built_in_ones(self, installed):
        found = registry.entry("mine")
        assert (found.file.path, found.layer) == (installed / "mine.toml", "package fieldkit_sensors")
        assert registry.entry("naip").file.path == installed / "naip.toml"
        assert [path.parent.name for path in registry.entry("naip").hidden] == ["aerial"]

    @pytest.mark.usefixtures("installed")
    def test_the_users_own_come_before_those_of_a_package(self, tmp_path, monkeypatch):
        own = tmp_path / "own"
        own.mkdir()
        (own / "mine.toml").write_text(SMALL)
        monkeypatch.setenv(registry.SEARCH_PATH, str(own))
        assert registry.entry("mine").file.path == own / "mine.toml"

    def test_an_alias_of_the_users_own_goes_before_a_built_in_one(self, tmp_path, monkeypatch):
        (tmp_path / "mine.toml").write_text(SMALL.replace('kind = "optical"', 'kind = "optical"\naliases = ["s2a"]'))
        monkeypatch.setenv(registry.SEARCH_PATH, str(tmp_path))
        assert registry.sensor("S2A").id == "mine"
