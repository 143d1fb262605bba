"""Train heads of single embeddings: on the blended token map of scenes, or on the pooled vectors of chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dofa_cli.heads.build import token_head
from dofa_cli.heads.fit import Fitted, fit_tokens
from dofa_cli.heads.head import Head
from dofa_cli.pipelines.chips.chip_set import ChipSet, chip_vectors
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.inference.run import Run, Say
from dofa_cli.pipelines.learning import feature_cache
from dofa_cli.pipelines.learning.draft import Draft, Index, Shares
from dofa_cli.pipelines.learning.features import Field, Nodes, nodes_at, tiles_with, token_field
from dofa_cli.pipelines.learning.sampling import Points
from dofa_cli.raster.grid import Window

LOGIT_ROWS = 16_384
"""Embeddings that a head maps at once."""


def fit_features(
    draft: Draft,
    data: Callable[[Index], tuple[NDArray[np.float32], NDArray[Any]]],
    train: Index,
    validation: Index | None,
    settings: Mapping[str, Any],
    *,
    shares: Shares | None = None,
) -> Fitted:
    """Train a token head on features and targets that ``data`` gives for positions."""
    features, targets = data(train)
    return fit_tokens(
        draft.method,
        features,
        targets,
        classes=None if draft.classes is None or draft.several else len(draft.classes),
        weights=draft.weighting,
        shares=None if draft.several or draft.classes is None else shares,
        seed=draft.seed,
        settings=settings,
        validation=None if validation is None or not len(validation) else data(validation),
    )


def head_logits(head: Head, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a token head's logits (n, K) of features (n, D); rows of NaN stay NaN."""
    computing = token_head(head)
    result = np.full((len(features), computing.goal.outputs), np.nan, np.float32)
    known = np.flatnonzero(np.isfinite(features[:, 0]))
    with torch.inference_mode():
        for first in range(0, len(known), LOGIT_ROWS):
            some = known[first : first + LOGIT_ROWS]
            result[some] = computing.logits(torch.from_numpy(features[some])).float().numpy()
    return result


@dataclass(frozen=True)
class SceneTokens:
    """Labelled pixels of scenes with the tokens around them: ``fields`` and ``nodes`` by scene.

    ``targets`` (n,) are class indices or standardised numbers.
    """

    draft: Draft
    points: Points
    targets: NDArray[Any]
    fields: Mapping[int, Field]
    nodes: Mapping[int, Nodes]
    places: Mapping[int, Index]

    @property
    def from_cache(self) -> int:
        """How many scenes' tokens were kept from an earlier run."""
        return sum(field.from_cache for field in self.fields.values())

    def fit(
        self, train: Index, validation: Index | None, settings: Mapping[str, Any], shares: Shares | None = None
    ) -> Fitted:
        """Train on tokens interpolated to the labelled pixels."""
        return fit_features(self.draft, self._known, train, validation, settings, shares=shares)

    def logits(self, head: Head, at: Index) -> NDArray[np.float32]:
        """Return logits as the map will hold them: those of the cells, interpolated to the pixels."""
        mapped = {
            number: Field(field.ids, head_logits(head, field.values))
            for number, field in self.fields.items()
            if (self.points.scene[at] == number).any()
        }
        return self._at(mapped, at, self.draft.goal.outputs)

    def _known(self, at: Index) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return features and targets of those samples that lie on valid ground."""
        features = self.features(at)
        known = np.isfinite(features[:, 0])
        return features[known], self.targets[at][known]

    def features(self, at: Index) -> NDArray[np.float32]:
        """Return tokens (n, D) interpolated to samples, NaN where the ground is not valid."""
        return self._at(self.fields, at, self.draft.recipe.width(self.draft.weights.config.embed_dim))

    def _at(self, fields: Mapping[int, Field], at: Index, width: int) -> NDArray[np.float32]:
        result = np.full((len(at), width), np.nan, np.float32)
        for number, field in fields.items():
            mine = np.flatnonzero(self.points.scene[at] == number)
            rank = np.searchsorted(self.places[number], at[mine])
            nodes = self.nodes[number]
            result[mine] = field.at(Nodes(nodes.ids[rank], nodes.weights[rank]))
        return result


def scene_tokens(
    draft: Draft,
    runs: Sequence[Run | None],
    points: Points,
    targets: NDArray[Any],
    used: Index,
    *,
    files: Sequence[Sequence[str]] = (),
    advance: Callable[[int], object] = lambda _: None,
) -> SceneTokens:
    """Compute the tokens around the ``used`` points, or find on disk those of scenes whose ``files`` are known.

    ``runs`` are one a scene, ``None`` for those that are not there.
    """
    fields, nodes, places = {}, {}, {}
    for number, run, mine in _by_scene(runs, points, used):
        places[number] = mine
        nodes[number] = nodes_at(run.plan.grid, points.row[mine], points.col[mine])
        ids = np.unique(nodes[number].ids)
        fields[number] = token_field(run, ids, files=files[number] if files else (), advance=advance)
        if fields[number].from_cache:
            advance(_windows_around(run, ids))
    return SceneTokens(draft, points, targets, fields, nodes, places)


def windows_of(runs: Sequence[Run | None], points: Points, used: Index) -> int:
    """Return how many windows the tokens around the ``used`` points take."""
    return sum(
        _windows_around(run, np.unique(nodes_at(run.plan.grid, points.row[mine], points.col[mine]).ids))
        for _, run, mine in _by_scene(runs, points, used)
    )


def _by_scene(runs: Sequence[Run | None], points: Points, used: Index) -> Iterator[tuple[int, Run, Index]]:
    """Yield each scene that holds ``used`` points, with those."""
    for number, run in enumerate(runs):
        mine = used[points.scene[used] == number]
        if len(mine) and run is not None:
            yield number, run, mine


def _windows_around(run: Run, ids: NDArray[np.int64]) -> int:
    """Count the windows that start in the tiles which hold the cells ``ids``."""
    plan = run.plan
    wanted = np.zeros((plan.grid.rows, plan.grid.cols), bool)
    wanted.flat[ids] = True
    starts = [(tile.core, [plan.window_cells(number) for number in tile.windows]) for tile in tiles_with(plan, wanted)]
    corners = [(core, Window(cells.row, cells.col, 1, 1)) for core, windows in starts for cells in windows]
    return sum(not corner.intersect(core).is_empty for core, corner in corners)


@dataclass(frozen=True)
class ChipTokens:
    """Pooled vectors (n, D) of chips with their targets."""

    draft: Draft
    vectors: NDArray[np.float32]
    targets: NDArray[Any]

    def fit(
        self, train: Index, validation: Index | None, settings: Mapping[str, Any], shares: Shares | None = None
    ) -> Fitted:
        """Train on vectors."""
        return fit_features(
            self.draft, lambda at: (self.vectors[at], self.targets[at]), train, validation, settings, shares=shares
        )

    def logits(self, head: Head, at: Index) -> NDArray[np.float32]:
        """Return the logits of vectors."""
        return head_logits(head, self.vectors[at])


def kept_vectors(chips: ChipSet, weights: Weights, encoder: Encoder, say: Say) -> NDArray[np.float32]:
    """Return the chips' vectors (n, D), from disk where they were computed before."""
    contents = feature_cache.content(path for paths in chips.paths for path in paths)
    key = None
    if contents is not None:
        facts = {
            "files": contents,
            "weights": weights.sha256,
            "norms": [norm.to_plain() for norm in chips.norms],
            "side": chips.side,
            "precision": encoder.precision.value,
            "device": encoder.device.type,
        }
        key = feature_cache.key_of(facts)
        kept = feature_cache.fetch(key)
        if kept is not None and kept.shape == (len(chips), encoder.dim):
            say(f"Embeddings of {len(chips)} images taken from {feature_cache.cache_folder()}.")
            return kept
    vectors = chip_vectors(chips, encoder)
    if key:
        feature_cache.keep(key, vectors)
    return vectors
