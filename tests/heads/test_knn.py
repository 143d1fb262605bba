"""Nearest neighbours against a loop in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dofa_cli.heads import knn
from dofa_cli.heads.build import token_head
from dofa_cli.heads.fit import fit_tokens
from dofa_cli.heads.goal import NUMBER, Goal, Kind
from dofa_cli.heads.head import Method
from dofa_cli.heads.knn import FLOOR, stratified
from tests.heads.cases import head_of, number_head

RNG = np.random.default_rng(0)
STORED = RNG.normal(size=(90, 24)).astype(np.float32)
LABELS = RNG.integers(0, 3, 90)
ASKED = RNG.normal(size=(40, 24)).astype(np.float32)


def brute_force(votes: np.ndarray, k: int = 5, temperature: float = 0.07) -> np.ndarray:
    """Vote one by one."""
    unit = (STORED / np.linalg.norm(STORED, axis=1, keepdims=True)).astype(np.float16).astype(np.float64)
    shares = []
    for token in ASKED.astype(np.float64):
        similar = unit @ (token / np.linalg.norm(token))
        nearest = sorted(range(len(unit)), key=lambda row: -similar[row])[:k]
        weight = np.exp([similar[row] / temperature for row in nearest])
        shares.append(sum(w * votes[row] for w, row in zip(weight, nearest, strict=True)) / weight.sum())
    return np.array(shares)


@pytest.mark.parametrize("scores", [knn.SCORES, 1000])
def test_votes_equal_a_brute_force(monkeypatch, scores):
    monkeypatch.setattr(knn, "SCORES", scores)  # few rows at a time give the same
    fitted = fit_tokens(Method.KNN, STORED, LABELS)
    head = token_head(head_of(Method.KNN, fitted.tensors, fitted.settings))
    logits = head.logits(torch.from_numpy(ASKED).view(5, 8, 24))
    assert logits.shape == (5, 8, 3)
    share = brute_force(np.eye(3)[LABELS])
    np.testing.assert_allclose(logits.view(-1, 3).numpy(), np.log(share + FLOOR), atol=2e-4)
    np.testing.assert_allclose(head.probabilities(logits).view(-1, 3).numpy(), share, atol=3 * FLOOR)


def test_numbers_are_the_neighbours_mean():
    numbers = RNG.normal(size=90).astype(np.float32)
    fitted = fit_tokens(Method.KNN, STORED, numbers, settings={"k": 3})
    found = token_head(number_head(Method.KNN, fitted.tensors, fitted.settings)).logits(torch.from_numpy(ASKED))
    np.testing.assert_allclose(found.numpy(), brute_force(numbers[:, None], k=3), atol=1e-4)


def test_several_classes_get_their_own_shares():
    several = (RNG.random((90, 3)) > 0.6).astype(np.float32)
    fitted = fit_tokens(Method.KNN, STORED, several)
    head = token_head(head_of(Method.KNN, fitted.tensors, fitted.settings, several=True))
    found = head.probabilities(head.logits(torch.from_numpy(ASKED)))
    np.testing.assert_allclose(found.numpy(), brute_force(several), atol=2 * FLOOR)


def test_fewer_samples_than_k_all_vote():
    fitted = fit_tokens(Method.KNN, STORED[:3], np.array([0, 1, 2]), settings={"k": 50})
    head = token_head(head_of(Method.KNN, fitted.tensors, fitted.settings))
    assert head.logits(torch.from_numpy(STORED[:3])).argmax(dim=1).tolist() == [0, 1, 2]


def test_no_tokens_give_no_logits():
    fitted = fit_tokens(Method.KNN, STORED, LABELS)
    assert token_head(head_of(Method.KNN, fitted.tensors, fitted.settings)).logits(torch.zeros(0, 24)).shape == (0, 3)


class TestStratified:
    def test_rare_classes_are_kept_whole_and_common_ones_share_the_rest(self):
        targets = np.repeat([0, 1, 2], [1000, 40, 500])
        kept = stratified(targets, Goal(Kind.CLASSES, 3), 240, seed=0)
        assert np.bincount(targets[kept]).tolist() == [100, 40, 100]
        assert (np.diff(kept) > 0).all()

    def test_the_seed_decides_and_nothing_else(self):
        targets = np.repeat([0, 1], [300, 300])
        goal = Goal(Kind.CLASSES, 2)
        first, again, other = (stratified(targets, goal, 50, seed) for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()

    def test_numbers_are_drawn_evenly_and_few_samples_all_stay(self):
        assert len(stratified(np.linspace(0, 1, 100), NUMBER, 10, seed=0)) == 10
        assert stratified(np.linspace(0, 1, 7), NUMBER, 10, seed=0).tolist() == list(range(7))
