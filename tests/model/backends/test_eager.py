"""PyTorch's own way, and its 8-bit products."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.model.backends import quantised as module
from dofa_cli.model.backends.eager import EagerBackend
from dofa_cli.model.backends.quantised import Int8Linear, can_quantise, quantised
from dofa_cli.model.backends.ranges import Step, measure_ranges
from dofa_cli.model.device import Precision
from dofa_cli.model.linears import fold_for_inference, for_inference
from tests.model.backends.networks import CPU, RGB, cosine, folded, network, pixels

needs_products = pytest.mark.skipif(not can_quantise(), reason="this PyTorch has no 8-bit oneDNN products")
LEAST = {Precision.FLOAT32: 1 - 1e-6, Precision.BFLOAT16: 0.999}


def backend(model, precision):
    ready = for_inference(model, CPU, precision.dtype)
    return EagerBackend(fold_for_inference(ready, RGB, CPU, precision.dtype), CPU, precision)


def int8(model, ranges):
    made = fold_for_inference(quantised(model, ranges), RGB, CPU, torch.bfloat16)
    return EagerBackend(made, CPU, Precision.INT8)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("precision", list(LEAST))
def test_tokens_are_those_of_float32(version, precision):
    model, x = network(version), pixels()
    with torch.no_grad():
        wanted = folded(model)(x).patches
    found = backend(model, precision).patches(x)
    assert (found.dtype, found.shape) == (torch.float32, wanted.shape)
    assert cosine(found, wanted) > LEAST[precision]


@needs_products
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_an_8_bit_layer_is_the_layer_to_the_size_of_a_step(activation):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(96, 40).requires_grad_(False), torch.randn(2, 7, 96)
    wanted = layer(x) if activation == "none" else torch.nn.functional.gelu(layer(x))
    found = Int8Linear(layer, Step(float(x.min()), float(x.max())), activation)(x)
    assert found.dtype is torch.bfloat16
    assert float((found.float() - wanted).abs().max()) < 0.03 * float(wanted.abs().max())


@needs_products
def test_what_lies_beyond_the_range_is_cut_off_and_does_not_wrap():
    layer = torch.nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.fill_(0)
        found = Int8Linear(layer, Step(-1.0, 1.0))(torch.tensor([[-9.0], [9.0]]))
    torch.testing.assert_close(found.float(), torch.tensor([[-1.0], [1.0]]), rtol=0, atol=0.02)


@needs_products
@pytest.mark.parametrize("far", [1.0, 50.0])
def test_8_bit_tokens_point_where_float32_points_even_if_a_channel_reaches_far(far):
    model, x = network(far=far), pixels()
    with torch.no_grad():
        wanted = folded(model)(x).patches
    found = int8(model, measure_ranges(folded(model), [pixels(8, seed=3)])).patches(x)
    assert found.dtype is torch.float32
    assert cosine(found, wanted) > 0.99


@needs_products
def test_8_bit_windows_do_not_depend_on_their_neighbours():
    model, x = network(), pixels()
    made = int8(model, measure_ranges(folded(model), [x]))
    other = torch.cat([x[:1], pixels(3, seed=5)])
    assert torch.equal(made.patches(x)[:1], made.patches(other)[:1])


@needs_products
def test_the_network_itself_stays_as_it_is():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    int8(model, measure_ranges(folded(model), [pixels()]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_pytorch_without_the_products_is_recognised(monkeypatch):
    monkeypatch.setattr(module.torch.backends.mkldnn, "is_available", lambda: False)
    assert not can_quantise()
