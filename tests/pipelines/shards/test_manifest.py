"""What tells one run's shards from another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.pipelines.shards.manifest import SHOWN, Fingerprint, Manifest, fingerprint, told

PLAIN = Manifest(
    "embed",
    (Fingerprint("scene.tif", 12, 5),),
    "dofa-tiny",
    "ab" * 32,
    {"zoom": 1, "window_px": "64", "masks": {"clouds": False}},
)


def test_equal_work_does_not_differ():
    assert PLAIN.differences(replace(PLAIN, settled={"int8": [1.5]})) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(PLAIN, verb="segment"), "it was dofa embed, is dofa segment"),
        (replace(PLAIN, options=PLAIN.options | {"zoom": 2}), "zoom was 1, is 2"),
        (replace(PLAIN, options=PLAIN.options | {"aoi": "field.gpkg"}), "aoi was null, is field.gpkg"),
        (replace(PLAIN, inputs=(Fingerprint("scene.tif", 13, 5),)), "scene.tif changed (size 12 -> 13 bytes)"),
        (replace(PLAIN, inputs=(Fingerprint("scene.tif", 12, 6),)), "scene.tif was written again since"),
        (replace(PLAIN, weights_sha256="cd" * 32), "the file of weights dofa-tiny changed"),
        (replace(PLAIN, weights="own.pt", weights_sha256="cd" * 32), "weights were dofa-tiny, are own.pt"),
    ],
)
def test_a_difference_names_the_thing_and_both_values(other, said):
    assert PLAIN.differences(other) == [said]


def test_inputs_that_went_came_or_moved_are_named():
    a, b = Fingerprint("a.tif"), Fingerprint("b.tif")
    assert replace(PLAIN, inputs=(a,)).differences(replace(PLAIN, inputs=(b,))) == [
        "a.tif is no longer an input",
        "b.tif is a new input",
    ]
    assert replace(PLAIN, inputs=(a, b)).differences(replace(PLAIN, inputs=(b, a))) == [
        "the inputs stand in another order"
    ]


def test_what_a_server_did_not_say_is_no_difference():
    silent, known = Fingerprint("http://a/b.tif"), Fingerprint("http://a/b.tif", 12, "tag")
    assert silent.difference(known) is None
    assert known.difference(silent) is None
    assert Fingerprint("http://a/b.tif", None, "old").difference(known) == "http://a/b.tif was written again since"


def test_many_differences_stay_one_line():
    said = told([f"option {number} was 0, is 1" for number in range(SHOWN + 3)])
    assert said.endswith(" and 3 more")
    assert "\n" not in said


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=6), values, max_size=4))
def test_a_manifest_comes_back_from_its_text(options):
    manifest = replace(PLAIN, options=options)
    back = Manifest.from_json(manifest.to_json())
    assert back.differences(manifest) == []
    assert back.inputs == manifest.inputs


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"inputs": 3}', '{"inputs": [], "verb": "embed", "more": 1}'])
def test_what_is_no_manifest_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the text
        Manifest.from_json(text)


def test_a_fingerprint_changes_with_the_file(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes(b"12")
    before = fingerprint(str(path))
    assert before == fingerprint(str(path))
    path.write_bytes(b"123")
    assert "size 2 -> 3 bytes" in str(before.difference(fingerprint(str(path))))


def test_a_folder_is_known_by_the_files_in_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "B04.tif").write_bytes(b"12")
    before = fingerprint(str(tmp_path))
    (tmp_path / "in" / "B03.tif").write_bytes(b"3")
    assert fingerprint(str(tmp_path)).size == 3
    assert before != fingerprint(str(tmp_path))


def test_of_what_cannot_be_looked_at_nothing_is_known():
    assert fingerprint("/vsizip/none.zip/a.tif") == Fingerprint("/vsizip/none.zip/a.tif")
    assert fingerprint("http://127.0.0.1:9/none.tif") == Fingerprint("http://127.0.0.1:9/none.tif")
