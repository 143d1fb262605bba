"""The transformer and DOFA as a whole: laws of attention, blocks, taps, pooling and sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dofa_cli.model import vit
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import Block, Dofa, attend, random_dofa, weighted_mean

V1 = DofaConfig(1, patch_size=4, embed_dim=24, depth=3, num_heads=3, image_size=16)
V2 = DofaConfig(2, patch_size=4, embed_dim=24, depth=3, num_heads=3, image_size=16)
RGB = (0.665, 0.56, 0.49)


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model() -> Dofa:
    return random_dofa(V1).eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestAttention:
    q, k, v = (noise(2, 3, 17, 8, seed=seed) for seed in range(3))

    def by_hand(self) -> torch.Tensor:
        q, k, v = (x.double() for x in (self.q, self.k, self.v))
        return torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1) @ v

    @pytest.mark.parametrize("plain", [True, False])
    def test_both_paths_on_a_cpu_compute_softmax_attention(self, monkeypatch, plain):
        monkeypatch.setattr(vit, "onednn_is_on", lambda: plain)
        torch.testing.assert_close(attend(self.q, self.k, self.v).double(), self.by_hand(), rtol=1e-5, atol=1e-6)

    def test_bfloat16_stays_near(self):
        found = attend(*(x.bfloat16() for x in (self.q, self.k, self.v)))
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), self.by_hand(), rtol=0.05, atol=0.02)

    @pytest.mark.parametrize(("longest", "plain"), [(17, True), (16, False)])
    def test_long_sequences_take_the_fused_kernel(self, monkeypatch, longest, plain):
        fused = []
        monkeypatch.setattr(vit, "onednn_is_on", lambda: True)
        monkeypatch.setattr(vit, "MOST_PLAIN_TOKENS", longest)
        monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *qkv: fused.append(qkv) or qkv[2])
        attend(self.q, self.k, self.v)
        assert bool(fused) is not plain


class TestBlock:
    def test_branches_are_normed_before_and_added(self):
        block = random_dofa(V1).blocks[0]
        x = noise(2, 5, 24)
        middle = x + block.attn(F.layer_norm(x, (24,), eps=1e-6))
        hidden = F.gelu(block.mlp.fc1(F.layer_norm(middle, (24,), eps=1e-6)), approximate="none")
        torch.testing.assert_close(block(x), middle + block.mlp.fc2(hidden))

    def test_a_zero_layer_scale_leaves_the_identity(self):
        block = Block(V2)
        for scale in (block.ls1, block.ls2):
            torch.nn.init.zeros_(scale.gamma)
        x = noise(2, 5, 24)
        assert torch.equal(block(x), x)

    def test_version_1_has_no_layer_scale(self):
        assert not any("gamma" in name for name, _ in Block(V1).named_parameters())


class TestForward:
    @pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
    @pytest.mark.parametrize(("height", "width"), [(16, 16), (4, 4), (20, 12), (8, 40)])
    def test_any_multiple_of_the_patch_works(self, config, height, width):
        tokens = random_dofa(config)(noise(2, 3, height, width), RGB)
        cells = (height // 4) * (width // 4)
        assert tokens.grid == (height // 4, width // 4)
        assert tokens.patches.shape == (2, cells, 24)
        assert tokens.cls.shape == (2, 24)
        assert bool(tokens.patches.isfinite().all())

    def test_windows_of_a_batch_do_not_meet(self, model):
        x = noise(3, 3, 16, 16)
        together, alone = model(x, RGB), model(x[1:2], RGB)
        torch.testing.assert_close(together.patches[1:2], alone.patches, rtol=1e-5, atol=1e-6)

    def test_bands_may_be_permuted_together_with_their_wavelengths(self, model):
        x = noise(1, 3, 16, 16)
        turned = model(x.flip(1), RGB[::-1])
        torch.testing.assert_close(turned.patches, model(x, RGB).patches, rtol=1e-4, atol=1e-5)

    def test_tokens_stand_in_row_major_order(self):
        model = random_dofa(V1)
        model.blocks = torch.nn.ModuleList()
        model.pos_embed.zero_()
        patches = noise(1, 24, 2, 3)
        tokens = model.encode(patches).patches
        for row in range(2):
            for col in range(3):
                assert torch.equal(tokens[0, row * 3 + col], patches[0, :, row, col])

    def test_class_token_comes_first_with_its_own_position(self, model):
        patches = noise(2, 16, 24)
        x = model.with_positions(patches, (4, 4))
        assert torch.equal(x[:, 0], (model.cls_token + model.pos_embed[:, :1])[:, 0].expand(2, -1))
        assert torch.equal(x[:, 1:], patches + model.pos_embed[:, 1:])


class TestTaps:
    def test_the_last_tap_is_the_output(self, model):
        tokens = model(noise(1, 3, 16, 16), RGB, taps=(2,))
        assert torch.equal(tokens.taps[0], tokens.patches)

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_tap_is_what_a_network_cut_after_that_block_gives(self, model, number):
        x = noise(1, 3, 16, 16)
        cut = random_dofa(V1).eval()
        cut.blocks = cut.blocks[: number + 1]
        assert torch.equal(model(x, RGB, taps=(number,)).taps[0], cut(x, RGB).patches)

    def test_taps_come_in_the_order_of_the_blocks(self, model):
        x = noise(1, 3, 16, 16)
        first, second = model(x, RGB, taps=(0, 1)).taps
        assert torch.equal(first, model(x, RGB, taps=(0,)).taps[0])
        assert not torch.equal(first, second)

    def test_none_are_kept_unasked(self, model):
        assert model(noise(1, 3, 16, 16), RGB).taps == ()


class TestPooling:
    tokens = noise(2, 6, 24)

    def test_without_weights_it_is_the_mean(self):
        assert torch.equal(weighted_mean(self.tokens, None), self.tokens.mean(dim=1))

    def test_equal_weights_change_nothing(self):
        weighted = weighted_mean(self.tokens, torch.full((2, 6), 0.3))
        torch.testing.assert_close(weighted, self.tokens.mean(dim=1))

    def test_cells_without_weight_are_left_out(self):
        weight = torch.tensor([[1.0, 0, 1, 0, 1, 0]]).expand(2, 6)
        torch.testing.assert_close(weighted_mean(self.tokens, weight), self.tokens[:, ::2].mean(dim=1))

    def test_weights_are_proportions(self):
        weight = torch.tensor([[3.0, 1, 0, 0, 0, 0]]).expand(2, 6)
        expected = 0.75 * self.tokens[:, 0] + 0.25 * self.tokens[:, 1]
        torch.testing.assert_close(weighted_mean(self.tokens, weight), expected)

    def test_a_window_without_valid_cells_has_no_vector(self):
        weight = torch.stack([torch.zeros(6), torch.ones(6)])
        assert weighted_mean(self.tokens, weight).isnan().all(dim=1).tolist() == [True, False]

    @pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
    def test_version_1_norms_the_mean_and_version_2_averages_the_normed(self, config):
        model = random_dofa(config)
        for norm in (model.norm, model.fc_norm):
            norm.weight.copy_(noise(24, seed=3))
            norm.bias.copy_(noise(24, seed=4))
        pooled = model.pool(self.tokens)
        gain, shift = noise(24, seed=3), noise(24, seed=4)
        if config.version == 1:
            expected = F.layer_norm(self.tokens.mean(dim=1), (24,), gain, shift, eps=1e-6)
        else:
            expected = F.layer_norm(self.tokens, (24,), gain, shift, eps=1e-6).mean(dim=1)
        torch.testing.assert_close(pooled, expected)


class TestFolding:
    def test_the_transformer_is_shared_and_the_kernel_constant(self, model):
        folded = model.fold(RGB)
        assert folded.model is model
        assert not folded.embed.get_buffer("kernel").requires_grad
        assert folded.embed.get_buffer("kernel").shape == (24, 3, 4, 4)

    def test_folding_keeps_taps(self, model):
        x = noise(1, 3, 16, 16)
        torch.testing.assert_close(model.fold(RGB)(x, (1,)).taps[0], model(x, RGB, (1,)).taps[0])


class TestRandomNetworks:
    def test_the_seed_decides(self):
        first, again, other = (random_dofa(V1, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["cls_token"], other["cls_token"])

    def test_the_global_generator_is_left_alone(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        random_dofa(V1)
        assert torch.equal(torch.rand(1), expected)

    def test_tokens_positions_and_biases_start_as_published(self):
        state = random_dofa(V1).state_dict()
        assert float(state["pos_embed"].std()) == pytest.approx(0.02, rel=0.1)
        assert float(state["patch_embed.weight_generator.weight_tokens"].std()) == pytest.approx(0.02, rel=0.1)
        assert bool((state["patch_embed.weight_generator.fc_weight.bias"] == 0.01).all())
        assert bool((state["patch_embed.fclayer.w1.bias"] == 0.01).all())
        assert not state["blocks.0.attn.qkv.bias"].any()
        assert bool((state["norm.weight"] == 1).all())

    def test_positions_are_not_trained(self):
        assert not random_dofa(V1).pos_embed.requires_grad
