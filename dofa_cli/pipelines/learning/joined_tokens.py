"""Train heads on the tokens of several inputs: each input's are computed, or found on disk, on their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dofa_cli.errors import TooFewLabels
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.head import Combine, Head
from dofa_cli.heads.joining import FILL, Joining
from dofa_cli.pipelines.inference.run import Run
from dofa_cli.pipelines.learning.draft import Draft, Index, Shares
from dofa_cli.pipelines.learning.features import Field
from dofa_cli.pipelines.learning.sampling import Points
from dofa_cli.pipelines.learning.token_learners import SceneTokens, scene_tokens


@dataclass(frozen=True)
class JoinedTokens:
    """Labelled pixels with the tokens of each input around them, in the order of the head's inputs.

    All inputs have the same nodes at the same pixels; an input has no field in places that lack it.
    """

    draft: Draft
    parts: tuple[SceneTokens, ...]

    @property
    def from_cache(self) -> int:
        """How many inputs' tokens of a place were kept from an earlier run."""
        return sum(part.from_cache for part in self.parts)

    @property
    def count(self) -> int:
        """How many inputs all places have together."""
        return sum(len(part.fields) for part in self.parts)

    def fit(
        self, train: Index, validation: Index | None, settings: Mapping[str, Any], shares: Shares | None = None
    ) -> Fitted:
        """Train on joined tokens; what stands in for missing inputs is their mean over the samples of ``train``."""
        joining = Joining(Combine(self.draft.recipe.combine))
        if joining.combine is Combine.CONCAT:
            joining = replace(joining, fill=torch.from_numpy(self._means(train)))
        fitted = self._joined(joining).fit(train, validation, settings, shares)
        if joining.fill is None:
            return fitted
        return fitted._replace(tensors={**fitted.tensors, FILL: joining.fill})

    def logits(self, head: Head, at: Index) -> NDArray[np.float32]:
        """Return logits as the map will hold them."""
        return self._joined(Joining.of(head)).logits(head, at)

    def missing(self) -> dict[str, float]:
        """Return by input the share of cells around labels in which it is missing and another is not."""
        known = [np.concatenate([self._known(part, number) for number in self._scenes()]) for part in self.parts]
        some = np.any(known, axis=0)
        names = [one.name for one in self.draft.recipe.inputs]
        return {
            name: float(1 - mine[some].mean()) if some.any() else 0.0 for name, mine in zip(names, known, strict=True)
        }

    def _means(self, train: Index) -> NDArray[np.float32]:
        """Return each input's mean token (inputs, D) over the samples that have it."""
        means = []
        for part, one in zip(self.parts, self.draft.recipe.inputs, strict=True):
            tokens = part.features(train)
            known = tokens[np.isfinite(tokens[:, 0])]
            if not len(known):
                raise TooFewLabels(f"No training sample lies where {one.name} has valid pixels. Leave it out.")
            means.append(known.mean(axis=0, dtype=np.float64))
        return np.stack(means).astype(np.float32)

    def _joined(self, joining: Joining) -> SceneTokens:
        """Return the joined tokens as those of a single input."""
        fields = {number: self._field(joining, number) for number in self._scenes()}
        nodes = {number: nodes for part in self.parts for number, nodes in part.nodes.items()}
        places = {number: at for part in self.parts for number, at in part.places.items()}
        return replace(self.parts[0], draft=self.draft, fields=fields, nodes=nodes, places=places)

    def _field(self, joining: Joining, number: int) -> Field:
        found = [part.fields.get(number) for part in self.parts]
        tokens = [None if field is None else torch.from_numpy(field.values) for field in found]
        ids = next(field.ids for field in found if field is not None)
        return Field(ids, joining(tokens).numpy())

    def _scenes(self) -> list[int]:
        return sorted({number for part in self.parts for number in part.fields})

    def _known(self, part: SceneTokens, number: int) -> NDArray[np.bool_]:
        if number in part.fields:
            return np.isfinite(part.fields[number].values[:, 0])
        count = next(len(other.fields[number].ids) for other in self.parts if number in other.fields)
        return np.zeros(count, bool)


def joined_tokens(
    draft: Draft,
    runs: Sequence[Sequence[Run | None]],
    points: Points,
    targets: NDArray[Any],
    used: Index,
    *,
    files: Sequence[Sequence[Sequence[str]]],
    advance: Callable[[int], object] = lambda _: None,
) -> JoinedTokens:
    """Compute the tokens of each input around the ``used`` points, or find them on disk.

    ``runs`` and ``files`` hold, input by input, those of each place.
    """
    recipe = draft.recipe
    parts = [
        scene_tokens(replace(draft, recipe=recipe.of(one)), own, points, targets, used, files=names, advance=advance)
        for one, own, names in zip(recipe.inputs, runs, files, strict=True)
    ]
    return JoinedTokens(draft, tuple(parts))
