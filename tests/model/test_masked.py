"""Masked pretraining's network: laws of patches, masks and bands, and the published file's names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import WrongWeights
from dofa_cli.model.config import PUBLISHED, DofaConfig
from dofa_cli.model.masked import (
    DecoderConfig,
    MaskedDofa,
    Masking,
    grid_positions,
    hidden_patches,
    load_published,
    patchify,
    published_state,
    random_masked,
    unpatchify,
)
from dofa_cli.model.vit import Dofa

CONFIG = DofaConfig(1, patch_size=4, embed_dim=24, depth=2, num_heads=3, image_size=16)
DECODER = DecoderConfig(width=16, depth=2, num_heads=4)
WAVES = (0.665, 0.56, 0.49, 1.61)
SHAPES = json.loads((Path(__file__).parents[1] / "data" / "parity" / "state_dict_shapes.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model() -> MaskedDofa:
    return random_masked(CONFIG, DECODER, teacher_dim=10).eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def masking(n: int = 2, length: int = 16, hidden: int = 12, seed: int = 0) -> Masking:
    order = torch.rand(n, length, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    return Masking(order[:, hidden:], order[:, :hidden])


class TestPatches:
    @given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 5]))
    def test_cutting_and_laying_out_are_inverse(self, n, bands, rows, cols, patch):
        pixels = noise(n, bands, rows * patch, cols * patch)
        patches = patchify(pixels, patch)
        assert patches.shape == (n, rows * cols, patch * patch * bands)
        assert torch.equal(unpatchify(patches, patch, (rows, cols)), pixels)
        assert torch.equal(patchify(unpatchify(patches, patch, (rows, cols)), patch), patches)

    def test_a_patch_holds_row_then_column_then_band(self):
        pixels = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4)
        row, col, band = 1, 0, 1  # of patch 3, at pixel (3, 2)
        assert patchify(pixels, 2)[0, 3].reshape(2, 2, 2)[row, col, band] == pixels[0, band, 3, 2]

    def test_hidden_patches_are_those_that_the_mask_names(self):
        pixels, chosen = noise(2, 3, 16, 16), masking()
        found = hidden_patches(pixels, 4, chosen)
        assert torch.equal(found[1, 5], patchify(pixels, 4)[1, chosen.hidden[1, 5]])


def test_a_mask_is_one_for_each_hidden_patch():
    chosen = masking()
    assert chosen.mask.sum(dim=1).tolist() == [12, 12]
    assert chosen.mask.gather(1, chosen.visible).sum() == 0


def test_positions_are_sines_and_cosines_of_column_and_row():
    positions = grid_positions(3, 8)
    row, col = 2, 1
    expected = torch.tensor([1.0, 0.01, 1.0, 0.01])  # ω = 1 and 1/100
    angles = expected * torch.tensor([col, col, row, row])
    found = positions[0, 1 + row * 3 + col]
    torch.testing.assert_close(found[[0, 1, 4, 5]], angles.sin())
    torch.testing.assert_close(found[[2, 3, 6, 7]], angles.cos())
    assert positions[0, 0].abs().sum() == 0


class TestEncoding:
    def test_seeing_all_patches_is_the_encoder_itself(self, model):
        pixels = noise(2, 4, 16, 16)
        everything = torch.arange(16).expand(2, -1)
        tokens = model.encoder(pixels, WAVES)
        expected = model.encoder.norm(torch.cat([tokens.cls[:, None], tokens.patches], dim=1))
        torch.testing.assert_close(model.encode(pixels, torch.tensor(WAVES), everything), expected)

    def test_other_sizes_resample_positions_as_the_encoder_does(self, model):
        pixels = noise(1, 4, 24, 8)
        tokens = model.encoder(pixels, WAVES)
        everything = torch.arange(12)[None]
        found = model.encode(pixels, torch.tensor(WAVES), everything)[:, 1:]
        torch.testing.assert_close(found, model.encoder.norm(tokens.patches))

    def test_the_order_of_visible_patches_only_orders_the_tokens(self, model):
        pixels, chosen = noise(2, 4, 16, 16), masking()
        found = model.encode(pixels, torch.tensor(WAVES), chosen.visible)
        turned = model.encode(pixels, torch.tensor(WAVES), chosen.visible.flip(1))
        torch.testing.assert_close(turned[:, 1:].flip(1), found[:, 1:])

    def test_the_feature_is_the_mean_token_before_the_last_block(self, model):
        pixels = noise(2, 4, 16, 16)
        captured = []
        hook = model.blocks[0].register_forward_hook(lambda *call: captured.append(call[-1]))
        model.encoder(pixels, WAVES)
        hook.remove()
        torch.testing.assert_close(model.feature(pixels, WAVES), captured[0].mean(dim=1))

    def test_the_last_block_can_be_asked_for(self, model):
        pixels = noise(2, 4, 16, 16)
        tokens = model.encoder(pixels, WAVES)
        everything = torch.cat([tokens.cls[:, None], tokens.patches], dim=1)
        torch.testing.assert_close(model.feature(pixels, WAVES, block=-1), everything.mean(dim=1))


class TestPredictions:
    def test_one_vector_a_hidden_patch(self, model):
        assert model(noise(2, 4, 16, 16), WAVES, masking()).shape == (2, 12, 4 * 4 * 4)

    def test_what_is_hidden_plays_no_part(self, model):
        """But for each patch's last row and column, which its neighbours see: the published padding of one pixel."""
        pixels, chosen = noise(1, 4, 16, 16), masking(1)
        changed = pixels.clone()
        for number in chosen.hidden[0].tolist():
            row, col = 4 * (number // 4), 4 * (number % 4)
            changed[0, :, row : row + 3, col : col + 3] += 5
        torch.testing.assert_close(model(changed, WAVES, chosen), model(pixels, WAVES, chosen))

    def test_permuting_bands_with_their_wavelengths_permutes_predictions(self, model):
        pixels, order = noise(2, 4, 16, 16), [2, 0, 3, 1]
        straight = model(pixels, WAVES, masking()).view(2, 12, 4, 4, 4)
        turned = model(pixels[:, order], [WAVES[i] for i in order], masking()).view(2, 12, 4, 4, 4)
        torch.testing.assert_close(turned, straight[..., order], rtol=1e-4, atol=1e-6)

    def test_published_rows_break_that_law(self):
        """The published code generates (band, row, col) and compares with (row, col, band)."""
        published = random_masked(CONFIG, DecoderConfig(16, 2, 4, published_rows=True)).eval()
        ours = random_masked(CONFIG, DECODER).eval()
        pixels = noise(2, 4, 16, 16)
        by_pixel = ours(pixels, WAVES, masking()).view(2, 12, 16, 4)
        by_band = published(pixels, WAVES, masking()).view(2, 12, 4, 16)
        torch.testing.assert_close(by_band.transpose(2, 3), by_pixel)

    def test_mask_tokens_stand_where_the_published_shuffle_puts_them(self, model):
        tokens, chosen = noise(2, 5, 24), masking()
        x = model.decoder_embed(tokens)
        restore = torch.cat([chosen.visible, chosen.hidden], dim=1).argsort(dim=1)
        shuffled = torch.cat([x[:, 1:], model.mask_token.expand(2, 12, -1)], dim=1)
        full = shuffled.gather(1, restore[..., None].expand(-1, -1, 16))
        x = torch.cat([x[:, :1], full], dim=1) + model.decoder_pos_embed
        for block in model.decoder_blocks:
            x = block(x)
        everywhere = model.decoder_norm(x)[:, 1:]
        expected = everywhere.gather(1, chosen.hidden[..., None].expand(-1, -1, 16))
        torch.testing.assert_close(model.decode(tokens, chosen, (4, 4)), expected)


@pytest.fixture(scope="module")
def base() -> MaskedDofa:
    with torch.device("meta"):
        return MaskedDofa(Dofa(PUBLISHED["v1_base"]), DecoderConfig(published_rows=True), teacher_dim=768)


class TestPublishedFile:
    def test_numbers_of_parameters_are_the_published_ones(self, base):
        sizes = {name: tensor.numel() for name, tensor in published_state(base).items()}
        decoder = sum(n for name, n in sizes.items() if name.startswith(("decoder", "mask_token")))
        generator = sum(n for name, n in sizes.items() if name.startswith("decoder_pred."))
        projector = sum(n for name, n in sizes.items() if name.startswith("projector."))
        assert (decoder, generator, projector) == (43_299_072, 17_583_872, 590_592)
        assert sum(sizes.values()) - decoder - projector == 111_312_128

    def test_names_are_the_published_ones(self, base):
        state = {name: list(tensor.shape) for name, tensor in published_state(base).items()}
        encoder = {name: shape for name, shape in SHAPES["v1_base"].items() if not name.startswith(("fc_norm", "head"))}
        assert encoder.items() <= state.items()
        rest = {name.split(".")[0] for name in state.keys() - encoder.keys()}
        assert rest == {
            "mask_token",
            "norm",
            "projector",
            "decoder_embed",
            "decoder_pos_embed",
            "decoder_blocks",
            "decoder_norm",
            "decoder_pred",
        }
        assert state["decoder_pred.weight_generator.fc_weight.weight"] == [131_072, 128]
        assert state["decoder_blocks.7.attn.qkv.weight"] == [1536, 512]


class TestContinuing:
    def test_a_saved_network_predicts_the_same(self, model):
        other = random_masked(CONFIG, DECODER, teacher_dim=10, seed=1).eval()
        assert load_published(other, published_state(model)) == ()
        pixels = noise(2, 4, 16, 16)
        assert torch.equal(other(pixels, WAVES, masking()), model(pixels, WAVES, masking()))

    def test_an_encoder_alone_leaves_the_decoder_as_it_was(self, model):
        other = random_masked(CONFIG, DECODER, seed=1)
        before = other.mask_token.clone()
        state = {name: t for name, t in published_state(model).items() if not name.startswith(("decoder", "mask"))}
        assert set(load_published(other, state)) >= {"mask_token", "decoder_norm.weight"}
        assert torch.equal(other.mask_token, before)
        assert torch.equal(other.encoder.cls_token, model.encoder.cls_token)

    def test_teachers_and_heads_in_the_file_are_passed_over(self, model):
        extra = {"teacher.blocks.0.norm1.weight": torch.ones(3), "head.weight": torch.ones(45, 24)}
        assert load_published(random_masked(CONFIG, DECODER, 10), published_state(model) | extra) == ()

    def test_another_shape_is_refused_by_name(self, model):
        wrong = published_state(model) | {"mask_token": torch.zeros(1, 1, 8)}
        with pytest.raises(WrongWeights, match=r"mask_token has shape \(1, 1, 8\)"):
            load_published(random_masked(CONFIG, DECODER), wrong)

    def test_half_an_encoder_is_refused_by_name(self, model):
        state = {name: t for name, t in published_state(model).items() if not name.startswith("blocks.1.")}
        with pytest.raises(WrongWeights, match=r"blocks\.1\.attn"):
            load_published(random_masked(CONFIG, DECODER), state)


def test_the_same_seed_gives_the_same_network():
    one, same, other = (published_state(random_masked(CONFIG, DECODER, seed=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["mask_token"], other["mask_token"])


@pytest.mark.parametrize(
    ("shape", "named"), [((0, 1, 1), "width"), ((16, 1, 3), "heads"), ((18, 1, 3), "multiple of 4")]
)
def test_impossible_decoders_are_refused(shape, named):
    with pytest.raises(WrongWeights, match=named):
        DecoderConfig(*shape)
