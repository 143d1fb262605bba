"""Heads of pixels on test labels: each scene is mapped, and the map compared at every labelled pixel."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from dofa_cli.assess.confusion import Confusion
from dofa_cli.classes import UNLABELLED, ClassTable
from dofa_cli.errors import LabelsMiss
from dofa_cli.pipelines.evaluation.evidence import BLOCKS_A_SCENE, Evidence, Kept
from dofa_cli.pipelines.inference.run import ModelOptions, Say
from dofa_cli.pipelines.inputs.named import Named
from dofa_cli.pipelines.learning.labelled_scenes import LabelOptions
from dofa_cli.pipelines.learning.sampling import strips
from dofa_cli.pipelines.mapping.apply_head import HeadFile
from dofa_cli.pipelines.mapping.report import MapReport
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.pipelines.segment import segment
from dofa_cli.pipelines.shards.stop import not_stoppable
from dofa_cli.raster.blocks import Blocks, choose_blocks
from dofa_cli.raster.grid import Window
from dofa_cli.raster.labels import Labels
from dofa_cli.raster.source import Grid, georeference

MANY_SCENES = 10
"""Of so many scenes, each is one block of the intervals."""


@dataclass(frozen=True)
class MapTest:
    """Scenes with their test labels, as (files or inputs, labels), and how to read and map them."""

    scenes: tuple[tuple[tuple[Named, ...], str], ...]
    labels: LabelOptions
    scene: SceneOptions
    model: ModelOptions
    say: Say
    progress: bool = False


def try_on_maps(file: HeadFile, test: MapTest) -> Evidence:
    """Map every scene with a head and compare; scenes that their labels miss are left out, unless that leaves none.

    Maps lie in a temporary folder until they are compared.
    """
    tally = _Tally(file)
    missed: list[LabelsMiss] = []
    with not_stoppable(), tempfile.TemporaryDirectory(prefix="dofa-evaluate-") as folder:
        for number, (paths, labels) in enumerate(test.scenes):
            path = Path(folder) / f"{number}.tif"
            report = _mapped(file, paths, path, test)
            with rasterio.open(path) as found:
                grid = Grid(found.transform, georeference(found), found.height, found.width)
                try:
                    options = replace(test.labels, numeric=file.head.classes is None)
                    opened = options.open(labels, grid, file.head.classes)
                except LabelsMiss as error:
                    missed.append(error)
                    continue
                tally.compare(number, found, opened, _blocks(file, opened, many=len(test.scenes) >= MANY_SCENES))
            tally.report(report)
            path.unlink()
    if len(missed) == len(test.scenes):
        raise missed[0]
    left = f"{len(missed)} of {len(test.scenes)} scenes left out, which the labels do not touch."
    return tally.evidence((left,) if missed else ())


class _Tally:
    """Adds up what a head says of all scenes."""

    def __init__(self, file: HeadFile) -> None:
        self.file, self.classes = file, file.head.classes
        self.counted = None if self.classes is None else Confusion(len(self.classes))
        self.kept = Kept()
        self.hectares: list[NDArray[np.float64] | None] = []
        self.notes: dict[str, None] = {}
        self.facts: dict[str, str] = {}
        self.blocks = 0

    def compare(self, scene: int, found: Any, labels: Labels, blocks: Blocks) -> None:
        """Compare one map with its labels, strip by strip."""
        self.notes |= dict.fromkeys(labels.notes)
        self.blocks += len(blocks)
        for window in strips(labels.extent()):
            reference = labels.read(window).values
            predicted = _predicted(found, window, self.classes)
            self._add(scene, window, (reference, predicted), blocks)

    def _add(self, scene: int, window: Window, pair: tuple[NDArray[Any], NDArray[Any]], blocks: Blocks) -> None:
        reference, predicted = pair
        rows, cols = np.nonzero(np.isfinite(reference) if self.classes is None else reference >= 0)
        at = rows + window.row, cols + window.col
        block = blocks.block_of(*at) + scene * BLOCKS_A_SCENE
        chosen = reference[rows, cols], predicted[rows, cols]
        self.kept.add(scene, at, chosen, block)
        if self.counted is not None:
            self.counted.add(*chosen, blocks=block)

    def report(self, report: MapReport) -> None:
        """Take over areas, and what the run says of itself."""
        if report.classes is not None:
            areas = [row["hectares"] for row in report.classes]
            self.hectares.append(None if None in areas else np.array(areas, np.float64))
        self.notes |= dict.fromkeys(report.facts.warnings)
        self.facts = {"sensor": report.facts.sensor, "product": report.facts.product}

    def evidence(self, notes: tuple[str, ...]) -> Evidence:
        """Return everything that was counted."""
        known = [areas for areas in self.hectares if areas is not None]
        whole = np.sum(known, axis=0) if known and len(known) == len(self.hectares) else None
        samples = self.kept.samples(spatial=self.blocks > 1)
        said = (*notes, *self.notes, *self.kept.notes)
        return Evidence(self.file, samples, self.counted, whole, self.facts, said)


def _mapped(file: HeadFile, paths: Sequence[Named], output: Path, test: MapTest) -> MapReport:
    scene, model = test.scene, test.model
    return segment(
        paths,
        output,
        head=file.path,
        weights=model.weights,
        sensor=scene.sensor,
        wavelengths=scene.wavelengths,
        bands=scene.bands,
        product=scene.product,
        scale=scene.scale,
        offset=scene.offset,
        device=model.device,
        precision=model.precision,
        batch_size=model.batch_size,
        progress=test.progress,
        say=test.say,
    )


def _blocks(file: HeadFile, labels: Labels, *, many: bool) -> Blocks:
    extent = labels.extent()
    if many:
        return Blocks(extent, max(extent.height, 1), max(extent.width, 1))
    return choose_blocks(extent, file.head.recipe.window / file.head.recipe.zoom)


def _predicted(found: Any, window: Window, classes: ClassTable | None) -> NDArray[Any]:
    """Read a map under ``window``: class indices, or numbers with NaN where it has none."""
    values = found.read(1, window=RasterWindow(window.col, window.row, window.width, window.height))
    if classes is not None:
        return np.where(values == classes.nodata, UNLABELLED, classes.indices(values)).astype(np.int16)
    missing = np.nan if found.nodata is None else found.nodata
    return np.where(values == missing, np.nan, values)
