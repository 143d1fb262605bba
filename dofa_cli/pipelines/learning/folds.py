"""Which samples train, validate and test a head: whole units of ground dealt into folds, a guard between sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.errors import OptionError, TooFewLabels
from dofa_cli.pipelines.learning.sampling import hashed
from dofa_cli.raster.blocks import apart, assign_folds

FOLDS, FEW_FOLDS = 10, 5
"""Folds that units are dealt into without --cv: shares of a split are tenths, or fifths of fewer units."""
UNITS_A_FOLD = 3
"""Units that a tenth must have on average; with fewer, classes would not be balanced."""
FEWEST_FOLDS = 3
LEAST_KEPT = 0.5
"""Share of the training samples that a guard must leave; of less, the guard is halved."""
FEW_SAMPLES = 10
"""Classes with fewer training or test samples are named."""
TRAIN, VALIDATION, TEST = "train", "validation", "test"
Mask = NDArray[np.bool_]


class SplitBy(StrEnum):
    """How samples are split where the labels do not say so themselves."""

    AUTO = "auto"
    BLOCKS = "blocks"
    RANDOM = "random"


@dataclass(frozen=True)
class SplitOptions:
    """Fields are the command line's options of the same names."""

    by: SplitBy = SplitBy.AUTO
    block: str | None = None
    test_share: float = 0.2
    val_share: float = 0.1
    cv: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train with."""
        for name, share in (("--test-share", self.test_share), ("--val-share", self.val_share)):
            if not 0 < share < 1:
                raise OptionError(f"{name} {share:g} is not a share between 0 and 1.")
        if self.test_share + self.val_share >= 1:
            raise OptionError("--test-share and --val-share leave nothing to train with.")
        if self.cv is not None and self.cv < FEWEST_FOLDS:
            raise OptionError(f"--cv {self.cv} is too few; one fold tests, one validates. Use {FEWEST_FOLDS} or more.")


@dataclass(frozen=True)
class Sites:
    """What samples (n,) must be split by: samples of one ``unit`` stay together, ``how`` says what a unit is.

    ``stratum`` is the class that splits are balanced by, ``weight`` how much a sample counts. ``place``, ``row`` and
    ``col`` (n,) say where it lies, in pixels of its place, and ``guard`` how far train and test must be apart; they
    are ``None`` and 0 where samples do not lie on common ground.
    """

    unit: NDArray[np.int64]
    stratum: NDArray[Any]
    weight: NDArray[Any]
    how: str
    place: NDArray[Any] | None = None
    row: NDArray[Any] | None = None
    col: NDArray[Any] | None = None
    guard: int = 0

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.unit)


@dataclass(frozen=True)
class Round:
    """One training with its masks (n,) of samples that train, validate and test it."""

    train: Mask
    validation: Mask
    test: Mask


@dataclass(frozen=True)
class Division:
    """The ``fold`` of each sample (n,), the rounds of training, and how it was done in words."""

    fold: NDArray[np.int64]
    rounds: tuple[Round, ...]
    how: str
    notes: tuple[str, ...] = ()


def divide(sites: Sites, options: SplitOptions) -> Division:
    """Deal units into folds, balanced by class: one round of training, or one for each of ``cv`` folds.

    Raises :class:`TooFewLabels` where there are fewer than three units.
    """
    units, at = np.unique(sites.unit, return_inverse=True)
    wanted = options.cv or (FOLDS if len(units) >= UNITS_A_FOLD * FOLDS else FEW_FOLDS)
    if len(units) < max(FEWEST_FOLDS, options.cv or 0):
        raise TooFewLabels(
            f"The labels lie in {len(units)} {sites.how}, too few for {wanted if options.cv else FEWEST_FOLDS} folds. "
            "Give a smaller --block, or --split random if neighbouring pixels may be on both sides."
        )
    folds = min(wanted, len(units))
    fold = _dealt(sites, at, len(units), folds, options.seed)[at]
    if options.cv:
        rounds = [({n}, {(n + 1) % folds}) for n in range(folds)]
    else:
        tested = min(max(1, round(options.test_share * folds)), folds - 2)
        validated = min(max(1, round(options.val_share * folds)), folds - 1 - tested)
        order = _most_like_all(sites, at, fold, folds)
        rounds = [(set(order[:tested]), set(order[tested : tested + validated]))]
    masks = [Round(~_in(fold, test | held), _in(fold, held), _in(fold, test)) for test, held in rounds]
    guarded, notes = _guarded(masks, sites)
    said = f"{options.cv}-fold cross-validation by" if options.cv else "held out by"
    return Division(fold, tuple(guarded), f"{said} {sites.how} ({len(units):,} in {folds} folds)", tuple(notes))


def divide_as_told(splits: Sequence[str | None], sites: Sites, options: SplitOptions, source: str) -> Division:
    """Split as a table's ``split`` column says; a sample without a word trains.

    Without validation samples, a part of the training samples is taken for that. Raises :class:`TooFewLabels` when
    none tests.
    """
    told = np.array([split or TRAIN for split in splits], object)
    if not (told == TEST).any():
        raise TooFewLabels(f"{source} has no sample with split 'test'.")
    notes = []
    if not (told == VALIDATION).any():
        train = np.flatnonzero(told == TRAIN)
        taken = random_folds(sites.stratum[train], round(1 / options.val_share), options.seed) == 0
        told[train[taken]] = VALIDATION
        notes.append(f"No sample has split 'validation': {taken.sum()} of the training samples are taken for it.")
    fold = np.select([told == TEST, told == VALIDATION], [0, 1], 2)
    masks = Round(told == TRAIN, told == VALIDATION, told == TEST)
    return Division(fold, (masks,), f"as column 'split' of {source} says", tuple(notes))


def divide_as_folded(folds: Sequence[int | None], source: str) -> Division:
    """Cross-validate over the folds that a table names; samples without one train in every round."""
    fold = np.array([-1 if number is None else number for number in folds])
    numbers = [int(number) for number in np.unique(fold) if number >= 0]
    if len(numbers) < FEWEST_FOLDS:
        raise TooFewLabels(f"{source} names {len(numbers)} folds; one tests and one validates, so 3 are needed.")
    following = [*numbers[1:], numbers[0]]
    rounds = [
        Round((fold != test) & (fold != held), fold == held, fold == test)
        for test, held in zip(numbers, following, strict=True)
    ]
    return Division(fold, tuple(rounds), f"{len(numbers)} folds of column 'fold' of {source}")


def check_classes(division: Division, strata: NDArray[Any], names: Sequence[str]) -> Iterator[str]:
    """Yield what the user must know of classes; :class:`TooFewLabels` when a round would train on one class only."""
    seen = _counted(strata, names)
    for number, one in enumerate(division.rounds):
        where = f" in round {number + 1}" if len(division.rounds) > 1 else ""
        counts = _counted(strata[one.train], names)
        if len(names) > 1 and (counts > 0).sum() < 2:
            only = names[int(counts.argmax())]
            raise TooFewLabels(
                f"Only class '{only}' is left to train with{where}. Give more labels, a smaller --block, or "
                "--split random."
            )
        yield from _rare(TRAIN, where, counts, seen, names)
        yield from _rare(TEST, where, _counted(strata[one.test], names), seen, names)


def _counted(strata: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    return np.bincount(strata, minlength=len(names))


def _rare(
    side: str, where: str, counts: NDArray[np.int64], seen: NDArray[np.int64], names: Sequence[str]
) -> Iterator[str]:
    missing = [names[at] for at in np.flatnonzero((seen > 0) & (counts == 0)).tolist()]
    few = [f"{names[at]} ({counts[at]})" for at in np.flatnonzero((counts > 0) & (counts < FEW_SAMPLES)).tolist()]
    if missing:
        yield f"No {side} samples{where} of {', '.join(missing)}."
    if few:
        yield f"Few {side} samples{where}: {', '.join(few)}."


def random_folds(strata: NDArray[Any], folds: int, seed: int) -> NDArray[np.int64]:
    """Deal single samples into folds, each class spread evenly."""
    key = hashed(seed, np.arange(len(strata)))
    order = np.lexsort((key, strata))
    fold = np.empty(len(strata), np.int64)
    fold[order] = np.arange(len(strata)) % folds
    return fold


def strata_of_numbers(targets: NDArray[Any], bins: int = 10) -> NDArray[np.int16]:
    """Return the decile of each number, so that splits hold small and large ones alike."""
    edges = np.quantile(targets, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, targets).astype(np.int16)


def _dealt(sites: Sites, at: NDArray[Any], units: int, folds: int, seed: int) -> NDArray[Any]:
    """Return the fold of each unit."""
    if units == len(sites):
        fold = np.empty(units, np.int64)
        fold[at] = random_folds(sites.stratum, folds, seed)
        return fold
    counts = np.zeros((units, int(sites.stratum.max()) + 1))
    np.add.at(counts, (at, sites.stratum), sites.weight)
    return np.asarray(assign_folds(counts, folds, seed))


def _most_like_all(sites: Sites, at: NDArray[Any], fold: NDArray[Any], folds: int) -> list[int]:
    """Order folds: those of several units first, then those with more classes, then those whose classes are usual."""
    counts = np.zeros((folds, int(sites.stratum.max()) + 1))
    np.add.at(counts, (fold, sites.stratum), sites.weight)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    unusual = np.abs(shares - counts.sum(axis=0) / counts.sum()).sum(axis=1)
    several = np.array([np.unique(at[fold == number]).size > 1 for number in range(folds)])
    return [int(n) for n in np.lexsort((unusual.round(9), -(counts > 0).sum(axis=1), ~several))]


def _guarded(rounds: Sequence[Round], sites: Sites) -> tuple[list[Round], list[str]]:
    """Take samples near the test side out of training and validation, as far as enough are left."""
    if not sites.guard:
        return list(rounds), []
    found = [_with_guard(one, sites) for one in rounds]
    used = min(guard for _, guard in found)
    said = f"a guard of {used} pixels between train and test"
    if used == sites.guard:
        return [one for one, _ in found], [f"With {said}."]
    why = f"instead of {sites.guard} (a window), which would leave too little to train with"
    return [one for one, _ in found], [f"With {said}, {why}." if used else f"No guard between train and test {why}."]


def _with_guard(one: Round, sites: Sites) -> tuple[Round, int]:
    guard = sites.guard
    while guard:
        train, validation = (side & _far(side, one.test, sites, guard) for side in (one.train, one.validation))
        held = [np.unique(sites.stratum[side]).size for side in (train, one.train)]
        if train.sum() >= LEAST_KEPT * one.train.sum() and held[0] == held[1] and validation.any():
            return Round(train, validation, one.test), guard
        guard //= 2
    return one, 0


def _far(side: Mask, test: Mask, sites: Sites, guard: int) -> Mask:
    """Return which samples of ``side`` are farther than ``guard`` pixels from every test sample of their place."""
    assert sites.place is not None
    assert sites.row is not None
    assert sites.col is not None
    kept = side.copy()
    for place in np.unique(sites.place[test]):
        mine, theirs = (np.flatnonzero(mask & (sites.place == place)) for mask in (side, test))
        kept[mine] = apart(sites.row[mine], sites.col[mine], sites.row[theirs], sites.col[theirs], guard)
    return kept


def _in(fold: NDArray[Any], numbers: set[int]) -> Mask:
    return np.isin(fold, list(numbers))
