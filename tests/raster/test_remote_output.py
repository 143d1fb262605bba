"""Uploads to stores that fsspec keeps in memory or in a folder."""

from __future__ import annotations

import json
import zlib

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dofa_cli.errors import OptionError, OutputExists, OutputUnwritable
from dofa_cli.raster import remote_output as room
from dofa_cli.raster.remote_output import is_uploaded, remote_output, upload_whole

URL = "memory://bucket/maps/map.tif"


@pytest.fixture(autouse=True)
def empty_store(monkeypatch):
    monkeypatch.setattr(room, "FIRST_PAUSE", 0)
    monkeypatch.setattr(MemoryFileSystem, "store", {})


def stored():
    return {path.removeprefix("/bucket/maps/") for path in fsspec.filesystem("memory").find("/bucket")}


def write(path, content=b"values", **beside):
    path.write_bytes(content)
    for ending, text in beside.items():
        path.with_suffix(f".{ending}").write_text(text)


@pytest.mark.parametrize("make", [lambda _: URL, lambda folder: f"file://{folder}/store/map.tif"])
def test_an_output_and_its_companions_arrive_and_nothing_stays_here(tmp_path, make):
    staging, url = tmp_path / "here", make(tmp_path)
    with remote_output(url, overwrite=False, staging=staging) as local:
        assert local.name == "map.tif"
        write(local, qml="style")
        assert not is_uploaded(url)
    assert is_uploaded(url)
    system, path = fsspec.core.url_to_fs(url)
    assert system.cat_file(path) == b"values"
    assert system.cat_file(path.replace(".tif", ".qml")) == b"style"
    assert list(staging.iterdir()) == []


def test_the_entry_comes_last_and_lists_sizes_and_checksums(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(MemoryFileSystem, "put_file", noting(order, MemoryFileSystem.put_file, 2))
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", noting(order, MemoryFileSystem.pipe_file, 1))
    write(tmp_path / "map.tif", qml="style")
    upload_whole(tmp_path / "map.tif", URL)
    assert [name for name in order if name.endswith(".dofa.json")] == order[-1:]
    entry = json.loads(fsspec.filesystem("memory").cat_file("/bucket/maps/map.tif.dofa.json"))
    assert entry["files"] == {"map.qml": [5, zlib.crc32(b"style")], "map.tif": [6, zlib.crc32(b"values")]}


def noting(order, call, position):
    def noted(*args, **kwargs):
        order.append(args[position])
        return call(*args, **kwargs)

    return noted


def test_everything_beside_it_is_uploaded_but_hidden_files(tmp_path):
    write(tmp_path / "map.tif", qml="style")
    write(tmp_path / "map_confidence.tif")
    write(tmp_path / ".map.tif.lock")
    upload_whole(tmp_path / "map.tif", URL)
    assert stored() == {"map.tif", "map.qml", "map_confidence.tif", "map.tif.dofa.json"}


def test_a_store_is_uploaded_with_all_that_is_in_it(tmp_path):
    (tmp_path / "map.zarr" / "c").mkdir(parents=True)
    write(tmp_path / "map.zarr" / "zarr.json")
    write(tmp_path / "map.zarr" / "c" / "0")
    url = URL.replace(".tif", ".zarr")
    upload_whole(tmp_path / "map.zarr", url)
    assert stored() == {"map.zarr/zarr.json", "map.zarr/c/0", "map.zarr.dofa.json"}
    assert is_uploaded(url)


def test_nothing_of_an_older_store_shows_through_where_the_new_one_has_no_chunk(tmp_path):
    store, url = tmp_path / "map.zarr", URL.replace(".tif", ".zarr")
    (store / "c").mkdir(parents=True)
    write(store / "zarr.json")
    write(store / "c" / "0")
    write(store / "c" / "1")
    upload_whole(store, url)
    (store / "c" / "1").unlink()
    upload_whole(store, url)
    assert stored() == {"map.zarr/zarr.json", "map.zarr/c/0", "map.zarr.dofa.json"}


def test_an_upload_that_was_cut_short_is_no_reason_to_refuse_the_same_output(tmp_path):
    with remote_output(URL, overwrite=False, staging=tmp_path) as local:
        write(local)
        fsspec.filesystem("memory").pipe_file("/bucket/maps/map.tif", b"half")
    assert is_uploaded(URL)
    first = remote_output(URL, overwrite=True, staging=tmp_path)
    write(first.__enter__(), b"other")
    assert not first.__exit__(KeyError, KeyError(), None)
    with remote_output(URL, overwrite=False, staging=tmp_path) as again:
        assert again.read_bytes() == b"other"


def test_what_is_there_is_only_replaced_when_asked(tmp_path):
    for content, overwrite in ((b"first", False), (b"other", True)):
        with remote_output(URL, overwrite=overwrite, staging=tmp_path) as local:
            write(local, content)
        assert fsspec.filesystem("memory").cat_file("/bucket/maps/map.tif") == content
    with pytest.raises(OutputExists, match="--overwrite"), remote_output(URL, overwrite=False, staging=tmp_path):
        pass


def test_after_a_failure_parts_stay_and_nothing_is_uploaded(tmp_path):
    here = remote_output(URL, overwrite=False, staging=tmp_path)
    local = here.__enter__()
    write(local.with_name(".map.tif.parts"))
    assert not here.__exit__(KeyError, KeyError(), None)
    assert stored() == set()
    with remote_output(URL, overwrite=False, staging=tmp_path) as again:
        assert again == local
        assert local.with_name(".map.tif.parts").exists()
        write(again)
    assert is_uploaded(URL)


def test_a_failure_before_anything_was_written_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), remote_output(URL, overwrite=False, staging=tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_fails_twice_is_asked_again_and_one_that_always_fails_is_an_error(tmp_path, monkeypatch):
    put, faults = MemoryFileSystem.put_file, [OSError("busy"), OSError("busy")]

    def failing(*args, **kwargs):
        if faults:
            raise faults.pop()
        return put(*args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "put_file", failing)
    write(tmp_path / "map.tif")
    upload_whole(tmp_path / "map.tif", URL)
    assert is_uploaded(URL)
    faults.extend([OSError("busy")] * 3)
    with pytest.raises(OutputUnwritable, match=r"map.tif: busy\. What was computed is kept"):
        upload_whole(tmp_path / "map.tif", URL)
    assert not is_uploaded(URL)


def test_an_upload_that_loses_bytes_is_an_error(tmp_path, monkeypatch):
    def short(self, _, path, **options):
        self.pipe_file(path, b"val")

    monkeypatch.setattr(MemoryFileSystem, "put_file", short)
    write(tmp_path / "map.tif")
    with pytest.raises(OutputUnwritable, match="3 of 6 bytes arrived"):
        upload_whole(tmp_path / "map.tif", URL)


def test_an_output_of_another_size_than_its_entry_says_is_not_uploaded(tmp_path):
    write(tmp_path / "map.tif")
    upload_whole(tmp_path / "map.tif", URL)
    fsspec.filesystem("memory").pipe_file("/bucket/maps/map.tif", b"half")
    assert not is_uploaded(URL)


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("nowhere://bucket/map.tif", OutputUnwritable, r"^Cannot write nowhere://bucket/map.tif: .*nowhere\.$"),
        ("https://example.org/map.tif", OutputUnwritable, "read only"),
        ("memory://", OptionError, "names no file"),
    ],
)
def test_addresses_that_nothing_can_write_to_are_refused(url, error, said, tmp_path):
    with pytest.raises(error, match=said), remote_output(url, overwrite=False, staging=tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
