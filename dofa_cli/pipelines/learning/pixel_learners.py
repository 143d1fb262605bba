"""Train heads that see pixels: upernet, finetune and lora on windows of scenes, finetune and lora on chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dofa_cli.classes import UNLABELLED
from dofa_cli.heads.build import encoder_of
from dofa_cli.heads.chips import fit_chips
from dofa_cli.heads.dense import fit_windows
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.head import Head
from dofa_cli.heads.loop import Backbone, OnEpoch
from dofa_cli.pipelines.chips.chip_set import ChipSet, chip_vectors
from dofa_cli.pipelines.inference.encoder import Encoder
from dofa_cli.pipelines.inference.run import Run
from dofa_cli.pipelines.learning.draft import Draft, Index, Shares
from dofa_cli.pipelines.learning.features import Field, node_values, nodes_at
from dofa_cli.pipelines.learning.sampling import Points
from dofa_cli.pipelines.learning.token_learners import head_logits
from dofa_cli.pipelines.mapping.head_model import built_head, map_model, weights_for
from dofa_cli.pipelines.scenes.standardise import Standardiser, margin, plane_under
from dofa_cli.raster.grid import TilePlan, Window, plan_tiles
from dofa_cli.raster.reader import read_windows

CPU = torch.device("cpu")
MOST_BYTES = 2**30
"""Pixels of training windows held in memory, in half precision."""


@dataclass(frozen=True)
class LabelledWindow:
    """A window of a scene: its zoomed pixels ``fine``, and the positions of the points inside it."""

    scene: int
    cells: Window
    fine: Window
    points: Index


@dataclass(frozen=True)
class WindowStore:
    """Windows that hold labels, overlapping by half: ``pixels`` (n, bands, s, s), standardised, in half precision."""

    windows: tuple[LabelledWindow, ...]
    pixels: Tensor
    points: Points
    targets: NDArray[Any]
    zoom: int
    total: int

    def only(self, at: Index) -> WindowSamples:
        """Return the windows with the labels of some points."""
        chosen = np.zeros(len(self.points), bool)
        chosen[at] = True
        numbers = [n for n, window in enumerate(self.windows) if chosen[window.points].any()]
        return WindowSamples(self, numbers, chosen)


@dataclass(frozen=True)
class WindowSamples:
    """Windows of a store of which the ``chosen`` points are labelled and all other pixels are not."""

    store: WindowStore
    numbers: Sequence[int]
    chosen: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.numbers)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return pixels (N, bands, s, s) and targets (N, s, s), -1 or NaN where unlabelled."""
        numbers = [self.numbers[index] for index in indices]
        targets = np.stack([self._target(self.store.windows[number]) for number in numbers])
        return self.store.pixels[numbers].float(), torch.from_numpy(targets)

    def _target(self, window: LabelledWindow) -> NDArray[Any]:
        store, side = self.store, window.fine.height
        values = store.targets
        numbers = np.issubdtype(values.dtype, np.floating)
        # the scene's pixels that touch the window, enlarged and then cut to it
        top, left = window.fine.row // store.zoom, window.fine.col // store.zoom
        coarse = side // store.zoom + 2
        target = np.full((coarse, coarse), np.nan if numbers else UNLABELLED, np.float32 if numbers else np.int64)
        inside = window.points[self.chosen[window.points]]
        target[store.points.row[inside] - top, store.points.col[inside] - left] = values[inside]
        fine = target.repeat(store.zoom, 0).repeat(store.zoom, 1)
        row, col = window.fine.row - top * store.zoom, window.fine.col - left * store.zoom
        return fine[row : row + side, col : col + side]


def window_store(runs: Sequence[Run], points: Points, targets: NDArray[Any], used: Index, seed: int) -> WindowStore:
    """Read the windows that hold ``used`` points, or as many as memory has room for, drawn by ``seed``."""
    found = [window for number, run in enumerate(runs) for window in _windows(number, run, points, used)]
    side, bands = found[0].fine.height, len(runs[0].prepared.norms)
    room = max(1, MOST_BYTES // (2 * bands * side * side))
    kept = np.sort(np.random.default_rng(seed).permutation(len(found))[:room])
    windows = tuple(found[number] for number in kept)
    pixels = torch.empty(len(windows), bands, side, side, dtype=torch.float16)
    for number, run in enumerate(runs):
        mine = [n for n, window in enumerate(windows) if window.scene == number]
        for n, values in zip(mine, _pixels(run, [windows[n].cells for n in mine]), strict=True):
            pixels[n] = values
    return WindowStore(windows, pixels, points, targets, runs[0].plan.grid.zoom, len(found))


def _windows(scene: int, run: Run, points: Points, used: Index) -> list[LabelledWindow]:
    mine = used[points.scene[used] == scene]
    if not len(mine):
        return []
    plan, found = _half_overlapping(run.plan), []
    for row in range(len(plan.row_starts)):
        for col in range(len(plan.col_starts)):
            cells = plan.window_cells((row, col))
            fine = plan.grid.zoomed(cells)
            inside = mine[
                _within(points.row[mine], fine.row, fine.bottom, plan.grid.zoom)
                & _within(points.col[mine], fine.col, fine.right, plan.grid.zoom)
            ]
            if len(inside):
                found.append(LabelledWindow(scene, cells, fine, inside))
    return found


def _within(pixels: NDArray[Any], first: int, last: int, zoom: int) -> NDArray[np.bool_]:
    """Return which pixels have a part in zoomed pixels from ``first`` to before ``last``."""
    return np.asarray(((pixels + 1) * zoom > first) & (pixels * zoom < last))


def _half_overlapping(plan: TilePlan) -> TilePlan:
    return plan_tiles(plan.grid, plan.window, plan.window // 2, inward=True, per_tile=1)


def _pixels(run: Run, windows: Sequence[Window]) -> list[Tensor]:
    standardise, grid = Standardiser(run.prepared.norms, CPU), run.plan.grid
    wanted = [grid.pixels(cells, margin(grid.zoom)) for cells in windows]
    blocks = read_windows(run.prepared.scene, wanted)
    return [
        plane_under(cells, grid, block, standardise(block)).pixels.half()
        for cells, block in zip(windows, blocks, strict=True)
    ]


@dataclass(frozen=True)
class SceneWindows:
    """Labelled pixels of scenes, learnt from whole windows."""

    draft: Draft
    backbone: Backbone
    runs: Sequence[Run]
    store: WindowStore
    on_epoch: OnEpoch = lambda _: None

    def fit(
        self,
        train: Index,
        validation: Index | None,
        settings: Mapping[str, Any],
        shares: Shares | None = None,  # noqa: ARG002 - windows show classes as they are
    ) -> Fitted:
        """Train on the windows that hold these samples."""
        return fit_windows(
            self.draft.method,
            self.backbone,
            self.store.only(train),
            goal=self.draft.goal,
            validation=None if validation is None or not len(validation) else self.store.only(validation),
            weights=self.draft.weighting,
            seed=self.draft.seed,
            settings=settings,
            on_epoch=self.on_epoch,
        )

    def logits(self, head: Head, at: Index) -> NDArray[np.float32]:
        """Return logits as the map will hold them: windows blended, sub-cells interpolated to the pixels."""
        built = built_head(head, self.draft.weights)
        encoder = Encoder(
            weights_for(built, self.draft.weights),
            self.backbone.wavelengths_um,
            device=self.backbone.device_name,
            precision=self.backbone.precision,
        )
        model, points = map_model(built, encoder), self.store.points
        result = np.full((len(at), model.dim), np.nan, np.float32)
        for number, run in enumerate(self.runs):
            mine = np.flatnonzero(points.scene[at] == number)
            if len(mine):
                nodes = nodes_at(run.plan.grid, points.row[at[mine]], points.col[at[mine]], model.detail)
                ids = np.unique(nodes.ids)
                stream = run.stream(model=model)
                result[mine] = Field(ids, node_values(stream, run.plan, ids, model.dim, model.detail)).at(nodes)
        return result


@dataclass(frozen=True)
class ChipSamples:
    """Chips with their targets, (n,) or (n, K)."""

    chips: ChipSet
    targets: NDArray[Any]
    at: Index

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.at)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return pixels (N, bands, s, s) and targets."""
        numbers = self.at[list(indices)]
        targets = self.targets[numbers]
        typed = targets.astype(np.float32 if targets.ndim == 2 or targets.dtype.kind == "f" else np.int64)
        return self.chips.batch(numbers.tolist()), torch.from_numpy(typed)


@dataclass(frozen=True)
class ChipPixels:
    """Chips, learnt from their pixels."""

    draft: Draft
    backbone: Backbone
    chips: ChipSet
    targets: NDArray[Any]
    on_epoch: OnEpoch = lambda _: None

    def fit(
        self,
        train: Index,
        validation: Index | None,
        settings: Mapping[str, Any],
        shares: Shares | None = None,  # noqa: ARG002 - windows show classes as they are
    ) -> Fitted:
        """Train encoder and head on these chips."""
        return fit_chips(
            self.draft.method,
            self.backbone,
            ChipSamples(self.chips, self.targets, train),
            goal=self.draft.goal,
            validation=None
            if validation is None or not len(validation)
            else ChipSamples(self.chips, self.targets, validation),
            weights=self.draft.weighting,
            seed=self.draft.seed,
            settings=settings,
            on_epoch=self.on_epoch,
        )

    def logits(self, head: Head, at: Index) -> NDArray[np.float32]:
        """Return logits of the vectors that the trained encoder gives."""
        weights = self.draft.weights
        changed = replace(weights.checkpoint, model=encoder_of(head, weights.checkpoint.model))
        encoder = Encoder(
            replace(weights, checkpoint=changed),
            self.backbone.wavelengths_um,
            device=self.backbone.device_name,
            precision=self.backbone.precision,
        )
        return head_logits(head, chip_vectors(self.chips.only(at.tolist()), encoder))
