"""Copies of encoders: what is trained, at which rate, and what of it is kept."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.heads.encoders import ENCODER, changed_encoder, changed_tensors, encoder_groups, trainable_copy
from dofa_cli.heads.head import Method
from dofa_cli.heads.settings import Training
from tests.heads.cases import WAVES, tiny

TRAINING = Training(encoder_lr=1.0, layer_decay=0.5)


def test_the_rate_halves_from_block_to_block():
    model = trainable_copy(tiny(), Method.FINETUNE, TRAINING)
    rates = {id(one): group["lr"] for group in encoder_groups(model, TRAINING) for one in group["params"]}
    assert rates[id(model.norm.weight)] == rates[id(model.fc_norm.weight)] == 1.0
    assert rates[id(model.blocks[1].mlp.fc1.weight)] == 1.0
    assert rates[id(model.blocks[0].mlp.fc1.bias)] == 0.5
    assert rates[id(model.cls_token)] == 0.25


def test_kernels_and_positions_stay_frozen_and_vectors_do_not_decay():
    model = trainable_copy(tiny(), Method.FINETUNE, TRAINING)
    groups = encoder_groups(model, TRAINING)
    found = {id(one) for group in groups for one in group["params"]}
    assert not any(id(one) in found for one in [*model.patch_embed.parameters(), model.pos_embed])
    assert {group["weight_decay"] > 0 for group in groups if group["params"][0].dim() <= 1} == {False}


def test_only_what_changed_is_kept_and_put_back():
    dofa = tiny()
    model = trainable_copy(dofa, Method.FINETUNE, TRAINING)
    with torch.no_grad():
        model.blocks[1].attn.qkv.weight += 0.5
    tensors = changed_tensors(dofa, model, Method.FINETUNE)
    assert set(tensors) == {f"{ENCODER}blocks.1.attn.qkv.weight"}
    pixels = torch.randn(1, 3, 32, 32)
    again = changed_encoder(dofa, tensors, {})
    assert again(pixels, WAVES).patches.equal(model(pixels, WAVES).patches)
    assert not again(pixels, WAVES).patches.equal(dofa(pixels, WAVES).patches)


def test_without_changes_the_encoder_itself_serves():
    dofa = tiny()
    assert changed_encoder(dofa, {"weight": torch.ones(2)}, {}) is dofa


@pytest.mark.parametrize("name", ["blocks.9.attn.qkv.weight", "blocks.0.attn.qkv.weight"])
def test_changes_that_do_not_fit_are_refused(name):
    with pytest.raises((KeyError, ValueError), match="blocks"):
        changed_encoder(tiny(), {f"{ENCODER}{name}": torch.ones(2, 2)}, {})
