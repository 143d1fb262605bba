"""Embeddings at pixels: the blended token map of a scene, interpolated to the centres of labelled pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.pipelines.inference.identity import place
from dofa_cli.pipelines.inference.interpolate import nodes_around
from dofa_cli.pipelines.inference.run import Run
from dofa_cli.pipelines.inference.shards import to_numpy
from dofa_cli.pipelines.inference.stream import TileStream
from dofa_cli.pipelines.learning import feature_cache
from dofa_cli.raster.grid import CellGrid, Tile, TilePlan

PASSING = ("source", "datetime", "level")
"""Tags of a run that its tokens do not depend on."""
ROWS = 8192
"""Points interpolated at once."""


@dataclass(frozen=True)
class Nodes:
    """The four nodes around each of n points: numbers ``ids`` (n, 4) in row-major order, and bilinear ``weights``.

    A node is the centre of a cell, or of one of the ``detail`` × ``detail`` parts of a cell.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]


def nodes_at(grid: CellGrid, rows: NDArray[Any], cols: NDArray[Any], detail: int = 1) -> Nodes:
    """Return the nodes around the centres of pixels (``rows``, ``cols``) of the scene, as maps are interpolated.

    Beyond the scene's outermost nodes the nearest one counts alone.
    """
    around = partial(nodes_around, zoom=grid.zoom, sub_cell=grid.patch / detail)
    down = around(rows, size=grid.height, lead=grid.lead_row)
    right = around(cols, size=grid.width, lead=grid.lead_col)
    width = grid.cols * detail
    ids = [row * width + col for row in (down.first, down.second) for col in (right.first, right.second)]
    weights = [a * b for a in (1 - down.weight, down.weight) for b in (1 - right.weight, right.weight)]
    return Nodes(np.stack(ids, axis=1), np.stack(weights, axis=1))


@dataclass(frozen=True)
class Field:
    """Values (m, D) at the nodes ``ids`` (m,), ascending, of one scene; NaN at nodes without valid ground."""

    ids: NDArray[np.int64]
    values: NDArray[np.float32]
    from_cache: bool = False

    def at(self, nodes: Nodes) -> NDArray[np.float32]:
        """Return values (n, D) at points, interpolated between their nodes.

        Nodes whose values are NaN are left out and the weights of the others raised; a point without any is NaN.
        """
        result = np.empty((len(nodes.ids), self.values.shape[1]), np.float32)
        for first in range(0, len(result), ROWS):
            some = slice(first, first + ROWS)
            result[some] = self._interpolated(np.searchsorted(self.ids, nodes.ids[some]), nodes.weights[some])
        return result

    def _interpolated(self, at: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        corners = self.values[at]  # (n, 4, D)
        known = np.isfinite(corners[..., 0])
        used = np.where(known, weights, np.float32(0))
        share = used.sum(axis=1, keepdims=True)
        total = np.einsum("nk,nkd->nd", used, np.where(known[..., None], corners, np.float32(0)))
        return np.where(share > 0, total / np.where(share > 0, share, 1), np.float32(np.nan))


def token_field(
    run: Run,
    ids: NDArray[np.int64],
    *,
    files: Sequence[str] = (),
    advance: Callable[[int], object] = lambda _: None,
) -> Field:
    """Return the embeddings of a scene at the cells ``ids`` (m,), ascending; only tiles that hold one are inferred.

    ``files`` are those that the scene is read from: where all lie on this machine, what is found is kept by their
    content.
    """
    key = _key(run, files, ids)
    kept = feature_cache.fetch(key) if key else None
    if kept is not None and kept.shape == (len(ids), run.encoder.dim):
        return Field(ids, kept, from_cache=True)
    values = node_values(run.stream(advance), run.plan, ids, run.encoder.dim)
    if key:
        feature_cache.keep(key, values)
    return Field(ids, values)


def node_values(
    stream: TileStream, plan: TilePlan, ids: NDArray[np.int64], dim: int, detail: int = 1
) -> NDArray[np.float32]:
    """Return the blended values (m, dim) at nodes ``ids`` (m,), ascending."""
    wanted = np.zeros((plan.grid.rows * detail, plan.grid.cols * detail), bool)
    wanted.flat[ids] = True
    values = np.full((len(ids), dim), np.nan, np.float32)
    for tile, found in stream.token_tiles(tiles_with(plan, wanted, detail)):
        area = tile.core.scaled(detail)
        rows, cols = np.nonzero(wanted[area.slices])
        at = np.searchsorted(ids, (rows + area.row) * wanted.shape[1] + cols + area.col)
        values[at] = to_numpy(found)[rows, cols]
    return values


def tiles_with(plan: TilePlan, wanted: NDArray[np.bool_], detail: int = 1) -> list[Tile]:
    """Return the tiles whose core holds one of the ``wanted`` nodes (rows, cols)."""
    return [tile for tile in plan.tiles() if wanted[tile.core.scaled(detail).slices].any()]


def _key(run: Run, files: Sequence[str], ids: NDArray[np.int64]) -> str | None:
    """Name what the embeddings depend on; ``None`` where the content of a file cannot be told."""
    contents = feature_cache.content(files)
    if contents is None:
        return None
    facts = {name: value for name, value in run.tags.items() if name not in PASSING}
    computed = {"device": run.encoder.device.type, "batch": run.batch, "cells": feature_cache.digest(ids)}
    return feature_cache.key_of({"files": contents, "grid": place(run.prepared), **facts, **computed})
