"""Faster linear layers give the same numbers and leave the model alone."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.model import linears
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.linears import PackedLinear, can_pack, fold_for_inference, for_inference
from dofa_cli.model.vit import random_dofa

CPU = torch.device("cpu")
TINY = DofaConfig(1, 4, 24, 2, 3, 16)
needs_packing = pytest.mark.skipif(not can_pack(), reason="this PyTorch has no packed oneDNN products")


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(96, 40)


@needs_packing
@pytest.mark.parametrize("rows", [1, 17, 788, 1000])
def test_a_packed_layer_gives_the_layers_result(layer, rows):
    x = torch.randn(2, rows, 96)
    with torch.inference_mode():
        torch.testing.assert_close(
            PackedLinear(layer.weight, layer.bias, torch.float32)(x), layer(x), rtol=1e-6, atol=1e-6
        )


@needs_packing
def test_a_joined_gelu_is_the_exact_one(layer):
    x = torch.randn(5, 96)
    with torch.inference_mode():
        found = PackedLinear(layer.weight, layer.bias, torch.float32, "gelu")(x)
        torch.testing.assert_close(found, torch.nn.functional.gelu(layer(x)), rtol=1e-5, atol=1e-5)


@needs_packing
def test_a_row_does_not_depend_on_its_neighbours(layer):
    packed, x = PackedLinear(layer.weight, layer.bias, torch.float32), torch.randn(788, 96)
    with torch.inference_mode():
        assert torch.equal(packed(x)[:197], packed(torch.cat([x[:197], torch.randn(591, 96)]))[:197])


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_tokens_stay_the_same_and_so_does_the_model(monkeypatch, packing, dtype, most):
    if not packing:
        monkeypatch.setattr(linears, "can_pack", lambda: False)
    model = random_dofa(TINY).eval().requires_grad_(False)
    pixels, um = torch.randn(2, 3, 16, 16), (0.66, 0.56, 0.49)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype is not torch.float32):
        found = for_inference(model, CPU, dtype)(pixels, um).patches.float()
    with torch.inference_mode():
        expected = model(pixels, um).patches
    assert (found - expected).abs().max() <= most * expected.abs().max()
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("most_bytes", [1, 48 * 2**20])
def test_a_packed_patch_embedding_is_the_convolution(monkeypatch, packing, most_bytes):
    monkeypatch.setattr(linears, "UNFOLDED_BYTES", most_bytes)
    if not packing:
        monkeypatch.setattr(linears, "can_pack", lambda: False)
    model = random_dofa(TINY).eval().requires_grad_(False)
    um, pixels = tuple(torch.linspace(0.42, 2.45, 202).tolist()), torch.randn(5, 202, 16, 24)
    with torch.inference_mode():
        found = fold_for_inference(model, um, CPU, torch.float32).embed(pixels)
        torch.testing.assert_close(found, model.fold(um).embed(pixels), rtol=1e-5, atol=1e-5)


def test_the_weight_generator_is_shared():
    model = random_dofa(TINY)
    assert for_inference(model, CPU, torch.bfloat16).patch_embed is model.patch_embed
