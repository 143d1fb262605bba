"""Several heads on the same test labels: one table, and tests between those that have the same classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dofa_cli.assess.compare import Comparison, Duel, duels, side_by_side
from dofa_cli.assess.measured import Measured
from dofa_cli.errors import OptionError
from dofa_cli.pipelines.evaluation.evidence import Evidence
from dofa_cli.pipelines.mapping.apply_head import HeadFile


def names_of(files: Sequence[HeadFile]) -> list[str]:
    """Name heads after their files, with as many folders as it takes to tell them apart."""
    paths = [Path(file.path).resolve() for file in files]
    if len(set(paths)) < len(paths):
        raise OptionError("A head is named twice. Name each head once.")
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return [name.removesuffix(".pt") for name in names]


def check_comparable(files: Sequence[HeadFile]) -> None:
    """Raise :class:`OptionError` for heads of classes, several classes or numbers, of images or pixels, mixed."""
    kinds = {(file.head.classes is None, file.head.several, file.head.recipe.level) for file in files}
    if len(kinds) > 1:
        told = ", ".join(f"{file.path.name} ({file.head.task.value}, {file.head.recipe.level})" for file in files)
        raise OptionError(f"Heads of different kinds cannot be compared: {told}. Evaluate them one by one.")


def compare(evidence: Mapping[str, Evidence], measured: Mapping[str, Measured], seed: int) -> Comparison | None:
    """Return heads side by side, ``None`` for a single one."""
    if len(measured) < 2:
        return None
    found = [duel for pair in combinations(evidence, 2) for duel in _duel(pair, evidence, seed)]
    return Comparison(side_by_side(measured), tuple(found))


def plain(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON holds it."""
    table = comparison.table
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {"table": rows, "duels": [asdict(duel) for duel in comparison.duels]}


def _duel(pair: tuple[str, str], evidence: Mapping[str, Evidence], seed: int) -> tuple[Duel, ...]:
    """Test two heads against each other where both have one class a sample, of the same names."""
    one, other = (evidence[name] for name in pair)
    if (
        one.classes is None
        or other.classes is None
        or one.file.head.several
        or one.classes.names != other.classes.names
    ):
        return ()
    _, mine, its = np.intersect1d(one.samples.key, other.samples.key, assume_unique=True, return_indices=True)
    block = None if one.samples.block is None else one.samples.block[mine]
    predictions = {pair[0]: one.samples.predicted[mine], pair[1]: other.samples.predicted[its]}
    return duels(one.samples.reference[mine], predictions, blocks=block, seed=seed)
