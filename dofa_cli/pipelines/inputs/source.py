"""A place with several inputs as what a map is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dofa_cli.pipelines.embed import seconds_a_window
from dofa_cli.pipelines.inference.identity import fingerprints, run_manifest
from dofa_cli.pipelines.inference.plan import ground_km2
from dofa_cli.pipelines.inference.provenance import rules
from dofa_cli.pipelines.inference.run import Request, Run, Say
from dofa_cli.pipelines.inference.shards import map_parts
from dofa_cli.pipelines.inputs.joined_run import JoinedRun, settle_inputs
from dofa_cli.pipelines.inputs.joined_work import MISSING, JoinedRecipe, JoinedWork
from dofa_cli.pipelines.inputs.matching import match_one, stand_in
from dofa_cli.pipelines.inputs.named import Input
from dofa_cli.pipelines.inputs.options import check_options, options_of
from dofa_cli.pipelines.inputs.places import one_place
from dofa_cli.pipelines.mapping.apply_head import HeadFile
from dofa_cli.pipelines.mapping.recipes import HeadName
from dofa_cli.pipelines.mapping.report import MapFacts
from dofa_cli.pipelines.mapping.source import LEVEL, MapSource, part_bytes, source_of_scene
from dofa_cli.pipelines.shards.manifest import Manifest

OF_ONE = (
    *("sensor", "product", "bands", "wavelengths_um", "normalization", "source", "datetime", "masked"),
    *("int8_ranges", "float32_cosine"),
)
"""Tags that each input has its own of."""


def source_of_named(file: HeadFile, request: Request, inputs: Sequence[Input], say: Say) -> MapSource:
    """Settle what a head makes of named inputs: of all of them, or of the one that it was trained on.

    That one is read on the first one's pixels too, so that maps of the same inputs can be compared. Raises
    :class:`~dofa_cli.errors.OptionError` for options of a single sensor, :class:`~dofa_cli.errors.WrongHead` for
    inputs that the head does not take.
    """
    check_options(inputs, request.scene)
    if file.head.recipe.inputs:
        return source_of_inputs(file, request, inputs, say)
    one = match_one(file, inputs)
    if unused := [other.name for other in inputs if other != one]:
        say(f"{file.path} takes {one.key} alone; {', '.join(unused)} is left out.")
    place = one_place(inputs, request.scene)
    options = options_of(inputs, request.scene, place.grid.crs)[one]
    onto = None if one == inputs[0] else place.grid
    return source_of_scene(file, replace(request, paths=one.paths, scene=options), say, onto)


def source_of_inputs(file: HeadFile, request: Request, inputs: Sequence[Input], say: Say) -> MapSource:
    """Open the inputs of a place and the weights for a head of several.

    Raises what :func:`~dofa_cli.pipelines.inputs.joined_run.settle_inputs` raises.
    """
    joined = settle_inputs(file, request, inputs, say)
    names = [one.name for one in file.head.recipe.inputs]
    absent = tuple(
        f"{name} is not given; {stand_in(file.head)}."
        for name, run in zip(names, joined.runs, strict=True)
        if run is None
    )
    for line in absent:
        say(line)
    work = JoinedWork(joined, file.head, say)
    plan, outputs = joined.plan, work.head.outputs
    nbytes = part_bytes(plan.grid, 1, outputs)
    return MapSource(
        file=file,
        grid=joined.given[0].prepared.scene.grid,
        facts=_facts(file, joined, nbytes, absent),
        nbytes=nbytes,
        work=work,
        recipe=lambda key: JoinedRecipe.of(key, joined, HeadName.of(file)),
        manifest=lambda: _manifest(file, request, joined),
        parts=lambda folder, finished: map_parts(plan, 1, folder, finished),
        foretell=lambda: sum(seconds_a_window(run, run.encoder) for run in joined.given) * plan.window_count,
        found=lambda counts: _missing(file, joined, counts),
    )


def tags_of(joined: JoinedRun, names: Sequence[str]) -> dict[str, str]:
    """Return what a map says of its making: what all inputs share, and as JSON what each has its own of."""
    own = [_own_tags(name, run) for name, run in zip(names, joined.runs, strict=True)]
    shared = {name: value for name, value in joined.given[0].tags.items() if name not in OF_ONE}
    given = [name for name, run in zip(names, joined.runs, strict=True) if run is not None]
    sources = ",".join(run.tags["source"] for run in joined.given)
    return shared | {"sensor": " + ".join(given), "source": sources, "inputs": json.dumps(own)}


def _own_tags(name: str, run: Run | None) -> dict[str, Any]:
    if run is None:
        return {"input": name, "missing": True}
    told = {tag: run.tags[tag] for tag in OF_ONE if tag in run.tags}
    return {"input": name, **told, "normalization": rules(run.prepared)}


def _facts(file: HeadFile, joined: JoinedRun, nbytes: int, absent: tuple[str, ...]) -> MapFacts:
    recipe, plan = file.head.recipe, joined.plan
    names = [one.name for one in recipe.inputs]
    named = [(name, run.prepared) for name, run in zip(names, joined.runs, strict=True) if run is not None]
    tags = tags_of(joined, names) | {"combine": recipe.combine, "level": LEVEL}
    return MapFacts(
        windows=plan.window_count * len(named),
        shard=plan.per_tile,
        shards=plan.tile_count,
        area_km2=ground_km2(named[0][1].scene),
        memory_bytes=joined.memory,
        output_bytes=nbytes,
        masked_share=next((one.masked_share for _, one in named if one.masked_share is not None), None),
        sensor=tags["sensor"],
        product=" + ".join(f"{one.product.id} ({one.product_how})" for _, one in named),
        rules=[{"input": name, **rule} for name, one in named for rule in rules(one)],
        standardised=[
            {"input": name, "band": c.norm.band, "mean": c.mean, "std": c.std}
            for name, one in named
            for c in one.checks
        ],
        tags=tags | file.tags,
        notes=(*(f"{name}: {note}" for name, one in named for note in one.notes), *absent),
        warnings=(*(f"{name}: {warning}" for name, one in named for warning in one.warnings), *joined.warnings),
    )


def _manifest(file: HeadFile, request: Request, joined: JoinedRun) -> Manifest:
    names = [one.name for one in file.head.recipe.inputs]
    own = [_own_tags(name, run) for name, run in zip(names, joined.runs, strict=True)]
    for told in own:
        told.pop("float32_cosine", None)  # which shards do not depend on
    base = run_manifest(request, joined.given[0], LEVEL, inputs=own, **file.tags)
    more = [one for run in joined.given[1:] for one in fingerprints((), run.prepared)]
    return replace(base, inputs=tuple(dict.fromkeys([*base.inputs, *more])))


def _missing(file: HeadFile, joined: JoinedRun, counts: Mapping[str, float]) -> tuple[str, ...]:
    """Say in which share of the valid cells inputs that were given are missing."""
    valid = counts.get("valid_cells", 0)
    shares = [
        (one.name, counts.get(MISSING.format(number), 0) / valid)
        for number, (one, run) in enumerate(zip(file.head.recipe.inputs, joined.runs, strict=True))
        if run is not None and valid
    ]
    return tuple(
        f"{name} is missing in {share:.1%} of the valid cells; {stand_in(file.head)}."
        for name, share in shares
        if share
    )
