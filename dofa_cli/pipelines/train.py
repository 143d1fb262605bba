"""``dofa train``: scenes and labels in, a head file and an honest report out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from dofa_cli import __version__
from dofa_cli.errors import OptionError
from dofa_cli.heads.file import save_head
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.head import Combine, Method, Task
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.encoder import Weights, about_default, open_weights
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.inputs.named import Input, Named, keys_of, read_inputs
from dofa_cli.pipelines.learning.draft import final_settings, probabilities
from dofa_cli.pipelines.learning.folds import Division, Round, SplitBy, SplitOptions, check_classes
from dofa_cli.pipelines.learning.inputs import Inputs, find_input_places, find_inputs
from dofa_cli.pipelines.learning.labelled_scenes import LabelOptions
from dofa_cli.pipelines.learning.learners import Attempt, Setting, prepare_attempt, used_samples
from dofa_cli.pipelines.learning.lessons import Drawn, Lesson, chip_lesson, scene_lesson
from dofa_cli.pipelines.learning.report import Result, TrainReport, measure, report_on, write_reports
from dofa_cli.pipelines.learning.request import (
    AUTO,
    TrainRequest,
    check_joined,
    checked_choice,
    read_ignored,
    read_zooms,
)
from dofa_cli.pipelines.scenes.prepare import Normalize, SceneOptions
from dofa_cli.pipelines.scenes.screen import MaskOptions
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output


def train(
    head: str | Path,
    *,
    scene: Named | Sequence[Named] = (),
    labels: str | Path | None = None,
    class_field: str | None = None,
    ignore: str | None = None,
    class_names: str | Path | None = None,
    buffer: float | None = None,
    task: str | None = None,
    method: str = "linear",
    unit: str = "",
    sensor: str | None = None,
    wavelengths: str | None = None,
    bands: str | None = None,
    product: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    normalize: str = "sensor",
    mask_clouds: bool = False,
    warp: str | None = None,
    resolution: float | None = None,
    weights: str | None = None,
    trust_weights: bool = False,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    window: int | None = None,
    overlap: int | None = None,
    zoom: str | int = AUTO,
    min_valid: float = 0.5,
    split: str = "auto",
    block: str | None = None,
    test_share: float = 0.2,
    val_share: float = 0.1,
    cv: int | None = None,
    max_per_class: int | None = None,
    class_weights: str = "none",
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    combine: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    command: str = "",
    say: Callable[[str], object] = lambda _: None,
) -> TrainReport:
    """Train a head on labelled scenes or images, test it on labels held out, and write it with its report.

    Scenes given as ``FILE:sensor[:date]`` (or :class:`~dofa_cli.pipelines.inputs.named.Input`) are inputs: those of
    the same ground are one place, and the head learns from the embeddings of all, joined as ``combine`` says.

    Options are those of ``dofa train``. Beside ``head`` come ``.report.json`` and ``.report.html``. ``say`` receives
    notes and warnings. Raises subclasses of :class:`~dofa_cli.errors.DofaError`.
    """
    given = (scene,) if isinstance(scene, Named) else scene
    found = read_inputs(given)
    inputs, sensor = (found, sensor) if len(keys_of(found)) > 1 else ((), _only_sensor(found, sensor))
    request = TrainRequest(
        head=Path(head),
        scene=tuple(path for one in found for path in one.paths) if found else tuple(map(str, given)),
        labels=None if labels is None else str(labels),
        task=None if task is None else checked_choice("--task", task, Task),
        method=checked_choice("--method", method, Method),
        label=LabelOptions(class_field, read_ignored(ignore), numeric=task == Task.REGRESS, buffer_m=buffer),
        class_names=None if class_names is None else str(class_names),
        unit=unit,
        options=SceneOptions(
            sensor,
            wavelengths,
            bands,
            product,
            scale,
            offset,
            Normalize(normalize),
            warp,
            resolution,
            MaskOptions(clouds=mask_clouds),
        ),
        model=ModelOptions(
            weights, trust_weights, device=device, precision=Precision(precision), batch_size=batch_size
        ),
        window=window,
        overlap=overlap,
        zooms=read_zooms(zoom),
        min_valid=min_valid,
        split=SplitOptions(SplitBy(split), block, test_share, val_share, cv, seed),
        max_per_class=max_per_class,
        class_weights=class_weights,
        settings=settings or {},
        command=command,
        inputs=inputs,
        combine=Combine.CONCAT if combine is None else checked_choice("--combine", combine, Combine),
    )
    check_joined(request, asked=combine is not None)
    with rasterio.Env(**gdal_options(request.scene)):
        return _carry_out(request, say, overwrite=overwrite, progress=progress)


def _only_sensor(inputs: Sequence[Input], sensor: str | None) -> str | None:
    """Return the sensor of scenes that are no inputs beside others: the one that they name, else the one asked for."""
    if not inputs:
        return sensor
    if sensor is not None:
        raise OptionError(f"{inputs[0].name} names its sensor. Leave --sensor {sensor} out.")
    return inputs[0].sensor


def _carry_out(request: TrainRequest, say: Say, *, overwrite: bool, progress: bool) -> TrainReport:
    for path in request.outputs:
        check_output(path, overwrite=overwrite, inputs=_inputs(request))
    if request.inputs:
        inputs = find_input_places(request.inputs, request.labels, request.task, request.options)
    else:
        inputs = find_inputs(request.scene, request.labels, request.label.field, request.task)
    request = _with_sensor(request, inputs)
    if request.model.weights is None:
        say(about_default())
    weights = open_weights(request.model.weights, trusted=request.model.trust_weights)
    lesson = (scene_lesson if inputs.scenes else chip_lesson)(request, inputs, weights)
    division = lesson.divide(request)
    notes = [*lesson.notes, *division.notes, *check_classes(division, lesson.points.stratum, lesson.names)]
    for line in (*notes, *(f"Warning: {warning}" for warning in lesson.warnings)):
        say(line)
    result = _best_result(request, lesson, division, weights, say, progress=progress)
    return _write(request, lesson, division, result, tuple(notes))


def _best_result(
    request: TrainRequest, lesson: Lesson, division: Division, weights: Weights, say: Say, *, progress: bool
) -> Result:
    """Train at each zoom; of several, keep the one that does best on the validation samples of the first round."""
    rounds = len(division.rounds)
    drawn = [lesson.draw(one, rounds) for one in division.rounds]
    everything = _everything(lesson, division)
    used = used_samples([part for one in (*drawn, everything) for part in (one.train, one.validation, one.test)])
    setting = Setting(request, lesson, weights, used, say, progress)
    attempts = (prepare_attempt(setting, zoom) for zoom in lesson.zooms)
    if len(lesson.zooms) == 1:
        attempt = next(attempts)
        return _result(attempt, lesson, drawn, everything, None)
    found = [(attempt, *_tried(attempt, lesson, drawn[0], say)) for attempt in attempts]
    attempt, _, first = max(found, key=lambda one: one[1])
    say(f"Zoom {attempt.zoom} is the best on the validation samples.")
    return _result(attempt, lesson, drawn, everything, first)


def _everything(lesson: Lesson, division: Division) -> Drawn:
    """Draw what the final head of a cross-validation is trained on; nothing where a tested head is kept."""
    nothing = np.zeros(0, np.int64)
    if len(division.rounds) == 1:
        return Drawn(nothing, nothing, nothing, nothing.astype(np.float64), nothing.astype(np.float64))
    all_of_them = np.ones(len(lesson.points), bool)
    return replace(lesson.draw(Round(all_of_them, ~all_of_them, ~all_of_them), 1), validation=nothing, test=nothing)


def _tried(attempt: Attempt, lesson: Lesson, drawn: Drawn, say: Say) -> tuple[float, Fitted]:
    """Train the first round and score its validation samples, weighted evenly."""
    fitted = attempt.learner.fit(drawn.train, drawn.validation, attempt.learner.draft.settings, drawn.shares)
    at = drawn.validation
    chances = probabilities(attempt.learner.draft.goal, attempt.learner.logits(attempt.learner.draft.head(fitted), at))
    measured = measure(lesson, at, chances, np.ones(len(at)), seed=0)
    name = next(iter(measured.values)) if lesson.classes is None or lesson.several else "mean_iou"
    value = measured.values[name]
    say(f"Zoom {attempt.zoom}: {name.replace('_', ' ')} {value:.3f} on the validation samples.")
    return (-value if name == "rmse" else value), fitted


def _result(
    attempt: Attempt, lesson: Lesson, drawn: Sequence[Drawn], everything: Drawn, first: Fitted | None
) -> Result:
    """Train and test every round; the head kept is the tested one, or one trained on everything after the last."""
    learner, fits, found = attempt.learner, [], []
    for number, one in enumerate(drawn):
        fitted = first if number == 0 and first is not None else None
        fitted = fitted or learner.fit(one.train, one.validation, learner.draft.settings, one.shares)
        fits.append(fitted)
        found.append(probabilities(learner.draft.goal, learner.logits(learner.draft.head(fitted), one.test)))
    final = fits[0]
    if len(everything.train):
        final = learner.fit(everything.train, None, final_settings(learner.draft, fits), everything.shares)
    at = np.concatenate([one.test for one in drawn])
    weight = np.concatenate([one.weight for one in drawn])
    chances = np.concatenate(found)
    measured = measure(lesson, at, chances, weight, seed=learner.draft.seed)
    return Result(attempt, final, measured, tuple(drawn), at, chances)


def _write(
    request: TrainRequest, lesson: Lesson, division: Division, result: Result, notes: tuple[str, ...]
) -> TrainReport:
    report = report_on(request, lesson, division, result, notes)
    made = {
        "dofa_version": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": request.command,
        "split": division.how,
    }
    metrics = {name: value for name, value in result.measured.values.items() if np.isfinite(value)}
    head = result.attempt.learner.draft.head(result.fitted, {**metrics, "samples": result.measured.samples}, made)
    write_reports(request, report.assessment)
    save_head(request.head, head)
    return report


def _inputs(request: TrainRequest) -> tuple[str, ...]:
    given = (*request.scene, request.labels, request.class_names, request.model.weights)
    return tuple(path for path in given if path)


def _with_sensor(request: TrainRequest, inputs: Inputs) -> TrainRequest:
    """Take the sensor that a table names, unless the user names one."""
    named = inputs.listed.sensor if inputs.listed else None
    if named is None or request.options.sensor == named:
        return request
    if request.options.sensor is not None:
        raise OptionError(f"--sensor {request.options.sensor} and column 'sensor' ({named}) differ. Leave one out.")
    return replace(request, options=replace(request.options, sensor=named))
