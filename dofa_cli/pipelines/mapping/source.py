"""Where the logits of a map come from: a scene through the network, or stored embeddings through the head alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from dofa_cli import __version__
from dofa_cli.errors import OptionError, WrongHead
from dofa_cli.heads.build import is_dense, token_head
from dofa_cli.pipelines.embed import seconds_a_window
from dofa_cli.pipelines.inference.identity import run_manifest
from dofa_cli.pipelines.inference.plan import PROCESS_BYTES
from dofa_cli.pipelines.inference.provenance import rules
from dofa_cli.pipelines.inference.recipe import recipe_of
from dofa_cli.pipelines.inference.run import Request, Say
from dofa_cli.pipelines.inference.shards import MapParts, TileWork, map_parts, save_map
from dofa_cli.pipelines.mapping.apply_head import Applied, HeadFile, scene_options, settle_head
from dofa_cli.pipelines.mapping.from_embedding import Embedding, EmbeddingWork, check_fits
from dofa_cli.pipelines.mapping.recipes import EmbeddingRecipe, HeadName, MapRecipe
from dofa_cli.pipelines.mapping.report import MapFacts
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.pipelines.shards.manifest import Manifest, fingerprint
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.pipelines.shards.work import Recipe, ShardWork
from dofa_cli.raster.grid import CellGrid
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.source import Grid

FLOAT_BYTES = 4
LEVEL = "segment"
"""Tag of maps, beside the levels of embeddings."""


@dataclass(frozen=True)
class MapSource:
    """What a map is made from. ``grid`` is that of the map's pixels, ``nbytes`` the size of the parts on disk.

    ``work`` is cut into shards, ``recipe`` opens it elsewhere under a key, ``manifest`` says what shards depend on, and
    ``parts`` finds what finished ones left in a folder. ``foretell`` estimates how many seconds they take, ``found``
    makes notes of what they counted.
    """

    file: HeadFile
    grid: Grid
    facts: MapFacts
    nbytes: int
    work: ShardWork
    recipe: Callable[[str], Recipe]
    manifest: Callable[[], Manifest]
    parts: Callable[[Path, Sequence[Finished]], MapParts]
    foretell: Callable[[], float]
    found: Callable[[Mapping[str, float]], tuple[str, ...]] = lambda _: ()


def source_of_scene(file: HeadFile, request: Request, say: Say, onto: Grid | None = None) -> MapSource:
    """Open scene and weights for a head; the scene is read on its own pixels, or ``onto`` others.

    Raises what :func:`~dofa_cli.pipelines.mapping.apply_head.settle_head` raises.
    """
    request = replace(request, scene=scene_options(file, request.scene, request.paths))
    applied = settle_head(file, request, say, onto)
    run, model = applied.run, applied.model
    nbytes = part_bytes(run.plan.grid, model.detail, model.dim)
    return MapSource(
        file=file,
        grid=run.prepared.scene.grid,
        facts=_facts_of_run(applied, nbytes),
        nbytes=nbytes,
        work=TileWork(run, save_map, model, say),
        recipe=lambda key: MapRecipe(key, recipe_of(run), HeadName.of(file)),
        manifest=lambda: run_manifest(request, run, LEVEL, **file.tags),
        parts=lambda folder, finished: map_parts(run.plan, model.detail, folder, finished),
        foretell=lambda: seconds_a_window(run, model) * run.plan.window_count,
    )


def source_of_embedding(file: HeadFile, embedding: Embedding, request: Request, say: Say) -> MapSource:
    """Check that stored embeddings suit a head; raises :class:`WrongHead` where they do not."""
    _refuse_scene_options(embedding, request)
    if is_dense(file.head):
        raise WrongHead(
            f"{embedding.path} holds embeddings, but {file.path} ({file.head.method}) needs the scene's pixels."
        )
    warnings = check_fits(embedding, file.head)
    for warning in warnings:
        say(f"Warning: {warning}")
    head = token_head(file.head)
    work = EmbeddingWork(embedding, head)
    nbytes = part_bytes(embedding.cells, 1, head.goal.outputs)
    return MapSource(
        file=file,
        grid=embedding.grid,
        facts=_facts_of_embedding(file, embedding, (nbytes, work.count), tuple(warnings)),
        nbytes=nbytes,
        work=work,
        recipe=lambda key: EmbeddingRecipe(key, embedding, HeadName.of(file)),
        manifest=lambda: _manifest_of_embedding(file, embedding),
        parts=work.parts,
        foretell=lambda: 0.0,
    )


def part_bytes(cells: CellGrid, detail: int, depth: int) -> int:
    """Return the bytes of all parts of a map: ``depth`` values a sub-cell, and the validity of pixels."""
    return cells.rows * cells.cols * detail**2 * depth * FLOAT_BYTES + cells.height * cells.width


def _facts_of_run(applied: Applied, nbytes: int) -> MapFacts:
    run, prepared = applied.run, applied.run.prepared
    cost = run.cost
    return MapFacts(
        windows=run.plan.window_count,
        shard=run.plan.per_tile,
        shards=run.plan.tile_count,
        area_km2=cost.area_km2,
        memory_bytes=cost.memory,
        output_bytes=nbytes,
        masked_share=prepared.masked_share,
        sensor=prepared.sensor.id,
        product=f"{prepared.product.id} ({prepared.product_how})",
        rules=rules(prepared),
        standardised=[{"band": c.norm.band, "mean": c.mean, "std": c.std} for c in prepared.checks],
        tags=run.tags | {"level": LEVEL} | applied.file.tags,
        notes=prepared.notes,
        warnings=run.warnings,
    )


def _manifest_of_embedding(file: HeadFile, embedding: Embedding) -> Manifest:
    return Manifest(
        verb=LEVEL,
        inputs=(fingerprint(embedding.path),),
        weights=file.head.weights,
        weights_sha256=file.head.weights_sha256,
        options={"dofa_version": __version__, "level": "embedding", **file.tags},
    )


def _facts_of_embedding(
    file: HeadFile, embedding: Embedding, size: tuple[int, int], warnings: tuple[str, ...]
) -> MapFacts:
    nbytes, shards = size
    tags = embedding.tags
    pixel = ground_pixel(embedding.grid)
    area = None if pixel is None else pixel.height * pixel.width * embedding.grid.height * embedding.grid.width / 1e6
    return MapFacts(
        windows=0,
        shard=0,
        shards=shards,
        area_km2=area,
        memory_bytes=PROCESS_BYTES,
        output_bytes=nbytes,
        masked_share=None,
        sensor=str(tags["sensor"]),
        product=str(tags["product"]),
        rules=tags["normalization"],
        standardised=[],
        tags=embedding.text_tags | {"level": LEVEL, "embedding": PurePath(embedding.path).name} | file.tags,
        notes=("mapped from stored embeddings, without the network",),
        warnings=warnings,
    )


def _refuse_scene_options(embedding: Embedding, request: Request) -> None:
    """Name the options that only pixels can follow; the embeddings' own were settled when they were made."""
    scene, grid = request.scene, request.grid
    named = {
        "--aoi": request.aoi,
        "--sensor": scene.sensor,
        "--wavelengths": scene.wavelengths,
        "--bands": scene.bands,
        "--product": scene.product,
        "--scale": scene.scale,
        "--offset": scene.offset,
        "--warp": scene.warp,
        "--resolution": scene.resolution,
        "--snap": grid.snap,
        "the --mask options": scene.masks != MaskOptions(),
    }
    if given := [name for name, value in named.items() if value]:
        raise OptionError(f"{embedding.path} holds embeddings: {', '.join(given)} would need the scene itself.")
