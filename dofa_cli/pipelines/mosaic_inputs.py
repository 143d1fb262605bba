"""The inputs of a mosaic: listed, compared, and reduced to what a mosaic needs of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import NotAResult, OptionError
from dofa_cli.pipelines.many.listing import Listing
from dofa_cli.pipelines.scenes.results import MARK
from dofa_cli.raster.mosaic import Facts, Sheet, read_facts

OF_ONE_SCENE = ("scene_px", "lead_px", "source", "datetime", "quantization", "masked", "AREA_OR_POINT")
"""Tags that no longer hold for a mosaic, even where all inputs agree."""
SHOWN_DIGITS = 12
LONGEST = 60
_OF_EMBEDDINGS = ("weights_sha256", "token_norm", "patch_px", "zoom")
"""Tags that embeddings must share to be vectors of one space, on cells of one meaning."""
_TOLD = ("head_sha256", "sensor", "bands", "normalization", "window_px", "overlap_px")
"""Tags in which inputs may differ, and the user is told."""


@dataclass(frozen=True)
class Survey:
    """What inputs have in common. ``tags`` are those of all; ``differing`` names tags that are not shared.

    ``same_codes`` says that 8-bit values mean the same in all; else each sheet has scales and offsets of its own.
    """

    first: Facts
    sheets: tuple[Sheet, ...]
    tags: dict[str, str]
    differing: tuple[str, ...]
    same_codes: bool

    @property
    def decoded(self) -> tuple[Sheet, ...]:
        """The sheets with what turns their codes into numbers."""
        scales, offsets = _numbers(self.first.scales), _numbers(self.first.offsets)
        return tuple(
            sheet if sheet.scales is not None else replace(sheet, scales=scales, offsets=offsets)
            for sheet in self.sheets
        )


def list_inputs(inputs: Sequence[str], output: Path) -> Iterator[str]:
    """Yield the paths that files, folders, patterns and lists mean, each once; the output itself is none."""
    for item in Listing(tuple(inputs)):
        for path in item.paths:
            if "://" in path or Path(path).absolute() != output.absolute():
                yield path


def survey(paths: Iterable[str]) -> Survey:
    """Read all headers and compare them with the first.

    Raises :class:`NotAResult` for rasters that this program did not write, :class:`OptionError` naming both for two
    that do not belong in one raster.
    """
    first: Facts | None = None
    kind: dict[str, Any] = {}
    tags: dict[str, str] = {}
    sheets: list[Sheet] = []
    differing: dict[str, None] = {}
    for path in paths:
        facts = _result(path)
        if first is None:
            first, kind, tags = facts, _kind(facts), dict(facts.tags)
        _check_alike(first, kind, facts)
        sheets.append(_sheet(facts, first))
        differing |= {name: None for name in _TOLD if facts.tags.get(name) != first.tags.get(name)}
        tags = {name: value for name, value in tags.items() if facts.tags.get(name) == value}
    if first is None:
        raise OptionError("No raster to make a mosaic of.")
    shared = {name: value for name, value in tags.items() if name not in OF_ONE_SCENE}
    same = all(sheet.scales is None for sheet in sheets)
    return Survey(first, tuple(sheets), shared, tuple(differing), same)


def _result(path: str) -> Facts:
    facts = read_facts(path)
    if MARK not in facts.tags:
        raise NotAResult(f"{path} was not written by dofa. For rasters of any other origin use gdalbuildvrt.")
    return facts


def _sheet(facts: Facts, first: Facts) -> Sheet:
    """Keep little of each of thousands of files: one CRS for all, codes only where they are other than the first's."""
    grid = replace(facts.grid, crs=first.grid.crs) if facts.grid.crs == first.grid.crs else facts.grid
    if (facts.scales, facts.offsets) == (first.scales, first.offsets):
        return Sheet(facts.path, grid)
    return Sheet(facts.path, grid, scales=_numbers(facts.scales), offsets=_numbers(facts.offsets))


def _numbers(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def _kind(facts: Facts) -> dict[str, Any]:
    """Return what must agree, in the words of the message."""
    tags, level = facts.tags, facts.tags.get("level", "")
    found: dict[str, Any] = {
        "level": level,
        "bands": facts.bands,
        "type": facts.dtype,
        "nodata": str(facts.nodata),
        "names of bands": facts.descriptions,
        "unit": facts.unit,
        "classes": tags.get("classes"),
    }
    if level == "patch":
        found |= {name: tags.get(name) for name in _OF_EMBEDDINGS}
    return found


def _check_alike(first: Facts, kind: Mapping[str, Any], facts: Facts) -> None:
    other = _kind(facts)
    for name, wanted in kind.items():
        if other.get(name) != wanted:
            raise OptionError(
                f"{first.path} and {facts.path} do not belong in one mosaic: {name} "
                f"{_shown(name, wanted, first)} and {_shown(name, other.get(name), facts)}."
            )


def _shown(name: str, value: Any, facts: Facts) -> str:
    if name == "weights_sha256":
        return f"{facts.tags.get('weights')} ({str(value)[:SHOWN_DIGITS]}…)"
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
