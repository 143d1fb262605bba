"""Ranges of inputs, and networks made to suit 8-bit numbers."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.model.backends.ranges import LEVELS, Ranges, Step, balanced, layers, measure_ranges, weight_scale
from tests.model.backends.networks import folded, network, pixels


def test_every_layer_of_every_block_has_a_range():
    model = network()
    found = measure_ranges(folded(model), [pixels()]).limits
    assert set(found) == {f"{block}.{layer}" for block in (0, 1) for layer in ("qkv", "proj", "fc1", "fc2")}
    assert {name: limits.shape[1] for name, limits in found.items() if name.startswith("0.")} == {
        "0.qkv": 48,
        "0.proj": 1,
        "0.fc1": 48,
        "0.fc2": 1,
    }


def test_ranges_are_those_of_the_layers_inputs():
    model, x = network(), pixels()
    found = measure_ranges(folded(model), [x]).limits["0.qkv"]
    seen = []
    hook = model.blocks[0].norm1.register_forward_hook(lambda *call: seen.append(call[2].flatten(0, 1)))
    with torch.no_grad():
        folded(model)(x)
    hook.remove()
    torch.testing.assert_close(found, torch.stack([seen[0].amin(dim=0), seen[0].amax(dim=0)]), rtol=1e-4, atol=1e-5)


def test_they_do_not_depend_on_how_windows_are_batched():
    model, x = network(), pixels(4)
    whole = measure_ranges(folded(model), [x]).limits
    apart = measure_ranges(folded(model), x.split(1)).limits
    for name, limits in whole.items():
        torch.testing.assert_close(apart[name], limits, rtol=1e-4, atol=1e-5)


def test_measuring_leaves_no_hook_behind():
    model = network()
    measure_ranges(folded(model), [pixels()])
    assert not any(layer._forward_pre_hooks for _, layer, _ in layers(model))


def test_ranges_travel_as_bytes():
    ranges = measure_ranges(folded(network()), [pixels()])
    again = Ranges(bytes(ranges.data))
    assert again == ranges
    assert hash(again) == hash(ranges)
    assert again.digest == ranges.digest


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 2.0), (-5.0, 0.0), (0.0, 0.0)])
def test_a_step_holds_both_ends_and_zero_exactly(low, high):
    step = Step(low, high)
    assert 0 <= step.zero <= LEVELS
    assert (0 - step.zero) * step.scale <= low + step.scale
    assert (LEVELS - step.zero) * step.scale >= high - step.scale


@pytest.mark.parametrize("version", [1, 2])
def test_balancing_changes_channels_and_not_tokens(version):
    model, x = network(version, far=50), pixels()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    made = balanced(model, measure_ranges(folded(model), [x]))
    with torch.no_grad():
        found, wanted = (folded(one)(x).patches for one in (made.model, model))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    reach = measure_ranges(folded(model), [x]).limits["0.qkv"].abs().max()
    assert max(-made.steps["0.qkv"].low, made.steps["0.qkv"].high) < reach / 3
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_weights_fill_their_eight_bits():
    weight = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
    scale = weight_scale(weight)
    assert float((weight[0] / scale[0]).abs().max()) == pytest.approx(127)
    assert scale[1] > 0
