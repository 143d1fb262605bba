"""Several inputs of a place settled for a head: each with its own rules and encoder, all on one plan of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from dofa_cli.heads.head import InputRecipe
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import choose_batch
from dofa_cli.pipelines.inference.backends.accuracy import accuracy_of
from dofa_cli.pipelines.inference.backends.drawn import draw_windows
from dofa_cli.pipelines.inference.backends.opening import encoder_for
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.inference.memory import Demand, Division, Fixed, divide
from dofa_cli.pipelines.inference.plan import FLOAT_BYTES, PROCESS_BYTES, demand, lay_out, windows_per_tile
from dofa_cli.pipelines.inference.run import Request, Run, Say, tell_accuracy, tell_outside
from dofa_cli.pipelines.inputs.matching import match_inputs
from dofa_cli.pipelines.inputs.named import Input
from dofa_cli.pipelines.inputs.options import options_of
from dofa_cli.pipelines.inputs.places import one_place
from dofa_cli.pipelines.mapping.apply_head import HeadFile, head_weights, prepare_for, rezoomed, scene_options
from dofa_cli.pipelines.scenes.prepare import Prepared, describe
from dofa_cli.raster.grid import TilePlan
from dofa_cli.raster.reader import AHEAD, CACHE_BYTES
from dofa_cli.raster.scene import Scene
from dofa_cli.raster.source import Grid


@dataclass(frozen=True)
class JoinedRun:
    """The inputs of a place on their way to a head: a run for each of the head's inputs, ``None`` for missing ones.

    All runs share pixels and plan. ``memory`` is what they take together, in bytes (an estimate); ``warnings`` are of
    all of them.
    """

    runs: tuple[Run | None, ...]
    memory: int
    warnings: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[Run, ...]:
        """The runs of inputs that are there."""
        return tuple(run for run in self.runs if run is not None)

    @property
    def plan(self) -> TilePlan:
        """The windows and tiles that all share."""
        return self.given[0].plan


def settle_inputs(file: HeadFile, request: Request, inputs: Sequence[Input], say: Say) -> JoinedRun:
    """Open weights and inputs for a head, bring the inputs onto the first one's pixels, and lay out the windows.

    Raises :class:`~dofa_cli.errors.GridError` for inputs that lie apart, what
    :func:`~dofa_cli.pipelines.inputs.matching.match_inputs` raises, and what a single scene does.
    """
    slots = match_inputs(file, inputs)
    place = one_place(inputs, request.scene)
    options = options_of(inputs, request.scene, place.grid.crs)
    weights = head_weights(file, request.model.weights)
    prepared: list[Prepared | None] = []
    for own, one in zip(file.head.recipe.inputs, slots, strict=True):
        if one is None:
            prepared.append(None)
            continue
        asked = replace(request, paths=one.paths, scene=options[one])
        prepared.append(_prepared(file, own, asked, weights, say, grid=place.grid))
    warnings = tuple(rezoomed(file.head, request))
    for warning in warnings:
        say(f"Warning: {warning}")
    run = replace(_laid_out(request, weights, prepared), warnings=warnings)
    tell_outside(run.given[0], say)
    for own, settled in zip(file.head.recipe.inputs, run.runs, strict=True):
        if settled is not None:
            tell_accuracy(settled, said_of(own.name, say))
    return run


def _prepared(
    file: HeadFile, own: InputRecipe, request: Request, weights: Weights, say: Say, *, grid: Grid
) -> Prepared:
    """Settle one input of a place by the head's rules for it, on the place's pixels."""
    view = replace(file, head=replace(file.head, recipe=file.head.recipe.of(own)))
    asked = replace(request, scene=scene_options(view, request.scene, request.paths))
    described = describe(asked.paths, asked.scene)
    return prepare_for(view.head, asked, described, weights.config, said_of(own.name, say), onto=grid)


def said_of(name: str, say: Say) -> Say:
    """Return what passes notes and warnings on with the name of the input that they are about."""

    def told(line: str) -> None:
        start = "Warning: " if line.startswith("Warning: ") else ""
        say(f"{start}{name}: {line.removeprefix(start)}")

    return told


def _laid_out(request: Request, weights: Weights, prepared: Sequence[Prepared | None]) -> JoinedRun:
    """Lay windows over the pixels that all share, open encoders, and divide the memory there is among the inputs."""
    given = [one for one in prepared if one is not None]
    config, grid = weights.config, request.grid
    plan = lay_out(given[0].scene, config, grid, whole_windows=False)
    encoders = [_encoder(request, weights, one, plan) for one in given]
    bands = sum(len(one.norms) for one in given)
    side = windows_per_tile(config, bands, plan.window, plan.overlap, len(given) * config.embed_dim)
    usual = min(choose_batch(encoders[0].device), side**2)
    batch = min(request.model.batch_size or usual, plan.window_count)
    needs = joined_demand([one.scene for one in given], plan, config)
    if encoders[0].device.type != "cpu":
        needs = replace(needs, window=0)  # a graphics card's memory is its own
    fixed = Fixed(tile=grid.shard is not None, batch=request.model.batch_size is not None)
    division = divide(needs, Division(grid.shard or side, AHEAD, batch), request.model.memory_limit, fixed)
    plan = replace(plan, per_tile=division.per_tile)
    opened = iter(encoders)
    runs = [None if one is None else _run(request, weights, (one, next(opened)), plan, division) for one in prepared]
    return JoinedRun(tuple(runs), needs.total(division))


def _run(request: Request, weights: Weights, one: tuple[Prepared, Encoder], plan: TilePlan, division: Division) -> Run:
    prepared, encoder = one
    return Run(
        prepared=prepared,
        weights=weights,
        encoder=encoder,
        plan=plan,
        batch=division.batch,
        level=request.level,
        dtype=request.dtype,
        min_valid=request.grid.min_valid,
        output=request.output,
        ahead=division.ahead,
        accuracy=accuracy_of(encoder, weights, partial(draw_windows, prepared, plan), division.batch),
    )


def _encoder(request: Request, weights: Weights, prepared: Prepared, plan: TilePlan) -> Encoder:
    side, draw = plan.window * plan.grid.patch, partial(draw_windows, prepared, plan)
    return encoder_for(weights, prepared.wavelengths_um, request.model, side=side, windows=plan.window_count, draw=draw)


def joined_demand(scenes: Sequence[Scene], plan: TilePlan, config: DofaConfig) -> Demand:
    """Return what memory follows from where the tiles of several scenes are held at once (estimates, bytes).

    Their forwards come one after another; tokens are held apart, and once more joined.
    """
    each = [demand(scene, plan, config) for scene in scenes]
    more = sum(one.fixed - PROCESS_BYTES + CACHE_BYTES for one in each[1:])
    return Demand(
        plan=plan,
        fixed=each[0].fixed + more,
        window=max(one.window for one in each),
        cell=sum(one.cell for one in each) + FLOAT_BYTES * config.embed_dim * len(each),
        raw_cell=sum(one.raw_cell for one in each),
    )
