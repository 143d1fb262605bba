"""Everything about one run that is settled before the first window is inferred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import Precision, choose_batch
from dofa_cli.pipelines.inference.backends.accuracy import Accuracy, accuracy_of
from dofa_cli.pipelines.inference.backends.drawn import draw_windows
from dofa_cli.pipelines.inference.backends.opening import encoder_for
from dofa_cli.pipelines.inference.encoder import (
    CellModel,
    Encoder,
    TokenNorm,
    Weights,
    about_default,
    open_weights,
)
from dofa_cli.pipelines.inference.memory import Demand, Division, Fixed, divide
from dofa_cli.pipelines.inference.plan import (
    Cost,
    GridOptions,
    check_grid_options,
    cost,
    demand,
    lay_out,
    windows_per_tile,
)
from dofa_cli.pipelines.inference.provenance import provenance
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.stream import TileStream
from dofa_cli.pipelines.scenes.prepare import Described, Learnt, Prepared, SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.area import crop_to_area
from dofa_cli.raster.grid import TilePlan
from dofa_cli.raster.reader import AHEAD

Say = Callable[[str], object]
"""Receives notes and warnings, one line each."""


class Level(StrEnum):
    """What one embedding stands for."""

    PATCH = "patch"
    WINDOW = "window"
    SCENE = "scene"

    @property
    def suffix(self) -> str:
        """File name ending of the output."""
        return ".tif" if self is Level.PATCH else ".parquet"


@dataclass(frozen=True)
class ModelOptions:
    """Which network, and how it computes; fields are the command line's options of the same names, memory in bytes."""

    weights: str | None = None
    trust_weights: bool = False
    token_norm: TokenNorm = TokenNorm.TRAINED
    device: str = "auto"
    precision: Precision = Precision.AUTO
    batch_size: int | None = None
    memory_limit: int | None = None
    backend: BackendName = BackendName.AUTO


@dataclass(frozen=True)
class Request:
    """What a user asks for."""

    paths: tuple[str, ...]
    output: Path
    level: Level
    dtype: OutputDtype
    aoi: str | Path | None
    scene: SceneOptions
    model: ModelOptions
    grid: GridOptions

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths that the run reads."""
        others = (self.aoi, self.scene.masks.file, self.model.weights)
        return (*self.paths, *(str(one) for one in others if one))


@dataclass(frozen=True)
class Run:
    """Scene, network, windows and output of one run.

    ``batch`` is the number of windows a forward, ``ahead`` that of tiles read before they are needed, ``cell_values``
    what results hold a cell (by default a token), ``accuracy`` how near a lowered precision comes to float32.
    """

    prepared: Prepared
    weights: Weights
    encoder: Encoder
    plan: TilePlan
    batch: int
    level: Level
    dtype: OutputDtype
    min_valid: float
    output: Path
    ahead: int = AHEAD
    cell_values: int | None = None
    accuracy: Accuracy | None = None

    @property
    def cost(self) -> Cost:
        """What the run will take."""
        needs = _demand(self.prepared, self.plan, self.encoder, self.cell_values)
        memory = needs.total(Division(self.plan.per_tile, self.ahead, self.batch))
        return cost(self.prepared.scene, self.plan, self.encoder.dim, self.dtype, memory)

    @property
    def tags(self) -> dict[str, str]:
        """Provenance of the output."""
        tags = provenance(
            self.prepared, self.weights, self.encoder, self.plan, min_valid=self.min_valid, level=self.level.value
        )
        return tags | ({"float32_cosine": f"{self.accuracy.cosine:.5f}"} if self.accuracy else {})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong with scene or precision."""
        own = self.accuracy.warning if self.accuracy else None
        return (*self.prepared.warnings, *([own] if own else []))

    def stream(
        self,
        on_windows: Callable[[int], object] = lambda _: None,
        batch: int | None = None,
        model: CellModel | None = None,
    ) -> TileStream:
        """Return a stream of the scene through the network, or a head on it, in batches of ``batch`` or the run's."""
        return TileStream(
            self.prepared.scene,
            self.plan,
            Standardiser(self.prepared.norms, self.encoder.device, reuse=True),
            model or self.encoder,
            batch=batch or self.batch,
            min_valid=self.min_valid,
            ahead=self.ahead,
            on_windows=on_windows,
        )


def settle(request: Request, say: Say) -> Run:
    """Open scene and weights, lay out the windows, and tell the user what was found; nothing is inferred yet."""
    described = describe(request.paths, request.scene)
    if request.model.weights is None:
        say(about_default())
    weights = open_weights(request.model.weights, trusted=request.model.trust_weights)
    run = settle_windows(request, weights, settle_scene(request, described, weights.config, say))
    tell_outside(run, say)
    tell_accuracy(run, say)
    return run


def tell_outside(run: Run, say: Say) -> None:
    """Say how many shards the area of interest leaves out; nothing of them is read."""
    scene, plan = run.prepared.scene, run.plan
    outside = sum(not scene.touches_area(plan.grid.pixels(tile.core)) for tile in plan.tiles()) if scene.area else 0
    if outside:
        say(f"{outside} of {plan.tile_count} shards lie outside the area of interest and cost nothing.")


def tell_accuracy(run: Run, say: Say) -> None:
    """Warn where the precision costs much."""
    if run.accuracy is not None and run.accuracy.warning is not None:
        say(f"Warning: {run.accuracy.warning}")


def settle_scene(
    request: Request, described: Described, config: DofaConfig, say: Say, learnt: Learnt | None = None
) -> Prepared:
    """Settle a scene's bands and rules for a network, cut it to the area of interest, and tell the user."""
    check_grid_options(request.grid, config.patch_size)
    prepared = prepare_scene(described, request.scene, config.family, learnt)
    if request.aoi is not None:
        prepared = prepared.on(crop_to_area(prepared.scene, request.aoi, config.patch_size, request.grid.zoom))
    for line in (*prepared.notes, *(f"Warning: {warning}" for warning in prepared.warnings)):
        say(line)
    return prepared


def settle_windows(request: Request, weights: Weights, prepared: Prepared, cell_values: int | None = None) -> Run:
    """Lay windows over a settled scene, open the weights for its wavelengths, and divide the memory there is.

    ``cell_values`` is what results hold a cell, where a head makes something else of tokens.
    """
    whole = request.level is not Level.PATCH
    plan = lay_out(prepared.scene, weights.config, request.grid, whole_windows=whole, cell_values=cell_values)
    draw = partial(draw_windows, prepared, plan)
    encoder = encoder_for(
        weights,
        prepared.wavelengths_um,
        request.model,
        side=plan.window * plan.grid.patch,
        windows=plan.window_count,
        draw=draw,
    )
    needs = _demand(prepared, plan, encoder, cell_values)
    usual = Division(plan.per_tile, AHEAD, _batch(request, plan, encoder, prepared, cell_values))
    fixed = Fixed(tile=request.grid.shard is not None, batch=request.model.batch_size is not None)
    division = divide(needs, usual, request.model.memory_limit, fixed)
    return Run(
        prepared=prepared,
        weights=weights,
        encoder=encoder,
        plan=replace(plan, per_tile=division.per_tile),
        batch=division.batch,
        level=request.level,
        dtype=request.dtype,
        min_valid=request.grid.min_valid,
        output=request.output,
        ahead=division.ahead,
        cell_values=cell_values,
        accuracy=accuracy_of(encoder, weights, draw, division.batch),
    )


def _demand(prepared: Prepared, plan: TilePlan, encoder: Encoder, cell_values: int | None) -> Demand:
    """Return what takes the machine's memory; that of a graphics card is its own, and a batch too large is halved."""
    needs = demand(prepared.scene, plan, encoder.model.config, cell_values)
    return needs if encoder.device.type == "cpu" else replace(needs, window=0)


def _batch(request: Request, plan: TilePlan, encoder: Encoder, prepared: Prepared, cell_values: int | None) -> int:
    """Return windows a forward: what was asked for, else what suits the device and fills from one tile.

    ``--shard`` plays no part, since results may depend on the batch's shape but never on the shard.
    """
    bands = len(prepared.norms)
    usual = windows_per_tile(encoder.model.config, bands, plan.window, plan.overlap, cell_values) ** 2
    return min(request.model.batch_size or min(choose_batch(encoder.device), usual), plan.window_count)
