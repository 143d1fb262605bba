"""A limit lowers tile and read-ahead before the batch, which follows an asked limit alone; the least is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.inference import memory
from dofa_cli.pipelines.inference.free_memory import Room, group_rooms, room
from dofa_cli.pipelines.inference.memory import Demand, Division, Fixed, divide, read_size, shown
from dofa_cli.raster.grid import CellGrid, plan_tiles

GB = 10**9
PLAN = plan_tiles(CellGrid(20000, 30000, 16), 14, 3, inward=True, per_tile=8)
DEMAND = Demand(PLAN, fixed=GB, window=50 * 10**6, cell=40_000, raw_cell=5_000)
USUAL = Division(per_tile=8, ahead=2, batch=16)
LEAST = DEMAND.total(Division(1, 0, 1))


@given(st.integers(LEAST, 4 * GB))
def test_a_limit_is_kept(limit):
    assert DEMAND.total(divide(DEMAND, USUAL, limit)) <= limit


@given(st.integers(LEAST, 4 * GB), st.integers(0, GB))
def test_more_memory_never_gives_less(limit, more):
    small, large = divide(DEMAND, USUAL, limit), divide(DEMAND, USUAL, limit + more)
    assert small.per_tile <= large.per_tile
    assert small.ahead <= large.ahead
    assert small.batch <= large.batch


def test_enough_memory_changes_nothing():
    assert divide(DEMAND, USUAL, DEMAND.total(USUAL)) == USUAL


def test_tiles_shrink_first_then_the_read_ahead_then_the_batch():
    asked = sorted({divide(DEMAND, USUAL, limit) for limit in range(LEAST, 3 * GB, 10**6)}, key=DEMAND.total)[::-1]
    assert [one.per_tile for one in asked if one.batch == 16] == [8, 6, 4, 2, 2, 2]
    assert [one.ahead for one in asked if one.batch == 16] == [2, 2, 2, 2, 1, 0]
    assert {(one.per_tile, one.ahead) for one in asked if one.batch < 16} == {(2, 0), (1, 0)}


def test_a_limit_below_the_least_says_the_least():
    with pytest.raises(OptionError, match=re.escape(shown(LEAST))) as refusal:
        divide(DEMAND, USUAL, LEAST - 1)
    assert "--memory-limit" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_was_asked_for_is_not_lowered():
    assert divide(DEMAND, USUAL, 2 * GB + 10**8, Fixed(tile=True)).per_tile == 8
    assert divide(DEMAND, USUAL, 2 * GB, Fixed(batch=True)).batch == 16
    with pytest.raises(OptionError, match="--batch-size"):
        divide(DEMAND, USUAL, int(1.5 * GB), Fixed(batch=True))


@pytest.mark.parametrize("total", [64 * GB, 4 * GB, GB // 2])
@pytest.mark.parametrize("free", [64 * GB, GB // 10])
def test_without_a_limit_no_machine_changes_the_batch(monkeypatch, total, free):
    monkeypatch.setattr(memory, "room", lambda: Room(total, free))
    assert divide(DEMAND, USUAL, None).batch == USUAL.batch


def test_without_a_limit_tiles_follow_the_machine_and_not_what_is_free_now(monkeypatch):
    tiles = {}
    for total in (64 * GB, 3200 * 10**6, GB):
        for free in (64 * GB, 2 * GB, GB // 10):
            monkeypatch.setattr(memory, "room", lambda total=total, free=free: Room(total, free))
            tiles.setdefault(total, set()).add(divide(DEMAND, USUAL, None).per_tile)
    assert all(len(found) == 1 for found in tiles.values())
    assert tiles == {64 * GB: {8}, 3200 * 10**6: {2}, GB: {1}}


def test_read_ahead_follows_what_is_free_now(monkeypatch):
    aheads = []
    for free in (64 * GB, DEMAND.total(Division(8, 1, 16)), GB):
        monkeypatch.setattr(memory, "room", lambda free=free: Room(64 * GB, free))
        aheads.append(divide(DEMAND, USUAL, None).ahead)
    assert aheads == [2, 1, 0]


def test_a_tile_never_counts_more_than_the_scene():
    small = Demand(plan_tiles(CellGrid(320, 480, 16), 14, 3, inward=True, per_tile=16), 0, 0, 1, 0)
    assert small.total(Division(16, 0, 1)) == 20 * 30


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * GB), ("1.5GiB", 3 * 2**29), ("800 MB", 8 * 10**8), ("1000000", 10**6), ("2g", 2 * GB)],
)
def test_sizes_as_people_write_them(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-4GB", "much", "4 potatoes", "nan", "0"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(OptionError, match="--memory-limit"):
        read_size(text)


def group(folder: Path, limit: str, used: int, reclaimable: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {reclaimable}\n")


def test_the_tightest_of_nested_control_groups_counts(tmp_path):
    own, mount = tmp_path / "cgroup", tmp_path / "mount"
    own.write_text("0::/batch/job\n")
    group(mount / "batch", "3000", 1000, 400)
    group(mount / "batch" / "job", "max", 10, 0)
    assert group_rooms(own, mount) == [Room(3000, 2400)]


def test_the_older_control_groups_are_read_too(tmp_path):
    own, mount = tmp_path / "cgroup", tmp_path / "mount"
    own.write_text("5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n")
    here = mount / "memory" / "docker" / "x"
    here.mkdir(parents=True)
    (here / "memory.limit_in_bytes").write_text("5000\n")
    (here / "memory.usage_in_bytes").write_text("2000\n")
    (here / "memory.stat").write_text("total_inactive_file 500\n")
    assert group_rooms(own, mount) == [Room(5000, 3500)]


def test_without_control_groups_the_machine_counts(tmp_path):
    assert group_rooms(tmp_path / "nowhere", tmp_path) == []
    found = room()
    assert 0 < found.free <= found.total
