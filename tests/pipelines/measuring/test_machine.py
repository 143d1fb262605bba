"""What is told of a machine: its parts, how fast it copies and decodes, and how seconds are taken."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rasterio
import torch

from dofa_cli.errors import DamagedRaster
from dofa_cli.pipelines.measuring import machine
from dofa_cli.pipelines.measuring.copying import copy_rates
from dofa_cli.pipelines.measuring.decoding import codec_rates, file_rates
from dofa_cli.pipelines.measuring.machine import others_measured, this_machine
from dofa_cli.pipelines.measuring.timing import measured, side_by_side
from dofa_cli.raster.scene import read_headers

CPU = torch.device("cpu")


def test_a_machine_without_a_card_tells_of_none():
    found = this_machine(CPU)
    assert found.processor
    assert 0 < found.cores <= os.cpu_count()
    assert found.memory > 2**28
    assert (found.device, found.driver, found.device_memory) == ("cpu", None, None)
    assert found.versions["gdal"] == rasterio.__gdal_version__
    assert found.versions["torch"] == torch.__version__


def test_seconds_are_those_of_a_call():
    found = measured(lambda: time.sleep(0.02), CPU, budget=0.05)
    assert 0.02 <= found.best <= found.median < 0.5


def test_calls_too_short_for_a_clock_are_counted_many_at_once():
    assert 0 < measured(lambda: None, CPU, budget=0.01).best < 1e-3


def test_what_is_measured_side_by_side_takes_turns():
    order = []
    side_by_side([lambda: (order.append("a"), time.sleep(0.02)), lambda: order.append("b")], CPU, budget=0.001)
    assert order[:2] == ["a", "b"]
    rounds = "".join(order).split("a")
    assert len(rounds) > 4
    assert len({len(one) for one in rounds[3:]}) == 1


def test_copies_have_a_rate():
    rows = copy_rates(CPU, budget=0.001, nbytes=2**20)
    assert [row.what for row in rows] == ["memory"]
    assert rows[0].gb_s > 0


def test_every_codec_is_decoded_by_every_number_of_threads(tmp_path):
    rows = codec_rates(tmp_path, (1, 2), budget=0.001, side=64)
    assert {(row.what.split(", ")[1], row.threads) for row in rows} == {
        (codec, threads) for codec in ("none", "deflate", "zstd") for threads in (1, 2)
    }
    assert min(row.mb_s for row in rows) > 0


def test_files_of_a_scene_are_decoded(tif, scene_values):
    paths = [tif("a.tif", scene_values[:2]), tif("b.tif", scene_values[2:])]
    bands = [band for header in read_headers(paths) for band in header.bands]
    (row,) = file_rates(bands, (2,), budget=0.001)
    assert (row.what, row.threads) == ("the scene's files", 2)
    assert row.mb_s > 0


def test_a_file_that_cannot_be_decoded_is_named(tif, scene_values):
    path = tif("a.tif", scene_values, compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    bands = read_headers([path])[0].bands
    with Path(path).open("r+b") as file:
        file.truncate(Path(path).stat().st_size // 2)
    with pytest.raises(DamagedRaster, match=r"a\.tif"):
        file_rates(bands, (1,), budget=0.001)


def test_what_other_programs_take_is_told_apart_from_our_own():
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with others_measured() as others:
            time.sleep(0.5)
    finally:
        other.kill()
        other.wait()
    assert 0.1 / os.cpu_count() < others.share <= 1.05


def test_our_own_work_is_nobody_elses(monkeypatch):
    seconds = {"busy": 50.0, "own": 7.0}
    monkeypatch.setattr(machine, "_busy_seconds", lambda: seconds["busy"])
    monkeypatch.setattr(machine.time, "process_time", lambda: seconds["own"])
    with others_measured() as others:
        seconds["busy"], seconds["own"] = 53.0, 10.0
    assert others.share == 0
