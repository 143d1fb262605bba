"""One rule for many small images: bands, product and statistics settled from a few, shared by all that look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dofa_cli.errors import BandMismatch, DamagedRaster, SceneError
from dofa_cli.pipelines.pretraining.drawable import Candidate, Ruled, pooled_norms
from dofa_cli.pipelines.scenes.prepare import (
    SUSPICIOUS_MEAN,
    Described,
    Learnt,
    Prepared,
    SceneOptions,
    describe,
    prepare_scene,
)
from dofa_cli.sensors.normalise import BandNorm

RULE_CHIPS = 24
"""Chips that are looked at to settle the rule for all."""


@dataclass(frozen=True)
class ChipRule:
    """What all chips share: sensor and product ids, one rule a band, and what the user should know.

    ``prepared`` holds, by structure, a chip whose choice of bands stands for others of that structure.
    """

    sensor: str
    product: str
    norms: tuple[BandNorm, ...]
    prepared: dict[Any, Prepared]
    masked: bool
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def structure(candidate: Candidate, *, masked: bool) -> Any:
    """Return what chips share whose bands are chosen alike: what their bands look like, whatever their folder.

    A chip of several files, of an agency's product, or with a mask of its own stands for itself.
    """
    if masked or len(candidate.headers) > 1 or candidate.headers[0].delivery:
        return candidate.paths
    return candidate.structure[1:]


def settle_rule(
    candidates: Sequence[Candidate], options: SceneOptions, family: str, learnt: Learnt | None = None
) -> ChipRule:
    """Settle the rule of ``candidates`` from a few of them.

    The product is the one that most of them show; rules ``learnt`` before stand where it is the same. Raises
    :class:`BandMismatch` for chips with other bands, :class:`SceneError` where none can be read, and what
    :mod:`dofa_cli.pipelines.scenes.prepare` raises.
    """
    masked = options.masks.clouds or options.masks.file is not None
    looked_at = _few(candidates, masked=masked)
    found = _prepared(looked_at, options, family, learnt)
    if not found:
        raise SceneError(f"None of the {len(candidates)} images can be read. The first is {candidates[0].paths[0]}.")
    product = Counter(one.product.id for one in found.values()).most_common(1)[0][0]
    if any(one.product.id != product for one in found.values()):
        found = _prepared(looked_at, replace(options, product=product), family, learnt)
    _check_bands(found)
    held = [one for one in found.values() if one.valid_share > 0] or list(found.values())
    pooled = {} if learnt and learnt.product == product else pooled_norms(held)
    norms = tuple(pooled.get(norm.band, norm) for norm in held[0].norms)
    by_paths = {candidate.paths: structure(candidate, masked=masked) for candidate in looked_at}
    return ChipRule(
        sensor=held[0].sensor.id,
        product=product,
        norms=norms,
        prepared={by_paths[paths]: one for paths, one in reversed(found.items())},
        masked=masked,
        notes=held[0].notes,
        warnings=(*_shared_warnings(held), *_far(held)),
    )


def ruled(candidate: Candidate, rule: ChipRule) -> Ruled | None:
    """Return a chip with its rule; ``None`` for one whose structure could not be read when the rule was settled."""
    name = structure(candidate, masked=rule.masked)
    prepared = rule.prepared.get(name)
    if prepared is None:
        return None
    return Ruled(candidate, prepared, rule.norms, is_own=name == candidate.paths)


def _few(candidates: Sequence[Candidate], *, masked: bool) -> list[Candidate]:
    """Choose chips spread over the list, and one at least of each structure."""
    spread = [candidates[int(i)] for i in np.unique(np.linspace(0, len(candidates) - 1, RULE_CHIPS).round())]
    chosen = {candidate.paths: candidate for candidate in spread}
    seen = {structure(candidate, masked=masked) for candidate in spread}
    for candidate in candidates:
        name = structure(candidate, masked=masked)
        if name not in seen:
            seen.add(name)
            chosen[candidate.paths] = candidate
    return list(chosen.values())


def _prepared(
    group: Sequence[Candidate], options: SceneOptions, family: str, learnt: Learnt | None
) -> dict[Any, Prepared]:
    """Prepare chips, by their paths; damaged ones are left out."""
    found = {}
    for candidate in group:
        try:
            described = describe(candidate.paths, options)
            inclined = _inclined(described, learnt.product) if learnt else described
            found[candidate.paths] = prepare_scene(inclined, options, family, learnt)
        except DamagedRaster:
            continue
        except SceneError as error:
            raise type(error)(f"{candidate.name}: {error}") from None
    return found


def _inclined(described: Described, product: str) -> Described:
    """Let values that fit several products be taken as the one that a head was trained with."""
    sensor = described.sensor
    if product not in {one.id for one in sensor.products}:
        return described
    sensor = sensor.model_copy(update={"default_product": product})
    return replace(described, instrument=replace(described.instrument, sensor=sensor))


def _check_bands(found: dict[Any, Prepared]) -> None:
    (first_paths, first), *others = found.items()
    told = [(norm.band, norm.wavelength_um) for norm in first.norms]
    for paths, other in others:
        if [(norm.band, norm.wavelength_um) for norm in other.norms] != told:
            raise BandMismatch(
                f"{first_paths[0]} has bands {_bands(first)}, {paths[0]} has {_bands(other)}. Images of one run need "
                "the same bands: name those that all have with --bands, or run twice."
            )


def _bands(prepared: Prepared) -> str:
    names = [norm.band for norm in prepared.norms]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _shared_warnings(prepared: Sequence[Prepared]) -> list[str]:
    """Return warnings that most chips give; that single images have no coordinates needs no saying."""
    counts = Counter(warning for one in prepared for warning in one.warnings)
    return [
        warning
        for warning, count in counts.items()
        if count * 2 > len(prepared) and "coordinate system" not in warning and "standardised values" not in warning
    ]


def _far(prepared: Sequence[Prepared]) -> list[str]:
    """Warn of bands whose standardised mean over the chips looked at lies far from 0."""
    means = np.array([[check.mean for check in one.checks] for one in prepared], float)
    known = means[np.isfinite(means).all(axis=1)]
    if not len(known):
        return []
    mean = known.mean(axis=0)
    far = [
        f"{norm.band} ({value:+.1f})"
        for norm, value in zip(prepared[0].norms, mean, strict=True)
        if abs(value) > SUSPICIOUS_MEAN
    ]
    text = "standardised values lie far from 0 in {}. Is it the right --sensor and --product?"
    return [text.format(", ".join(far[:8]))] if far else []
