"""Losses and scores against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from dofa_cli.errors import OptionError
from dofa_cli.heads.goal import LARGEST_WEIGHT, NUMBER, Goal, Kind, class_weights
from dofa_cli.heads.losses import Objective, Tally

THREE = Goal(Kind.CLASSES, 3)


def test_unlabelled_pixels_do_not_count():
    logits = torch.randn(2, 3, 4, 4)
    target = torch.randint(0, 3, (2, 4, 4))
    target[0] = -1
    assert Objective(THREE)(logits, target).isclose(F.cross_entropy(logits[1:], target[1:]))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_a_batch_without_labels_costs_nothing(weights, dice):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = Objective(THREE, weights, dice)(logits, torch.full((2, 4, 4), -1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(logits.grad.abs().max()) == 0


def test_class_weights_weigh_as_in_torch():
    logits, target, weights = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0]), torch.tensor([1.0, 5.0, 0.5])
    assert Objective(THREE, weights)(logits, target).isclose(F.cross_entropy(logits, target, weights))


def test_overlap_of_perfect_answers_costs_nothing():
    target = torch.tensor([[[0, 1], [2, -1]]])
    perfect = 100 * F.one_hot(target.clamp(min=0), 3).movedim(-1, 1).float()
    assert float(Objective(THREE, dice=1.0)(perfect, target)) == pytest.approx(0, abs=1e-5)
    assert float(Objective(THREE, dice=1.0)(-perfect, target)) > 1


def test_numbers_that_are_missing_do_not_count():
    logits, target = torch.tensor([[0.5], [9.0], [3.0]]), torch.tensor([0.0, math.nan, 0.0])
    assert float(Objective(NUMBER)(logits, target)) == pytest.approx((0.5 * 0.25 + 2.5) / 2)


def test_several_classes_have_a_soft_margin():
    logits, target = torch.zeros(2, 4), torch.ones(2, 4)
    assert float(Objective(Goal(Kind.SEVERAL, 4))(logits, target)) == pytest.approx(math.log(2))


def test_the_score_of_windows_is_the_mean_iou_over_all_batches():
    tally = Tally(Objective(THREE))
    truth = torch.tensor([[[0, 0, 1, -1]], [[1, 1, 0, 0]]])
    said = torch.tensor([[[0, 1, 1, 2]], [[1, 0, 0, 0]]])
    for row in range(2):
        tally.add(10 * F.one_hot(said[row : row + 1], 3).movedim(-1, 1).float(), truth[row : row + 1])
    assert tally.score == pytest.approx((3 / 5 + 2 / 4) / 2)  # class 2 is nowhere in the truth
    assert tally.count == 7


def test_the_score_of_images_is_the_share_of_right_answers():
    tally = Tally(Objective(THREE))
    tally.add(torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 0, 2]))
    assert tally.score == 0.75


def test_the_score_of_numbers_is_their_negative_loss():
    tally = Tally(Objective(NUMBER))
    tally.add(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, math.nan]))
    tally.add(torch.tensor([[2.0]]), torch.tensor([0.0]))
    assert tally.loss == pytest.approx(0.75)
    assert tally.score == -tally.loss


def test_balanced_weights_make_classes_count_the_same():
    counts = torch.tensor([80, 20, 0])
    found = class_weights("balanced", counts)
    assert found.tolist() == pytest.approx([0.625, 2.5, 1.0])
    assert float(found[0] * 80) == pytest.approx(float(found[1] * 20))
    assert float(class_weights("balanced", torch.tensor([10**6, 1])).max()) == LARGEST_WEIGHT
    assert class_weights("none", counts) is None
    with pytest.raises(OptionError, match="No class weights 'equal'"):
        class_weights("equal", counts)
