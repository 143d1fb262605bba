"""Laws that any window model must obey through tiling, blending and zooming, and a small real network on top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dofa_cli.model.checkpoint import Checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import Precision
from dofa_cli.model.vit import random_dofa
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.blend import Blend, ramp
from dofa_cli.pipelines.inference.encoder import Encoder, Weights
from dofa_cli.pipelines.inference.stream import TileStream, TokenCache
from dofa_cli.pipelines.scenes.standardise import Standardiser, enlarge
from dofa_cli.raster.grid import CellGrid, TilePlan, Window, plan_tiles
from dofa_cli.raster.scene import Scene
from dofa_cli.sensors.normalise import BandNorm
from dofa_cli.sensors.scale import AS_IS
from tests.made import TRAINED, reflectance, tiny_weights, write_raster

CPU = torch.device("cpu")
PATCH, WINDOW, OVERLAP = 4, 4, 1
SIDE = PATCH * WINDOW  # pixels of a window
AS_THEY_ARE = BandNorm("any", 0.6, AS_IS, 0.0, 1.0, "test")
SIZES = [
    (1, 1),
    (7, 7),
    (SIDE - 1, SIDE - 1),
    (SIDE, SIDE),
    (SIDE + 1, SIDE + 1),
    (SIDE // 2, SIDE // 2),
    (SIDE, 7 * SIDE),
    (3, 500),
    (41, 67),
]


# Models that any layout must leave alone


@dataclass
class Fake:
    """A window model made of a function from pixels (N, bands, s, s) to tokens (N, D, rows, cols)."""

    function: Callable[[Tensor], Tensor]
    dim: int
    dtype: torch.dtype = torch.float32
    patch_size: int = PATCH
    detail: int = 1
    device: torch.device = CPU
    batches: tuple[int, ...] = ()

    def tokens(self, pixels: Tensor) -> Tensor:
        self.batches += (len(pixels),)
        return self.function(pixels).flatten(2).transpose(1, 2).to(self.dtype)

    def vectors(self, pixels: Tensor, weight: Tensor) -> Tensor:
        tokens = self.function(pixels).flatten(2).transpose(1, 2)
        return (tokens * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)


def constant(value: float, dtype: torch.dtype = torch.float32) -> Fake:
    """Token = a constant."""
    return Fake(lambda x: torch.full((len(x), 1, WINDOW, WINDOW), value), 1, dtype)


def patch_means(bands: int, dtype: torch.dtype = torch.float32) -> Fake:
    """Token = mean of its patch, one channel a band."""
    return Fake(lambda x: F.avg_pool2d(x, PATCH), bands, dtype)


def patch_pixels(bands: int) -> Fake:
    """Token = all pixels of its patch."""
    return Fake(lambda x: F.pixel_unshuffle(x, PATCH), bands * PATCH**2)


def window_means(bands: int) -> Fake:
    """Token = mean of its whole window: neighbours disagree, so that blending shows."""
    return Fake(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, WINDOW, WINDOW), bands)


@dataclass(frozen=True)
class Layout:
    """How a scene is cut."""

    zoom: int = 1
    lead: tuple[int, int] = (0, 0)
    per_tile: int = 2
    batch: int = 3
    min_valid: float = 0.5
    inward: bool = True
    overlap: int = OVERLAP
    window: int = WINDOW
    cache_bytes: int = 2**20

    def plan(self, scene: Scene, patch: int = PATCH) -> TilePlan:
        grid = CellGrid(scene.height, scene.width, patch, self.zoom, *self.lead)
        return plan_tiles(grid, self.window, self.overlap, inward=self.inward, per_tile=self.per_tile)

    def stream(self, scene: Scene, model: Fake | Encoder) -> TileStream:
        norms = [AS_THEY_ARE] * len(scene.bands)
        stream = TileStream(
            scene,
            self.plan(scene, model.patch_size),
            Standardiser(norms, CPU),
            model,
            batch=self.batch,
            min_valid=self.min_valid,
        )
        stream.cache = TokenCache(self.cache_bytes)
        return stream

    def tokens(self, scene: Scene, model: Fake | Encoder) -> np.ndarray:
        """Blended tokens (rows, cols, D) of the whole scene."""
        plan = self.plan(scene, model.patch_size)
        out = np.full((plan.grid.rows, plan.grid.cols, model.dim), -777, np.float32)
        for tile, tokens in self.stream(scene, model).token_tiles(plan.tiles()):
            assert tokens.dtype == torch.float32
            out[tile.core.slices] = tokens.numpy()
        return out


def pixels_of(bands: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (bands, height, width)).astype(np.float32)


def on_cells(values: np.ndarray, patch: int = PATCH, lead: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Lay (bands, height, width) on whole cells: (bands, rows, patch, cols, patch), zeros outside."""
    bands, height, width = values.shape
    rows, cols = -(-(height + lead[0]) // patch), -(-(width + lead[1]) // patch)
    padded = np.zeros((bands, rows * patch, cols * patch), values.dtype)
    padded[:, lead[0] : lead[0] + height, lead[1] : lead[1] + width] = values
    return padded.reshape(bands, rows, patch, cols, patch)


def shares(valid: np.ndarray, lead: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """Valid pixels of each cell, and its pixels inside the scene."""
    inside = np.ones_like(valid, dtype=int)
    return tuple(on_cells(part[None].astype(int), lead=lead).sum((2, 4))[0] for part in (valid, inside))


# Tiling and blending


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_constant_model_gives_its_constant_everywhere(scene_of, height, width, batch, dtype):
    model = constant(0.3, dtype)
    found = Layout(batch=batch).tokens(scene_of(pixels_of(2, height, width)), model)
    assert found.shape == (-(-height // PATCH), -(-width // PATCH), 1)
    np.testing.assert_allclose(found, float(torch.tensor(0.3, dtype=dtype)), rtol=1e-6)
    assert set(model.batches) == {batch}


@pytest.mark.parametrize("zoom", [1, 2, 3])
@pytest.mark.parametrize("lead", [(0, 0), (3, 1)])
@pytest.mark.parametrize("size", [(1, 1), (SIDE - 1, SIDE + 1), (3, 120)])
def test_a_constant_survives_zoom_and_snapping(scene_of, zoom, lead, size):
    found = Layout(zoom=zoom, lead=lead, min_valid=0).tokens(scene_of(pixels_of(1, *size)), constant(-2.5))
    assert found.shape[:2] == tuple(-(-(side * zoom + off) // PATCH) for side, off in zip(size, lead, strict=True))
    np.testing.assert_allclose(found, -2.5, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("lead", [(0, 0), (3, 1)])
def test_an_identity_model_gives_the_scene_back(scene_of, height, width, batch, lead):
    values = pixels_of(2, height, width)
    layout = Layout(batch=batch, lead=lead, min_valid=0)
    cells = on_cells(values, lead=lead)
    found = layout.tokens(scene_of(values), patch_pixels(2))
    expected = cells.transpose(1, 3, 0, 2, 4).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("height", "width"), [(SIDE, 7 * SIDE), (41, 67)])
def test_bfloat16_tokens_are_blended_in_float32(scene_of, height, width):
    values = pixels_of(2, height, width)
    found = Layout().tokens(scene_of(values), patch_means(2, torch.bfloat16))
    means = on_cells(values).sum((2, 4)) / PATCH**2
    rounded = torch.from_numpy(means).bfloat16().float().numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(found, rounded, rtol=2**-8)  # the mean may round either way, once
    assert (np.abs(found - rounded) <= 1e-6 * np.abs(rounded)).mean() > 0.99


@pytest.mark.parametrize("overlap", [0, 1, 2, 3])
@pytest.mark.parametrize("per_tile", [1, 3])
def test_blending_is_the_weighted_mean_over_windows_of_an_independent_loop(scene_of, overlap, per_tile):
    values = pixels_of(1, 61, 47)
    layout = Layout(overlap=overlap, per_tile=per_tile, min_valid=0)
    scene = scene_of(values)
    plan = layout.plan(scene)
    fine = on_cells(values).reshape(1, plan.grid.rows * PATCH, plan.grid.cols * PATCH)[0].astype(float)
    edge = np.minimum(1, np.minimum(np.arange(1, WINDOW + 1), np.arange(WINDOW, 0, -1)) / (overlap + 1))
    total, weights = np.zeros((2, plan.grid.rows, plan.grid.cols))
    for row, col in product(plan.row_starts, plan.col_starts):
        mean = fine[row * PATCH : (row + WINDOW) * PATCH, col * PATCH : (col + WINDOW) * PATCH].mean()
        total[row : row + WINDOW, col : col + WINDOW] += np.outer(edge, edge) * mean
        weights[row : row + WINDOW, col : col + WINDOW] += np.outer(edge, edge)
    found = layout.tokens(scene, window_means(1))[..., 0]
    np.testing.assert_allclose(found, total / weights, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 20), st.data())
def test_window_weights_are_symmetric_positive_and_add_up_over_regular_windows(window, data):
    overlap = data.draw(st.integers(0, window - 1))
    weight = ramp(window, overlap)
    assert torch.equal(weight, weight.flip(0))
    assert weight.min() > 0
    assert weight.max() <= 1
    assert (weight.max() == 1) == (overlap < (window + 1) // 2)
    if overlap <= window // 2:  # falling and rising ramps complement each other
        both = weight[window - overlap :] + weight[:overlap]
        torch.testing.assert_close(both, torch.ones(overlap))


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    window=st.integers(1, 6),
    zoom=st.integers(1, 3),
    data=st.data(),
)
def test_any_layout_gives_the_means_of_the_zoomed_patches(scene_of, size, window, zoom, data):
    overlap = data.draw(st.integers(0, window - 1))
    lead = data.draw(st.tuples(st.integers(0, PATCH - 1), st.integers(0, PATCH - 1)))
    layout = Layout(
        zoom=zoom,
        lead=lead,
        per_tile=data.draw(st.integers(1, 4)),
        batch=data.draw(st.integers(1, 5)),
        window=window,
        overlap=overlap,
        inward=data.draw(st.booleans()),
        min_valid=0,
    )
    values = pixels_of(1, *size)
    large = F.interpolate(torch.from_numpy(values)[None], scale_factor=zoom, mode="bilinear", align_corners=False)
    expected = on_cells(large[0].numpy(), lead=lead).sum((2, 4)).transpose(1, 2, 0) / PATCH**2
    np.testing.assert_allclose(layout.tokens(scene_of(values), patch_means(1)), expected, rtol=1e-4, atol=1e-5)


def test_progress_counts_every_window_once_whatever_the_shard(scene_of):
    values = pixels_of(1, 90, 130)
    values[:, :40, :60] = np.nan
    for per_tile in (1, 2, 16):
        counted: list[int] = []
        layout = Layout(per_tile=per_tile)
        scene = scene_of(values)
        stream, plan = layout.stream(scene, constant(1)), layout.plan(scene)
        stream.on_windows = counted.append
        list(stream.token_tiles(plan.tiles()))
        assert sum(counted) == plan.window_count


# Nodata


def holed(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Values with nodata holes of several shapes, and their validity."""
    values, valid = pixels_of(2, height, width), np.ones((height, width), bool)
    valid[: height // 3, : width // 2] = False
    valid[height // 2 :: 5] = False
    valid[:, width // 2 + 1 :: 3] = False
    values[0, ~valid] = np.nan
    return values, valid


@pytest.mark.parametrize("min_valid", [0, 0.15, 0.25, 0.5, 0.75, 1])
@pytest.mark.parametrize("lead", [(0, 0), (3, 1)])
@pytest.mark.parametrize("size", [(7, 7), (SIDE + 1, SIDE + 1), (41, 67), (3, 120)])
def test_a_cell_is_nodata_when_too_few_of_its_pixels_inside_the_scene_are_valid(scene_of, min_valid, lead, size):
    values, valid = holed(*size)
    found = Layout(min_valid=min_valid, lead=lead).tokens(scene_of(values), patch_means(2))
    held, inside = shares(valid, lead)
    enough = (held > 0) & (held >= min_valid * inside - 1e-9)
    np.testing.assert_array_equal(np.isfinite(found).all(-1), enough)
    np.testing.assert_array_equal(np.isnan(found).all(-1), ~enough)
    filled = np.where(valid, values, 0)  # invalid pixels hold the mean, which is 0 here
    expected = on_cells(filled, lead=lead).sum((2, 4)).transpose(1, 2, 0) / PATCH**2
    np.testing.assert_allclose(found[enough], expected[enough], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.07, 0.15, 0.29, 0.3, 0.55, 0.57, 0.58])
def test_a_share_met_exactly_is_enough(scene_of, share):
    """With patches of 10 pixels a share is a whole number of pixels; floating point must not lose one."""
    needed = int(Fraction(str(share)) * 100)
    for held, expected in ((needed, True), (needed - 1, False)):
        values = np.full((1, 100), np.nan, np.float32)
        values[0, :held] = 1
        model = replace(constant(1.0), patch_size=10)
        found = Layout(min_valid=share).tokens(scene_of(values.reshape(1, 10, 10)), model)
        assert np.isfinite(found).all() == (expected and held > 0)


@pytest.mark.parametrize("zoom", [2, 3])
def test_validity_of_zoomed_cells_is_the_nearest_pixels(scene_of, zoom):
    values, valid = holed(41, 37)
    found = Layout(zoom=zoom, min_valid=0.5).tokens(scene_of(values), constant(1.0))
    held, inside = shares(valid.repeat(zoom, 0).repeat(zoom, 1))
    np.testing.assert_array_equal(np.isfinite(found[..., 0]), (held > 0) & (held >= 0.5 * inside))


@pytest.mark.parametrize("per_tile", [1, 16])
def test_a_scene_without_valid_pixels_is_nodata_and_never_meets_the_model(scene_of, per_tile):
    model = constant(1.0)
    found = Layout(per_tile=per_tile).tokens(scene_of(np.full((2, 50, 70), np.nan, np.float32)), model)
    assert np.isnan(found).all()
    assert model.batches == ()


def test_nodata_reaches_no_token_but_its_own_cells(scene_of):
    """Whatever stands in invalid pixels, the network never sees it."""
    values, valid = holed(41, 67)
    other = np.where(valid, values, np.float32(np.inf))
    values[:, ~valid] = np.nan
    one, two = (Layout().tokens(scene_of(part), window_means(2)) for part in (values, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("per_tile", [1, 2, 16])
def test_the_stream_counts_valid_cells_once(scene_of, per_tile):
    values, _ = holed(61, 67)
    layout = Layout(per_tile=per_tile)
    scene = scene_of(values)
    stream = layout.stream(scene, constant(1.0))
    finite = sum(int(torch.isfinite(tokens).sum()) for _, tokens in stream.token_tiles(layout.plan(scene).tiles()))
    assert stream.valid_cells == finite
    assert stream.seen_cells == layout.plan(scene).grid.rows * layout.plan(scene).grid.cols


def test_blend_without_a_window_is_nan():
    plan = Layout().plan(_Sized(40, 40))
    assert torch.isnan(Blend(plan, Window(0, 0, 3, 3), 2, CPU).mean()).all()


@dataclass(frozen=True)
class _Sized:
    """All that a plan asks of a scene."""

    height: int
    width: int


def test_the_cache_drops_the_oldest_and_never_holds_more_than_allowed():
    cache = TokenCache(most_bytes=2 * 4 * 10)
    for number in range(5):
        cache.put((0, number), torch.full((10,), float(number)))
        assert cache.bytes == sum(tokens.nbytes for tokens in cache.held.values()) <= cache.most_bytes
    assert [number for number in range(5) if cache.get((0, number)) is not None] == [3, 4]
    small = TokenCache(most_bytes=1)
    small.put((0, 0), torch.ones(10))
    assert small.get((0, 0)) is None
    assert small.bytes == 0


# Zoom


def enlarged(values: np.ndarray, valid: np.ndarray, zoom: int, cut: Window | None = None) -> tuple[Tensor, Tensor]:
    """Enlarge the zoomed pixels under ``cut`` (pixels) from a block read with a margin of one pixel."""
    scene = Window(0, 0, *valid.shape)
    cut = cut or scene
    source = Window(cut.row - 1, cut.col - 1, cut.height + 2, cut.width + 2).intersect(scene)
    rows, cols = source.slices
    block = torch.from_numpy(np.ascontiguousarray(values[:, rows, cols]))
    return enlarge(block, torch.from_numpy(valid[rows, cols].copy()), zoom, source, cut.scaled(zoom))


@pytest.mark.parametrize("zoom", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 13)])
def test_enlarging_a_valid_block_equals_torchs_bilinear_interpolation(zoom, size):
    values = pixels_of(3, *size)
    found, valid = enlarged(values, np.ones(size, bool), zoom)
    exact = torch.from_numpy(values).double()[None]
    expected = F.interpolate(exact, scale_factor=zoom, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    assert valid.all()


@settings(max_examples=40)
@given(st.integers(2, 4), st.data())
def test_enlarged_values_do_not_depend_on_where_the_block_was_cut(zoom, data):
    values, valid = holed(23, 31)
    values = np.nan_to_num(values)
    row, col = data.draw(st.integers(0, 22)), data.draw(st.integers(0, 30))
    cut = Window(row, col, data.draw(st.integers(1, 23 - row)), data.draw(st.integers(1, 31 - col)))
    everything, everywhere = enlarged(values, valid, zoom)
    part, where = enlarged(values, valid, zoom, cut)
    rows, cols = cut.scaled(zoom).slices
    assert torch.equal(part, everything[:, rows, cols])
    assert torch.equal(where, everywhere[rows, cols])


@pytest.mark.parametrize("zoom", [2, 3])
def test_enlarging_never_mixes_invalid_pixels_in(zoom):
    _, valid = holed(23, 31)
    values = np.where(valid, np.float32(5), np.float32(1e30))[None]
    found, where = enlarged(values, valid, zoom)
    np.testing.assert_array_equal(where.numpy(), valid.repeat(zoom, 0).repeat(zoom, 1))
    np.testing.assert_allclose(found[0][where], 5, rtol=1e-6)
    assert (found[0][~where] == 0).all()


@pytest.mark.parametrize("zoom", [2, 3])
@pytest.mark.parametrize("per_tile", [1, 2])
def test_zoomed_tokens_do_not_depend_on_the_shard(scene_of, zoom, per_tile):
    values, _ = holed(37, 53)
    scene = scene_of(values)
    reference = Layout(zoom=zoom, per_tile=16).tokens(scene, patch_pixels(2))
    np.testing.assert_array_equal(Layout(zoom=zoom, per_tile=per_tile).tokens(scene, patch_pixels(2)), reference)


# A small real network

CONFIG = DofaConfig(1, 16, 48, 2, 4, 64)
WAVELENGTHS = (0.665, 0.56, 0.49, 0.842, 1.61)
BIG = Layout(batch=4)


def encoder(precision: Precision = Precision.FLOAT32, wavelengths: tuple[float, ...] = WAVELENGTHS) -> Encoder:
    checkpoint = Checkpoint(random_dofa(CONFIG).eval(), token_norm=True, pooled_norm=True, declared=True)
    return Encoder(Weights("random", "0" * 64, checkpoint), wavelengths, device="cpu", precision=precision)


@pytest.fixture(scope="module")
def small(scene_of):
    """A scene of 13 × 17 cells with holes, not a multiple of the patch."""
    values = pixels_of(len(WAVELENGTHS), 200, 260)
    values[0, 30:130, 100:195] = np.nan  # one window of 64 pixels and more
    values[3, 150:, :40] = np.nan
    return scene_of(values)


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_results_are_equal_bit_for_bit_whatever_the_shards_and_the_cache(small, precision):
    model = encoder(precision)
    reference = replace(BIG, per_tile=16).tokens(small, model)
    assert np.isfinite(reference).any()
    for per_tile, cache_bytes in product((1, 2, 3), (0, 2**20)):
        found = replace(BIG, per_tile=per_tile, cache_bytes=cache_bytes).tokens(small, model)
        np.testing.assert_array_equal(found, reference, err_msg=f"per_tile {per_tile}, cache {cache_bytes}")


@pytest.mark.parametrize("batch", [1, 2, 7, 24])
def test_other_batch_sizes_change_rounding_only(small, batch):
    model = encoder()
    reference = BIG.tokens(small, model)
    found = replace(BIG, batch=batch).tokens(small, model)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(reference))
    assert np.nanmax(np.abs(found - reference)) <= 1e-5 * np.nanmax(np.abs(reference))


@pytest.mark.parametrize("zoom", [1, 2])
def test_bands_and_wavelengths_permuted_together_change_nothing(small, zoom):
    order = (3, 0, 4, 2, 1)
    shuffled = replace(small, pixels=small.pixels[list(order)], nodata=tuple(small.nodata[band] for band in order))
    layout = replace(BIG, zoom=zoom, per_tile=4)
    found = layout.tokens(shuffled, encoder(wavelengths=tuple(WAVELENGTHS[band] for band in order)))
    np.testing.assert_allclose(found, layout.tokens(small, encoder()), rtol=0, atol=1e-4)


def vectors_by_hand(scene: Scene, layout: Layout) -> dict[tuple[int, int], tuple[np.ndarray, int]]:
    """Each window's vector and valid pixels: cut, fill, one unfolded forward, mean over valid cells."""
    model = random_dofa(CONFIG).eval()
    patch, side = CONFIG.patch_size, layout.window * CONFIG.patch_size
    values = np.asarray(scene.pixels.data)
    valid = np.isfinite(values).all(0)
    found = {}
    for row, col in product(range(-(-scene.height // side)), range(-(-scene.width // side))):
        rows, cols = slice(row * side, (row + 1) * side), slice(col * side, (col + 1) * side)
        pixels, known, inside = np.zeros((len(values), side, side), np.float32), *np.zeros((2, side, side), bool)
        cut = valid[rows, cols]
        known[: cut.shape[0], : cut.shape[1]] = cut
        inside[: cut.shape[0], : cut.shape[1]] = True
        pixels[:, : cut.shape[0], : cut.shape[1]] = np.where(cut, values[:, rows, cols], 0)
        held, full = (part.reshape(-1, patch, side // patch, patch).sum((1, 3)) for part in (known, inside))
        enough = (held > 0) & (held >= layout.min_valid * full)
        if not enough.any():
            continue
        with torch.no_grad():
            tokens = model(torch.from_numpy(pixels)[None], WAVELENGTHS).patches[0]
            vector = model.fc_norm(tokens[torch.from_numpy(enough.ravel())].mean(0))
        found[row, col] = vector.numpy(), int(known.sum())
    return found


@pytest.mark.parametrize("per_tile", [1, 16])
@pytest.mark.parametrize("min_valid", [0, 0.5, 1])
def test_window_vectors_equal_a_plain_forward_and_pool(small, per_tile, min_valid):
    layout = replace(BIG, per_tile=per_tile, min_valid=min_valid, inward=False, overlap=0)
    expected = vectors_by_hand(small, layout)
    plan = layout.plan(small, CONFIG.patch_size)
    seen = []
    for _, windows in layout.stream(small, encoder()).vector_tiles(plan.tiles()):
        for number, vector, held in zip(windows.numbers, windows.vectors, windows.valid_pixels, strict=True):
            np.testing.assert_allclose(vector.numpy(), expected[number][0], rtol=0, atol=1e-5)
            assert int(held) == expected[number][1]
            seen.append(number)
    assert sorted(seen) == sorted(expected)
    assert 0 < len(expected) < plan.window_count  # the window without valid pixels has no vector


def test_window_vectors_of_a_scene_without_valid_pixels_are_none_at_all(scene_of):
    scene = scene_of(np.full((len(WAVELENGTHS), 80, 80), np.nan, np.float32))
    layout = replace(BIG, inward=False, overlap=0)
    for _, found in layout.stream(scene, encoder()).vector_tiles(layout.plan(scene, 16).tiles()):
        assert found.numbers == ()
        assert found.vectors.shape == (0, CONFIG.embed_dim)


@pytest.mark.parametrize("zoom", [1, 2])
def test_the_scene_vector_is_the_mean_of_window_vectors_weighted_by_valid_area(tmp_path, zoom):
    values = reflectance(len(TRAINED), 150, 170)
    values[:, 40:120, 50:140] = 0  # Sentinel-2's nodata
    scene, weights = write_raster(tmp_path / "scene.tif", values, TRAINED), tiny_weights(tmp_path / "tiny.safetensors")
    options = {"sensor": "sentinel2", "weights": str(weights), "zoom": zoom}
    tables = {}
    for level in ("window", "scene"):
        report = embed(scene, tmp_path / f"{level}.parquet", level=level, **options)
        tables[level] = pq.read_table(report.output).to_pydict()
    side = 64 // zoom
    valid = [
        (values[0, row * side : (row + 1) * side, col * side : (col + 1) * side] > 0).sum()
        for row, col in zip(tables["window"]["window_row"], tables["window"]["window_col"], strict=True)
    ]
    expected = np.average(tables["window"]["embedding"], axis=0, weights=valid)
    np.testing.assert_allclose(tables["scene"]["embedding"][0], expected, rtol=0, atol=1e-5)
    assert tables["scene"]["valid_share"][0] == pytest.approx((values[0] > 0).mean(), abs=0.01)
