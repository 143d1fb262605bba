"""Files that took long to make are made once."""

from __future__ import annotations

import os

import pytest

from dofa_cli.pipelines.inference.backends import kept_files
from dofa_cli.pipelines.inference.backends.kept_files import fetch, keep, kept_file, models_folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def test_a_file_is_made_once(folder):
    made = []

    def make(path):
        made.append(path)
        path.write_bytes(b"x")

    first, second = kept_file("a.blob", make), kept_file("a.blob", make)
    assert first == second == folder / "a.blob"
    assert (len(made), first.read_bytes(), models_folder()) == (1, b"x", folder)


def test_a_maker_that_fails_leaves_nothing(folder):
    def make(path):
        path.write_bytes(b"half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        kept_file("a.blob", make)
    assert list(folder.iterdir()) == []


def test_bytes_come_back(folder):
    assert fetch("a") is None
    keep("a", b"some")
    assert fetch("a") == b"some"


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "file"))
    keep("a", b"some")
    assert fetch("a") is None
    path = kept_file("a.blob", lambda path: path.write_bytes(b"x"))
    assert path.read_bytes() == b"x"
    assert kept_file("a.blob", lambda _: pytest.fail("made again")) == path


def test_the_files_used_longest_ago_make_room(folder, monkeypatch):
    monkeypatch.setattr(kept_files, "MOST_BYTES", 25)
    for age, name in ((300, "old"), (200, "older but used"), (100, "new")):
        keep(name, b"0123456789")
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    fetch("older but used")
    kept_file("last", lambda path: path.write_bytes(b"0123456789"))
    assert {path.name for path in folder.iterdir()} == {"older but used", "last"}
