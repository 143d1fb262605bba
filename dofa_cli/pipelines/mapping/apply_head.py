"""A head file and a scene to a run: the head's own sensor, bands, rules and windows, unless told otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dofa_cli.errors import BandMismatch, NoWeights, UnknownWeights, WrongHead
from dofa_cli.heads.file import check_weights, load_head
from dofa_cli.heads.head import Head, Recipe, Task
from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.inference.encoder import TokenNorm, Weights, open_weights
from dofa_cli.pipelines.inference.kept import kept
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.run import (
    Request,
    Run,
    Say,
    settle_scene,
    settle_windows,
    tell_accuracy,
    tell_outside,
)
from dofa_cli.pipelines.inputs.align import on_grid
from dofa_cli.pipelines.mapping.head_model import (
    DenseMap,
    TokenMap,
    built_head,
    cell_values,
    computing,
    map_model,
    weights_for,
)
from dofa_cli.pipelines.scenes.instrument import states_wavelengths
from dofa_cli.pipelines.scenes.prepare import Described, Learnt, Prepared, SceneOptions, describe
from dofa_cli.pipelines.scenes.traces import labels
from dofa_cli.raster.area import crop_to_area
from dofa_cli.raster.scene import read_headers
from dofa_cli.raster.source import Grid
from dofa_cli.sensors.custom import CUSTOM
from dofa_cli.sensors.match import choose_bands
from dofa_cli.sensors.normalise import BandNorm
from dofa_cli.weights.checksum import sha256

DEFAULT_WEIGHTS = "DOFA_DEFAULT_WEIGHTS"
NEAR_UM = 0.005
"""Wavelengths that differ by less count as the same band."""


@dataclass(frozen=True)
class HeadFile:
    """A head, the file it was read from and that file's checksum."""

    head: Head
    path: Path
    sha256: str

    @property
    def tags(self) -> dict[str, str]:
        """What outputs say of the head."""
        return {
            "head": self.path.name,
            "head_sha256": self.sha256,
            "task": self.head.task.value,
            "method": self.head.method.value,
        }


@dataclass(frozen=True)
class Applied:
    """A head ready to run over a scene; ``model`` gives its logits."""

    file: HeadFile
    run: Run
    model: TokenMap | DenseMap

    @property
    def head(self) -> Head:
        """The head itself."""
        return self.file.head


def open_head(path: str | Path) -> HeadFile:
    """Read a head file; raises the errors of :func:`~dofa_cli.heads.file.load_head`."""
    head = load_head(path)
    return HeadFile(head, Path(path), sha256(path))


def check_maps(file: HeadFile) -> None:
    """Raise :class:`WrongHead` unless the head gives something for every pixel."""
    head = file.head
    if head.task is Task.CLASSIFY or head.recipe.level != "patch":
        what = "classifies" if head.task is Task.CLASSIFY else "gives numbers for"
        raise WrongHead(
            f"{file.path} {what} whole images, not pixels. Use `dofa classify`, or train with --task segment."
        )


def head_weights(file: HeadFile, named: str | None) -> Weights:
    """Open the weights of a head: those ``named``, else those that it was trained on, by name.

    Raises :class:`NoWeights` where they are not here, :class:`WrongHead` naming both for other weights.
    """
    head = file.head
    if named is not None:
        return _checked(head, named)
    try:
        return _checked(head, head.weights)
    except (NoWeights, UnknownWeights):
        if usual := os.environ.get(DEFAULT_WEIGHTS):
            return _checked(head, usual)
        raise NoWeights(
            f"{file.path} was trained on weights '{head.weights}' (sha256 {head.weights_sha256[:12]}…), which are not "
            "here. Say where they are with --weights."
        ) from None


def scene_options(file: HeadFile, given: SceneOptions, paths: Sequence[str]) -> SceneOptions:
    """Fill in sensor and bands that are not ``given`` from the head."""
    recipe = file.head.recipe
    if given.sensor or given.wavelengths:
        own = given.sensor == recipe.sensor and not given.bands
        return replace(given, bands=",".join(recipe.bands)) if own else given
    if recipe.sensor != CUSTOM:
        return replace(given, sensor=recipe.sensor, bands=given.bands or ",".join(recipe.bands))
    if states_wavelengths(read_headers(paths, given.warp, given.resolution)):
        return replace(given, bands=given.bands or ",".join(recipe.bands))
    return replace(given, wavelengths=",".join(f"{value:.6g}" for value in recipe.wavelengths_um))


def grid_options(recipe: Recipe, given: GridOptions, zoom: int | None) -> GridOptions:
    """Fill in window, overlap and zoom that are not given from the head."""
    return replace(
        given,
        window=given.window or recipe.window,
        overlap=recipe.overlap if given.overlap is None else given.overlap,
        zoom=zoom or recipe.zoom,
    )


def token_norm(recipe: Recipe) -> TokenNorm:
    """Return the norm that tokens went through in training."""
    return TokenNorm.NONE if recipe.token_norm == TokenNorm.NONE else TokenNorm.TRAINED


def settle_head(file: HeadFile, request: Request, say: Say, onto: Grid | None = None) -> Applied:
    """Open weights and scene for a head and lay out the windows; ``request`` has the head's options filled in.

    The scene is read on its own pixels, or ``onto`` others. Raises :class:`WrongHead` for weights other than the
    head's, and what :func:`~dofa_cli.pipelines.inference.run.settle` raises.
    """
    described = describe(request.paths, request.scene)
    weights = head_weights(file, request.model.weights)
    built = kept(("head", file.sha256, weights.sha256), partial(built_head, file.head, weights))
    request = replace(request, model=computing(request.model, built))
    prepared = prepare_for(file.head, request, described, weights.config, say, onto=onto)
    prepared = _with_warnings(prepared, rezoomed(file.head, request), say)
    run = settle_windows(request, weights_for(built, weights), prepared, cell_values(built))
    tell_outside(run, say)
    tell_accuracy(run, say)
    return Applied(file, run, map_model(built, run.encoder))


def prepare_for(
    head: Head, request: Request, described: Described, config: DofaConfig, say: Say, *, onto: Grid | None = None
) -> Prepared:
    """Settle bands and rules of a scene as a head learnt them, and tell the user in what it is unlike the training.

    With ``onto``, the scene is resampled to those pixels before it is cut to the area of interest.
    """
    same = described.sensor.id == head.recipe.sensor
    learnt = learnt_rules(head) if same else None
    asked = request if onto is None else replace(request, aoi=None)
    prepared = settle_scene(asked, _inclined(described, head) if same else described, config, say, learnt)
    if onto is not None:
        prepared = on_grid(prepared, described.headers, request.scene.masks, onto)
        if request.aoi is not None:
            cut = crop_to_area(prepared.scene, request.aoi, config.patch_size, request.grid.zoom)
            prepared = prepared.on(cut)
    return _with_warnings(prepared, [*_by_order(described, request), *_unlike(head, prepared)], say)


def learnt_rules(head: Head) -> Learnt:
    """Return the rules that a head was trained with."""
    return Learnt(head.recipe.product, tuple(BandNorm.from_plain(plain) for plain in head.recipe.normalization))


def _checked(head: Head, named: str) -> Weights:
    weights = open_weights(named, trusted=True)  # the checksum says that they are those of the training
    check_weights(head, weights.name, weights.sha256)
    return weights


def _inclined(described: Described, head: Head) -> Described:
    """Let values that fit several products be taken as the one that the head was trained with."""
    sensor, product = described.sensor, head.recipe.product
    if product not in {one.id for one in sensor.products}:
        return described
    products = tuple(
        one.model_copy(update={"named_only": False}) if one.id == product else one for one in sensor.products
    )
    sensor = sensor.model_copy(update={"products": products, "default_product": product})
    return replace(described, instrument=replace(described.instrument, sensor=sensor))


def _by_order(described: Described, request: Request) -> list[str]:
    """Warn where bands without names are taken in the head's order."""
    if described.instrument.by_order or not request.scene.bands or "=" in request.scene.bands:
        return []
    try:
        choose_bands(labels(described.headers), described.sensor, "all", family="")
    except BandMismatch:
        return [f"the file does not name its bands; they are taken as {request.scene.bands}. --bands says otherwise."]
    return []


def _unlike(head: Head, prepared: Prepared) -> list[str]:
    """Warn of everything in which a scene is not like those of the training."""
    recipe = head.recipe
    if prepared.sensor.id != recipe.sensor:
        return [
            f"the head was trained on {recipe.sensor}; on {prepared.sensor.id} the network applies it by wavelength, "
            "but its accuracy was not measured there."
        ]
    bands = tuple(norm.band for norm in prepared.norms)
    if bands != recipe.bands:
        return [f"the head was trained on bands {','.join(recipe.bands)}, not {','.join(bands)}; expect less of it."]
    found = []
    if prepared.product.id != recipe.product:
        found.append(f"the head was trained on product {recipe.product}, not {prepared.product.id}; expect less of it.")
    apart = [abs(a - b) for a, b in zip(prepared.wavelengths_um, recipe.wavelengths_um, strict=True)]
    if max(apart) > NEAR_UM:
        found.append(f"wavelengths differ from those of the training by up to {1000 * max(apart):.0f} nm.")
    return found


def rezoomed(head: Head, request: Request) -> list[str]:
    """Return a warning of cells of another size than those of the training."""
    had, has = head.recipe.zoom, request.grid.zoom
    return [f"the head was trained at zoom {had}, not {has}; expect less of it."] if had != has else []


def _with_warnings(prepared: Prepared, more: Sequence[str], say: Say) -> Prepared:
    for warning in more:
        say(f"Warning: {warning}")
    return replace(prepared, warnings=(*prepared.warnings, *more))
