"""The verbs over many scenes: ``embed_many``, ``segment_many``, ``classify_many``, and what they would take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

from dofa_cli.pipelines.classify import classify
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.encoder import Weights, open_weights
from dofa_cli.pipelines.inference.kept import networks_kept
from dofa_cli.pipelines.inference.outputs import FileFormat
from dofa_cli.pipelines.inference.run import Level
from dofa_cli.pipelines.many.listing import ITEMS_FOLDER, Listing, Say
from dofa_cli.pipelines.many.naming import Naming
from dofa_cli.pipelines.many.run import Job, Result, Summary, run_many
from dofa_cli.pipelines.many.run_report import SceneRecord
from dofa_cli.pipelines.many.scene_item import SceneItem
from dofa_cli.pipelines.mapping.apply_head import HeadFile, check_maps, head_weights, open_head
from dofa_cli.pipelines.mapping.files import MapOptions, map_files
from dofa_cli.pipelines.mapping.predictor import check_images
from dofa_cli.pipelines.mapping.row_table import ENDINGS as ROW_ENDINGS
from dofa_cli.pipelines.segment import segment
from dofa_cli.pipelines.shards.execute import Executor
from dofa_cli.pipelines.shards.manifest import Manifest, fingerprint
from dofa_cli.raster.area import read_area
from dofa_cli.raster.zarr_places import SUFFIX, Place, place

NAME = "{name}_{level}"
"""The usual pattern of outputs' names."""
AT_ONCE = 4
"""Scenes in hand where others do the work, so that workers are not idle while one scene is opened or written."""
RASTERS = (".tif", ".tiff")
HOW = (
    *("overwrite", "keep_parts", "executor", "dry_run", "progress", "say", "device", "shard", "batch_size"),
    *("memory_limit", "weights", "trust_weights", "head"),
)
"""Arguments that say how or with what, not what is made; weights and heads are told by their checksums."""
SHARED_FILES = ("aoi", "mask", "sensor")
"""Arguments that may name a file whose content counts."""


@dataclass(frozen=True)
class ManyOptions:
    """How many scenes are run; fields are the command line's options of the same names.

    ``executor`` runs their shards, by default this process. ``say`` receives notes, ``on_scene`` each scene's record.
    """

    name: str = NAME
    report: str | Path | None = None
    resume: bool = False
    fail_fast: bool = False
    overwrite: bool = False
    executor: Executor | None = None
    say: Say = lambda _: None
    on_scene: Callable[[SceneRecord], object] = lambda _: None


def embed_many(scenes: Sequence[str], folder: str | Path, many: ManyOptions | None = None, **options: Any) -> Summary:
    """Embed each scene into a file of its own in ``folder``; ``options`` are those of :func:`embed`.

    Scenes that fail are told by the summary. Raises before any work what
    :func:`~dofa_cli.pipelines.many.run.run_many` raises, and for faults of the weights.
    """
    many = saying_once(many)

    def one(item: SceneItem, output: Place, overwrite: bool) -> Result:
        done = embed(item.paths, str(output), **_own(options, item), **_course(many, item, overwrite))
        return Result(done.windows, done.area_km2, (done.output,))

    with networks_kept():
        weights = open_weights(options.get("weights"), trusted=options.get("trust_weights", False))
        naming = embed_naming(folder, many.name, options)
        return run_many(_job(scenes, naming, _manifest(embed, weights, options), options, many), one)


def segment_many(
    scenes: Sequence[str], folder: str | Path, many: ManyOptions | None = None, *, head: str | Path, **options: Any
) -> Summary:
    """Map each scene into files of its own in ``folder``; ``options`` are those of :func:`segment`.

    Of ``polygons`` the ending counts alone. Raises as :func:`embed_many` does, and for faults of the head.
    """
    many, file = saying_once(many), open_head(head)
    check_maps(file)

    def one(item: SceneItem, output: Place, overwrite: bool) -> Result:
        own = _own(options, item) | _polygons(options, output)
        done = segment(item.paths, str(output), head=head, **own, **_course(many, item, overwrite))
        return Result(done.facts.windows, done.facts.area_km2, tuple(done.files.values()))

    with networks_kept():
        weights = head_weights(file, options.get("weights"))
        naming = segment_naming(folder, many.name, file, options)
        return run_many(_job(scenes, naming, _manifest(segment, weights, options, file), options, many), one)


def classify_many(
    scenes: Sequence[str], folder: str | Path, many: ManyOptions | None = None, *, head: str | Path, **options: Any
) -> Summary:
    """Classify the squares of each scene into a file of its own in ``folder``.

    ``options`` are those of :func:`classify`, ``grid`` among them. Raises as :func:`segment_many` does.
    """
    many, file = saying_once(many), open_head(head)
    check_images(file)

    def one(item: SceneItem, output: Place, overwrite: bool) -> Result:
        done = classify(item.paths, str(output), head=head, **_own(options, item), **_course(many, item, overwrite))
        return Result(done.rows, None, (done.output,))

    with networks_kept():
        weights = head_weights(file, options.get("weights"))
        endings = (*ROW_ENDINGS, *RASTERS)
        naming = Naming(place(folder), many.name, "classify", "classes", ".tif", endings, options.get("sensor"))
        return run_many(_job(scenes, naming, _manifest(classify, weights, options, file), options, many), one)


def embed_naming(folder: str | Path, name: str, options: Mapping[str, Any]) -> Naming:
    """Return how embeddings in a folder are named."""
    level = Level(options.get("level", Level.PATCH))
    endings = (*RASTERS, SUFFIX) if level is Level.PATCH else (".parquet", ".geoparquet")
    usual = SUFFIX if options.get("file_format") == FileFormat.ZARR else level.suffix
    return Naming(place(folder), name, "embed", level.value, usual, endings, options.get("sensor"))


def segment_naming(folder: str | Path, name: str, file: HeadFile, options: Mapping[str, Any]) -> Naming:
    """Return how maps in a folder are named: as a single one, after the classes or the number."""
    level = map_files(file.head, None, "x", MapOptions()).map.stem.removeprefix("x_")
    usual = SUFFIX if options.get("file_format") == FileFormat.ZARR else ".tif"
    return Naming(place(folder), name, "segment", level, usual, (*RASTERS, SUFFIX), options.get("sensor"))


def _job(
    scenes: Sequence[str], naming: Naming, manifest: Manifest, options: Mapping[str, Any], many: ManyOptions
) -> Job:
    area = options.get("aoi")
    if area is not None:
        read_area(area, None)  # a file that is none would make every scene fail
    here = naming.folder if isinstance(naming.folder, Path) else None
    beside = here or Path()
    return Job(
        scenes=Listing(tuple(scenes), here, beside / ITEMS_FOLDER, many.say),
        naming=naming,
        manifest=manifest,
        report=Path(many.report) if many.report else beside / f"dofa-{naming.verb}.jsonl",
        resume=many.resume,
        overwrite=many.overwrite,
        fail_fast=many.fail_fast,
        has_area=area is not None,
        at_once=1 if many.executor is None else AT_ONCE,
        say=many.say,
        on_scene=many.on_scene,
    )


def _own(options: Mapping[str, Any], item: SceneItem) -> dict[str, Any]:
    """Return a scene's own options."""
    return {**options, "sensor": item.sensor} if item.sensor else dict(options)


def _course(many: ManyOptions, item: SceneItem, overwrite: bool) -> dict[str, Any]:
    return {
        "overwrite": overwrite,
        "executor": many.executor,
        "say": lambda line: many.say(f"{item.name}: {line}"),
    }


def _polygons(options: Mapping[str, Any], output: Place) -> dict[str, Any]:
    """Return where a scene's polygons go: beside its map."""
    wanted = options.get("polygons")
    if wanted is None:
        return {}
    ending = Path(wanted).suffix or Path(wanted).name  # .gpkg alone is a name without an ending
    return {"polygons": str(output.with_suffix(ending))}


def _manifest(
    verb: Callable[..., Any], weights: Weights, options: Mapping[str, Any], head: HeadFile | None = None
) -> Manifest:
    """Return what results depend on, but for the scenes: weights, head, and the options that are no matter of how."""
    usual = {name: one.default for name, one in signature(verb).parameters.items() if one.default is not one.empty}
    wanted = {name: value for name, value in (usual | dict(options)).items() if name not in (*HOW, "output")}
    shown = {name: _plain(name, value) for name, value in wanted.items()}
    more = {} if head is None else head.tags
    return Manifest(verb.__name__, (), weights.name, weights.sha256, shown | more)


def _plain(name: str, value: Any) -> Any:
    """Return an option as JSON; a file that several scenes share by its size and time too."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if name in SHARED_FILES and Path(value).is_file():
        return asdict(fingerprint(str(value)))
    return str(value)


def saying_once(many: ManyOptions | None) -> ManyOptions:
    """Return options, the usual ones for ``None``, whose ``say`` repeats nothing."""
    many = many or ManyOptions()
    return replace(many, say=SaidOnce(many.say))


class SaidOnce:
    """Passes on each line once; what is said of several scenes is said of the first."""

    MOST = 10_000

    def __init__(self, say: Say) -> None:
        self.say = say
        self.said: set[int] = set()

    def __call__(self, line: str) -> None:
        """Say a line, which may begin with a scene's name and a colon."""
        key = hash(line.partition(": ")[2] or line)
        if key in self.said:
            return
        if len(self.said) < self.MOST:
            self.said.add(key)
        self.say(line)
