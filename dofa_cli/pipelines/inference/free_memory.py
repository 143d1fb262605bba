"""What memory there is: the machine's, or that of the control group that a container or a batch job runs in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

OWN_GROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class GroupFiles:
    """Names of a control group's files: limit and use in bytes, and what of its statistics can be given back."""

    limit: str
    used: str
    reclaimable: str


VERSION_2 = GroupFiles("memory.max", "memory.current", "inactive_file")
VERSION_1 = GroupFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@dataclass(frozen=True)
class Room:
    """Bytes that a process may have in all, and those that it can have now without swapping."""

    total: int
    free: int


def room() -> Room:
    """Return the machine's memory, or less where a control group says so."""
    machine = psutil.virtual_memory()
    rooms = [Room(machine.total, machine.available), *group_rooms()]
    return Room(min(one.total for one in rooms), max(0, min(one.free for one in rooms)))


def group_rooms(own: Path = OWN_GROUPS, mount: Path = MOUNT) -> list[Room]:
    """Return what this process' control groups and those above them allow; nothing where there are none."""
    found = [_room(folder, files) for folder, files in _folders(own, mount)]
    return [one for one in found if one is not None]


def _folders(own: Path, mount: Path) -> Iterator[tuple[Path, GroupFiles]]:
    """Yield each group's folder, from a process' own up to the root, in both versions of the kernel's interface."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, files = (mount / "memory", VERSION_1) if controllers else (mount, VERSION_2)
        folder = top / path.lstrip("/")
        yield from ((one, files) for one in (folder, *folder.parents) if one.is_relative_to(top))


def _room(folder: Path, files: GroupFiles) -> Room | None:
    """Return what a group allows, ``None`` where it has no limit (a word, in the older version a huge number)."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in (files.limit, files.used))
        pairs = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
    except OSError:
        return None
    if not limit.isdigit():
        return None
    reclaimable = {name: int(count) for name, count in pairs}.get(files.reclaimable, 0)
    return Room(int(limit), int(limit) - int(used) + reclaimable)
