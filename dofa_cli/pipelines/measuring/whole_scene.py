"""A whole scene from file to file: how fast, in how much memory, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from shapely import Polygon

from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.clock import BEHIND
from dofa_cli.pipelines.inference.peak import forget_peak
from dofa_cli.pipelines.inference.report import Report
from dofa_cli.pipelines.inference.run import Request, Run
from dofa_cli.pipelines.inference.shards import TileWork
from dofa_cli.pipelines.measuring.timing import synchroniser
from dofa_cli.pipelines.shards.execute import Executor, InProcess
from dofa_cli.pipelines.shards.store import Finished, PartStore
from dofa_cli.pipelines.shards.work import Recipe, ShardWork
from dofa_cli.raster.grid import TilePlan
from dofa_cli.raster.scene import Scene

OTHER = "other"
"""What is done once: headers, the sample for the statistics, the last renaming."""


@dataclass(frozen=True)
class SceneRates:
    """What `dofa embed` took for a scene: sizes in pixels and bytes, rates a second of the whole run.

    ``stages`` are seconds as :class:`~dofa_cli.pipelines.inference.clock.Clock` tells them. ``shares`` are those of the
    run's time, which add up to 1: the reading thread's time is not among them, since it passes beside the others.
    ``ready_seconds`` went by before, until the network had run its first batch, compiled or converted where it is;
    ``cores_busy`` is the number of cores that computed, on average.
    """

    what: str
    height: int
    width: int
    bands: int
    windows: int
    ready_seconds: float
    seconds: float
    windows_s: float
    km2_s: float | None
    mpixel_s: float
    mb_s_in: float
    mb_s_out: float
    cores_busy: float
    peak_memory_bytes: int | None
    device_peak_bytes: int | None
    stages: dict[str, float]
    shares: dict[str, float]


class Watched(InProcess):
    """Runs shards in this process; the clock waits for the device, so that each stage gets its own time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def run(
        self,
        recipe: Recipe,
        work: ShardWork,
        numbers: Sequence[int],
        store: PartStore,
        on_done: Callable[[Finished], object],
    ) -> None:
        """Run ``work`` itself."""
        if isinstance(work, TileWork):
            work.synchronise = synchroniser(self.device)
        super().run(recipe, work, numbers, store, on_done)


def scene_rates(what: str, run: Run, request: Request) -> SceneRates:
    """Embed the scene of a request, which was settled as ``run``, and measure it.

    The network is warmed up before, as a second start finds it.
    """
    device, scene = run.encoder.device, run.prepared.scene
    ready = _warm_up(run)
    forget_peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    computed = time.process_time()
    report = _embedded(request, Watched(device))
    busy = (time.process_time() - computed) / report.seconds
    pixels = scene.height * scene.width
    return SceneRates(
        what=what,
        height=scene.height,
        width=scene.width,
        bands=len(scene.bands),
        windows=report.windows,
        ready_seconds=ready,
        seconds=report.seconds,
        windows_s=report.windows / report.seconds,
        km2_s=None if report.area_km2 is None else report.area_km2 / report.seconds,
        mpixel_s=pixels / report.seconds / 1e6,
        mb_s_in=pixels * len(scene.bands) * scene.pixels.dtype.itemsize / report.seconds / 1e6,
        mb_s_out=report.output_bytes / report.seconds / 1e6,
        cores_busy=busy,
        peak_memory_bytes=report.peak_memory_bytes,
        device_peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        stages=report.stages,
        shares=_shares(report),
    )


def _embedded(request: Request, executor: Executor) -> Report:
    scene, model = request.scene, request.model
    return embed(
        request.paths,
        request.output,
        weights=model.weights,
        sensor=scene.sensor,
        wavelengths=scene.wavelengths,
        bands=scene.bands,
        normalize=scene.normalize,
        aoi=request.aoi,
        trust_weights=model.trust_weights,
        device=model.device,
        precision=model.precision,
        backend=model.backend,
        batch_size=model.batch_size,
        overwrite=True,
        executor=executor,
    )


def _warm_up(run: Run) -> float:
    """Run one batch; return its seconds."""
    device, side = run.encoder.device, run.plan.window * run.plan.grid.patch
    started = time.perf_counter()
    run.encoder.tokens(torch.zeros(run.batch, len(run.prepared.norms), side, side, device=device))
    synchroniser(device)()
    return time.perf_counter() - started


def _shares(report: Report) -> dict[str, float]:
    told = {name: seconds for name, seconds in report.stages.items() if name != BEHIND}
    total = max(report.seconds, sum(told.values()))
    shares = {name: seconds / total for name, seconds in told.items()}
    return shares | {OTHER: 1 - sum(shares.values())}


def middle(scene: Scene, plan: TilePlan, windows: int, path: Path) -> Path | None:
    """Write the area in the middle of a scene that holds about ``windows`` windows; ``None`` where that is all of it.

    0 windows stand for the whole scene.
    """
    if not windows or plan.window_count <= windows:
        return None
    import geopandas as gpd  # slow to import

    patch, zoom = plan.grid.patch, plan.grid.zoom
    cells = (ceil(windows**0.5) - 1) * (plan.window - plan.overlap) + plan.window
    side = cells * patch // zoom
    height, width = min(side, scene.height), min(side, scene.width)
    top, left = ((size - part) // 2 // patch * patch for size, part in ((scene.height, height), (scene.width, width)))
    corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
    area = Polygon([scene.grid.transform @ corner for corner in corners])
    gpd.GeoDataFrame(geometry=[area], crs=scene.grid.crs).to_file(path)
    return path
