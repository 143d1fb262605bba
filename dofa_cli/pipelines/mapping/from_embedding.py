"""A head of tokens on stored patch embeddings: the same map without the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DamagedRaster, WrongHead
from dofa_cli.heads.build import TokenHead
from dofa_cli.heads.head import Head
from dofa_cli.pipelines.inference.clock import Clock
from dofa_cli.pipelines.inference.encoder import TokenNorm
from dofa_cli.pipelines.inference.provenance import rule
from dofa_cli.pipelines.inference.shards import MapParts, beside, part_name, save_all
from dofa_cli.pipelines.mapping.apply_head import learnt_rules
from dofa_cli.pipelines.scenes.results import MARK, made_by
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.raster.grid import CellGrid, Window
from dofa_cli.raster.parts import Part
from dofa_cli.raster.source import Grid
from dofa_cli.raster.zarr_places import is_zarr
from dofa_cli.raster.zarr_raster import open_raster

SIDE = 256
"""Cells a side that are read at once."""
SHOWN_DIGITS = 12
NOT_OF_MAPS = ("AREA_OR_POINT", "storage", "quantization")
"""Tags that a map does not take over from the embeddings."""


@dataclass(frozen=True)
class Embedding:
    """A raster of patch embeddings: its tags, the grid of its cells, and that of the scene it was made from.

    ``text_tags`` are the tags as they stand in the file, in ``tags`` JSON is read.
    """

    path: str
    text_tags: dict[str, str]
    tags: dict[str, Any]
    cells: CellGrid
    grid: Grid
    dim: int


def open_embedding(path: str) -> Embedding | None:
    """Describe a raster that ``dofa embed --level patch`` wrote; ``None`` for any other file."""
    if not Path(path).is_file() and not is_zarr(path):
        return None
    with suppress(RasterioError), open_raster(path) as file:
        if MARK not in file.tags() or file.tags().get("level") != "patch":
            return None
        own = {name: value for name, value in file.tags().items() if name not in NOT_OF_MAPS}
        tags = made_by(own) or {}
        cells = _cells(tags, file.height, file.width)
        origin = file.transform @ file.transform.scale(cells.zoom / cells.patch)
        grid = Grid(
            origin @ origin.translation(cells.lead_col / cells.zoom, cells.lead_row / cells.zoom),
            file.crs,
            cells.height,
            cells.width,
        )
        return Embedding(path, own, tags, cells, grid, file.count)
    return None


def check_fits(embedding: Embedding, head: Head) -> list[str]:
    """Refuse embeddings that are not such as the head was trained on: :class:`WrongHead` names both values.

    Returns warnings of what differs and still lets the head work.
    """
    recipe, tags = head.recipe, embedding.tags
    found = f"weights {tags['weights']} (sha256 {tags['weights_sha256'][:SHOWN_DIGITS]}…)"
    wanted = f"weights {head.weights} (sha256 {head.weights_sha256[:SHOWN_DIGITS]}…)"
    pairs = [(found, wanted)] if tags["weights_sha256"] != head.weights_sha256 else []
    norms = (f"token norm {_norm(name)}" for name in (tags["token_norm"], recipe.token_norm))
    pairs += [
        (f"zoom {tags['zoom']}", f"zoom {recipe.zoom}"),
        (f"sensor {tags['sensor']}", f"sensor {recipe.sensor}"),
        (f"bands {tags['bands']}", f"bands {','.join(recipe.bands)}"),
        (next(norms), next(norms)),
    ]
    for found, wanted in pairs:
        if found != wanted:
            raise WrongHead(
                f"{embedding.path} was made with {found}, the head was trained with {wanted}. Embed the scene as for "
                "the training, or give the scene itself."
            )
    return _lesser_differences(embedding, head)


class EmbeddingWork:
    """Blocks of stored tokens as shards: what a head makes of them; pixels of nodata cells are invalid."""

    def __init__(self, embedding: Embedding, head: TokenHead) -> None:
        self.embedding, self.head = embedding, head
        self.on_windows: Callable[[int], object] = lambda _: None
        self.clock = Clock()

    @property
    def count(self) -> int:
        """The number of blocks."""
        return len(self._blocks)

    def run(self, numbers: Sequence[int], folder: Path) -> Iterator[Finished]:
        """Map blocks in order; raises :class:`DamagedRaster` where the file cannot be read."""
        try:
            with open_raster(self.embedding.path) as file:
                for number in numbers:
                    started = time.perf_counter()
                    with self.clock.stage("write"):
                        files = save_all(folder, self._arrays(file, number))
                    counts = {"seconds": time.perf_counter() - started, **self.clock.lap()}
                    yield Finished(number, files, counts)
        except RasterioError as error:
            raise DamagedRaster(f"Cannot read {self.embedding.path}: {error}") from None

    def parts(self, folder: Path, finished: Iterable[Finished]) -> MapParts:
        """Return the parts of all blocks, as :meth:`run` leaves them."""
        values, holes = [], []
        for done in finished:
            name, cells = part_name(done.number), self._blocks[done.number]
            values.append(Part(folder / name, cells))
            if (hole := beside(name, "valid")) in done.files:
                holes.append(Part(folder / hole, Centres(self.embedding.cells, cells).pixels))
        return MapParts(self.embedding.cells, 1, tuple(values), tuple(holes))

    @cached_property
    def _blocks(self) -> list[Window]:
        rows, cols = self.embedding.cells.rows, self.embedding.cells.cols
        return [
            Window(row, col, min(SIDE, rows - row), min(SIDE, cols - col))
            for row, col in product(range(0, rows, SIDE), range(0, cols, SIDE))
        ]

    def _arrays(self, file: Any, number: int) -> dict[str, NDArray[Any]]:
        """Return a block's logits (rows, cols, K), and the validity of its pixels where some are not."""
        cells, name = self._blocks[number], part_name(number)
        window = RasterWindow(cells.col, cells.row, cells.width, cells.height)
        tokens = self.clock.timed("wait", _tokens, file, window)
        known: NDArray[np.bool_] = np.asarray(np.isfinite(tokens).all(axis=-1))
        with torch.inference_mode(), self.clock.stage("infer"):
            filled = torch.from_numpy(np.where(known[..., None], tokens, np.float32(0)))
            logits = self.head.logits(filled).float().numpy()
        arrays: dict[str, NDArray[Any]] = {name: np.where(known[..., None], logits, np.float32(np.nan))}
        if not known.all():
            arrays[beside(name, "valid")] = Centres(self.embedding.cells, cells).spread(known)[..., None]
        return arrays


def _cells(tags: dict[str, Any], rows: int, cols: int) -> CellGrid:
    """Return the cell grid that the tags tell; where they do not tell the scene's size, whole cells are its size."""
    patch, zoom = int(tags["patch_px"]), int(tags["zoom"])
    lead_row, lead_col = (int(part) for part in str(tags.get("lead_px", "0,0")).split(","))
    usual = f"{(rows * patch - lead_row) // zoom},{(cols * patch - lead_col) // zoom}"
    height, width = (int(part) for part in str(tags.get("scene_px", usual)).split(","))
    return CellGrid(height, width, patch, zoom, lead_row, lead_col)


def _norm(name: str) -> str:
    """Return the option that stands behind a norm: a file without a trained one has a plain one."""
    return TokenNorm.NONE if name == TokenNorm.NONE else TokenNorm.TRAINED


def _lesser_differences(embedding: Embedding, head: Head) -> list[str]:
    recipe, tags = head.recipe, embedding.tags
    pairs = (("window", tags["window_px"], recipe.window), ("overlap", tags["overlap_px"], recipe.overlap))
    found = [
        f"{name} is {has} px in the embeddings, {had} px in the head" for name, has, had in pairs if int(has) != had
    ]
    if tags["normalization"] != [rule(norm) for norm in learnt_rules(head).norms]:
        found.append("the rules that standardise pixels are not those of the head's training")
    return [f"{'; '.join(found)}."] if found else []


def _tokens(file: Any, window: RasterWindow) -> NDArray[np.float32]:
    """Read tokens, codes of 8 bits turned into values."""
    stored = file.read(window=window).transpose(1, 2, 0)
    values = stored.astype(np.float32) * np.float32(file.scales) + np.float32(file.offsets)
    if not np.isnan(file.nodata):
        values[stored == file.nodata] = np.nan
    return np.ascontiguousarray(values)


class Centres:
    """The scene's pixels whose centres lie in ``cells``."""

    def __init__(self, grid: CellGrid, cells: Window) -> None:
        around = grid.pixels(cells)
        rows = _cell_of(range(around.row, around.bottom), grid.zoom, grid.lead_row, grid.patch) - cells.row
        cols = _cell_of(range(around.col, around.right), grid.zoom, grid.lead_col, grid.patch) - cells.col
        inside = [np.flatnonzero((at >= 0) & (at < size)) for at, size in ((rows, cells.height), (cols, cells.width))]
        row, col = (
            first + int(own.min(initial=len(own))) for first, own in zip((around.row, around.col), inside, strict=True)
        )
        self.pixels = Window(row, col, len(inside[0]), len(inside[1]))
        self.rows, self.cols = rows[inside[0]], cols[inside[1]]

    def spread(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether each pixel (height, width) lies in a known cell."""
        return known[self.rows][:, self.cols]


def _cell_of(pixels: range, zoom: int, lead: int, patch: int) -> NDArray[np.int64]:
    """Return the cell in which the centre of each pixel lies."""
    return (2 * zoom * np.arange(pixels.start, pixels.stop) + zoom + 2 * lead) // (2 * patch)
