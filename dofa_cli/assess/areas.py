"""Areas of classes from a map and test samples: what the map says, corrected by how it errs.

After Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of land change", Remote Sensing
of Environment 148 (doi:10.1016/j.rse.2014.02.015), whose equation numbers stand in the docstrings. The classes of the
map are the strata. In the paper rows are the map; here, as everywhere in this package, they are the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.intervals import bootstrap, explain
from dofa_cli.assess.measured import listed
from dofa_cli.assess.scores import Scores, ratio
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels

Floats = NDArray[np.float64]
MARGIN = 1.96
"""Half a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95 % interval; NaN where it cannot be estimated."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """The standard error: the interval's width over 2 · 1.96."""
        return (self.high - self.low) / (2 * MARGIN)


@dataclass(frozen=True)
class AreaRow:
    """One class: hectares on the map and estimated, user's and producer's accuracy by area; ``samples`` on the map."""

    name: str
    samples: float
    mapped_ha: float
    adjusted_ha: Estimate
    users: Estimate
    producers: Estimate


@dataclass(frozen=True)
class Areas:
    """Estimates of all classes, the overall accuracy by area, what they rest on, and what the reader must know."""

    rows: tuple[AreaRow, ...]
    overall: Estimate
    uncertainty: str
    notes: tuple[str, ...]


def adjusted_areas(
    counts: Floats, mapped_ha: Floats, classes: ClassTable, *, by_block: Floats | None = None, seed: int = 0
) -> Areas:
    """Estimate areas from samples ``counts`` (K, K), rows the reference and columns the map, and mapped hectares (K,).

    The samples must be a random choice within each class of the map. With ``by_block``, the same counts (blocks, K, K)
    of each block of ground, intervals are a bootstrap over blocks: neighbouring samples are alike, and the paper's
    standard errors, made for single samples, would be far too small. A mapped class with fewer than two samples cannot
    be corrected: it is left out of all estimates, and said. Raises :class:`TooFewLabels` when none is left.
    """
    mapped = np.asarray(mapped_ha, np.float64)
    usable = (counts.sum(axis=0) >= 2) & (mapped > 0)
    if not usable.any():
        raise TooFewLabels("Areas need at least two test samples in a class of the map; no class has them.")
    strata = np.where(usable, mapped, 0)
    found = estimates(counts, strata)
    if by_block is None:
        ends = _normal(found, standard_errors(counts, strata))
        basis = "Standard errors after Olofsson et al. 2014: samples are taken to be independent."
    else:
        ends = _drawn(by_block, strata, seed)
        basis = explain(len(by_block), spatial=True)
    return Areas(
        tuple(_rows(counts, mapped, classes, found, ends)),
        _estimate(found["overall"], ends["overall"]),
        basis,
        tuple(_notes(mapped, usable, classes)),
    )


def estimates(counts: Floats, strata: Floats) -> Scores:
    """Return estimated areas and accuracies of counts (…, K, K) and mapped areas (K,), in their unit.

    Shares of area by reference and map are Wᵢ nᵢⱼ / nᵢ (equation 4); overall, user's and producer's accuracy are
    equations 1 to 3 of them, areas equation 9.
    """
    shares = _shares(counts) * (strata / strata.sum())
    areas, hits = shares.sum(axis=-1), np.asarray(np.diagonal(shares, axis1=-2, axis2=-1))
    return {
        "overall": np.asarray(hits.sum(axis=-1)),
        "users": np.where(strata > 0, ratio(hits, shares.sum(axis=-2)), np.nan),
        "producers": ratio(hits, areas),
        "area": areas * strata.sum(),
    }


def standard_errors(counts: Floats, strata: Floats) -> Scores:
    """Return the standard errors of :func:`estimates`: equations 5 (overall), 6 (user's), 7 (producer's), 10 (area)."""
    shares, many = _shares(counts), counts.sum(axis=0)
    spread = np.where(strata > 0, shares * (1 - shares) / np.maximum(many - 1, 1), 0)  # of n_ij / n_i
    users, own = np.diagonal(spread), np.eye(len(strata), dtype=bool)
    weighted = spread * strata**2
    found = estimates(counts, strata)
    producers = np.nan_to_num(found["producers"])
    others = np.where(own, 0, weighted).sum(axis=1)
    numerator = (1 - producers) ** 2 * np.diagonal(weighted) + producers**2 * others
    return {
        "overall": np.asarray(np.sqrt(np.diagonal(weighted).sum()) / strata.sum()),
        "users": np.sqrt(users),
        "producers": ratio(np.sqrt(numerator), found["area"]),
        "area": np.sqrt(weighted.sum(axis=1)),
    }


def _shares(counts: Floats) -> Floats:
    """Return which share of a mapped class' samples is of each reference class (…, K, K), 0 without samples."""
    return np.nan_to_num(ratio(counts, np.broadcast_to(counts.sum(axis=-2, keepdims=True), counts.shape)))


def _normal(found: Scores, errors: Scores) -> Scores:
    return {name: value[..., None] + MARGIN * errors[name][..., None] * [-1, 1] for name, value in found.items()}


def _drawn(by_block: Floats, strata: Floats, seed: int) -> Scores:
    """Return intervals over blocks. A stratum that a resample has no samples of drops out of that resample."""

    def resampled(sums: Floats) -> Scores:
        kept = np.where(sums.sum(axis=-2) > 0, strata, 0)
        shares = _shares(sums) * kept[..., None, :]
        whole = ratio(np.full(len(sums), strata.sum()), kept.sum(axis=-1))
        areas, hits = shares.sum(axis=-1), np.asarray(np.diagonal(shares, axis1=-2, axis2=-1))
        return {
            "overall": ratio(hits.sum(axis=-1), kept.sum(axis=-1)),
            "users": ratio(hits, shares.sum(axis=-2)),
            "producers": ratio(hits, areas),
            "area": areas * whole[..., None],
        }

    return bootstrap(by_block, resampled, seed)


def _rows(counts: Floats, mapped: Floats, classes: ClassTable, found: Scores, ends: Scores) -> Iterator[AreaRow]:
    for at, name in enumerate(classes.names):
        area, users, producers = (_estimate(found[one][at], ends[one][at]) for one in ("area", "users", "producers"))
        yield AreaRow(name, float(counts[:, at].sum()), float(mapped[at]), area, users, producers)


def _estimate(value: Floats, ends: Floats) -> Estimate:
    return Estimate(float(value), float(ends[0]), float(ends[1]))


def _notes(mapped: Floats, usable: NDArray[np.bool_], classes: ClassTable) -> Iterator[str]:
    yield "Adjusted areas hold if the test labels are a random sample of the map; labels chosen by hand are not."
    lost = (mapped > 0) & ~usable
    if lost.any():
        names = listed([name for name, gone in zip(classes.names, lost, strict=True) if gone])
        yield f"Fewer than two test samples, so left out with {mapped[lost].sum():,.1f} ha of the map: {names}."
