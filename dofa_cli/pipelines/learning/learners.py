"""From a lesson to a way of learning it: windows laid, tokens computed or found on disk, the head drafted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Method, Recipe
from dofa_cli.heads.loop import Backbone, Epoch
from dofa_cli.model.device import choose_batch
from dofa_cli.pipelines.inference.encoder import Encoder, TokenNorm, Weights
from dofa_cli.pipelines.inference.plan import GridOptions, lay_out, windows_per_tile
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.run import Level, Run, Say
from dofa_cli.pipelines.learning.draft import Draft, Index, Learner
from dofa_cli.pipelines.learning.feature_cache import cache_folder
from dofa_cli.pipelines.learning.lessons import Lesson
from dofa_cli.pipelines.learning.pixel_learners import ChipPixels, SceneWindows, window_store
from dofa_cli.pipelines.learning.request import TrainRequest
from dofa_cli.pipelines.learning.token_learners import ChipTokens, kept_vectors, scene_tokens, windows_of
from dofa_cli.sensors.normalise import BandNorm


@dataclass(frozen=True)
class Attempt:
    """A way of learning a lesson, at one zoom."""

    learner: Learner
    zoom: int


@dataclass(frozen=True)
class Setting:
    """What all attempts share; ``used`` are the samples that may be asked for."""

    request: TrainRequest
    lesson: Lesson
    weights: Weights
    used: Index
    say: Say
    progress: bool

    @property
    def backbone(self) -> Backbone:
        """The encoder to train on."""
        model = self.request.model
        return Backbone(self.weights.checkpoint.model, self.wavelengths_um, model.device, model.precision)

    @property
    def norms(self) -> tuple[BandNorm, ...]:
        """One rule a band."""
        return self.lesson.chips.norms if self.lesson.chips else self.lesson.places[0].prepared.norms

    @property
    def wavelengths_um(self) -> tuple[float, ...]:
        """What the weights are given."""
        return tuple(norm.wavelength_um for norm in self.norms)

    def encoder(self) -> Encoder:
        """Open the weights for the lesson's wavelengths."""
        model = self.request.model
        return Encoder(self.weights, self.wavelengths_um, device=model.device, precision=model.precision)

    def draft(self, recipe: Recipe) -> Draft:
        """Return the head to be."""
        return Draft(
            task=self.lesson.task,
            method=self.request.method,
            recipe=recipe,
            weights=self.weights,
            classes=self.lesson.classes,
            several=self.lesson.several,
            target=self.lesson.target,
            weighting=self.request.class_weights,
            seed=self.request.split.seed,
            settings=self.request.settings,
        )

    def on_epoch(self, epoch: Epoch) -> None:
        """Tell how training goes on."""
        if self.progress:
            held = "" if epoch.score is None else f", validation score {epoch.score:.3f}"
            self.say(f"Epoch {epoch.number} of at most {epoch.of}: loss {epoch.loss:.4f}{held}")


def prepare_attempt(setting: Setting, zoom: int) -> Attempt:
    """Lay windows at a zoom and make ready what the method learns from.

    Raises :class:`OptionError` for methods that do not suit what is labelled.
    """
    if setting.lesson.chips is not None:
        return Attempt(_chip_learner(setting), 1)
    encoder = setting.encoder()
    runs = _runs(setting, encoder, zoom)
    draft = setting.draft(_scene_recipe(setting, runs[0]))
    if setting.request.method.is_token_head:
        return Attempt(_token_learner(setting, draft, runs), zoom)
    lesson = setting.lesson
    store = window_store(runs, lesson.points, lesson.targets, setting.used, draft.seed)
    if len(store.windows) < store.total:
        setting.say(f"{len(store.windows):,} of {store.total:,} windows with labels fit into memory and are used.")
    return Attempt(SceneWindows(draft, setting.backbone, runs, store, setting.on_epoch), zoom)


def _chip_learner(setting: Setting) -> Learner:
    chips, method = setting.lesson.chips, setting.request.method
    assert chips is not None
    draft = setting.draft(_chip_recipe(setting))
    if method.is_token_head:
        vectors = kept_vectors(chips, setting.weights, setting.encoder(), setting.say)
        return ChipTokens(draft, vectors, setting.lesson.targets)
    if method is Method.UPERNET:
        raise OptionError("--method upernet draws maps; for one label an image use linear, knn, mlp, finetune or lora.")
    return ChipPixels(draft, setting.backbone, chips, setting.lesson.targets, setting.on_epoch)


def _token_learner(setting: Setting, draft: Draft, runs: Sequence[Run]) -> Learner:
    lesson = setting.lesson
    with window_progress(windows_of(runs, lesson.points, setting.used), None, shown=setting.progress) as advance:
        files = [place.files for place in lesson.places]
        found = scene_tokens(draft, runs, lesson.points, lesson.targets, setting.used, files=files, advance=advance)
    if found.from_cache:
        setting.say(f"Embeddings of {found.from_cache} of {len(found.fields)} scenes taken from {cache_folder()}.")
    return found


def _runs(setting: Setting, encoder: Encoder, zoom: int) -> list[Run]:
    request, config = setting.request, setting.weights.config
    grid = GridOptions(request.window, request.overlap, zoom, min_valid=request.min_valid)
    runs = []
    for place in setting.lesson.places:
        plan = lay_out(place.prepared.scene, config, grid, whole_windows=False)
        usual = min(
            choose_batch(encoder.device), windows_per_tile(config, len(setting.norms), plan.window, plan.overlap) ** 2
        )
        batch = min(request.model.batch_size or usual, plan.window_count)
        level, dtype = Level.PATCH, OutputDtype.FLOAT32
        runs.append(
            Run(place.prepared, setting.weights, encoder, plan, batch, level, dtype, request.min_valid, request.head)
        )
    return runs


def _scene_recipe(setting: Setting, run: Run) -> Recipe:
    plan = run.plan
    return Recipe(
        sensor=run.prepared.sensor.id,
        product=run.prepared.product.id,
        bands=tuple(norm.band for norm in setting.norms),
        wavelengths_um=setting.wavelengths_um,
        normalization=tuple(norm.to_plain() for norm in setting.norms),
        window=plan.window * plan.grid.patch,
        overlap=plan.overlap * plan.grid.patch,
        zoom=plan.grid.zoom,
        token_norm=TokenNorm.TRAINED.value,
    )


def _chip_recipe(setting: Setting) -> Recipe:
    chips = setting.lesson.chips
    assert chips is not None
    return Recipe(
        sensor=chips.sensor,
        product=chips.product,
        bands=tuple(norm.band for norm in chips.norms),
        wavelengths_um=chips.wavelengths_um,
        normalization=tuple(norm.to_plain() for norm in chips.norms),
        window=chips.side,
        overlap=0,
        zoom=1,
        level=Level.WINDOW.value,
        chip=chips.side,
        token_norm=TokenNorm.TRAINED.value,
    )


def used_samples(parts: Sequence[Index]) -> Index:
    """Return the positions of all samples that are used, ascending."""
    return np.unique(np.concatenate(parts))
