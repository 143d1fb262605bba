from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.pipelines.learning.sampling import Pool, draw, drawn_weights, hashed, shared_out, strips
from dofa_cli.raster.grid import Window


def pooled(values, group=None, most=1000, rows=(0, None), seed=0):
    pool = Pool(seed, most)
    group = np.full(values.shape, -1, np.int32) if group is None else group
    edges = [0, *rows[:-1], len(values)] if rows[-1] is None else rows
    for first, last in zip(sorted(set(edges))[:-1], sorted(set(edges))[1:], strict=True):
        pool.add(0, Window(first, 0, last - first, values.shape[1]), values[first:last], group[first:last])
    return pool.points()


def labels(seed=0, shape=(40, 30), classes=3):
    return np.random.default_rng(seed).integers(-1, classes, shape).astype(np.int16)


def test_every_labelled_pixel_is_kept_where_there_is_room():
    values = labels()
    points = pooled(values)
    assert len(points) == (values >= 0).sum()
    assert np.array_equal(values[points.row, points.col], points.target)
    assert (points.weight == 1).all()


@given(st.lists(st.integers(1, 39), max_size=4))
def test_what_is_kept_does_not_depend_on_how_labels_are_read(cuts):
    whole, parts = pooled(labels(), most=50), pooled(labels(), most=50, rows=(*cuts, None))
    assert np.array_equal(whole.key, parts.key)
    assert np.array_equal(whole.weight, parts.weight)


def test_weights_stand_for_what_was_left_out():
    values = labels()
    points = pooled(values, most=20)
    assert np.bincount(points.stratum).tolist() == [20, 20, 20]
    assert np.bincount(points.stratum, points.weight) == pytest.approx(np.bincount(values[values >= 0]))


def test_numbers_are_one_stratum_and_nan_is_unlabelled():
    values = np.array([[1.5, np.nan], [2.5, 3.5]], np.float32)
    points = pooled(values)
    assert points.target.tolist() == [1.5, 2.5, 3.5]
    assert set(points.stratum) == {0}


def test_polygons_take_turns():
    values, group = np.zeros((10, 10), np.int16), np.zeros((10, 10), np.int32)
    group[0, :3] = 1
    points = pooled(values, group)
    chosen = points.at(draw(points, np.ones(len(points), bool), 6, 100))
    assert np.bincount(chosen.group).tolist() == [3, 3]


def test_drawing_again_gives_the_same():
    points = pooled(labels())
    inside = points.row > 10
    first = draw(points, inside, 15, 40)
    assert np.array_equal(first, draw(points, inside, 15, 40))
    assert inside[first].all()
    assert not np.array_equal(first, draw(pooled(labels(), seed=1), inside, 15, 40))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(8, 120))
def test_large_classes_are_cut_to_one_level(counts, in_all):
    taken = shared_out(np.array(counts), in_all)
    assert taken.sum() <= max(in_all, len(counts))
    assert (taken <= counts).all()
    cut = taken < np.array(counts)
    assert len(set(taken[cut])) <= 1
    if sum(counts) <= in_all:
        assert taken.tolist() == counts


def test_drawn_weights_bring_back_the_shares_of_classes():
    values = np.zeros((20, 20), np.int16)
    values[0] = 1
    points = pooled(values)
    inside = np.ones(len(points), bool)
    drawn = draw(points, inside, 10, 100)
    weight = drawn_weights(points, inside, drawn)
    shares = np.bincount(points.stratum[drawn], weight) / weight.sum()
    assert shares == pytest.approx([0.95, 0.05])
    assert weight.mean() == pytest.approx(1)


def test_hashes_are_even():
    rows, cols = (axis.ravel() for axis in np.mgrid[0:200, 0:200])
    found = hashed(0, rows, cols)
    assert len(np.unique(found)) == 40_000
    bins = np.bincount((found >> np.uint64(60)).astype(int), minlength=16)
    assert bins.min() > 2300
    assert bins.max() < 2700


def test_strips_cover_the_extent(monkeypatch):
    monkeypatch.setattr("dofa_cli.pipelines.learning.sampling.STRIP_PIXELS", 100)
    found = list(strips(Window(3, 5, 25, 30)))
    assert [strip.height for strip in found] == [3] * 8 + [1]
    assert found[0].row == 3
    assert found[-1].bottom == 28
