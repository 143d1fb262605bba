"""A head of whole images on the squares of a scene: a table or a raster with one row or pixel a square."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Head
from dofa_cli.pipelines.inference.backends.drawn import CPU, spread
from dofa_cli.pipelines.inference.backends.opening import encoder_for
from dofa_cli.pipelines.inference.encoder import Weights
from dofa_cli.pipelines.inference.identity import place
from dofa_cli.pipelines.mapping.image_job import (
    HowShown,
    Job,
    Outcome,
    Understood,
    foretold,
    judge_of,
    outcome,
    rows_facts,
    rows_manifest,
    unlike_training,
)
from dofa_cli.pipelines.mapping.predictor import Predictions, Predictor, columns_of, open_for, side_of
from dofa_cli.pipelines.mapping.row_shards import SquareRecipe, predictions_of, square_work
from dofa_cli.pipelines.mapping.row_table import footprints, write_rows
from dofa_cli.pipelines.mapping.square_map import RASTERS, write_square_map, write_square_style
from dofa_cli.pipelines.mapping.squares import Squares, lay_squares, square_batches
from dofa_cli.pipelines.scenes.prepare import Prepared, describe, prepare_scene
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.pipelines.shards.session import Course, Session, session
from dofa_cli.pipelines.shards.store import Ending
from dofa_cli.raster.grid import Window


@dataclass(frozen=True)
class Cut:
    """Squares of ``size`` (``640m``, ``64px``), of which a share of ``min_valid`` has to be valid."""

    size: str
    min_valid: float


def classify_squares(job: Job, output: Path, cut: Cut, course: Course, run: HowShown) -> Outcome:
    """Classify the squares of a scene, or say what that would take."""
    weights = open_for(job.file, job.model)
    prepared = _scene(job, weights.config.family)
    squares = lay_squares(prepared.scene, cut.size)
    predictor = _predictor(job, weights, prepared, squares)
    understood = Understood(prepared.sensor.id, prepared.product.id, {}, prepared.notes, prepared.warnings)
    if run.dry:
        return foretold(understood, predictor, squares.height * squares.width)
    manifest = rows_manifest(job, predictor, prepared.norms, inputs=job.images[0])
    manifest.options.update({"grid": cut.size, "place": place(prepared)})
    with session(output, manifest, course) as parts, run.progress(squares.height * squares.width) as advance:
        if not (ending := parts.ending):
            recipe = SquareRecipe(parts.key, prepared, squares, judge_of(job, predictor, prepared.wavelengths_um))
            parts.complete(recipe, square_work(prepared, squares, predictor), advance)
            ending = _write_squares(job, output, (prepared, squares, cut), parts)
    return outcome(understood, predictor, ending)


def _predictor(job: Job, weights: Weights, prepared: Prepared, squares: Squares) -> Predictor:
    side, windows = side_of(job.head, weights), squares.windows

    def draw(count: int) -> Tensor:
        some = [windows[at] for at in spread(len(windows), count)]
        found = next(square_batches(prepared.scene, some, Standardiser(prepared.norms, CPU), side, count))
        return found.pixels[found.valid.sum(dim=(1, 2)) > 0]

    encoder = encoder_for(weights, prepared.wavelengths_um, job.model, side=side, windows=len(windows), draw=draw)
    return Predictor(job.head, weights, encoder, job.model)


def _write_squares(job: Job, output: Path, laid: tuple[Prepared, Squares, Cut], parts: Session) -> Ending:
    prepared, squares, cut = laid
    found = _enough(predictions_of(parts.folder, parts.in_order()), squares, cut.min_valid)
    working = parts.folder / output.name
    style: tuple[Path, ...] = ()
    if output.suffix.lower() in RASTERS:
        write_square_map(working, squares, found, job.head, _tags(job, prepared, cut.size))
        style = write_square_style(working, job.head)
    else:
        _write_polygons(job.head, working, squares, found)
    return parts.end(
        {path.name: output.with_name(path.name) for path in (working, *style)}, **rows_facts(job.head, found)
    )


def _scene(job: Job, family: str) -> Prepared:
    prepared = prepare_scene(describe(job.images[0], job.scene), job.scene, family, job.learnt)
    unlike = unlike_training(job.head, prepared.sensor.id, prepared.product.id)
    for line in (*prepared.notes, *(f"Warning: {warning}" for warning in (*prepared.warnings, *unlike))):
        job.say(line)
    return prepared


def _enough(found: Predictions, squares: Squares, min_valid: float) -> Predictions:
    """Leave squares out whose valid share of the pixels inside the scene is below ``min_valid``."""
    whole = Window(0, 0, squares.grid.height, squares.grid.width)
    inside = [window.intersect(whole) for window in squares.windows]
    area = np.array([window.height * window.width for window in inside]) / (squares.rows * squares.cols)
    share = np.minimum(found.valid / area, 1).astype(np.float32)
    return Predictions(np.where((share >= min_valid)[:, None], found.values, np.float32(np.nan)), share)


def _write_polygons(head: Head, output: Path, squares: Squares, found: Predictions) -> None:
    kept = np.flatnonzero(np.isfinite(found.values).all(axis=1))
    if not len(kept):
        raise OptionError("No square holds enough valid pixels. Lower --min-valid, or check the scene with dofa info.")
    windows = squares.windows
    shapes = footprints([windows[at] for at in kept], [squares.grid] * len(kept))
    part = Predictions(found.values[kept], found.valid[kept])
    place = {"row": (kept // squares.width).tolist(), "col": (kept % squares.width).tolist()}
    write_rows(output, place | columns_of(part, head) | {"valid_share": part.valid.astype(float)}, shapes)


def _tags(job: Job, prepared: Prepared, size: str) -> dict[str, str]:
    return {
        **job.file.tags,
        "weights": job.head.weights,
        "weights_sha256": job.head.weights_sha256,
        "sensor": prepared.sensor.id,
        "product": prepared.product.id,
        "bands": ",".join(norm.band for norm in prepared.norms),
        "square": size,
        "source": ",".join(Path(path).name for path in prepared.scene.paths),
    }
