"""What the verbs would take over many scenes: one scene of each kind is settled in full, of the others headers read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.encoder import open_weights
from dofa_cli.pipelines.inference.kept import networks_kept
from dofa_cli.pipelines.many.foretell import Outlook, Pattern, Question, foretell
from dofa_cli.pipelines.many.listing import Listing
from dofa_cli.pipelines.many.naming import Naming
from dofa_cli.pipelines.many.scene_item import SceneItem
from dofa_cli.pipelines.many.verbs import ManyOptions, embed_naming, saying_once, segment_naming
from dofa_cli.pipelines.mapping.apply_head import HeadFile, check_maps, head_weights, open_head, scene_options
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.segment import segment
from dofa_cli.raster.area import read_area

CLASS_BYTES, NUMBER_BYTES = 1, 4
"""Bytes of a pixel of a map."""


def embed_outlook(
    scenes: Sequence[str], folder: str | Path, many: ManyOptions | None = None, **options: Any
) -> Outlook:
    """Return what :func:`~dofa_cli.pipelines.many.verbs.embed_many` would take; nothing is written.

    Raises :class:`~dofa_cli.errors.OptionError` for two scenes with one output, what listing raises, and for faults of
    the weights.
    """
    many = saying_once(many)

    def pattern_of(item: SceneItem) -> Pattern:
        own = {**options, "sensor": item.sensor or options.get("sensor")}
        report = embed(item.paths, dry_run=True, say=many.say, **own)
        return _pattern(
            report.tags,
            per_tile=report.shard,
            inward=report.level == "patch",
            snap=bool(options.get("snap")),
            seconds=report.seconds / report.windows,
            cell_bytes=report.output_bytes / (report.height * report.width),
            memory=report.memory_bytes,
        )

    with networks_kept():
        weights = open_weights(options.get("weights"), trusted=options.get("trust_weights", False))
        given = _scene_options(options)
        question = Question(
            lambda item: replace(given, sensor=item.sensor or given.sensor),
            weights.config.family,
            options.get("aoi"),
            pattern_of,
        )
        return _outlook(scenes, embed_naming(folder, many.name, options), question, many)


def segment_outlook(
    scenes: Sequence[str], folder: str | Path, many: ManyOptions | None = None, *, head: str | Path, **options: Any
) -> Outlook:
    """Return what :func:`~dofa_cli.pipelines.many.verbs.segment_many` would take; nothing is written.

    Raises as :func:`embed_outlook` does, and for faults of the head. Bytes are those of the maps alone.
    """
    many, file = saying_once(many), open_head(head)
    check_maps(file)
    pixel_bytes = CLASS_BYTES if file.head.classes is not None else NUMBER_BYTES

    def pattern_of(item: SceneItem) -> Pattern:
        own = {**options, "sensor": item.sensor or options.get("sensor"), "polygons": None}
        report = segment(item.paths, head=head, dry_run=True, say=many.say, **own)
        facts = report.facts
        side = int(facts.tags["patch_px"]) / int(facts.tags["zoom"])
        return _pattern(
            facts.tags,
            per_tile=facts.shard,
            inward=True,
            snap=bool(options.get("snap")),
            seconds=report.seconds / max(facts.windows, 1),
            cell_bytes=pixel_bytes * side**2,
            memory=facts.memory_bytes,
        )

    with networks_kept():
        weights = head_weights(file, options.get("weights"))
        question = Question(_of_head(file, options), weights.config.family, options.get("aoi"), pattern_of)
        return _outlook(scenes, segment_naming(folder, many.name, file, options), question, many)


def _outlook(scenes: Sequence[str], naming: Naming, question: Question, many: ManyOptions) -> Outlook:
    if question.aoi is not None:
        read_area(question.aoi, None)
    with tempfile.TemporaryDirectory(prefix="dofa-") as items:
        here = naming.folder if isinstance(naming.folder, Path) else None
        listing = Listing(tuple(scenes), here, Path(items), many.say)
        naming.check_folder()
        naming.check(listing)
        return foretell(listing, question)


def _of_head(file: HeadFile, options: Mapping[str, Any]) -> Callable[[SceneItem], SceneOptions]:
    given = _scene_options(options)
    return lambda item: scene_options(file, replace(given, sensor=item.sensor or given.sensor), item.paths)


def _scene_options(options: Mapping[str, Any]) -> SceneOptions:
    """Return what headers are read and bands matched with; masks cost nothing that counts."""
    names: tuple[str, ...] = ("sensor", "wavelengths", "bands", "product", "scale", "offset", "warp", "resolution")
    given: dict[str, Any] = {name: options.get(name) for name in names}
    return SceneOptions(normalize=Normalize(options.get("normalize") or Normalize.SENSOR), **given)


def _pattern(tags: Mapping[str, str], **found: Any) -> Pattern:
    patch = int(tags["patch_px"])
    window, overlap = int(tags["window_px"]) // patch, int(tags["overlap_px"]) // patch
    return Pattern(patch=patch, zoom=int(tags["zoom"]), window=window, overlap=overlap, **found)
