"""``dofa weights``: data on stdout, messages on stderr, exit codes of the error tree."""

import hashlib
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.weights import checksum, manifest, store

CONTENT = b"tiny weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MANIFEST = f"""
repo = "someone/tiny"
file = "tiny.pth"
revision = "{"a" * 40}"
sha256 = "{SHA256}"
size = {len(CONTENT)}
licence = "CC0-1.0"
source = "a test"
citation = "Nobody 2024"

[architecture]
version = 1
patch_size = 16
embed_dim = 768
depth = 12
num_heads = 12
image_size = 224
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A manifest with one checkpoint, an empty folder for files placed by hand, and no network."""
    from huggingface_hub import constants

    data, placed = tmp_path / "manifest", tmp_path / "placed"
    for made in (data, placed):
        made.mkdir()
    (data / "tiny.toml").write_text(MANIFEST)
    (data / "old_layouts.toml").write_text("files = []")
    monkeypatch.setattr(manifest, "data_folder", lambda _: data)
    monkeypatch.setattr(checksum, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("DOFA_WEIGHTS", str(placed))
    return placed


@pytest.fixture
def file(folder):
    path = folder / "tiny.pth"
    path.write_bytes(CONTENT)
    return path


def dofa(*arguments):
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


def test_list_says_what_is_here(folder):
    (folder / "unrelated.pth").write_bytes(b"")
    heading, row = dofa("list").stdout.splitlines()
    assert heading.split() == ["NAME", "MODEL", "SIZE", "LICENCE", "HERE"]
    assert row.split("  ")[:2] == ["tiny", "DOFA v1, 12 blocks of 768, patch 16"]
    assert row.endswith("CC0-1.0  no")


def test_list_after_placing_the_file(file):
    assert dofa("list").stdout.rstrip().endswith("yes")


def test_list_as_json(file):
    (one,) = json.loads(dofa("list", "--json").stdout)
    assert (one["name"], one["sha256"], one["path"]) == ("tiny", SHA256, str(file))
    assert one["architecture"]["embed_dim"] == 768


def test_show():
    lines = dofa("show", "tiny").stdout.splitlines()
    shown = dict(line.split(":", 1) for line in lines)
    assert shown["licence"].strip() == "CC0-1.0"
    assert shown["patch_size"].strip() == "16"
    assert shown["address"].strip().endswith(f"/someone/tiny/resolve/{'a' * 40}/tiny.pth")
    assert "path" not in shown


def test_show_unknown():
    done = dofa("show", "tinny")
    assert done.exit_code == 32
    assert done.stderr == "Error: No weights 'tinny'. Did you mean 'tiny'?\n"
    assert done.stdout == ""


def test_download_of_what_is_here_prints_its_path(file):
    done = dofa("download", "tiny")
    assert done.exit_code == 0
    assert done.stdout == f"{file}\n"
    assert "Licence CC0-1.0; please cite Nobody 2024" in done.stderr


def test_download_offline(folder):
    done = dofa("download", "tiny")
    assert done.exit_code == 31
    assert f"put it into {folder}" in done.stderr
    assert done.stdout == ""


def test_verify_by_name_and_by_path(file):
    for done in (dofa("verify", "tiny"), dofa("verify", file)):
        assert done.stdout == f"{SHA256}  {file}\n"
        assert "is 'tiny' as published" in done.stderr


def test_verify_unpublished(folder):
    (folder / "mine.pth").write_bytes(b"mine")
    done = dofa("verify", folder / "mine.pth")
    assert done.exit_code == 0
    assert "fits no published checksum" in done.stderr


def test_verify_truncated(file):
    file.write_bytes(CONTENT[:3])
    done = dofa("verify", "tiny")
    assert done.exit_code == 33
    assert f"expected {len(CONTENT)} bytes, found 3" in done.stderr


def test_verify_nothing(folder):
    assert dofa("verify", "tiny").exit_code == 31
    assert dofa("verify", folder / "nothing.pth").exit_code == 31


def test_path_of_the_folder_and_of_a_file(folder, file):
    assert dofa("path").stdout == f"{folder}\n"
    assert dofa("path", "tiny").stdout == f"{file}\n"


def test_path_of_what_is_not_here():
    done = dofa("path", "tiny")
    assert done.exit_code == 31
    assert done.stderr == "Error: 'tiny' is not on this machine. Run 'dofa weights download tiny'.\n"


def test_folder_without_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("DOFA_WEIGHTS")
    monkeypatch.setattr(store, "user_cache_path", lambda app: tmp_path / app)
    assert dofa("path").stdout == f"{tmp_path / 'dofa' / 'weights'}\n"


def test_help_stays_quick():
    heavy = "{'pydantic', 'huggingface_hub', 'torch'}"
    code = f"import sys, dofa_cli.cli.weights; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
