"""Laws of maps at pixel resolution: interpolation, detail, holes, seams, smoothing, shares."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from dofa_cli.classes import ClassTable
from dofa_cli.heads.head import Target
from dofa_cli.pipelines.inference.interpolate import interpolate
from dofa_cli.pipelines.inference.shards import MapParts, map_parts, save_map
from dofa_cli.pipelines.mapping.decode import SHARE_NODATA, STEPS, Confidence, Decoder, ShareType, Smooth, softmax
from dofa_cli.pipelines.mapping.majority import majority
from dofa_cli.pipelines.shards.store import Finished
from dofa_cli.raster.grid import CellGrid, Window
from dofa_cli.raster.parts import Part
from dofa_cli.raster.scene import Scene
from dofa_cli.raster.writer import save_part
from tests.pipelines.test_laws import PATCH, SIDE, WINDOW, Fake, Layout, constant, patch_means, pixels_of

SIZES = [(1, 1), (7, 7), (SIDE - 1, SIDE + 1), (3, 90), (41, 67)]
TABLE = ClassTable.of([2, 7, 30])


@pytest.fixture
def mapped(tmp_path):
    """Stream a scene through a model into parts."""

    def run(scene: Scene, model: Fake, layout: Layout = Layout(min_valid=0)) -> MapParts:  # noqa: B008
        folder = tmp_path / f"{layout.per_tile}"
        folder.mkdir(exist_ok=True)
        plan = layout.plan(scene, model.patch_size)
        saved = save_map(layout.stream(scene, model), plan.tiles(), folder)
        return map_parts(plan, model.detail, folder, [Finished(tile.number, *left) for tile, *left in saved])

    return run


def parts_of(folder: Path, nodes: np.ndarray, grid: CellGrid, detail: int, valid: np.ndarray | None = None) -> MapParts:
    """Lay nodes (rows, cols, K) down as two parts, and a scene's validity as one."""
    half = max(1, nodes.shape[0] // 2)
    values = []
    for number, (row, bottom) in enumerate([(0, half), (half, nodes.shape[0])]):
        if bottom > row:
            values.append(Part(folder / f"{number}.npy", Window(row, 0, bottom - row, nodes.shape[1])))
            save_part(values[-1].path, nodes[row:bottom])
    holes = []
    if valid is not None:
        holes.append(Part(folder / "valid.npy", Window(0, 0, *valid.shape)))
        save_part(holes[0].path, valid[..., None])
    return MapParts(grid, detail, tuple(values), tuple(holes))


def whole(parts: MapParts) -> Window:
    return Window(0, 0, parts.grid.height, parts.grid.width)


def detailed(bands: int, detail: int) -> Fake:
    """Value of a sub-cell = mean of its pixels."""
    size = PATCH // detail
    return Fake(lambda x: F.avg_pool2d(x, size), bands, detail=detail)


# Interpolation


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    zoom=st.integers(1, 4),
    lead=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    detail=st.sampled_from([1, 2, 4]),
)
def test_interpolation_is_bilinear_between_the_centres_of_sub_cells(tmp_path_factory, size, zoom, lead, detail):
    grid = CellGrid(*size, 8, zoom, *lead)
    rng = np.random.default_rng(0)
    nodes = rng.normal(size=(grid.rows * detail, grid.cols * detail, 2)).astype(np.float32)
    found = interpolate(parts_of(tmp_path_factory.mktemp("p"), nodes, grid, detail), Window(0, 0, *size))
    step, axes = 8 / detail, []
    for length, off in zip(size, lead, strict=True):
        first, last = int(off // step), int(np.ceil((length * zoom + off) / step)) - 1
        axes.append((((np.arange(length) + 0.5) * zoom + off) / step - 0.5).clip(first, last))
    places = np.meshgrid(*axes, indexing="ij")
    expected = [map_coordinates(nodes[..., k].astype(float), places, order=1) for k in range(2)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    assert found.known.all()


@settings(max_examples=30)
@given(st.data())
def test_a_block_holds_the_same_bits_wherever_it_is_cut(tmp_path_factory, data):
    grid = CellGrid(50, 60, 8, data.draw(st.sampled_from([1, 3])), 3, 5)
    detail = data.draw(st.sampled_from([1, 4]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    nodes = rng.normal(size=(grid.rows * detail, grid.cols * detail, 3)).astype(np.float32)
    nodes[rng.random(nodes.shape[:2]) < 0.3] = np.nan
    parts = parts_of(tmp_path_factory.mktemp("p"), nodes, grid, detail)
    row, col = data.draw(st.integers(0, 49)), data.draw(st.integers(0, 59))
    block = Window(row, col, data.draw(st.integers(1, 50 - row)), data.draw(st.integers(1, 60 - col)))
    everything, part = interpolate(parts, whole(parts)), interpolate(parts, block)
    np.testing.assert_array_equal(part.known, everything.known[block.slices])
    np.testing.assert_array_equal(part.values, everything.values[:, *block.slices])
    shares = [softmax(one) for one in (part.values, everything.values)]
    np.testing.assert_array_equal(shares[0], shares[1][:, *block.slices])


def test_unknown_cells_are_left_out_of_the_mean(tmp_path):
    grid = CellGrid(40, 48, 8)
    rng = np.random.default_rng(3)
    nodes = rng.normal(size=(5, 6, 1)).astype(np.float32)
    nodes[rng.random((5, 6)) < 0.4] = np.nan
    found = interpolate(parts_of(tmp_path, nodes, grid, 1), Window(0, 0, 40, 48))
    for row, col in product(range(40), range(48)):
        at = [np.clip((one + 0.5) / 8 - 0.5, 0, last) for one, last in ((row, 4), (col, 5))]
        total = weights = 0.0
        for r, c in product(range(5), range(6)):
            weight = max(0, 1 - abs(at[0] - r)) * max(0, 1 - abs(at[1] - c))
            if weight and np.isfinite(nodes[r, c, 0]):
                total, weights = total + weight * float(nodes[r, c, 0]), weights + weight
        assert found.known[row, col] == (weights > 0)
        if weights:
            assert found.values[0, row, col] == pytest.approx(total / weights, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("zoom", [1, 2, 3])
@pytest.mark.parametrize("lead", [(0, 0), (3, 1)])
@pytest.mark.parametrize("detail", [1, 2])
def test_a_head_of_band_means_gives_a_slope_back(mapped, scene_of, zoom, lead, detail):
    rows, cols = np.mgrid[0:41, 0:67]
    slope = (0.5 * rows - 0.25 * cols).astype(np.float32)
    parts = mapped(scene_of(slope[None]), detailed(1, detail), Layout(zoom=zoom, lead=lead, min_valid=0))
    found = interpolate(parts, whole(parts)).values[0]
    inner = slice(8, -8), slice(8, -8)  # cells at the scene's edge hold what is outside of it too
    np.testing.assert_allclose(found[inner], slope[inner], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("per_tile", [1, 3])
def test_a_head_as_detailed_as_pixels_gives_the_scene_back(mapped, scene_of, size, per_tile):
    values = pixels_of(2, *size)
    parts = mapped(scene_of(values), detailed(2, PATCH), Layout(per_tile=per_tile, min_valid=0))
    found = interpolate(parts, whole(parts))
    np.testing.assert_allclose(found.values, values, rtol=1e-5, atol=1e-6)
    assert found.known.all()


@pytest.mark.parametrize("detail", [1, 4])
def test_shards_change_no_bit_of_a_map(mapped, scene_of, detail):
    values = pixels_of(3, 61, 47)
    values[:, 20:30, 5:40] = np.nan
    maps = []
    for per_tile in (1, 2, 16):
        parts = mapped(scene_of(values), detailed(3, detail), Layout(per_tile=per_tile))
        maps.append(interpolate(parts, whole(parts)))
    for other in maps[1:]:
        np.testing.assert_array_equal(other.values, maps[0].values)
        np.testing.assert_array_equal(other.known, maps[0].known)


# Classes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zoom", [1, 3])
def test_constant_logits_give_a_constant_map_of_the_users_values(mapped, scene_of, size, zoom):
    logits = torch.tensor([0.0, 3.0, -1.0]).view(1, 3, 1, 1)
    model = Fake(lambda x: logits.expand(len(x), 3, WINDOW, WINDOW), 3)
    decoder = Decoder(mapped(scene_of(pixels_of(1, *size)), model, Layout(zoom=zoom)), *size)
    window = Window(0, 0, *size)
    found = decoder.classes(window, TABLE)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.full((*size, 1), 7))
    shares = decoder.shares(window, ShareType.FLOAT32)
    np.testing.assert_allclose(shares[0, 0], logits.flatten().softmax(0), rtol=1e-5)


def test_holes_are_kept_to_the_pixel(mapped, scene_of):
    values = pixels_of(2, 41, 67)
    valid = np.ones((41, 67), bool)
    valid[5:9, 11:30] = valid[20, 20] = valid[30:, 60:] = False
    values[0, ~valid] = np.nan
    for zoom in (1, 3):
        decoder = Decoder(mapped(scene_of(values), patch_means(2), Layout(zoom=zoom, min_valid=0.1)), 41, 67)
        found = decoder.classes(Window(0, 0, 41, 67), ClassTable.of([1, 2]))[..., 0]
        np.testing.assert_array_equal(found != 255, valid)


def test_a_valid_pixel_far_from_any_known_cell_is_nodata(mapped, scene_of):
    values = np.full((1, 48, 48), np.nan, np.float32)
    values[0, 40, 40] = 1  # alone in its cell of 4 × 4
    values[0, :8, :8] = 1
    decoder = Decoder(mapped(scene_of(values), constant(1.0), Layout(min_valid=0.5)), 48, 48)
    found = decoder.classes(Window(0, 0, 48, 48), ClassTable.of([1]))[..., 0]
    assert (found[:8, :8] == 1).all()
    assert (found == 1).sum() == 64


def test_wide_class_values_make_a_wider_raster(mapped, scene_of):
    table = ClassTable.of([4, 400])
    found = Decoder(mapped(scene_of(pixels_of(2, 20, 20)), patch_means(2)), 20, 20).classes(Window(0, 0, 20, 20), table)
    assert found.dtype == np.uint16
    assert set(np.unique(found)) <= {4, 400}


# Smoothing


@pytest.mark.parametrize("side", [3, 5])
def test_the_majority_is_that_of_an_independent_loop(side):
    rng = np.random.default_rng(1)
    indices = rng.integers(-1, 4, (15, 17)).astype(np.int16)
    found = majority(indices, side)
    for row, col in product(range(15), range(17)):
        near = indices[max(0, row - side // 2) : row + side // 2 + 1, max(0, col - side // 2) : col + side // 2 + 1]
        own = indices[row, col]
        counts = np.bincount(near[near >= 0], minlength=4)
        expected = own if own < 0 or counts[own] == counts.max() else counts.argmax()
        assert found[row, col] == expected


@pytest.mark.parametrize("smooth", [Smooth.MAJORITY, Smooth.MAJORITY_5])
def test_smoothing_has_no_seams(mapped, scene_of, smooth):
    values = pixels_of(3, 41, 67)
    values[:, 10:14, 8:20] = np.nan
    decoder = Decoder(mapped(scene_of(values), detailed(3, PATCH)), 41, 67)
    everything = decoder.classes(Window(0, 0, 41, 67), TABLE, smooth)
    assert (everything != decoder.classes(Window(0, 0, 41, 67), TABLE)).any()
    for row, col in product(range(0, 41, 10), range(0, 67, 7)):
        block = Window(row, col, min(10, 41 - row), min(7, 67 - col))
        np.testing.assert_array_equal(decoder.classes(block, TABLE, smooth), everything[block.slices])


def test_strips_change_nothing(mapped, scene_of, monkeypatch):
    decoder = Decoder(mapped(scene_of(pixels_of(3, 41, 67)), patch_means(3)), 41, 67)
    window = Window(3, 2, 30, 50)
    once = [decoder.classes(window, TABLE), decoder.shares(window, ShareType.FLOAT32)]
    monkeypatch.setattr("dofa_cli.pipelines.mapping.decode.STRIP_BYTES", 1)
    for found, expected in zip(
        [decoder.classes(window, TABLE), decoder.shares(window, ShareType.FLOAT32)], once, strict=True
    ):
        np.testing.assert_array_equal(found, expected)


# Probabilities, confidence, numbers


@pytest.fixture
def unsure(mapped, scene_of):
    values = 3 * pixels_of(3, 41, 67)
    values[:, 10:14, 8:20] = np.nan
    return Decoder(mapped(scene_of(values), detailed(3, PATCH)), 41, 67)


def test_shares_in_bytes_are_those_in_floats_to_half_a_step(unsure):
    window = Window(0, 0, 41, 67)
    exact, coded = unsure.shares(window, ShareType.FLOAT32), unsure.shares(window, ShareType.UINT8)
    known = np.isfinite(exact).all(axis=-1)
    np.testing.assert_allclose(exact[known].sum(axis=-1), 1, rtol=1e-5)
    assert np.abs(coded[known] / STEPS - exact[known]).max() <= 0.5 / STEPS + 1e-6
    assert (coded[~known] == SHARE_NODATA).all()
    assert (coded[known] <= STEPS).all()
    classes = unsure.classes(window, TABLE)[..., 0]
    np.testing.assert_array_equal(np.array(TABLE.values)[exact[known].argmax(axis=-1)], classes[known])


def test_confidence_is_the_margin_or_the_entropy_of_the_shares(unsure):
    window = Window(0, 0, 41, 67)
    shares = unsure.shares(window, ShareType.FLOAT32)
    ordered = np.sort(shares, axis=-1)
    margin = unsure.confidence(window, Confidence.MARGIN, ShareType.FLOAT32)[..., 0]
    np.testing.assert_allclose(margin, ordered[..., -1] - ordered[..., -2], rtol=1e-5, atol=1e-6)
    entropy = unsure.confidence(window, Confidence.ENTROPY, ShareType.FLOAT32)[..., 0]
    np.testing.assert_allclose(entropy, 1 + (shares * np.log(shares)).sum(axis=-1) / np.log(3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(Confidence))
def test_one_class_alone_is_certain(mapped, scene_of, kind):
    decoder = Decoder(mapped(scene_of(pixels_of(1, 9, 9)), constant(2.0)), 9, 9)
    np.testing.assert_array_equal(decoder.confidence(Window(0, 0, 9, 9), kind, ShareType.UINT8), STEPS)


@pytest.mark.parametrize("nodata", [float("nan"), -9999.0])
def test_numbers_come_back_in_the_targets_unit(mapped, scene_of, nodata):
    values = pixels_of(1, 20, 30)
    values[:, 3, 4] = np.nan
    decoder = Decoder(mapped(scene_of(values), detailed(1, PATCH)), 20, 30)
    found = decoder.numbers(Window(0, 0, 20, 30), Target("height", mean=12.0, std=5.0, unit="m", nodata=nodata))
    assert found.dtype == np.float32
    expected = np.where(np.isfinite(values[0]), values[0] * 5 + 12, nodata)
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-5, atol=1e-4)
