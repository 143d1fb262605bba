"""Places with several inputs to train on: each input by one rule, all on the pixels of the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.chips.rule import ChipRule, settle_rule
from dofa_cli.pipelines.inputs.align import on_grid
from dofa_cli.pipelines.inputs.named import Input, Key
from dofa_cli.pipelines.inputs.options import options_of
from dofa_cli.pipelines.inputs.places import InputPlace, told_missing
from dofa_cli.pipelines.learning.labelled_scenes import LabelOptions, Place, Sight, labelled, ruled_scene
from dofa_cli.pipelines.pretraining.drawable import Candidate
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.raster.scene import read_headers
from dofa_cli.raster.source import Grid


@dataclass(frozen=True)
class _Ruled:
    """The inputs of one key: how they are read, and the rule that they share."""

    options: SceneOptions
    rule: ChipRule
    candidates: Mapping[Input, Candidate]

    def on(self, one: Input, grid: Grid) -> Sight:
        """Return an input on the pixels of its place."""
        candidate = self.candidates[one]
        prepared = on_grid(ruled_scene(candidate, self.rule), candidate.headers, self.options.masks, grid)
        return Sight(prepared, tuple(header.path for header in candidate.headers))


def open_input_places(
    pairs: Sequence[tuple[InputPlace, str]], keys: Sequence[Key], scene: SceneOptions, labels: LabelOptions, family: str
) -> tuple[list[Place], tuple[str, ...], tuple[str, ...]]:
    """Open the inputs of places and their labels, given as (place, labels); return them with notes and warnings.

    All inputs of one key share one rule a band. Raises :class:`OptionError` for a key that no labelled place has.
    """
    places = [place for place, _ in pairs]
    by_key = _by_key(places, keys, scene, family)
    sights = []
    for place in places:
        own = [(key, place.of(key)) for key in keys]
        inputs = tuple(None if one is None else by_key[key].on(one, place.grid) for key, one in own)
        first = next(sight for sight, (_, one) in zip(inputs, own, strict=True) if one == place.inputs[0])
        assert first is not None, "a place has its first input"
        sights.append((first, inputs))
    found = labelled(sights, [path for _, path in pairs], labels)
    for number, key in enumerate(keys):
        if all(place.inputs[number] is None for place in found.found):
            raise OptionError(f"The labels lie on no place that has {key}. Leave it out, or give labels there.")
    notes = [f"{key}: {note}" for key in keys for note in by_key[key].rule.notes]
    warnings = [f"{key}: {warning}" for key in keys for warning in by_key[key].rule.warnings]
    return found.found, (*notes, *told_missing(places, keys), *found.notes), tuple(dict.fromkeys(warnings))


def _by_key(places: Sequence[InputPlace], keys: Sequence[Key], scene: SceneOptions, family: str) -> dict[Key, _Ruled]:
    """Settle one rule for all inputs of a key."""
    inputs = list(dict.fromkeys(one for place in places for one in place.inputs))
    options = options_of(inputs, scene, places[0].grid.crs)
    found = {}
    for key in keys:
        mine = [one for one in inputs if one.key == key]
        own = next((options[one] for one in mine if options[one].warp), options[mine[0]])
        candidates = {
            one: Candidate(one.paths, tuple(read_headers(one.paths, own.warp, own.resolution))) for one in mine
        }
        found[key] = _Ruled(own, settle_rule(list(candidates.values()), own, family), candidates)
    return found
