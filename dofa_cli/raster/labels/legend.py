"""From the values in a label file to classes: what is ignored, what each is called, which class of a head it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import LARGEST, UNLABELLED, ClassTable, Rgb
from dofa_cli.errors import LabelError, TooFewLabels
from dofa_cli.raster.labels.block import LabelOptions

MOST_CLASSES = 1000
"""More different values than this are numbers, or a field that holds no classes."""
SHOWN = 8
PIXELS, FEATURES = "pixels", "features"
"""What is counted."""


@dataclass(frozen=True)
class Found:
    """The values that a label file holds.

    ``counts`` says how often each occurs, in ``unit``s. ``names`` and ``colours`` are the file's own. ``is_text`` says
    that the file holds names alone, which were numbered here.
    """

    path: str
    unit: str
    counts: Mapping[int, int]
    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, Rgb] = field(default_factory=dict)
    is_text: bool = False

    def called(self, value: int) -> str:
        """Return a value's name, or the value."""
        return self.names.get(value) or str(value)


@dataclass(frozen=True)
class Legend:
    """Which value of a label file is which class: ``values`` ascend, ``targets`` are their class indices."""

    table: ClassTable
    values: NDArray[np.int64]
    targets: NDArray[np.int16]
    notes: tuple[str, ...] = ()

    def indices(self, values: NDArray[Any]) -> NDArray[np.int16]:
        """Map values of the file to class indices, −1 for values that are no class."""
        if not len(self.values):
            return np.full(values.shape, UNLABELLED, np.int16)
        at = np.searchsorted(self.values, values).clip(max=len(self.values) - 1)
        return np.where(self.values[at] == values, self.targets[at], UNLABELLED).astype(np.int16)


def settle(found: Found, options: LabelOptions) -> Legend:
    """Decide what each value in a label file means.

    Raises :class:`LabelError` for values that can be no classes and for an unknown name to ignore, and
    :class:`TooFewLabels` when nothing is left.
    """
    kept = sorted(set(found.counts) - ignored(found, options))
    if not kept:
        raise TooFewLabels(f"{found.path} holds no class: every value that lies in the scene is ignored or nodata.")
    _check_values(found, kept)
    if options.classes is not None:
        return _known_to(options.classes, found, kept)
    table = ClassTable.of(kept, found.names, _true_colours(found, kept))
    return Legend(table, np.array(kept, np.int64), np.arange(len(kept), dtype=np.int16), _zero_note(found, kept))


def ignored(found: Found, options: LabelOptions) -> set[int]:
    """Return the values that the user wants left out, given as values or as names."""
    values = set() if options.nodata is None or found.is_text else {options.nodata}
    for given in options.ignore:
        values |= _ignored(found, given)
    return values


def too_many(path: str, hint: str) -> LabelError:
    """Say that these are no classes."""
    return LabelError(f"{path} holds more than {MOST_CLASSES} different values, too many for classes. {hint}")


def _ignored(found: Found, given: int | str) -> set[int]:
    name = str(given).strip()
    named = {value for value, own in found.names.items() if own.casefold() == name.casefold()}
    if named:
        return named
    if name.lstrip("-").isdigit() and not found.is_text:
        return {int(name)}
    known = sorted(set(found.names.values()))
    close = get_close_matches(name, known, 1, 0.5)
    meant = f" Did you mean '{close[0]}'?" if close else f" Its classes: {listed(known)}." if known else ""
    raise LabelError(f"{found.path} has no class '{name}' to ignore.{meant}")


def _check_values(found: Found, kept: Sequence[int]) -> None:
    if len(kept) > MOST_CLASSES:
        raise too_many(found.path, "For numbers use --task regress.")
    outside = [value for value in kept if not 0 <= value <= LARGEST]
    if outside:
        raise LabelError(
            f"{found.path} holds the value {outside[0]}; classes lie from 0 to {LARGEST}. "
            f"If it means unlabelled, add --ignore {outside[0]}; for numbers use --task regress."
        )


def _known_to(classes: ClassTable, found: Found, kept: Sequence[int]) -> Legend:
    """Map to the classes of a head: by name where both have it, else by value where values are the file's own."""
    of_name = {name.casefold(): at for at, name in enumerate(classes.names)}
    of_value = {} if found.is_text else {value: at for at, value in enumerate(classes.values)}
    pairs = {}
    for value in kept:
        target = of_name.get(found.names.get(value, "").casefold(), of_value.get(value))
        if target is None and found.called(value).isdigit():
            target = {str(own): at for at, own in enumerate(classes.values)}.get(found.called(value))
        if target is not None:
            pairs[value] = target
    values = np.array(list(pairs), np.int64)
    targets = np.array(list(pairs.values()), np.int16)
    return Legend(classes, values, targets, _unknown_note(found, [value for value in kept if value not in pairs]))


def _unknown_note(found: Found, unknown: Sequence[int]) -> tuple[str, ...]:
    if not unknown:
        return ()
    shown = listed(f"{found.called(value)} ({found.counts[value]} {found.unit})" for value in unknown)
    return (f"Classes in {found.path} that the head does not know count as unlabelled: {shown}.",)


def _zero_note(found: Found, kept: Sequence[int]) -> tuple[str, ...]:
    share = found.counts.get(0, 0) / max(sum(found.counts[value] for value in kept), 1)
    if found.unit != PIXELS or 0 not in kept or share <= 0.5 or found.names.get(0):
        return ()
    return (
        f"0 covers {share:.0%} of the labels in {found.path} and counts as a class. "
        f"If it means unlabelled, add --ignore 0.",
    )


def _true_colours(found: Found, kept: Sequence[int]) -> Mapping[int, Rgb]:
    """Return the file's colours unless they tell nothing apart."""
    colours = {value: found.colours[value] for value in kept if value in found.colours}
    return colours if len(set(colours.values())) > 1 or len(colours) == len(kept) == 1 else {}


def listed(words: Iterable[str]) -> str:
    """Join a few words; of many, the first."""
    every = list(words)
    return ", ".join(every[:SHOWN]) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")
