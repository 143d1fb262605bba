"""The samples of a data set as a table that training reads."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dofa_cli.raster.writer import explained, working_file

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Row:
    """One image, its class, classes (joined by ``|``) or label raster, and its part of the split (empty: none yet)."""

    image: str
    label: str
    split: str


def with_splits(rows: Sequence[Row], shares: Sequence[float], seed: int, *, by_label: bool) -> list[Row]:
    """Deal rows without a split to train, validation and test at random, class by class where ``by_label``."""
    if all(row.split for row in rows):
        return list(rows)
    groups: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(row.label if by_label else "", []).append(at)
    rng, parts = np.random.default_rng(seed), [""] * len(rows)
    for members in groups.values():
        order = rng.permutation(members)
        edges = np.round(np.cumsum([0, *shares]) * len(order)).astype(int)
        for part, first, last in zip(PARTS, edges[:-1], edges[1:], strict=True):
            for at in order[first:last]:
                parts[at] = part
    return [Row(row.image, row.label, part or PARTS[0]) for row, part in zip(rows, parts, strict=True)]


def limited(rows: Iterable[Row], most: int | None, seed: int) -> list[Row]:
    """Keep at most ``most`` rows of each part, chosen at random, labels in turn."""
    kept = list(rows)
    if most is None:
        return kept
    order = np.random.default_rng(seed).permutation(len(kept)).tolist()
    seen: Counter[tuple[str, str]] = Counter()
    turns: dict[int, int] = {}
    for at in order:
        place = kept[at].split, kept[at].label
        turns[at] = seen[place]
        seen[place] += 1
    chosen = [
        at
        for part in PARTS
        for at in sorted((at for at in order if kept[at].split == part), key=turns.__getitem__)[:most]
    ]
    return [kept[at] for at in sorted(chosen)]


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """Return the number of rows in each part."""
    found = Counter(row.split for row in rows)
    return {part: found[part] for part in PARTS}


def write_rows(path: Path, rows: Iterable[Row], sensor: str) -> None:
    """Write the table: ``image``, ``label``, ``sensor`` and ``split``, paths absolute."""
    with working_file(path) as working, explained(path), working.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "label", "sensor", "split"))
        table.writerows((str(Path(row.image).resolve()), row.label, sensor, row.split) for row in rows)
