"""``dofa evaluate``: heads on new scenes or images with labels, one report of how good they are."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from dofa_cli import __version__
from dofa_cli.assess.compare import Comparison
from dofa_cli.assess.measured import Kind, Measured
from dofa_cli.assess.page import page
from dofa_cli.assess.report import FORMAT, Assessment, Split
from dofa_cli.assess.thresholds import check_threshold, metric_named
from dofa_cli.errors import OptionError, WrongHead
from dofa_cli.heads.head import Head, Task
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.evaluation.compare import check_comparable, compare, names_of, plain
from dofa_cli.pipelines.evaluation.evidence import Evidence
from dofa_cli.pipelines.evaluation.images import ImageTest, try_on_images
from dofa_cli.pipelines.evaluation.maps import MapTest, try_on_maps
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.inputs.named import Named, files_of, read_inputs
from dofa_cli.pipelines.learning.inputs import Inputs, find_input_places, find_inputs
from dofa_cli.pipelines.learning.label_table import LabelKind
from dofa_cli.pipelines.learning.labelled_scenes import LabelOptions
from dofa_cli.pipelines.mapping.apply_head import HeadFile, open_head
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.raster.source import gdal_options
from dofa_cli.raster.writer import check_output, explained, working_file

USUAL_METRIC = {Kind.CLASSES: "overall_accuracy", Kind.SEVERAL: "micro_average_precision", Kind.NUMBERS: "r2"}
"""What ``--fail-under`` looks at unless told otherwise."""
HTML, JSON = ".html", ".json"


@dataclass(frozen=True)
class Evaluated:
    """Heads on test labels: an assessment each, by name, and how they compare; ``files`` were written."""

    assessments: Mapping[str, Assessment]
    comparison: Comparison | None
    files: tuple[Path, ...]

    @property
    def measured(self) -> dict[str, Measured]:
        """Scores by head."""
        return {name: one.measured for name, one in self.assessments.items()}

    def check(self, threshold: float | None, metric: str | None = None) -> None:
        """Raise :class:`~dofa_cli.errors.BelowThreshold` for a head worse than ``threshold``.

        ``metric`` names the score; it is looked up, and refused if there is none, without a threshold too.
        """
        for measured in self.measured.values():
            name = metric_named(measured, metric or USUAL_METRIC[measured.kind])
            if threshold is not None:
                check_threshold(measured, name, threshold)

    def to_plain(self) -> dict[str, Any]:
        """Return one head's report as training writes it, or a list of several and their comparison."""
        reports = [one.to_plain() for one in self.assessments.values()]
        if self.comparison is None:
            return reports[0]
        return {"format": FORMAT, "heads": reports, "comparison": plain(self.comparison)}

    def to_json(self) -> str:
        """Return :meth:`to_plain` as JSON text."""
        return json.dumps(_without_nan(self.to_plain()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def evaluate(
    heads: str | Path | Sequence[str | Path],
    *,
    scene: Named | Sequence[Named] = (),
    labels: str | Path | None = None,
    class_field: str | None = None,
    ignore: Sequence[int | str] = (),
    nodata: int | None = None,
    buffer: float | None = None,
    output: str | Path | None = None,
    fail_under: float | None = None,
    metric: str | None = None,
    seed: int = 0,
    sensor: str | None = None,
    wavelengths: str | None = None,
    bands: str | None = None,
    product: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    weights: str | None = None,
    trust_weights: bool = False,
    device: str = "auto",
    precision: Precision | str = Precision.AUTO,
    batch_size: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    command: str = "",
    say: Callable[[str], object] = lambda _: None,
) -> Evaluated:
    """Evaluate heads on test labels that they were not trained with; options are those of ``dofa evaluate``.

    Scenes are given as to :func:`~dofa_cli.pipelines.train.train`. Of several inputs a place, each head takes its own.
    ``output`` is an HTML page, or a JSON file; the other of the two is written beside it. Raises
    :class:`~dofa_cli.errors.BelowThreshold`, after writing, for a head worse than ``fail_under``, and other subclasses
    of :class:`~dofa_cli.errors.DofaError`.
    """
    files = [open_head(head) for head in ([heads] if isinstance(heads, str | Path) else heads)]
    check_comparable(files)
    named = [scene] if isinstance(scene, Named) else scene
    scenes = files_of(named)
    targets = _targets(output)
    for target in targets:
        check_output(target, overwrite=overwrite, inputs=(*scenes, *(str(file.path) for file in files)))
    model = ModelOptions(weights, trust_weights, device=device, precision=Precision(precision), batch_size=batch_size)
    given = SceneOptions(sensor, wavelengths, bands, product, scale, offset)
    with rasterio.Env(**gdal_options(scenes)):
        inputs = _found(named, None if labels is None else str(labels), class_field, _task(files[0].head), given)
        _check_fit(files[0], inputs)
        marks = LabelOptions(class_field, tuple(ignore), nodata, files[0].head.classes is None, buffer)
        trial = _Trial(inputs, marks, given, model, say, progress)
        evidence = {name: trial.of(file) for name, file in zip(names_of(files), files, strict=True)}
    done = _assessed(evidence, seed, _made(inputs, command), targets)
    _write(done)
    done.check(fail_under, metric)
    return done


@dataclass(frozen=True)
class _Trial:
    """The test labels, and how to read and predict them."""

    inputs: Inputs
    labels: LabelOptions
    scene: SceneOptions
    model: ModelOptions
    say: Say
    progress: bool

    def of(self, file: HeadFile) -> Evidence:
        """Try a head."""
        if file.head.recipe.level == "patch":
            test = MapTest(_maps_of(self.inputs), self.labels, self.scene, self.model, self.say, self.progress)
            return try_on_maps(file, test)
        return try_on_images(file, ImageTest(self.inputs.images, self.scene, self.model, self.say))


def _found(
    named: Sequence[Named], labels: str | None, column: str | None, task: Task | None, options: SceneOptions
) -> Inputs:
    """Tell what is to be tested: scenes, images, or places with several inputs."""
    inputs = read_inputs(named)
    if not inputs:
        return find_inputs([str(one) for one in named], labels, column, task)
    return find_input_places(inputs, labels, task, options)


def _maps_of(inputs: Inputs) -> tuple[tuple[tuple[Named, ...], str], ...]:
    """Return what is mapped, each with its labels."""
    if not inputs.places:
        return inputs.scenes
    return tuple((place.inputs, labels) for place, (_, labels) in zip(inputs.places, inputs.scenes, strict=True))


def _task(head: Head) -> Task | None:
    """Return the task that inputs are read for: none where they tell it themselves."""
    return Task.REGRESS if head.task is Task.REGRESS else None


def _check_fit(file: HeadFile, inputs: Inputs) -> None:
    """Raise :class:`WrongHead` where labels are of another kind than what the head says."""
    pixels = file.head.recipe.level == "patch"
    if pixels and not inputs.scenes:
        raise WrongHead(f"{file.path} maps pixels, but the labels are of whole images. Give --scene and --labels.")
    if not pixels and not inputs.images:
        raise WrongHead(
            f"{file.path} tells the class of whole images, but the labels lie on the ground. Give a table of images "
            "and labels, or a folder of class folders."
        )
    kind = inputs.listed.kind if inputs.listed else None
    if kind is LabelKind.SEVERAL and not file.head.several:
        raise WrongHead(f"{file.path} gives one class an image; some labels name several.")


def _made(inputs: Inputs, command: str) -> Mapping[str, str]:
    source = inputs.listed.source if inputs.listed else ", ".join(sorted({labels for _, labels in inputs.scenes}))
    return {"command": command, "labels": source, "images": f"{len(inputs.scenes) or len(inputs.images):,}"}


def _assessed(
    evidence: Mapping[str, Evidence], seed: int, made: Mapping[str, str], targets: tuple[Path, ...]
) -> Evaluated:
    measured = {name: one.measured(seed) for name, one in evidence.items()}
    reports = {name: _assessment(name, one, measured[name], seed, made) for name, one in evidence.items()}
    return Evaluated(reports, compare(evidence, measured, seed), targets)


def _assessment(name: str, one: Evidence, measured: Measured, seed: int, made: Mapping[str, str]) -> Assessment:
    head = one.file.head
    areas, why = one.areas(seed)
    return Assessment(
        name=name,
        task=head.task.value,
        measured=measured,
        classes=one.classes,
        split=Split("All labels given are test labels.", {"test": _by_class(measured)}),
        areas=areas,
        facts={
            "head": str(one.file.path),
            "method": head.method.value,
            "weights": head.weights,
            **one.facts,
            "labels": made["labels"],
            "scenes or images": made["images"],
        },
        notes=(*one.notes, *why),
        command=made["command"],
        versions={"dofa": __version__, "torch": torch.__version__, "python": platform.python_version()},
    )


def _by_class(measured: Measured) -> list[int]:
    if not measured.rows:
        return [measured.samples]
    return [round(row.reference) for row in measured.rows]


def _targets(output: str | Path | None) -> tuple[Path, ...]:
    """Return the page and the JSON file to write, none without ``output``."""
    if output is None:
        return ()
    path = Path(output)
    if path.suffix.lower() not in (HTML, JSON):
        raise OptionError(
            f"'{path.name}' ends in neither {HTML} nor {JSON}. The other of the two is written beside it."
        )
    return path.with_suffix(HTML), path.with_suffix(JSON)


def _write(done: Evaluated) -> None:
    for path in done.files:
        text = done.to_json() if path.suffix == JSON else page(list(done.assessments.values()), done.comparison)
        with working_file(path) as working, explained(path):
            working.write_text(text, encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
