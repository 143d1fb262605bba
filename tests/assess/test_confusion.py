"""Counting samples by reference and prediction."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from dofa_cli.assess.confusion import Confusion, confusion

pairs = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(0, 4)), max_size=60)


def test_rows_are_the_reference_and_columns_the_map():
    counted = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counted.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@given(pairs)
def test_counts_are_those_of_scikit_learn_and_blocks_add_up(drawn):
    reference, predicted, blocks = np.array(drawn, int).reshape(-1, 3).T
    counted = Confusion(4)
    counted.add(reference, predicted, blocks=blocks)
    kept = (reference >= 0) & (predicted >= 0)
    expected = np.zeros((4, 4))
    if kept.any():
        expected = confusion_matrix(reference[kept], predicted[kept], labels=range(4))
    assert (counted.counts == expected).all()
    assert len(counted.by_block) == len(set(blocks[kept]))
    assert counted.unlabelled == (reference < 0).sum()
    assert counted.unmapped == ((reference >= 0) & (predicted < 0)).sum()


@given(pairs, st.integers(0, 60))
def test_pieces_count_as_the_whole(drawn, cut):
    reference, predicted, blocks = np.array(drawn, int).reshape(-1, 3).T
    whole, pieces = Confusion(4), Confusion(4)
    whole.add(reference, predicted, blocks=blocks)
    for part in (slice(None, cut), slice(cut, None)):
        pieces.add(reference[part], predicted[part], blocks=blocks[part])
    assert (whole.by_block == pieces.by_block).all()


def test_weights_count_samples_more_than_once_and_maps_may_have_two_dimensions():
    counted = Confusion(2)
    counted.add(np.array([[0, 1]]), np.array([[0, 0]]), blocks=9, weights=np.array([[2.5, 0.5]]))
    assert counted.counts.tolist() == [[2.5, 0], [0.5, 0]]
