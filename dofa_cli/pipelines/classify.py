"""``dofa classify``: images in, one row each; or a scene in, one class for each square of a grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rasterio

from dofa_cli.model.device import Precision
from dofa_cli.pipelines.chips.chip_set import ChipSet
from dofa_cli.pipelines.chips.files import find_images
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.recipe import paths_for
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.mapping.apply_head import open_head, scene_options
from dofa_cli.pipelines.mapping.image_job import Job, Understood, judge_of, open_images, rows_facts, rows_manifest
from dofa_cli.pipelines.mapping.predictor import Predictor, check_images, columns_of
from dofa_cli.pipelines.mapping.row_shards import ImageRecipe, image_work, predictions_of, without_pixels
from dofa_cli.pipelines.mapping.row_table import check_ending, footprints, write_rows
from dofa_cli.pipelines.mapping.square_map import RASTERS
from dofa_cli.pipelines.mapping.square_rows import Cut, classify_squares
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.shards.execute import Executor
from dofa_cli.pipelines.shards.session import Course, Session, is_ending, session
from dofa_cli.pipelines.shards.store import Ending
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output


@dataclass(frozen=True)
class Classified:
    """What a run did: ``rows`` written, ``counts`` of rows by class, what was left out, and why."""

    output: str
    head: str
    weights: str
    sensor: str
    product: str
    rows: int
    counts: dict[str, int]
    left_out: dict[str, str]
    seconds: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return one JSON object; NaN becomes null."""
        return to_json(asdict(self))


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
    batch_size: int | None = None,
    overwrite: bool = False,
    keep_parts: bool = False,
    executor: Executor | None = None,
    say: Say = lambda _: None,
) -> Classified:
    """Classify images with a head of whole images; options are those of ``dofa classify``.

    ``images`` are files, folders or patterns, one image each, or with ``grid`` the files of one scene. The ending of
    ``output`` sets the format. Finished shards lie beside it until it is whole, so that a stopped run goes on;
    ``keep_parts`` leaves them there. ``executor`` runs the shards, by default this process. Raises
    subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    named = [images] if isinstance(images, str | Path) else images
    paths = paths_for(executor, map(str, named))
    target = Path(output)
    check_ending(target, *(RASTERS if grid else ()))
    check_output(target, overwrite=overwrite or is_ending(target), inputs=(*paths, str(head)))
    started = time.perf_counter()
    file = open_head(head)
    check_images(file)
    found = (paths,) if grid else tuple(find_images(paths))
    given = SceneOptions(sensor, wavelengths, bands, product, scale, offset, Normalize(normalize))
    model = ModelOptions(weights, trust_weights, device=device, precision=Precision(precision), batch_size=batch_size)
    with rasterio.Env(**gdal_options(paths)):
        job = Job(found, file, scene_options(file, given, found[0]), model, say)
        course = Course(overwrite, keep_parts, executor, say)
        done = classify_squares(job, target, Cut(grid, min_valid), course) if grid else _images(job, target, course)
    return _report(job, target, *done, started)


def _images(job: Job, output: Path, course: Course) -> tuple[dict[str, Any], Understood]:
    chips, predictor = open_images(job)
    manifest = rows_manifest(job, predictor, chips.norms, inputs=[path for paths in job.images for path in paths])
    manifest.options["left out"] = sorted(chips.left_out)
    with session(output, manifest, course) as parts:
        ending = parts.ending or _write_images(job, output, chips, predictor, parts)
    notes = (*chips.notes, *ending.facts["notes"])
    return ending.facts, Understood(chips.sensor, chips.product, chips.left_out, notes, chips.warnings)


def _write_images(job: Job, output: Path, chips: ChipSet, predictor: Predictor, parts: Session) -> Ending:
    judge = judge_of(job, predictor, chips.wavelengths_um)
    parts.complete(ImageRecipe(parts.key, without_pixels(chips), judge), image_work(chips, predictor))
    found = predictions_of(parts.folder, parts.in_order())
    grids = [chips.grid(at) for at in range(len(chips))]
    shapes = footprints([Window(0, 0, grid.height, grid.width) for grid in grids], grids)
    columns = {"path": [" ".join(paths) for paths in chips.paths], **columns_of(found, job.head)}
    note = write_rows(parts.folder / output.name, columns | {"valid_share": found.valid.astype(float)}, shapes)
    if note:
        job.say(f"Note: {note}.")
    return parts.end({output.name: output}, **rows_facts(job.head, found), notes=[note] if note else [])


def _report(job: Job, output: Path, facts: dict[str, Any], understood: Understood, started: float) -> Classified:
    return Classified(
        output=str(output),
        head=str(job.file.path),
        weights=job.head.weights,
        rows=facts["rows"],
        counts=facts["counts"],
        seconds=time.perf_counter() - started,
        **asdict(understood),
    )
