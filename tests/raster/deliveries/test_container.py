from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from dofa_cli.errors import DamagedRaster, SceneNotFound
from dofa_cli.raster.deliveries import container
from dofa_cli.raster.deliveries.container import open_container


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "product" / "inner").mkdir(parents=True)
    (tmp_path / "product" / "a.txt").write_bytes(b"first")
    (tmp_path / "product" / "inner" / "b.txt").write_bytes(b"second" * 100)
    return tmp_path / "product"


def packed(folder: Path, name: str) -> Path:
    archive = folder.parent / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.write(folder / "a.txt", "a.txt")
            file.write(folder / "inner" / "b.txt", "inner/b.txt")
        return archive
    with tarfile.open(archive, "w:gz" if name.endswith("gz") else "w") as file:
        file.add(folder / "a.txt", "a.txt")
        file.add(folder / "inner" / "b.txt", "inner/b.txt")
    return archive


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.TGZ"])
def test_an_archive_lists_and_reads_like_its_folder(folder, name):
    plain, archive = open_container(str(folder)), open_container(str(packed(folder, name)))
    assert plain.members == archive.members == ("a.txt", "inner/b.txt")
    assert [archive.text(member) for member in archive.members] == [b"first", b"second" * 100]
    assert archive.matching("b.*") == ["inner/b.txt"]


def test_a_changed_archive_is_listed_again(folder):
    archive = packed(folder, "p.zip")
    assert len(open_container(str(archive)).members) == 2
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("c.txt", b"")
    os.utime(archive, ns=(1, 1))
    assert open_container(str(archive)).members == ("a.txt", "c.txt", "inner/b.txt")


@pytest.mark.parametrize("path", ["scene.tif", "https://host/a.zip", "/vsizip/a.zip", "s3://bucket/a.tar"])
def test_other_paths_are_no_containers(path):
    assert open_container(path) is None


def test_a_zarr_store_is_no_container(folder):
    assert open_container(str(folder.rename(folder.with_name("cube.zarr")))) is None


def test_an_absent_archive_is_not_found(tmp_path):
    with pytest.raises(SceneNotFound, match=r"absent\.zip"):
        open_container(str(tmp_path / "absent.zip"))


@pytest.mark.parametrize("name", ["p.zip", "p.tar.gz"])
def test_a_cut_archive_is_damaged(folder, name):
    archive = packed(folder, name)
    archive.write_bytes(archive.read_bytes()[:-60])
    with pytest.raises(DamagedRaster, match="not a whole archive"):
        open_container(str(archive))


def test_an_encrypted_member_is_damaged_and_not_asked_about(folder):
    archive = packed(folder, "p.zip")
    content = bytearray(archive.read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + flags] |= 1
    archive.write_bytes(content)
    with pytest.raises(DamagedRaster, match="encrypted"):
        open_container(str(archive)).text("a.txt")


def test_a_folder_of_very_many_files_is_refused(folder, monkeypatch):
    monkeypatch.setattr(container, "MOST_MEMBERS", 2)
    with pytest.raises(DamagedRaster, match="more than 2 files"):
        open_container(str(folder))
