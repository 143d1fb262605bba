"""From the text of a sensor file to bands: families, shared values, columns; and every fault in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dofa_cli.errors import BadSensorFile
from dofa_cli.sensors.files import LONGEST_LINEAGE, SensorFile, read_sensor_file
from dofa_cli.sensors.schema import Status

HEAD = """
id = "{id}"
name = "A test"
kind = "optical"
status = "given"
products = [{{ id = "dn", quantity = "dn" }}]
"""
PARENT = """
aliases = ["old"]
platforms = ["one"]
note = "of the parent"
presets = { rgb = ["red", "green", "blue"] }
bands = [
    { id = "red", center_um = 0.66, fwhm_um = 0.03, model = { dofa_v1 = 0.665 } },
    { id = "green", center_um = 0.56 },
    { id = "blue", center_um = 0.48 },
]
[band_defaults]
gsd_m = 10
status = "verified"
"""
SPECTRUM = "[spectrum]\ncenter_um = [0.4, 0.5, 0.6]\nfwhm_um = [0.01, 0.02, 0.03]\n"


@pytest.fixture
def read(tmp_path):
    """Write files by id, with the head that all need, and read the last; text that extends another brings its own."""

    def read(**texts: str) -> SensorFile:
        for name, text in texts.items():
            head = f'id = "{name}"\nname = "{name}"\n' if "extends" in text else HEAD.format(id=name)
            (tmp_path / f"{name}.toml").write_text(head + text)
        return read_sensor_file(tmp_path / f"{name}.toml", lambda parent, _: tmp_path / f"{parent}.toml")

    return read


class TestFamilies:
    def test_what_is_not_said_is_inherited_and_bands_meet_by_id(self, read):
        sensor = read(parent=PARENT, child='extends = "parent"\nbands = [{ id = "red", center_um = 0.65 }]').sensor
        red, green, _ = sensor.bands
        assert (red.center_um, red.fwhm_um, red.model, red.gsd_m) == (0.65, 0.03, {"dofa_v1": 0.665}, 10)
        assert (green.center_um, sensor.presets["rgb"]) == (0.56, ("red", "green", "blue"))

    def test_names_platforms_and_notes_are_its_own(self, read):
        sensor = read(parent=PARENT, child='extends = "parent"').sensor
        assert (sensor.id, sensor.aliases, sensor.platforms, sensor.note) == ("child", (), (), None)

    def test_new_bands_come_last(self, read):
        more = 'extends = "parent"\nbands = [{ id = "nir", center_um = 0.84 }, { id = "red", fwhm_um = 0.04 }]'
        assert [band.id for band in read(parent=PARENT, child=more).sensor.bands] == ["red", "green", "blue", "nir"]

    def test_shared_values_are_those_of_the_bands_in_the_same_file(self, read):
        child = 'extends = "parent"\nbands = [{ id = "red" }]\n[band_defaults]\nstatus = "nominal"'
        red, green, _ = read(parent=PARENT, child=child).sensor.bands
        assert (red.status, green.status) == (Status.NOMINAL, Status.VERIFIED)

    def test_the_origin_of_each_value_is_known(self, read):
        child = 'extends = "parent"\nbands = [{ id = "red", center_um = 0.65 }]'
        found = read(parent=PARENT, child=child)
        own, parent = found.lineage
        assert (found.path, parent.stem) == (own, "parent")
        assert (found.origin("center_um", "red"), found.origin("fwhm_um", "red")) == (own, parent)
        assert (found.origin("gsd_m", "green"), found.origin("products"), found.origin("statistics")) == (
            parent,
            parent,
            None,
        )

    def test_grandchildren_inherit_too(self, read):
        found = read(a=PARENT, b='extends = "a"\nbands = [{ id = "red", gsd_m = 5 }]', c='extends = "b"')
        assert found.sensor.by_id["red"].gsd_m == 5
        assert [path.stem for path in found.lineage] == ["c", "b", "a"]

    @pytest.mark.parametrize("texts", [{"a": 'extends = "a"'}, {"b": 'extends = "a"', "a": 'extends = "b"'}])
    def test_a_circle_is_refused(self, read, texts):
        with pytest.raises(BadSensorFile, match=f"extends itself, or more than {LONGEST_LINEAGE} others"):
            read(**texts)

    def test_an_id_that_is_no_text_is_refused(self, read):
        with pytest.raises(BadSensorFile, match="extends is not the id of a sensor"):
            read(a="extends = 3")

    def test_a_fault_that_comes_of_the_merge_names_the_child(self, read):
        child = 'extends = "parent"\nbands = [{ id = "red", fwhm_um = 0.9 }]'
        with pytest.raises(BadSensorFile, match=r"child\.toml is not a valid sensor file: band red: fwhm_um 0.9 is"):
            read(parent=PARENT, child=child)


class TestColumns:
    def test_columns_become_bands(self, read):
        bands = read(a=SPECTRUM + "[band_defaults]\ngsd_m = 30").sensor.bands
        assert [(band.id, band.center_um, band.fwhm_um, band.gsd_m) for band in bands] == [
            ("B1", 0.4, 0.01, 30),
            ("B2", 0.5, 0.02, 30),
            ("B3", 0.6, 0.03, 30),
        ]

    @pytest.mark.parametrize(
        ("keys", "ids"),
        [
            ("digits = 3", ["B001", "B002", "B003"]),
            ('prefix = "b_"\nfirst = 9\ndigits = 2', ["b_09", "b_10", "b_11"]),
            ('id = ["u", "v", "w"]', ["u", "v", "w"]),
        ],
    )
    def test_ids_are_numbered_or_given(self, read, keys, ids):
        assert [band.id for band in read(a=SPECTRUM + keys).sensor.bands] == ids

    def test_columns_and_single_bands_go_together(self, read):
        found = read(a='bands = [{ id = "pan", center_um = 0.6 }]\n' + SPECTRUM)
        assert [band.id for band in found.sensor.bands] == ["pan", "B1", "B2", "B3"]

    def test_a_column_may_hold_what_training_saw(self, read):
        model = "model = [{ dofa_v1 = 0.41 }, {}, {}]"
        assert read(a=SPECTRUM + model).sensor.by_id["B1"].wavelength_um("dofa_v1") == 0.41


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("bands = 3", "bands is not a list of tables", id="bands a number"),
        pytest.param('bands = ["red"]', "bands is not a list of tables", id="bands names"),
        pytest.param("spectrum = 3", "spectrum and band_defaults are tables", id="spectrum a number"),
        pytest.param("band_defaults = [1]", "spectrum and band_defaults are tables", id="defaults a list"),
        pytest.param("[spectrum]", r"spectrum needs columns of one length, not \{\}", id="no column"),
        pytest.param("[spectrum]\ncenter_um = 0.4", "'center_um': 'no list'", id="column a number"),
        pytest.param(SPECTRUM + "gsd_m = [1]", "'gsd_m': 1", id="short column"),
        pytest.param(SPECTRUM + 'id = ["a", "b"]', "'id': 2", id="short ids"),
        pytest.param(SPECTRUM + "digits = 1000000000", "1 to 6 digits", id="absurd digits"),
        pytest.param(SPECTRUM + 'first = "a"', "a whole number as first", id="first no number"),
        pytest.param(SPECTRUM + "prefix = 3", "prefix in quotes", id="prefix no text"),
        pytest.param(SPECTRUM + 'id = ["a", "b", "a"]', "band id given twice: a", id="id twice"),
        pytest.param(SPECTRUM + 'prefix = "/"', "band /1, id: ", id="id no identifier"),
        pytest.param(SPECTRUM + 'colour = ["a", "b", "c"]', "band B1, colour: Extra", id="unknown column"),
        pytest.param("[band_defaults]\ngsd_m = 3", "band_defaults has no bands in its file", id="defaults of nothing"),
    ],
)
def test_faults_are_one_line_that_names_the_file(read, text, words):
    with pytest.raises(BadSensorFile, match=rf"wrong\.toml is not a valid sensor file: .*{words}") as caught:
        read(wrong=text)
    assert "\n" not in str(caught.value)


def test_a_band_twice_in_a_file_that_extends_is_not_merged_away(read):
    child = 'extends = "parent"\nbands = [{ id = "red", gsd_m = 1 }, { id = "red", gsd_m = 2 }]'
    with pytest.raises(BadSensorFile, match="band id given twice: red"):
        read(parent=PARENT, child=child)


def test_the_name_of_the_file_is_the_id(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(HEAD.format(id="mine") + SPECTRUM)
    with pytest.raises(BadSensorFile, match=r"its id is 'mine', but the name says other"):
        read_sensor_file(path, lambda name, _: Path(name))
