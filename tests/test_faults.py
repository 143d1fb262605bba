"""What goes wrong around a run: one line, a code of its own, and a state that the same command goes on from.

The rows of docs/faults.md, through the command line.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from dofa_cli import errors
from dofa_cli.cli.main import app
from dofa_cli.pipelines.shards.store import PartStore
from dofa_cli.raster import source
from tests.failing_server import HANG, serving
from tests.made import sentinel2_scene, tiny_weights

SIDE = 1100
"""Pixels: three chunks of reading a side, so that a run reads until its end."""
BLOCKS = {"tiled": True, "blockxsize": 256, "blockysize": 256}
WINDOWS = ("--window", 256, "--overlap", 0, "--shard", 1)
PARTS, LOCK = ".out.tif.parts", ".out.tif.lock"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network, a scene, the same scene compressed, and what an undisturbed run makes of it."""
    folder = tmp_path_factory.mktemp("made")
    tiny_weights(folder / "tiny.safetensors")
    sentinel2_scene(folder / "scene.tif", SIDE, SIDE, **BLOCKS)
    sentinel2_scene(folder / "packed.tif", SIDE, SIDE, **BLOCKS, compress="deflate")
    result = embed(folder / "scene.tif", folder / "tiny.safetensors", folder / "whole.tif")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("scene.tif", "packed.tif"):
        shutil.copy2(made / name, tmp_path / name)
    yield tmp_path
    source.close_handles()


def embed(scene, weights, output="out.tif", *options):
    arguments = [scene, "--sensor", "sentinel2", "--weights", weights, "-o", output, *WINDOWS, *options]
    return CliRunner().invoke(app, ["embed", *map(str, arguments)])


def refused(result, error: type[errors.DofaError], *words: str) -> str:
    """Check code, the single line, and its words."""
    assert result.exit_code == error.exit_code, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def equals(path: Path, expected: Path) -> bool:
    with rasterio.open(path) as one, rasterio.open(expected) as other:
        return np.array_equal(one.read(), other.read(), equal_nan=True)


def finished(here: Path) -> list[Path]:
    return sorted(path for path in (here / PARTS).glob("*.json") if path.stem.isdigit())


def after_shard(monkeypatch, number: int, act) -> None:
    """Do something when shard ``number`` is recorded."""
    finish = PartStore.finish

    def finishing(self, done):
        finish(self, done)
        if done.number == number:
            act()

    monkeypatch.setattr(PartStore, "finish", finishing)


@pytest.fixture
def stopped(here, made, monkeypatch):
    """Parts of a run whose scene vanished after the third shard; the scene is back."""
    with monkeypatch.context() as patch:
        after_shard(patch, 2, lambda: Path("scene.tif").rename("hidden.tif"))
        result = embed("scene.tif", made / "tiny.safetensors")
    refused(result, errors.DamagedRaster, "scene.tif")
    assert len(finished(here)) >= 3
    Path("hidden.tif").rename("scene.tif")
    return here


def test_a_corrupt_block_is_named_with_its_file_and_rows(here, made):
    data = bytearray(Path("packed.tif").read_bytes())
    with rasterio.open("packed.tif") as file:
        at = int(file.get_tag_item("BLOCK_OFFSET_2_2", "TIFF", bidx=1))
    data[at : at + 200] = bytes(200)
    Path("packed.tif").write_bytes(data)
    line = refused(embed("packed.tif", made / "tiny.safetensors"), errors.DamagedRaster, "packed.tif")
    assert re.search(r"rows \d+ to \d+, columns \d+ to \d+", line)
    assert not Path("out.tif").exists()


def test_a_truncated_file_leaves_no_output(here, made):
    data = Path("scene.tif").read_bytes()
    Path("scene.tif").write_bytes(data[: len(data) // 2])
    refused(embed("scene.tif", made / "tiny.safetensors"), errors.DamagedRaster, "scene.tif")
    assert not Path("out.tif").exists()
    assert not Path(LOCK).exists()


def test_a_vanished_file_that_comes_back_is_gone_on_with(stopped, made):
    result = embed("scene.tif", made / "tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert "Continuing" in result.stderr
    assert equals(Path("out.tif"), made / "whole.tif")
    assert not (stopped / PARTS).exists()


def test_a_file_replaced_since_is_refused_and_overwritten_when_asked(stopped, made):
    sentinel2_scene(Path("scene.tif"), SIDE, SIDE, **BLOCKS, nodata=0)
    refused(embed("scene.tif", made / "tiny.safetensors"), errors.RunDiffers, "scene.tif", "--overwrite")
    assert embed("scene.tif", made / "tiny.safetensors", "out.tif", "--overwrite").exit_code == 0


def test_a_file_replaced_while_it_was_read_gives_no_output(here, made, monkeypatch):
    with monkeypatch.context() as patch:
        after_shard(patch, 2, lambda: os.utime("scene.tif", (1, 1)))
        result = embed("scene.tif", made / "tiny.safetensors")
    refused(result, errors.RunDiffers, "replaced during the run", "scene.tif")
    assert not Path("out.tif").exists()
    assert not (here / PARTS).exists()
    assert embed("scene.tif", made / "tiny.safetensors").exit_code == 0
    assert equals(Path("out.tif"), made / "whole.tif")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_takes_no_files_is_told_before_any_work(here, made):
    refused(embed("scene.tif", made / "tiny.safetensors", "/proc/out.tif"), errors.OutputUnwritable, "/proc/out.tif")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told_before_any_work(here, made):
    folder = here / "closed"
    folder.mkdir(mode=0o500)
    refused(embed("scene.tif", made / "tiny.safetensors", folder / "out.tif"), errors.OutputUnwritable, "out.tif")
    assert list(folder.iterdir()) == []


def test_a_disk_that_fills_up_keeps_shards_and_says_what_is_needed(here, made, monkeypatch):
    save, saved = np.save, []

    def saving(file, values):
        saved.append(1)
        if len(saved) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, values)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", saving)
        result = embed("scene.tif", made / "tiny.safetensors")
    refused(result, errors.NoSpace, "disk is full", "make room for")
    assert "2 finished shards are kept" in result.stderr
    assert embed("scene.tif", made / "tiny.safetensors").exit_code == 0
    assert equals(Path("out.tif"), made / "whole.tif")


def mounted(folder: Path, size: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return bool(shutil.which("mount")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(here):
    folder = here / "disk"
    folder.mkdir()
    if not mounted(folder, "2m"):
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_that_another_fills_is_gone_on_with_when_there_is_room(small_disk, made, monkeypatch):
    def fill() -> None:
        with (small_disk / "other").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    with monkeypatch.context() as patch:
        after_shard(patch, 1, fill)
        result = embed("scene.tif", made / "tiny.safetensors", small_disk / "out.tif")
    refused(result, errors.NoSpace, "disk is full", "make room for")
    assert not (small_disk / "out.tif").exists()
    (small_disk / "other").unlink()
    result = embed("scene.tif", made / "tiny.safetensors", small_disk / "out.tif")
    assert result.exit_code == 0, result.output
    assert equals(small_disk / "out.tif", made / "whole.tif")
    assert [path.name for path in small_disk.iterdir()] == ["out.tif"]


def test_a_disk_too_small_from_the_start_is_told_before_any_work(here, made, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    refused(embed("scene.tif", made / "tiny.safetensors"), errors.NoSpace, "needs")
    assert not Path(PARTS).exists()


def test_a_corrupt_part_is_said_and_done_again(stopped, made):
    part = next((stopped / PARTS).glob("*.npy"))
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    result = embed("scene.tif", made / "tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert "1 finished shard is damaged" in result.stderr
    assert equals(Path("out.tif"), made / "whole.tif")


@pytest.mark.parametrize("text", ['{"version": 999}', "{", "", "[]"])
def test_a_manifest_of_another_version_or_none_is_refused_and_overwritten_when_asked(stopped, made, text):
    (stopped / PARTS / "manifest.json").write_text(text)
    refused(embed("scene.tif", made / "tiny.safetensors"), errors.RunDiffers, "--overwrite")
    assert embed("scene.tif", made / "tiny.safetensors", "out.tif", "--overwrite").exit_code == 0
    assert equals(Path("out.tif"), made / "whole.tif")


def test_other_options_are_named(stopped, made):
    result = embed("scene.tif", made / "tiny.safetensors", "out.tif", "--overlap", "32")
    refused(result, errors.RunDiffers, "overlap", "0", "32")


def test_a_clock_that_jumped_back_does_not_stop_a_run(stopped, made):
    future = time.time() + 10 * 365 * 24 * 3600
    for path in (stopped / PARTS).iterdir():
        os.utime(path, (future, future))
    dead = {"host": os.uname().nodename, "pid": 2**22 + 1, "started": 1.0, "time": "2090-01-01T00:00:00+00:00"}
    Path(LOCK).write_text(json.dumps(dead))
    os.utime(LOCK, (future, future))
    result = embed("scene.tif", made / "tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert "Continuing" in result.stderr
    assert equals(Path("out.tif"), made / "whole.tif")


def test_a_scene_from_the_future_is_read_like_any_other(here, made):
    future = time.time() + 10 * 365 * 24 * 3600
    os.utime("scene.tif", (future, future))
    assert embed("scene.tif", made / "tiny.safetensors").exit_code == 0
    assert equals(Path("out.tif"), made / "whole.tif")


@pytest.fixture
def hasty(monkeypatch):
    """Few and short retries, so that tests do not wait."""
    for name, value in {"MAX_RETRY": 2, "RETRY_DELAY": 0.02, "LOW_SPEED_TIME": 1}.items():
        monkeypatch.setitem(source.GDAL_OPTIONS, f"GDAL_HTTP_{name}", value)


@pytest.mark.parametrize("name", ["scene.tif", "packed.tif"])
def test_a_server_that_fails_every_third_request_changes_nothing(here, made, hasty, name):
    with serving(made, lambda number: 503 if number % 3 == 0 else 0) as address:
        result = embed(f"{address}/{name}", made / "tiny.safetensors")
    assert result.exit_code == 0, result.output
    assert equals(Path("out.tif"), made / "whole.tif")


@pytest.mark.parametrize("status", [503, 404, HANG], ids=["503", "404", "silent"])
@pytest.mark.parametrize("name", ["scene.tif", "packed.tif"])
def test_a_server_that_stops_answering_ends_the_run(here, made, hasty, name, status):
    """With blocks that are not compressed, GDAL would give zeros for what it did not get."""
    with serving(made, lambda number: status if number > 4 else 0) as address:
        result = embed(f"{address}/{name}", made / "tiny.safetensors")
    refused(result, errors.DamagedRaster, f"{address}/{name}")
    assert not Path("out.tif").exists()
    assert not Path(LOCK).exists()


def test_an_address_that_is_not_there_is_told_before_any_work(here, made, hasty):
    with serving(made) as address:
        refused(embed(f"{address}/none.tif", made / "tiny.safetensors"), errors.SceneNotFound, "none.tif")


def test_too_little_memory_says_the_least(here, made):
    result = embed("scene.tif", made / "tiny.safetensors", "out.tif", "--memory-limit", "100MB")
    refused(result, errors.OptionError, "--memory-limit 0.1 GB", "at least")


def test_the_page_names_codes_as_they_are():
    rows = re.findall(r"\| `(\w+)` (\d+) \|", PAGE.read_text(encoding="utf-8"))
    assert len(rows) >= 10
    for name, code in rows:
        assert getattr(errors, name).exit_code == int(code), name
