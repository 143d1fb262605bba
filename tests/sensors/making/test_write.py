"""Sensor files as text: what is written reads back the same, and only whole files appear."""

from __future__ import annotations

import stat
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dofa_cli.errors import BadSensorFile, NoSpace, OutputExists, OutputUnwritable
from dofa_cli.sensors import registry
from dofa_cli.sensors.making.write import layer_of, put, read_back, refuse_existing, to_toml
from dofa_cli.sensors.schema import TrainingScale

SMALL = {
    "id": "mine",
    "name": "Mine",
    "kind": "optical",
    "status": "given",
    "bands": [{"id": "red", "center_um": 0.66}],
    "products": [{"id": "values", "quantity": "dn"}],
}
whole_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), whole_text)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(whole_text, inner, max_size=4)),
    max_leaves=20,
)
contents = st.dictionaries(st.one_of(whole_text, st.sampled_from(["bands", "spectrum", "id"])), values, max_size=5)


class TestText:
    @settings(max_examples=400)
    @given(contents)
    def test_any_content_reads_back_the_same(self, content):
        assert tomllib.loads(to_toml(content)) == content

    @given(st.lists(scalars, min_size=30, max_size=60))
    def test_long_lists_are_broken_into_lines_and_read_back(self, items):
        text = to_toml({"first": items, "table": {"second": items}})
        assert tomllib.loads(text) == {"first": items, "table": {"second": items}}

    def test_floats_keep_every_digit(self):
        numbers = [0.1, 1e-5, 1e16, 1e22, 5e-324, 1.7976931348623157e308, -0.0, float("inf"), 0.1 + 0.2]
        read = tomllib.loads(to_toml({"x": numbers}))["x"]
        assert [number.hex() for number in read] == [number.hex() for number in numbers]
        assert str(tomllib.loads(to_toml({"x": float("nan")}))["x"]) == "nan"

    @pytest.mark.parametrize("text", ['"', "\\", "\x00\x1f\x7f\x85", "a\r\nb\tc", "µm é 𝛌", "'''", "\\u0041", "{}[]=#"])
    def test_text_that_needs_care(self, text):
        assert tomllib.loads(to_toml({text: text, "t": {text: [text]}})) == {text: text, "t": {text: [text]}}

    def test_half_a_character_cannot_be_written(self):
        with pytest.raises(ValueError, match="surrogates"):
            to_toml({"x": "\ud83d"})

    def test_what_toml_has_no_word_for_is_refused(self):
        with pytest.raises(TypeError, match="NoneType"):
            to_toml({"x": None})

    def test_enumerations_are_written_as_their_text(self):
        assert to_toml({"scale": TrainingScale.VALUES, "t": (1, 2)}) == 'scale = "values"\nt = [1, 2]\n'

    def test_a_sensor_file_looks_as_people_write_them(self):
        assert to_toml({**SMALL, "presets": {"rgb": ["red"]}}) == (
            'id = "mine"\nname = "Mine"\nkind = "optical"\nstatus = "given"\n'
            'bands = [\n    { id = "red", center_um = 0.66 },\n]\n'
            '\n[[products]]\nid = "values"\nquantity = "dn"\n'
            '\n[presets]\nrgb = ["red"]\n'
        )

    def test_lines_stay_short(self):
        text = to_toml({"spectrum": {"center_um": [0.4 + n / 1000 for n in range(500)]}})
        assert max(map(len, text.splitlines())) <= 120

    def test_every_known_sensor_survives_being_written(self):
        for known in registry.sensors():
            content = known.model_dump(exclude_defaults=True, exclude_none=True)
            content.pop("extends", None)
            assert read_back(known.id, to_toml(content)) == known.model_copy(update={"extends": None})


class TestReadingBack:
    def test_the_sensor_is_that_of_the_text(self):
        assert read_back("mine", to_toml(SMALL)).by_id["red"].center_um == 0.66

    def test_a_fault_names_sensor_band_and_field_and_no_working_folder(self):
        broken = {**SMALL, "bands": [{"id": "red", "center_um": 660}]}
        with pytest.raises(BadSensorFile, match=r"^'mine' is not a valid sensor file: band red, center_um: 660 looks"):
            read_back("mine", to_toml(broken))


class TestPutting:
    def test_folders_are_made_and_nothing_else_is_left(self, tmp_path):
        path = tmp_path / "a" / "b" / "mine.toml"
        put("x = 1\n", path, force=False)
        assert path.read_bytes() == b"x = 1\n"
        assert list(path.parent.iterdir()) == [path]
        assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def test_a_file_is_never_replaced_unless_forced(self, tmp_path):
        path = tmp_path / "mine.toml"
        put("x = 1\n", path, force=False)
        with pytest.raises(OutputExists, match=r"mine\.toml exists already.*--force"):
            put("x = 2\n", path, force=False)
        assert path.read_text() == "x = 1\n"
        put("x = 2\n", path, force=True)
        assert path.read_text() == "x = 2\n"

    def test_a_dangling_link_counts_as_there(self, tmp_path):
        (tmp_path / "mine.toml").symlink_to(tmp_path / "nowhere")
        with pytest.raises(OutputExists):
            refuse_existing(tmp_path / "mine.toml", force=False)

    def test_a_link_is_replaced_and_not_followed(self, tmp_path):
        (tmp_path / "precious").write_text("precious")
        (tmp_path / "mine.toml").symlink_to(tmp_path / "precious")
        put("x = 1\n", tmp_path / "mine.toml", force=True)
        assert (tmp_path / "precious").read_text() == "precious"
        assert not (tmp_path / "mine.toml").is_symlink()

    def test_a_file_where_a_folder_should_be(self, tmp_path):
        (tmp_path / "sensors").write_text("")
        with pytest.raises(OutputUnwritable, match=r"Cannot write .*mine\.toml"):
            put("x = 1\n", tmp_path / "sensors" / "mine.toml", force=False)

    def test_text_that_cannot_be_written_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "mine.toml"
        path.write_text("old")
        with pytest.raises(OutputUnwritable):
            put("\ud83d", path, force=True)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_leaves_nothing(self, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pathlib.Path.replace", full)
        with pytest.raises(NoSpace, match="No space left"):
            put("x = 1\n", tmp_path / "mine.toml", force=False)
        assert list(tmp_path.iterdir()) == []


def test_the_layer_of_a_file_is_told_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(registry.SEARCH_PATH, str(tmp_path / "first"))
    assert layer_of(tmp_path / "first" / "deep" / "mine.toml") == 0
    assert layer_of(tmp_path / "mine.toml") is None
    built_in = registry.entry("sentinel2").file.path
    assert layer_of(built_in) == len(registry.layers()) - 1
