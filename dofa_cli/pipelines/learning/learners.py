"""From a lesson to a way of learning it: windows laid, tokens computed or found on disk, the head drafted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import InputRecipe, Method, Recipe
from dofa_cli.heads.loop import Backbone, Epoch
from dofa_cli.model.device import choose_batch
from dofa_cli.pipelines.inference.encoder import Encoder, TokenNorm, Weights
from dofa_cli.pipelines.inference.plan import GridOptions, lay_out, windows_per_tile
from dofa_cli.pipelines.inference.progress import window_progress
from dofa_cli.pipelines.inference.quantise import OutputDtype
from dofa_cli.pipelines.inference.run import Level, Run, Say
from dofa_cli.pipelines.learning.draft import Draft, Index, Learner
from dofa_cli.pipelines.learning.feature_cache import cache_folder
from dofa_cli.pipelines.learning.joined_tokens import joined_tokens
from dofa_cli.pipelines.learning.labelled_scenes import Sight
from dofa_cli.pipelines.learning.lessons import Lesson
from dofa_cli.pipelines.learning.pixel_learners import ChipPixels, SceneWindows, window_store
from dofa_cli.pipelines.learning.request import TrainRequest
from dofa_cli.pipelines.learning.token_learners import ChipTokens, kept_vectors, scene_tokens, windows_of
from dofa_cli.pipelines.scenes.prepare import Prepared
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

    def encoder(self, norms: Sequence[BandNorm] = ()) -> Encoder:
        """Open the weights for the lesson's wavelengths, or for those of other bands."""
        model, wavelengths = self.request.model, tuple(norm.wavelength_um for norm in norms) or self.wavelengths_um
        return Encoder(self.weights, wavelengths, device=model.device, precision=model.precision)

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
    if setting.lesson.inputs:
        return Attempt(_input_learner(setting, zoom), zoom)
    encoder = setting.encoder()
    runs = [_run(setting, encoder, zoom, place.prepared) for place in setting.lesson.places]
    draft = setting.draft(_scene_recipe(runs[0]))
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


def _input_learner(setting: Setting, zoom: int) -> Learner:
    """Make the tokens of each input ready."""
    lesson = setting.lesson
    runs, files = [], []
    for number in range(len(lesson.inputs)):
        sights = [place.inputs[number] for place in lesson.places]
        encoder = setting.encoder(_norms_of(sights))
        runs.append([None if one is None else _run(setting, encoder, zoom, one.prepared) for one in sights])
        files.append([() if one is None else one.files for one in sights])
    firsts = [next(run for run in own if run is not None) for own in runs]
    draft = setting.draft(_recipe_of_inputs(setting, firsts))
    count = sum(windows_of(own, lesson.points, setting.used) for own in runs)
    with window_progress(count, None, shown=setting.progress) as advance:
        found = joined_tokens(draft, runs, lesson.points, lesson.targets, setting.used, files=files, advance=advance)
    if found.from_cache:
        setting.say(f"Embeddings of {found.from_cache} of {found.count} scenes taken from {cache_folder()}.")
    for name, share in found.missing().items():
        if share:
            setting.say(f"{name} is missing in {share:.1%} of the cells around labels.")
    return found


def _norms_of(sights: Sequence[Sight | None]) -> tuple[BandNorm, ...]:
    return next(one.prepared.norms for one in sights if one is not None)


def _run(setting: Setting, encoder: Encoder, zoom: int, prepared: Prepared) -> Run:
    request, config = setting.request, setting.weights.config
    grid = GridOptions(request.window, request.overlap, zoom, min_valid=request.min_valid)
    plan = lay_out(prepared.scene, config, grid, whole_windows=False)
    side = windows_per_tile(config, len(prepared.norms), plan.window, plan.overlap)
    batch = min(request.model.batch_size or min(choose_batch(encoder.device), side**2), plan.window_count)
    level, dtype = Level.PATCH, OutputDtype.FLOAT32
    return Run(prepared, setting.weights, encoder, plan, batch, level, dtype, request.min_valid, request.head)


def _recipe_of_inputs(setting: Setting, runs: Sequence[Run]) -> Recipe:
    """Return the recipe of several inputs from a run of each: that of the first, with the list."""
    first = _scene_recipe(runs[0])
    inputs = [
        InputRecipe(
            sensor=key.sensor,
            date=key.date,
            product=run.prepared.product.id,
            bands=tuple(norm.band for norm in run.prepared.norms),
            wavelengths_um=run.prepared.wavelengths_um,
            normalization=tuple(norm.to_plain() for norm in run.prepared.norms),
        )
        for key, run in zip(setting.lesson.inputs, runs, strict=True)
    ]
    return replace(first, inputs=tuple(inputs), combine=setting.request.combine.value)


def _scene_recipe(run: Run) -> Recipe:
    plan, prepared = run.plan, run.prepared
    return Recipe(
        sensor=prepared.sensor.id,
        product=prepared.product.id,
        bands=tuple(norm.band for norm in prepared.norms),
        wavelengths_um=prepared.wavelengths_um,
        normalization=tuple(norm.to_plain() for norm in prepared.norms),
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
