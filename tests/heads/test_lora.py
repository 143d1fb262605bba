"""Adapters change nothing before training, and merged ones the same as unmerged ones."""

from __future__ import annotations

import torch

from dofa_cli.heads.encoders import changed_encoder, changed_tensors, sharing_copy, trainable_copy
from dofa_cli.heads.head import Method
from dofa_cli.heads.lora import Adapted
from dofa_cli.heads.settings import Training
from dofa_cli.model.vit import Dofa
from tests.heads.cases import WAVES, tiny

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TRAINING = Training(rank=3, alpha=6.0)


def trained(dofa: Dofa) -> Dofa:
    """Return adapters that are no longer 0."""
    model = trainable_copy(dofa, Method.LORA, TRAINING)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if name.endswith(".b"):
                one.normal_(std=0.3)
    return model


def test_untrained_adapters_give_exactly_the_frozen_encoder():
    dofa = tiny()
    model = trainable_copy(dofa, Method.LORA, TRAINING)
    assert model(PIXELS, WAVES).patches.equal(dofa(PIXELS, WAVES).patches)


def test_merged_adapters_equal_unmerged_ones():
    dofa = tiny()
    model = trained(dofa)
    tensors = changed_tensors(dofa, model, Method.LORA)
    merged = changed_encoder(dofa, tensors, TRAINING.plain())
    expected = model(PIXELS, WAVES).patches
    torch.testing.assert_close(merged(PIXELS, WAVES).patches, expected, atol=1e-5, rtol=1e-4)
    assert not any(isinstance(part, Adapted) for part in merged.modules())
    assert (expected - dofa(PIXELS, WAVES).patches).abs().max() > 0.1


def test_only_adapters_are_trained_and_kept():
    dofa = tiny()
    model = trained(dofa)
    names = {name for name, one in model.named_parameters() if one.requires_grad}
    assert all(name.endswith((".a", ".b")) for name in names)
    assert len(names) == len(changed_tensors(dofa, model, Method.LORA)) == 2 * 2 * dofa.config.depth


def test_the_encoder_itself_is_never_changed():
    dofa = tiny()
    before = {name: tensor.clone() for name, tensor in dofa.state_dict().items()}
    model = trained(dofa)
    changed_encoder(dofa, changed_tensors(dofa, model, Method.LORA), TRAINING.plain())
    assert all(tensor.equal(before[name]) for name, tensor in dofa.state_dict().items())
    assert sharing_copy(dofa).blocks[0].mlp.fc1.weight.data_ptr() == dofa.blocks[0].mlp.fc1.weight.data_ptr()
