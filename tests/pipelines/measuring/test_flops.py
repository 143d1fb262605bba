"""Operations by formula are those that PyTorch counts, of the network and of its bare products."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dofa_cli.model.config import PUBLISHED, DofaConfig
from dofa_cli.model.device import Precision
from dofa_cli.model.vit import random_dofa
from dofa_cli.pipelines.measuring.chain import Chain, chains
from dofa_cli.pipelines.measuring.flops import forward_products, window_flops
from dofa_cli.pipelines.measuring.products import actions, peak_rate, precisions_of, squares

CPU = torch.device("cpu")
CONFIGS = (
    DofaConfig(version=1, patch_size=16, embed_dim=24, depth=2, num_heads=3, image_size=64),
    DofaConfig(version=2, patch_size=14, embed_dim=64, depth=3, num_heads=2, image_size=56),
)


def attention_flops(q, k, v, *_, out_shape=None, **__):
    """Operations of the fused attention, which PyTorch does not count on a CPU."""
    return 2 * 2 * q[0] * q[1] * q[2] * q[3] * k[2]


FUSED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}


def counted(action):
    """Count operations of a call, after one that may do things once."""
    action()
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
        action()
    return counter.get_total_flops()


@pytest.mark.parametrize("config", CONFIGS, ids=["v1", "v2"])
@pytest.mark.parametrize(("bands", "windows", "cells"), [(3, 1, 4), (9, 2, 4), (2, 3, 6)])
def test_the_formula_is_what_the_network_does(config, bands, windows, cells):
    side = cells * config.patch_size
    wavelengths = torch.linspace(0.4, 2.2, bands)
    folded = random_dofa(config).eval().fold(wavelengths)
    pixels = torch.randn(windows, bands, side, side)
    with torch.no_grad():
        found = counted(lambda: folded(pixels))
    assert found == sum(product.flops for product in forward_products(config, bands, side, windows))
    assert found == windows * window_flops(config, bands, side)


@pytest.mark.parametrize("fused", [False, True])
def test_the_chain_has_the_operations_of_the_formula(fused):
    products = forward_products(CONFIGS[0], 5, 64, 2)
    chain = Chain(products, CPU, Precision.FLOAT32, fused=fused)
    assert counted(chain) == chain.flops == sum(product.flops for product in products)


def test_published_sizes_have_the_operations_that_are_known():
    assert window_flops(PUBLISHED["v1_base"], 9, 224) == pytest.approx(35.59e9, rel=0.002)


@pytest.mark.parametrize("precision", precisions_of(CPU))
def test_every_way_of_a_chain_computes(precision):
    for chain in chains(forward_products(CONFIGS[0], 3, 64, 1), CPU, precision):
        chain()
        with torch.inference_mode():
            assert all(step().isfinite().all() for step in chain.steps)


def test_every_way_of_a_product_gives_its_shape():
    for product in forward_products(CONFIGS[0], 3, 64, 2):
        shape = (product.rows, product.cols) if product.batch == 1 else (product.batch, product.rows, product.cols)
        with torch.inference_mode():
            assert {action().shape for action in actions(product, CPU, Precision.FLOAT32)} == {shape}


def test_a_peak_names_the_shape_that_reached_it():
    products = (*squares(CPU, (32, 48)), *forward_products(CONFIGS[0], 3, 64, 1))
    found = peak_rate(CPU, Precision.FLOAT32, products, budget=0.001)
    assert found.precision == "float32"
    assert found.tflops > 0
    assert found.shape in {product.shape for product in products}
