"""Which inputs belong together: those that cover the same ground are one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds

from dofa_cli.errors import GridError, OptionError
from dofa_cli.pipelines.inputs.named import Input, Key, keys_of
from dofa_cli.pipelines.inputs.options import with_warp
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from dofa_cli.raster.scene import read_headers, target_grid
from dofa_cli.raster.source import Grid

HALF = 0.5
"""Inputs of one key that share more than this part of their ground cannot be two places."""


@dataclass(frozen=True)
class InputPlace:
    """Inputs of the same ground, each of another key; ``grid`` holds the pixels of the first, on which all are read."""

    inputs: tuple[Input, ...]
    grid: Grid

    def of(self, key: Key) -> Input | None:
        """Return the input of a key, ``None`` where the place lacks it."""
        return next((one for one in self.inputs if one.key == key), None)


def group_inputs(inputs: Sequence[Input], options: SceneOptions) -> tuple[InputPlace, ...]:
    """Group inputs by the ground they cover: of each key in turn, the one that covers most of a place joins it.

    Raises :class:`OptionError` for a key that repeats on the same ground, and :class:`GridError` where inputs of
    several keys share none.
    """
    first = grid_of(inputs[0], options)
    grids = {one: first if one == inputs[0] else grid_of(one, options, first.crs) for one in inputs}
    places: tuple[InputPlace, ...] = ()
    keys = keys_of(inputs)
    for key in keys:
        places = _joined(places, {one: grids[one] for one in grids if one.key == key})
    if len(keys) > 1 and all(len(place.inputs) == 1 for place in places):
        other = next(one for one in inputs if one.key == keys[1])
        raise GridError(f"{inputs[0].name} and {other.name} do not cover the same ground; inputs of a place must.")
    return places


def one_place(inputs: Sequence[Input], options: SceneOptions) -> InputPlace:
    """Return the only place that inputs, each of another key, make; :class:`GridError` where they lie apart."""
    grid = grid_of(inputs[0], options)
    for one in inputs[1:]:
        if share_of(grid, grid_of(one, options, grid.crs)) == 0:
            raise GridError(
                f"{one.name} does not cover the ground of {inputs[0].name}, so they are no inputs of one map."
            )
    return InputPlace(tuple(inputs), grid)


def told_missing(places: Sequence[InputPlace], keys: Sequence[Key]) -> list[str]:
    """Say which inputs some places lack."""
    counts = {key: sum(place.of(key) is None for place in places) for key in keys}
    return [f"{count} of {len(places)} places have no {key}." for key, count in counts.items() if count]


def grid_of(one: Input, options: SceneOptions, crs: CRS | None = None) -> Grid:
    """Return the pixels that an input is read on when it stands alone."""
    own = with_warp(one, options, crs)
    return target_grid(read_headers(one.paths, own.warp, own.resolution), own.resolution)


def _joined(places: Sequence[InputPlace], grids: dict[Input, Grid]) -> tuple[InputPlace, ...]:
    """Add the inputs of one key to the places that they cover; those that cover none become places."""
    shares = {one: [share_of(place.grid, grid) for place in places] for one, grid in grids.items()}
    best = [max(grids, key=lambda one: shares[one][number]) for number in range(len(places))]
    found = [
        replace(place, inputs=(*place.inputs, one)) if shares[one][number] > 0 else place
        for number, (place, one) in enumerate(zip(places, best, strict=True))
    ]
    used = {one for place in found for one in place.inputs}
    for one, grid in grids.items():
        if one in used:
            continue
        rival = _rival(found, one, grid, shares[one])
        if rival is not None:
            raise OptionError(
                f"{one.name} and {rival.name} are both {one.key} of the same ground. Tell them apart by a date or "
                f"another label, as in {one.paths[0]}:{one.sensor}:2024-05; make one file of the parts of a scene."
            )
        found.append(InputPlace((one,), grid))
    return tuple(found)


def _rival(places: Sequence[InputPlace], one: Input, grid: Grid, shares: Sequence[float]) -> Input | None:
    """Return the input of the same key that stands where ``one`` would."""
    for number, place in enumerate(places):
        if number < len(shares):
            if shares[number] > 0:
                return place.of(one.key)
        elif share_of(place.grid, grid) > HALF:
            return place.inputs[0]
    return None


def share_of(grid: Grid, other: Grid) -> float:
    """Return which share of a grid's bounding box another's covers; without coordinates all or nothing."""
    if grid.crs is None or other.crs is None:
        return float(grid.crs == other.crs and grid.is_same(other))
    try:
        west, south, east, north = transform_bounds(other.crs, grid.crs, *other.bounds)
    except CRSError:  # a local system that nothing ties to the earth
        return 0.0
    left, bottom, right, top = grid.bounds
    width, height = min(right, east) - max(left, west), min(top, north) - max(bottom, south)
    return float(max(width, 0.0) * max(height, 0.0) / ((right - left) * (top - bottom)))
