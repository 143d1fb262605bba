"""``dofa classify``: images in, one row each; or a scene in, one class for each square of a grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import rasterio

from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.chips.chip_set import ChipSet
from dofa_cli.pipelines.chips.files import find_images
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.recipe import paths_for
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.mapping.apply_head import open_head, scene_options
from dofa_cli.pipelines.mapping.image_job import (
    HowShown,
    Job,
    Outcome,
    Understood,
    foretold,
    judge_of,
    open_images,
    outcome,
    rows_facts,
    rows_manifest,
)
from dofa_cli.pipelines.mapping.predictor import check_images, columns_of
from dofa_cli.pipelines.mapping.row_shards import ImageRecipe, image_work, predictions_of, without_pixels
from dofa_cli.pipelines.mapping.row_table import check_ending, footprints, write_rows
from dofa_cli.pipelines.mapping.square_map import RASTERS
from dofa_cli.pipelines.mapping.square_rows import Cut, classify_squares
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.shards.execute import Executor
from dofa_cli.pipelines.shards.session import Course, Session, is_ending, session
from dofa_cli.pipelines.shards.store import Ending
from dofa_cli.pipelines.shards.upload import Moved, uploading
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output
from dofa_cli.raster.zarr_places import local_path


@dataclass(frozen=True)
class Classified:
    """What a run did, or with a dry run would do: ``rows`` written, ``counts`` of rows by class, what it left out.

    ``seconds`` and ``memory_bytes`` are estimates; of a run that was ``written`` the seconds are measured.
    """

    output: str
    written: bool
    head: str
    weights: str
    sensor: str
    product: str
    rows: int
    counts: dict[str, int]
    left_out: dict[str, str]
    seconds: float
    memory_bytes: int
    precision: str
    backend: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object; NaN becomes null."""
        return to_json(asdict(self))


def _at_address(done: Classified, moved: Moved) -> Classified:
    return replace(done, output=moved(done.output))


@uploading(_at_address)
def classify(
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    head: str | Path,
    grid: str | None = None,
    min_valid: float = 0.5,
    sensor: str | None = None,
    wavelengths: str | None = None,
    bands: str | None = None,
    product: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    normalize: Normalize | str = Normalize.SENSOR,
    weights: str | None = None,
    trust_weights: bool = False,
    device: str = "auto",
    precision: Precision | str = Precision.AUTO,
    backend: BackendName | str = BackendName.AUTO,
    batch_size: int | None = None,
    memory_limit: int | None = None,
    overwrite: bool = False,
    keep_parts: bool = False,
    executor: Executor | None = None,
    dry_run: bool = False,
    progress: bool = False,
    say: Say = lambda _: None,
) -> Classified:
    """Classify images with a head of whole images; options are those of ``dofa classify``.

    ``images`` are files, folders or patterns, one image each, or with ``grid`` the files of one scene. The ending of
    ``output`` sets the format. Finished shards lie beside it until it is whole, so that a stopped run goes on;
    ``keep_parts`` leaves them there. An ``output`` at an address such as ``s3://…`` is made here and uploaded whole.
    ``executor`` runs the shards, by default this process. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    named = [images] if isinstance(images, str | Path) else images
    paths = paths_for(executor, map(str, named))
    target = local_path(output)
    check_ending(target, *(RASTERS if grid else ()))
    if not dry_run:
        check_output(target, overwrite=overwrite or is_ending(target), inputs=(*paths, str(head)))
    started = time.perf_counter()
    file = open_head(head)
    check_images(file)
    found = (paths,) if grid else tuple(find_images(paths))
    given = SceneOptions(sensor, wavelengths, bands, product, scale, offset, Normalize(normalize))
    model = ModelOptions(
        weights,
        trust_weights,
        device=device,
        precision=Precision(precision),
        batch_size=batch_size,
        memory_limit=memory_limit,
        backend=BackendName(backend),
    )
    with rasterio.Env(**gdal_options(paths)):
        job = Job(found, file, scene_options(file, given, found[0]), model, say)
        course, run = Course(overwrite, keep_parts, executor, say), HowShown(dry_run, progress)
        if grid:
            done = classify_squares(job, target, Cut(grid, min_valid), course, run)
        else:
            done = _images(job, target, course, run)
    return Classified(
        output=str(target),
        written=not dry_run,
        head=str(file.path),
        weights=file.head.weights,
        rows=done.rows,
        counts=done.counts,
        seconds=time.perf_counter() - started if done.seconds is None else done.seconds,
        memory_bytes=done.memory_bytes,
        precision=done.how["precision"],
        backend=done.how["backend"],
        **asdict(done.understood),
    )


def _images(job: Job, output: Path, course: Course, run: HowShown) -> Outcome:
    chips, predictor = open_images(job)
    understood = Understood(chips.sensor, chips.product, chips.left_out, chips.notes, chips.warnings)
    if run.dry:
        return foretold(understood, predictor, len(chips))
    manifest = rows_manifest(job, predictor, chips.norms, inputs=[path for paths in job.images for path in paths])
    manifest.options["left out"] = sorted(chips.left_out)
    with session(output, manifest, course) as parts, run.progress(len(chips)) as advance:
        if not (ending := parts.ending):
            recipe = ImageRecipe(parts.key, without_pixels(chips), judge_of(job, predictor, chips.wavelengths_um))
            parts.complete(recipe, image_work(chips, predictor), advance)
            ending = _write_images(job, output, chips, parts)
    return outcome(understood, predictor, ending)


def _write_images(job: Job, output: Path, chips: ChipSet, parts: Session) -> Ending:
    found = predictions_of(parts.folder, parts.in_order())
    grids = [chips.grid(at) for at in range(len(chips))]
    shapes = footprints([Window(0, 0, grid.height, grid.width) for grid in grids], grids)
    columns = {"path": [" ".join(paths) for paths in chips.paths], **columns_of(found, job.head)}
    note = write_rows(parts.folder / output.name, columns | {"valid_share": found.valid.astype(float)}, shapes)
    if note:
        job.say(f"Note: {note}.")
    return parts.end({output.name: output}, **rows_facts(job.head, found), notes=[note] if note else [])
