"""What a mapping run did, or would do, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dofa_cli.heads.head import Head
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.peak import peak_memory
from dofa_cli.pipelines.mapping.files import MapFiles, Tally
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.source import Grid

SQUARE_METRES_A_HECTARE = 1e4


@dataclass(frozen=True)
class MapFacts:
    """What is known of a map before it is made. Sizes in bytes; ``rules`` has one entry a band.

    ``shard`` is the number of windows a side of a shard, 0 where stored embeddings are mapped.
    """

    windows: int
    shard: int
    shards: int
    area_km2: float | None
    memory_bytes: int
    output_bytes: int
    masked_share: float | None
    sensor: str
    product: str
    rules: list[dict[str, Any]]
    standardised: list[dict[str, Any]]
    tags: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class MapReport:
    """What was, or with a dry run would be, mapped.

    ``files`` are paths by what they hold. ``classes`` has value, name, pixels and hectares of each class (by the pixel
    at the scene's centre), ``numbers`` the mean and range of a predicted number; both are ``None`` where they do not
    apply, and counts are ``None`` before the map is made. ``valid_share`` is the share of pixels with a value.
    ``kept_shards`` are those that an earlier, stopped run had finished; ``seconds`` counts them too. ``stages`` and
    ``peak_memory_bytes`` are as in :class:`~dofa_cli.pipelines.inference.report.Report`.
    """

    output: str
    files: dict[str, str]
    written: bool
    task: str
    method: str
    height: int
    width: int
    seconds: float
    stages: dict[str, float]
    peak_memory_bytes: int | None
    kept_shards: int
    valid_share: float | None
    classes: list[dict[str, Any]] | None
    numbers: dict[str, Any] | None
    facts: MapFacts

    def to_json(self) -> str:
        """Return one flat JSON object; NaN becomes null."""
        own = asdict(self)
        return to_json(own | own.pop("facts"))


def map_report(
    head: Head,
    files: MapFiles,
    grid: Grid,
    facts: MapFacts,
    *,
    seconds: float,
    tally: Tally | None,
    kept_shards: int = 0,
    stages: Mapping[str, float] | None = None,
) -> MapReport:
    """Collect a run's report; without a ``tally`` nothing was written."""
    pixels = None if tally is None else int(tally.pixels.sum())
    return MapReport(
        output=str(files.map),
        files={name: str(path) for name, path in files},
        written=tally is not None,
        task=head.task.value,
        method=head.method.value,
        height=grid.height,
        width=grid.width,
        seconds=seconds,
        stages=dict(stages or {}),
        peak_memory_bytes=None if tally is None else peak_memory(),
        kept_shards=kept_shards,
        valid_share=None if pixels is None else pixels / (grid.height * grid.width),
        classes=_classes(head, grid, tally),
        numbers=_numbers(head, tally),
        facts=facts,
    )


def _classes(head: Head, grid: Grid, tally: Tally | None) -> list[dict[str, Any]] | None:
    if head.classes is None:
        return None
    pixel = ground_pixel(grid)
    hectares = None if pixel is None else pixel.height * pixel.width / SQUARE_METRES_A_HECTARE
    counts = [None] * len(head.classes) if tally is None else tally.pixels.tolist()
    return [
        {
            "value": value,
            "name": name,
            "pixels": count,
            "hectares": None if hectares is None or count is None else count * hectares,
        }
        for value, name, count in zip(head.classes.values, head.classes.names, counts, strict=True)
    ]


def _numbers(head: Head, tally: Tally | None) -> dict[str, Any] | None:
    if head.target is None:
        return None
    named: dict[str, Any] = {"name": head.target.name, "unit": head.target.unit}
    if tally is None or not tally.pixels.sum():
        return named
    return named | {"mean": tally.total / int(tally.pixels.sum()), "least": tally.least, "most": tally.most}
