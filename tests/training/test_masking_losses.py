"""Masks and losses against counting and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.training.losses import distillation, masked_error, normalised, restored
from dofa_cli.training.masking import generator_of, random_masking


class TestMasking:
    @given(st.integers(1, 4), st.integers(2, 50), st.floats(0.01, 0.99), st.integers(0, 2**32))
    def test_every_patch_is_either_visible_or_hidden(self, samples, patches, ratio, seed):
        masking = random_masking(samples, patches, ratio, generator_of(seed))
        everything = torch.cat([masking.visible, masking.hidden], dim=1).sort(dim=1).values
        assert torch.equal(everything, torch.arange(patches).expand(samples, -1))
        assert masking.visible.shape[1] == min(max(int(patches * (1 - ratio)), 1), patches - 1)

    def test_the_published_ratio_leaves_49_of_196_patches(self):
        assert random_masking(1, 196, 0.75, generator_of(0)).visible.shape == (1, 49)

    def test_samples_have_masks_of_their_own(self):
        masking = random_masking(2, 196, 0.75, generator_of(0))
        assert set(masking.visible[0].tolist()) != set(masking.visible[1].tolist())

    def test_patches_are_hidden_equally_often(self):
        mask = random_masking(4000, 16, 0.75, generator_of(0)).mask
        assert (mask.mean(dim=0) - 0.75).abs().max() < 0.03

    def test_the_same_key_gives_the_same_masks_and_another_key_others(self):
        one, same, other = (random_masking(1, 64, 0.75, generator_of(7, step, 0)).hidden for step in (3, 3, 4))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


class TestTargets:
    patches = torch.tensor([[[1.0, 10.0, 3.0, 20.0, 5.0, 60.0]]])  # three pixels of two bands

    def test_a_patch_is_standardised_over_all_its_values(self):
        values = np.array([1, 10, 3, 20, 5, 60], np.float64)
        expected = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-6)
        np.testing.assert_allclose(normalised(self.patches)[0, 0], expected, rtol=1e-6)

    def test_or_each_band_by_itself(self):
        found = normalised(self.patches, bands=2)[0, 0].numpy()
        np.testing.assert_allclose(found[0::2], [-1, 0, 1], atol=1e-6)
        np.testing.assert_allclose(found[1::2], [-20 / 700**0.5, -10 / 700**0.5, 30 / 700**0.5], rtol=1e-6)

    def test_a_patch_of_one_colour_becomes_zeros(self):
        assert torch.equal(normalised(torch.full((1, 1, 8), 5.0)), torch.zeros(1, 1, 8))

    @pytest.mark.parametrize("bands", [1, 2])
    def test_restoring_undoes_standardising(self, bands):
        torch.testing.assert_close(restored(normalised(self.patches, bands), self.patches, bands), self.patches)


class TestError:
    predicted = torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[2.0, 2.0], [1.0, 1.0]]])
    target = torch.tensor([[[0.0, 0.0], [0.0, 2.0]], [[2.0, 2.0], [0.0, 0.0]]])

    def test_is_the_mean_square_over_patches(self):
        assert float(masked_error(self.predicted, self.target)) == pytest.approx((5 + 2 + 0 + 1) / 4)

    def test_counts_only_patches_that_count(self):
        counted = torch.tensor([[True, False], [False, True]])
        assert float(masked_error(self.predicted, self.target, counted)) == pytest.approx((5 + 1) / 2)

    def test_is_nothing_when_no_patch_counts(self):
        assert float(masked_error(self.predicted, self.target, torch.zeros(2, 2, dtype=torch.bool))) == 0


def test_distillation_is_the_negative_mean_cosine():
    student = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    teacher = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert float(distillation(student, teacher)) == pytest.approx(-(1 + 0.5**0.5) / 2)
