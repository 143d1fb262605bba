"""Images and a head opened together, and what the rows that come of them depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dofa_cli import __version__
from dofa_cli.heads.head import Head
from dofa_cli.pipelines.chips.chip_set import HALF, ChipSet, open_chips
from dofa_cli.pipelines.inference.backends.drawn import spread
from dofa_cli.pipelines.inference.backends.opening import encoder_for
from dofa_cli.pipelines.inference.batching import HALVED
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.provenance import rule
from dofa_cli.pipelines.inference.recipe import network_of
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.mapping.apply_head import HeadFile, learnt_rules
from dofa_cli.pipelines.mapping.predictor import Predictions, Predictor, open_for, side_of
from dofa_cli.pipelines.mapping.recipes import HeadName
from dofa_cli.pipelines.mapping.row_shards import Judge
from dofa_cli.pipelines.pretraining.drawable import Paths
from dofa_cli.pipelines.scenes.prepare import Learnt, SceneOptions
from dofa_cli.pipelines.shards.manifest import Manifest, fingerprint
from dofa_cli.pipelines.shards.store import Ending
from dofa_cli.sensors.normalise import BandNorm


@dataclass(frozen=True)
class Understood:
    """What the images were taken for."""

    sensor: str
    product: str
    left_out: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class HowShown:
    """Whether a run is only foretold (``dry``), and whether it shows a bar of images (``bar``)."""

    dry: bool = False
    bar: bool = False

    def progress(self, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Give a function to call with the number of images finished."""
        return window_progress(total, None, shown=self.bar, verb="classify", unit="images")


@dataclass(frozen=True)
class Outcome:
    """What a run did, or would do: ``rows`` written, and their number by class; seconds and bytes as foretold.

    ``how`` names precision and backend.
    """

    understood: Understood
    how: dict[str, str]
    memory_bytes: int
    rows: int
    counts: dict[str, int]
    seconds: float | None = None


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


def open_images(job: Job) -> tuple[ChipSet, Predictor]:
    """Open images as the head's chips, and the head on its weights, telling the user what was found."""
    weights = open_for(job.file, job.model)
    side = side_of(job.head, weights)
    chips = open_chips(job.images, job.scene, weights.config.family, side=side, learnt=job.learnt)
    unlike = unlike_training(job.head, chips.sensor, chips.product)
    for line in (*chips.notes, *(f"Warning: {warning}" for warning in (*chips.warnings, *unlike))):
        job.say(line)
    encoder = encoder_for(
        weights,
        chips.wavelengths_um,
        job.model,
        side=side,
        windows=len(chips),
        draw=lambda count: chips.batch(spread(len(chips), count)),
    )
    return chips, Predictor(job.head, weights, encoder, job.model)


def predict_chips(chips: ChipSet, predictor: Predictor) -> Predictions:
    """Predict every chip."""
    size = predictor.batch
    firsts = range(0, len(chips), size)
    return predictor(chips.read(range(first, min(first + size, len(chips)))) for first in firsts)


def judge_of(job: Job, predictor: Predictor, wavelengths_um: tuple[float, ...]) -> Judge:
    """Describe a predictor for another process."""
    network = network_of(predictor.weights, predictor.encoder, wavelengths_um)
    return Judge(HeadName.of(job.file), network, predictor.batch)


def rows_manifest(job: Job, predictor: Predictor, norms: Sequence[BandNorm], *, inputs: Sequence[str]) -> Manifest:
    """Say what the rows depend on."""
    return Manifest(
        verb="classify",
        inputs=tuple(map(fingerprint, inputs)),
        weights=job.head.weights,
        weights_sha256=job.head.weights_sha256,
        options={
            **job.file.tags,
            "dofa_version": __version__,
            "normalization": [rule(norm) for norm in norms],
            **predictor.how,
            "device": predictor.encoder.device.type,
            "batch size": predictor.batch,
            "chip": predictor.side,
        },
    )


def unlike_training(head: Head, sensor: str, product: str) -> list[str]:
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


def foretold(understood: Understood, predictor: Predictor, rows: int) -> Outcome:
    """Say what a run over ``rows`` images would take."""
    return Outcome(understood, predictor.how, predictor.memory_bytes, rows, {}, rows * predictor.seconds_an_image())


def outcome(understood: Understood, predictor: Predictor, ending: Ending) -> Outcome:
    """Collect what a run did; a batch that had to be halved is a warning."""
    warnings = (*understood.warnings, HALVED) if ending.counts.get("halved") else understood.warnings
    notes = (*understood.notes, *ending.facts.get("notes", ()))
    told = replace(understood, notes=notes, warnings=warnings)
    return Outcome(told, predictor.how, predictor.memory_bytes, ending.facts["rows"], ending.facts["counts"])


def rows_facts(head: Head, found: Predictions) -> dict[str, Any]:
    """Count rows with a prediction, and rows by class."""
    return {"rows": int(np.isfinite(found.values).all(axis=1).sum()), "counts": _counts(head, found)}
