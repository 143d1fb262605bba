"""``dofa classify``: images in, one row each; or a scene in, one class for each square of a grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rasterio

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Head
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.chips.chip_set import HALF, ChipSet, open_chips
from dofa_cli.pipelines.chips.files import find_images
from dofa_cli.pipelines.inference.machine import to_json
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.mapping.apply_head import HeadFile, learnt_rules, open_head, scene_options
from dofa_cli.pipelines.mapping.predictor import Predictions, Predictor, check_images, columns_of, open_for, side_of
from dofa_cli.pipelines.mapping.row_table import check_ending, footprints, write_rows
from dofa_cli.pipelines.mapping.square_map import RASTERS, write_square_map
from dofa_cli.pipelines.mapping.squares import Squares, lay_squares, square_batches
from dofa_cli.pipelines.pretraining.drawable import Paths
from dofa_cli.pipelines.scenes.prepare import Learnt, Normalize, Prepared, SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.scenes.standardise import Standardiser
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


@dataclass(frozen=True)
class Understood:
    """What the images were taken for."""

    sensor: str
    product: str
    left_out: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """Images, a head that is read, and how both are to be opened."""

    images: tuple[Paths, ...]
    file: HeadFile
    scene: SceneOptions
    model: ModelOptions
    say: Say

    @property
    def head(self) -> Head:
        """The head itself."""
        return self.file.head

    @property
    def learnt(self) -> Learnt | None:
        """The head's own rules, where the images come from its sensor."""
        return learnt_rules(self.head) if self.scene.sensor == self.head.recipe.sensor else None


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
    say: Say = lambda _: None,
) -> Classified:
    """Classify images with a head of whole images; options are those of ``dofa classify``.

    ``images`` are files, folders or patterns, one image each, or with ``grid`` the files of one scene. The ending of
    ``output`` sets the format. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    paths = tuple(str(path) for path in ([images] if isinstance(images, str | Path) else images))
    target = Path(output)
    check_ending(target, *(RASTERS if grid else ()))
    check_output(target, overwrite=overwrite, inputs=(*paths, str(head)))
    started = time.perf_counter()
    file = open_head(head)
    check_images(file)
    found = (paths,) if grid else tuple(find_images(paths))
    given = SceneOptions(sensor, wavelengths, bands, product, scale, offset, Normalize(normalize))
    model = ModelOptions(weights, trust_weights, device=device, precision=Precision(precision), batch_size=batch_size)
    with rasterio.Env(**gdal_options(paths)):
        job = Job(found, file, scene_options(file, given, found[0]), model, say)
        done = _squares(job, target, grid, min_valid) if grid else _images(job, target)
    return _report(job, target, *done, started)


def open_images(job: Job) -> tuple[ChipSet, Predictor]:
    """Open images as the head's chips, and the head on its weights, telling the user what was found."""
    weights = open_for(job.file, job.model)
    side = side_of(job.head, weights)
    chips = open_chips(job.images, job.scene, weights.config.family, side=side, learnt=job.learnt)
    unlike = _unlike(job.head, chips.sensor, chips.product)
    for line in (*chips.notes, *(f"Warning: {warning}" for warning in (*chips.warnings, *unlike))):
        job.say(line)
    return chips, Predictor(job.head, weights, chips.wavelengths_um, job.model)


def predict_chips(chips: ChipSet, predictor: Predictor) -> Predictions:
    """Predict every chip."""
    size = predictor.batch
    firsts = range(0, len(chips), size)
    return predictor(chips.read(range(first, min(first + size, len(chips)))) for first in firsts)


def _images(job: Job, output: Path) -> tuple[Predictions, Understood]:
    chips, predictor = open_images(job)
    found = predict_chips(chips, predictor)
    grids = [chips.grid(at) for at in range(len(chips))]
    shapes = footprints([Window(0, 0, grid.height, grid.width) for grid in grids], grids)
    columns = {"path": [" ".join(paths) for paths in chips.paths], **columns_of(found, job.head)}
    note = write_rows(output, columns | {"valid_share": found.valid.astype(float)}, shapes)
    if note:
        job.say(f"Note: {note}.")
    notes = (*chips.notes, *([note] if note else []))
    return found, Understood(chips.sensor, chips.product, chips.left_out, notes, chips.warnings)


def _squares(job: Job, output: Path, size: str, min_valid: float) -> tuple[Predictions, Understood]:
    weights = open_for(job.file, job.model)
    prepared = _scene(job, weights.config.family)
    squares = lay_squares(prepared.scene, size)
    predictor = Predictor(job.head, weights, prepared.wavelengths_um, job.model)
    standardise = Standardiser(prepared.norms, predictor.encoder.device)
    stream = square_batches(prepared.scene, squares.windows, standardise, predictor.side, predictor.batch)
    found = _enough(predictor(stream), squares, min_valid)
    if output.suffix.lower() in RASTERS:
        write_square_map(output, squares, found, job.head, _tags(job, prepared, size))
    else:
        _write_polygons(job.head, output, squares, found)
    return found, Understood(prepared.sensor.id, prepared.product.id, {}, prepared.notes, prepared.warnings)


def _scene(job: Job, family: str) -> Prepared:
    prepared = prepare_scene(describe(job.images[0], job.scene), job.scene, family, job.learnt)
    unlike = _unlike(job.head, prepared.sensor.id, prepared.product.id)
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


def _unlike(head: Head, sensor: str, product: str) -> list[str]:
    """Warn of images that are not like those of the training."""
    recipe = head.recipe
    if sensor != recipe.sensor:
        return [f"the head was trained on {recipe.sensor}; its accuracy was not measured on {sensor}."]
    if product != recipe.product:
        return [f"the head was trained on product {recipe.product}, not {product}; expect less of it."]
    return []


def _counts(head: Head, found: Predictions) -> dict[str, int]:
    """Count images by class; of several classes, those with a probability of one half or more."""
    if head.classes is None:
        return {}
    if head.several:
        return dict(zip(head.classes.names, (found.values >= HALF).sum(axis=0).tolist(), strict=True))
    return {name: int((found.classes == at).sum()) for at, name in enumerate(head.classes.names)}


def _report(job: Job, output: Path, found: Predictions, understood: Understood, started: float) -> Classified:
    return Classified(
        output=str(output),
        head=str(job.file.path),
        weights=job.head.weights,
        rows=int(np.isfinite(found.values).all(axis=1).sum()),
        counts=_counts(job.head, found),
        seconds=time.perf_counter() - started,
        **asdict(understood),
    )
