"""How inputs are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import OptionError, UnknownSensor
from dofa_cli.pipelines.inputs.named import Input, Key, files_of, keys_of, read_input, read_inputs
from dofa_cli.sensors import registry

SENSORS = [one.id for one in registry.sensors()]
words = st.text("abc019-_. é", min_size=1, max_size=8)
files = st.one_of(
    st.text("ab:/\\ .*:", min_size=1, max_size=20),
    st.sampled_from(["/vsis3/a/b:c/d.tif", "http://host:8080/x.tif", "C:\\scenes\\x.tif", "s3://bucket/a.tif"]),
)
labels = st.text("ab01-_.é", min_size=1, max_size=12).filter(lambda word: not known(word))


def known(word):
    try:
        return registry.entry(word) is not None
    except UnknownSensor:
        return False


@given(file=files, sensor=st.sampled_from(SENSORS), date=st.one_of(st.just(""), labels))
def test_what_is_written_is_read_whatever_colons_the_file_has(file, sensor, date):
    found = read_input(":".join([file, sensor, *([date] if date else [])]))
    assert found == Input((file,), sensor, date)
    assert read_input(found.name) == found


@given(st.lists(words, min_size=1, max_size=4))
def test_what_names_no_sensor_stays_a_file(parts):
    text = ":".join(parts)
    if any(known(part) for part in parts[-2:]):
        return
    assert read_input(text) is None
    assert read_inputs([text]) == ()
    assert files_of([text]) == (text,)


@pytest.mark.parametrize(
    "text",
    [
        "scene.tif",
        "C:\\scenes\\scene.tif",
        "http://host:8080/scene.tif",
        "NETCDF:scene.nc:reflectance",
        "SENTINEL2_L2A:/data/MTD_MSIL2A.xml:10m:EPSG_32633",
        "/vsizip//data/a.zip/b:c.tif",
        ":sentinel2",
        "scene.tif:sentinel2:",
        "scene.tif:sentinel2:a/b",
    ],
)
def test_names_with_colons_stay_files(text):
    assert read_input(text) is None


def test_a_file_of_that_very_name_is_a_file(tmp_path):
    path = tmp_path / "scene.tif:sentinel2"
    path.touch()
    assert read_input(str(path)) is None
    assert read_input(f"{path}:may") == Input((str(tmp_path / "scene.tif"),), "sentinel2", "may")


def test_an_unknown_sensor_is_answered_with_near_ones(tmp_path):
    (tmp_path / "a.tif").touch()
    for text in (f"{tmp_path / 'a.tif'}:sentinal2", f"{tmp_path / 'a.tif'}:sentinal2:2024-05", "*.tif:sentinal2"):
        with pytest.raises(UnknownSensor, match="Did you mean 'sentinel2'"):
            read_input(text)
    with pytest.raises(UnknownSensor, match="Did you mean"):
        read_input("https://host/a.tif:sentinal2")


def test_a_sensor_file_is_no_name_of_a_sensor(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(UnknownSensor, match="known as 'mine'"):
        read_input(f"{tmp_path / 'a.tif'}:mine.toml")


def test_an_alias_becomes_the_id():
    alias = registry.sensor("sentinel2").name
    assert read_input(f"a.tif:{alias.replace(' ', '-')}").sensor == "sentinel2"


def test_all_scenes_are_inputs_or_none():
    with pytest.raises(OptionError, match=r"b\.tif names no sensor"):
        read_inputs(["a.tif:sentinel2", "b.tif"])


def test_patterns_and_band_folders_become_an_input_an_image(tmp_path):
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).touch()
    (tmp_path / "s1").mkdir()
    for name in ("x_VV.tif", "x_VH.tif"):
        (tmp_path / "s1" / name).touch()
    found = read_inputs([f"{tmp_path}/*.tif:sentinel2:may", f"{tmp_path / 's1'}:sentinel1"])
    assert [[path.rpartition("/")[2] for path in one.paths] for one in found] == [
        ["a.tif"],
        ["b.tif"],
        ["x_VH.tif", "x_VV.tif"],
    ]
    assert keys_of(found) == (Key("sentinel2", "may"), Key("sentinel1"))
    assert [str(key) for key in keys_of(found)] == ["sentinel2:may", "sentinel1"]
