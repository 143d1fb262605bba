"""What a run did, or would do, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dofa_cli.pipelines.inference.batching import HALVED
from dofa_cli.pipelines.inference.clock import stage_seconds
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.peak import peak_memory
from dofa_cli.pipelines.inference.provenance import rules
from dofa_cli.pipelines.inference.run import Run


@dataclass(frozen=True)
class Report:
    """What was, or with a dry run would be, done. Sizes in cells, bytes and seconds; ``rules`` has one entry a band.

    ``shard`` is the number of windows a side of a shard, ``kept_shards`` are those that an earlier, stopped run had
    finished; ``seconds`` counts them too. ``stages`` are seconds by stage, as :class:`~.clock.Clock` tells them, summed
    over the processes that ran shards; ``peak_memory_bytes`` is this process' peak since its start. ``accuracy``
    says how near a lowered precision comes to float32.
    """

    output: str
    written: bool
    level: str
    height: int
    width: int
    dimensions: int
    windows: int
    shard: int
    shards: int
    kept_shards: int
    seconds: float
    stages: dict[str, float]
    area_km2: float | None
    memory_bytes: int
    peak_memory_bytes: int | None
    output_bytes: int
    valid_share: float | None
    masked_share: float | None
    clipped_share: float | None
    precision: str
    backend: str
    accuracy: dict[str, float] | None
    sensor: str
    product: str
    rules: list[dict[str, Any]]
    standardised: list[dict[str, Any]]
    tags: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object; NaN becomes null."""
        return to_json(asdict(self))


def report_on(
    run: Run,
    seconds: float,
    *,
    written: bool,
    kept_shards: int = 0,
    counts: Mapping[str, float] | None = None,
    valid_share: float | None = None,
    clipped_share: float | None = None,
) -> Report:
    """Collect a run's report; shares are ``None`` where they do not apply, ``counts`` are sums over its shards."""
    costs, prepared = run.cost, run.prepared
    warnings = list(run.warnings)
    if valid_share == 0:
        warnings.append("the scene has no valid pixel; every cell of the output is nodata.")
    if counts and counts.get("halved"):
        warnings.append(HALVED)
    return Report(
        output=str(run.output),
        written=written,
        level=run.level.value,
        height=run.plan.grid.rows,
        width=run.plan.grid.cols,
        dimensions=run.encoder.dim,
        windows=run.plan.window_count,
        shard=run.plan.per_tile,
        shards=run.plan.tile_count,
        kept_shards=kept_shards,
        seconds=seconds,
        stages=stage_seconds(counts or {}),
        area_km2=costs.area_km2,
        memory_bytes=costs.memory,
        peak_memory_bytes=peak_memory() if written else None,
        output_bytes=costs.output,
        valid_share=valid_share,
        masked_share=prepared.masked_share,
        clipped_share=clipped_share,
        precision=run.encoder.precision.value,
        backend=run.encoder.backend.name.value,
        accuracy=asdict(run.accuracy) if run.accuracy else None,
        sensor=prepared.sensor.id,
        product=f"{prepared.product.id} ({prepared.product_how})",
        rules=rules(prepared),
        standardised=[{"band": c.norm.band, "mean": c.mean, "std": c.std} for c in prepared.checks],
        tags=run.tags,
        notes=prepared.notes,
        warnings=tuple(warnings),
    )
