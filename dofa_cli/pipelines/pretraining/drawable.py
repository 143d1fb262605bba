"""Scenes to images that crops are drawn from: a rule for their values, and their pixels in memory where they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dofa_cli.errors import DamagedRaster, SceneError
from dofa_cli.pipelines.scenes.prepare import Prepared, SceneOptions, describe, prepare_scene
from dofa_cli.raster.grid import Window
from dofa_cli.raster.header import FileBand, Header
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.sample import sample_scene
from dofa_cli.raster.scene import Pixels, Scene, open_scene
from dofa_cli.raster.source import Source, is_valid
from dofa_cli.sensors.normalise import BandNorm
from dofa_cli.training.data import Image

RULE_SCENES = 8
"""Scenes that are looked at to settle the rule for all of the same folder and structure."""
Paths = tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """The files of one scene, with their headers read."""

    paths: Paths
    headers: tuple[Header, ...]

    @property
    def name(self) -> str:
        """What to call it in an error: its file, or the folder that was taken as one scene."""
        if len(self.paths) == 1:
            return self.paths[0]
        folder = Path(self.paths[0]).parent
        return f"{folder}, taken as one scene ('{folder}/*' gives a scene a file)"

    @property
    def structure(self) -> Any:
        """What scenes share that share a rule: their folder and what their bands look like.

        A scene of several files, or of a product with metadata, has a rule of its own.
        """
        if len(self.headers) > 1 or self.headers[0].delivery:
            return self.paths
        looks = ((b.index, b.text, b.colour, b.dtype, b.nodata, b.scale, b.offset) for b in self.headers[0].bands)
        return str(Path(self.paths[0]).parent), self.headers[0].has_mask, tuple(looks)


@dataclass(frozen=True)
class Ruled:
    """A scene with the rule of each band.

    ``prepared`` is its own or that of a scene with the same structure; ``bands`` are those in use, in order.
    """

    candidate: Candidate
    prepared: Prepared
    norms: tuple[BandNorm, ...]
    is_own: bool

    @property
    def bands(self) -> list[FileBand]:
        """The bands in use of this scene's files."""
        if self.is_own:
            return list(self.prepared.scene.bands)
        by_index = {band.index: band for band in self.candidate.headers[0].bands}
        return [by_index[band.index] for band in self.prepared.scene.bands]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        grid = self.prepared.scene.grid if self.is_own else self.candidate.headers[0].grid
        return grid.height, grid.width

    @property
    def nbytes(self) -> int:
        """Bytes of values and validity in memory."""
        height, width = self.size
        return height * width * (1 + len(self.norms) * self.prepared.scene.pixels.dtype.itemsize)

    def scene(self) -> Scene:
        """Open the scene, lazily."""
        if self.is_own:
            return self.prepared.scene
        return replace(open_scene(self.candidate.headers, self.bands), nodata=self.prepared.scene.nodata)

    def pixels(self) -> Pixels:
        """Read the whole scene; :class:`~dofa_cli.errors.DamagedRaster` names the file that fails."""
        if self.is_own:
            return read_window(self.prepared.scene, Window(0, 0, *self.size))
        header = self.candidate.headers[0]
        indices = tuple(band.index for band in self.bands)
        dtype = self.prepared.scene.pixels.dtype
        source = Source(header.path, indices, dtype, (len(indices), *self.size), masked=header.has_mask)
        everything = slice(None), slice(None), slice(None)
        values = source[everything]
        valid = source.of_validity()[everything][0] > 0 if header.has_mask else np.ones(self.size, bool)
        for band, nodata in zip(values, self.prepared.scene.nodata, strict=True):
            valid &= is_valid(band, nodata)
        return Pixels(values, valid)


def with_rules(candidates: Sequence[Candidate], options: SceneOptions, family: str) -> Iterator[Ruled]:
    """Settle band choice, product and rules of scenes, with one look at several that have the same structure.

    Rules that need statistics of the scenes themselves get those of all that were looked at together. Raises what
    :func:`~dofa_cli.pipelines.scenes.prepare.prepare_scene` raises.
    """
    groups: dict[Any, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.structure, []).append(candidate)
    known = {name: _looked_at(group, options, family) for name, group in groups.items()}
    pooled = pooled_norms([one for group in known.values() for one in group.values()])
    for name, group in groups.items():
        for candidate in group:
            is_own = candidate.paths in known[name]
            prepared = known[name].get(candidate.paths) or next(iter(known[name].values()), None)
            if prepared is not None:
                norms = tuple(pooled.get(norm.band, norm) for norm in prepared.norms)
                yield Ruled(candidate, prepared, norms, is_own)


def image_of(ruled: Ruled, standardise: Callable[[Pixels], Tensor], side: int, room: int) -> Image | str:
    """Return the image of a scene, or why crops of ``side`` pixels cannot be drawn from it.

    Its pixels are read at once when they take at most ``room`` bytes.
    """
    if min(ruled.size) < side:
        return "too small"
    name, (height, width) = ruled.candidate.paths[0], ruled.size
    try:
        if ruled.nbytes > room:
            scene = ruled.scene()
            is_empty = sample_scene(scene).is_empty
            image = Image(name, height, width, partial(read_window, scene), standardise, in_memory=False)
        else:
            pixels = ruled.pixels()
            is_empty = not pixels.valid.any()
            image = Image(name, height, width, partial(_part, pixels), standardise)
    except DamagedRaster:
        return "damaged"
    return "without valid pixels" if is_empty else image


def _looked_at(group: Sequence[Candidate], options: SceneOptions, family: str) -> dict[Paths, Prepared]:
    """Prepare some scenes of a group, or all where they differ in product or are masked."""
    few = [group[int(i)] for i in np.unique(np.linspace(0, len(group) - 1, RULE_SCENES).round())]
    found = _prepared(few, options, family)
    if options.masks.clouds or len({one.product.id for one in found.values()}) > 1:
        return _prepared(group, options, family)
    return found


def _prepared(group: Sequence[Candidate], options: SceneOptions, family: str) -> dict[Paths, Prepared]:
    """Prepare those scenes that can be read and hold valid pixels; scenes without any only if all are."""
    found: dict[Paths, Prepared] = {}
    for candidate in group:
        try:
            found[candidate.paths] = prepare_scene(describe(candidate.paths, options), options, family)
        except DamagedRaster:
            continue
        except SceneError as error:
            raise type(error)(f"{candidate.name}: {error}") from None
    return {paths: one for paths, one in found.items() if one.valid_share > 0} or found


def pooled_norms(prepared: Sequence[Prepared]) -> dict[str, BandNorm]:
    """Return, by band, rules whose statistics are the scenes' own, with those of all scenes together."""
    own: dict[str, list[BandNorm]] = {}
    for norm in (norm for one in prepared for norm in one.norms):
        if norm.origin == norm.estimated(0, 1).origin:
            own.setdefault(norm.band, []).append(norm)
    return {band: _pool(norms) for band, norms in own.items()}


def _pool(norms: Sequence[BandNorm]) -> BandNorm:
    """Return one rule with the mean and standard deviation of scenes that count alike."""
    means, stds = np.array([norm.mean for norm in norms]), np.array([norm.std for norm in norms])
    variance = (stds**2 + means**2).mean() - means.mean() ** 2
    return norms[0].estimated(float(means.mean()), float(np.sqrt(variance)))


def _part(pixels: Pixels, window: Window) -> Pixels:
    rows, cols = window.slices
    return Pixels(pixels.values[:, rows, cols], pixels.valid[rows, cols])
