"""What outputs of many scenes are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from dofa_cli.errors import OptionError, OutputUnwritable
from dofa_cli.pipelines.many.naming import Naming, day_of, safe
from dofa_cli.pipelines.many.scene_item import SceneItem, scene_at


def naming(pattern="{name}_{level}", **more):
    settings = {"verb": "embed", "level": "patch", "suffix": ".tif", "endings": (".tif", ".tiff")} | more
    return Naming(Path("out"), pattern, **settings)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{name}_{level}", "out/S2A_20200701_patch.tif"),
        ("{parent}/{name}", "out/north/S2A_20200701.tif"),
        ("{number}", "out/000007.tif"),
        ("{number:03d}_{verb}.tiff", "out/007_embed.tiff"),
        ("{sensor}_{date}", "out/sentinel2_20200701.tif"),
        ("v1.5_{name}", "out/v1.5_S2A_20200701.tif"),
    ],
)
def test_fields_are_what_is_known_of_the_scene(pattern, path):
    item = scene_at("/data/north/S2A_20200701.tif", number=7)
    assert naming(pattern, sensor="sentinel2").output(item) == Path(path)


def test_a_folder_that_is_a_file_or_named_like_one_is_refused(tmp_path):
    (tmp_path / "list.txt").touch()
    (tmp_path / "old.tif").mkdir()
    for name, said in (("list.txt", "is a file"), ("all.tif", "is named like a file")):
        with pytest.raises(OptionError, match=f"{name} {said}"):
            replace(naming(), folder=tmp_path / name).check_folder()
    for name in ("maps", "old.tif", "v1.5"):
        replace(naming(), folder=tmp_path / name).check_folder()
    with pytest.raises(OutputUnwritable, match="read only"):
        replace(naming(), folder=UPath("https://example.org/maps")).check_folder()


def test_a_list_names_outputs_itself():
    item = scene_at("a.tif", output="sub/mine.tif")
    assert naming().output(item) == Path("out/sub/mine.tif")
    assert naming().output(scene_at("a.tif", output="mine")) == Path("out/mine.tif")


def test_a_scenes_own_sensor_comes_first():
    assert naming("{sensor}", sensor="naip").output(scene_at("a.tif", sensor="sentinel2")) == Path("out/sentinel2.tif")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{nme}", r"no field \{nme\}. Fields: \{name\}"),
        ("{}", r"no field \{\}"),
        ("{name", "is no pattern"),
        ("../{name}", "leads out of the folder"),
        ("/tmp/{name}", "leads out of the folder"),
    ],
)
def test_patterns_that_cannot_be_are_refused_at_once(pattern, message):
    with pytest.raises(OptionError, match=message):
        naming(pattern)


@pytest.mark.parametrize(("pattern", "message"), [("{date}", "a column 'datetime'"), ("{sensor}", "needs --sensor")])
def test_a_field_that_is_not_known_of_a_scene_is_named_with_it(pattern, message):
    with pytest.raises(OptionError, match=message) as found:
        naming(pattern).output(scene_at("north/plain.tif"))
    assert "north/plain.tif" in str(found.value)


def test_two_scenes_with_one_output_are_named():
    items = [scene_at("a/x.tif", number=1), scene_at("b/y.tif", number=2), scene_at("c/X.tif", number=3)]
    with pytest.raises(
        OptionError, match=r"a/x.tif and c/X.tif would both be written to out/x_patch.tif.*\{parent\}_\{name\}"
    ):
        naming().check(items)
    assert naming("{parent}_{name}").check(items) == 3


def test_two_scenes_of_one_folder_are_told_apart_by_number():
    items = [scene_at("a/x.tif", number=1), scene_at("a/x.jp2", number=2)]
    with pytest.raises(OptionError, match=r"\{number\}_\{name\}"):
        naming().check(items)


def test_two_rows_with_one_output_are_told_to_differ():
    items = [scene_at("a.tif", number=1, output="same"), scene_at("b.tif", number=2, output="same")]
    with pytest.raises(OptionError, match="column 'output'"):
        naming().check(items)


@pytest.mark.parametrize(
    ("name", "taken", "day"),
    [
        ("S2A_MSIL1C_20170216T102101_N0204_R065", None, "20170216"),
        ("LC08_L1TP_193023_20200101_02_T1", None, "20200101"),
        ("scene_2020-07-01", None, "20200701"),
        ("scene", "2021-05-06T10:00:00Z", "20210506"),
        ("scene_20200101", "2021-05-06", "20210506"),
        ("scene_193023", None, None),
    ],
)
def test_the_day_is_the_lists_or_the_names(name, taken, day):
    assert day_of(SceneItem(name, (f"{name}.tif",), taken=taken)) == day


@given(st.text(max_size=30))
def test_names_of_scenes_never_lead_out_of_the_folder(text):
    path = naming("{name}").output(SceneItem(text, ("x.tif",)))
    assert path.parent == Path("out")
    assert "/" not in safe(text)
