"""Decoders: shapes on any grid, symmetry in the classes, and no dependence on the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.heads.pyramid import FeaturePyramid, levels_of, tap_blocks
from dofa_cli.heads.settings import Training
from dofa_cli.heads.upernet import Auxiliary, Decoder, LinearDecoder, UPerNet, channels_of, new_decoder
from dofa_cli.model.config import PUBLISHED
from tests.heads.cases import CONFIG, WAVES, tiny

SIDES = st.integers(1, 9)


def decoder(kind: str, outputs: int = 3, **settings: object) -> Decoder:
    torch.manual_seed(0)
    plain = Training(decoder=kind, channels=8).plain() | settings
    return new_decoder(CONFIG, outputs, plain, bands=3).eval().requires_grad_(False)


def levels(number: int, rows: int, cols: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rows + 10 * cols)
    return [torch.randn(number, CONFIG.embed_dim, rows, cols, generator=generator) for _ in range(4)]


@given(SIDES, SIDES, st.sampled_from(["upernet", "linear"]), st.booleans())
def test_logits_have_four_by_four_sub_cells_a_cell_on_any_grid(rows, cols, kind, spectrum):
    made = decoder(kind, spectrum=spectrum)
    found = made(levels(2, rows, cols), torch.randn(2, 3, 8 * rows, 8 * cols))
    assert found.shape == (2, 3, made.detail * rows, made.detail * cols)
    assert found.isfinite().all()


def test_the_pyramid_scales_by_four_two_one_and_a_half():
    found = FeaturePyramid(24)(levels(1, 5, 7))
    assert [tuple(level.shape[2:]) for level in found] == [(20, 28), (10, 14), (5, 7), (3, 4)]


@pytest.mark.parametrize("kind", ["upernet", "linear"])
def test_permuting_classes_permutes_outputs(kind):
    made, order = decoder(kind), torch.tensor([2, 0, 1])
    pixels, maps = torch.randn(1, 3, 24, 24), levels(1, 3, 3)
    before = made(maps, pixels)
    rows = 1 if kind == "upernet" else made.detail**2  # the linear one has a row for each sub-cell of a class
    for one in (made.classify.weight, made.classify.bias):
        one.copy_(one.unflatten(0, (3, rows))[order].flatten(0, 1))
    torch.testing.assert_close(made(maps, pixels), before[:, order])


@pytest.mark.parametrize("kind", ["upernet", "linear"])
def test_a_window_does_not_depend_on_its_batch_even_in_training(kind):
    made = decoder(kind, dropout=0.0).train()
    pixels, maps = torch.randn(3, 3, 32, 32), levels(3, 4, 4)
    alone = made([level[:1] for level in maps], pixels[:1])
    torch.testing.assert_close(made(maps, pixels)[:1], alone, atol=1e-5, rtol=1e-4)


def test_only_a_spectral_decoder_sees_pixels():
    maps, pixels = levels(1, 4, 4), torch.randn(1, 3, 32, 32)
    blind, seeing = decoder("upernet"), decoder("upernet", spectrum=True)
    assert blind(maps, pixels).equal(blind(maps, pixels + 1))
    assert not seeing(maps, pixels).equal(seeing(maps, 2 * pixels + torch.randn(1, 3, 32, 32)))


def test_all_four_levels_matter():
    made, maps = decoder("upernet"), levels(1, 6, 6)
    pixels = torch.zeros(1, 3, 48, 48)
    before = made(maps, pixels)
    for changed in range(4):
        other = [level + (index == changed) * torch.randn_like(level) for index, level in enumerate(maps)]
        assert not torch.allclose(made(other, pixels), before, atol=1e-3)


def test_the_auxiliary_head_stays_on_the_grid_of_tokens():
    assert Auxiliary(CONFIG, 5, 8)(levels(2, 3, 4)).shape == (2, 5, 3, 4)


def test_taps_are_the_published_ones():
    taps = {name: tap_blocks(config.depth) for name, config in PUBLISHED.items()}
    assert taps["v1_base"] == taps["v2_base"] == (3, 5, 7, 11)
    assert taps["v1_large"] == (7, 11, 15, 23)
    assert taps["v1_huge"] == (7, 15, 23, 31)


@given(st.integers(1, 60))
def test_taps_ascend_to_the_last_block(depth):
    taps = tap_blocks(depth)
    assert len(taps) == 4
    assert list(taps) == sorted(taps)
    assert taps[0] >= 0
    assert taps[-1] == depth - 1


def test_levels_are_the_tapped_tokens_in_rows_and_columns():
    folded, pixels = tiny().fold(WAVES), torch.randn(2, 3, 24, 40)
    found = levels_of(folded, pixels, (0, 0, 1, 1))
    tokens = folded(pixels, taps=(0, 1))
    assert [tuple(level.shape) for level in found] == [(2, 24, 3, 5)] * 4
    assert found[0].equal(found[1])
    assert found[3][1, :, 2, 4].equal(tokens.patches[1, 2 * 5 + 4])
    assert found[0][0, :, 1, 3].equal(tokens.taps[0][0, 1 * 5 + 3])


def test_widths_follow_the_encoder_up_to_the_published_one():
    plain = Training().plain()
    widths = {name: channels_of(config, plain) for name, config in PUBLISHED.items()}
    assert widths["v1_small"] == 128
    assert {widths[name] for name in ("v1_base", "v1_large", "v1_huge")} == {512}
    assert channels_of(CONFIG, plain | {"channels": 40}) == 40
    assert isinstance(new_decoder(CONFIG, 2, plain, 3), UPerNet)
    assert isinstance(new_decoder(CONFIG, 2, plain | {"decoder": "linear"}, 3), LinearDecoder)


class TestMeasuring:
    def test_levels_come_out_with_mean_0_and_deviation_1(self):
        made = decoder("upernet")
        batches = [[50 + 3 * level for level in levels(2, rows, 5)] for rows in (3, 4)]
        made.measure(batches)
        found = [
            torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
            for parts in zip(*(made.standardised(batch) for batch in batches), strict=True)
        ]
        for level in found:
            torch.testing.assert_close(level.mean(dim=1), torch.zeros(24), atol=1e-4, rtol=0)
            torch.testing.assert_close(level.std(dim=1, correction=0), torch.ones(24), atol=1e-3, rtol=0)

    def test_what_all_tokens_share_makes_no_difference(self):
        maps, shared = levels(2, 4, 4), 100 * torch.randn(4, 1, 24, 1, 1)
        pixels = torch.zeros(2, 3, 32, 32)
        found = []
        for offset in (0 * shared, shared):
            made, moved = decoder("upernet"), [level + one for level, one in zip(maps, offset, strict=True)]
            made.measure([moved])
            found.append(made(made.standardised(moved), pixels))
        torch.testing.assert_close(found[0], found[1], atol=1e-2, rtol=1e-2)

    def test_a_channel_that_never_changes_stays_finite(self):
        made, maps = decoder("linear"), [torch.ones(1, 24, 3, 3)]
        made.measure([maps])
        assert made.standardised(maps)[0].isfinite().all()
