from __future__ import annotations

import os

import numpy as np
import pytest

from dofa_cli.pipelines.learning import feature_cache
from dofa_cli.pipelines.learning.feature_cache import cache_folder, content, digest, fetch, keep, key_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def test_what_is_kept_is_found_again(folder):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    key = key_of({"a": 1})
    assert fetch(key) is None
    assert keep(key, values)
    assert np.array_equal(fetch(key), values)
    assert [path.name for path in cache_folder().iterdir()] == [f"{key}.npy"]


def test_keys_follow_content_and_not_names(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")
    (tmp_path / "c").write_bytes(b"two")
    a, b, c = (content([str(tmp_path / name)]) for name in "abc")
    assert a == b != c
    assert key_of({"x": a, "y": 1}) == key_of({"y": 1, "x": b})
    assert content(["https://example.org/a.tif"]) is None


def test_arrays_of_other_shape_or_type_have_another_digest():
    values = np.arange(6)
    assert len({digest(values), digest(values.reshape(2, 3)), digest(values.astype(np.int32))}) == 3


def test_a_damaged_entry_counts_as_none():
    keep("k", np.zeros(4, np.float32))
    path = cache_folder() / "k.npy"
    path.write_bytes(path.read_bytes()[:90])
    assert fetch("k") is None


def test_the_entries_used_longest_ago_are_dropped(monkeypatch):
    for number, key in enumerate(("old", "used", "new")):
        keep(key, np.zeros(250, np.float32))
        os.utime(cache_folder() / f"{key}.npy", (number, number))
    fetch("old")
    monkeypatch.setattr(feature_cache, "MOST_BYTES", 3000)
    keep("last", np.zeros(250, np.float32))
    assert {path.stem for path in cache_folder().iterdir()} == {"old", "last"}


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "file"))
    assert not keep("k", np.zeros(2, np.float32))
    assert fetch("k") is None
