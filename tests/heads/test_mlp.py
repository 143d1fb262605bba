"""The perceptron learns what a line cannot separate, the same way each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dofa_cli.errors import Diverged
from dofa_cli.heads.build import token_head
from dofa_cli.heads.fit import fit_tokens
from dofa_cli.heads.head import Method
from dofa_cli.heads.linear import Scaler
from dofa_cli.heads.mlp import Perceptron
from tests.heads.cases import CLASSES, head_of, number_head

QUICK = {"hidden": 32, "epochs": 40, "batch": 64, "lr": 1e-2}


def exclusive_or(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features whose class is whether two signs differ; class 1 of three is empty."""
    features = np.random.default_rng(seed).normal(size=(number, 24)).astype(np.float32)
    return 5 * features + 3, 2 * (features[:, 0] * features[:, 1] > 0).astype(np.int64)


def test_it_learns_what_no_line_separates():
    fitted = fit_tokens(
        Method.MLP, *exclusive_or(1500), classes=3, settings=QUICK, validation=exclusive_or(300, seed=1)
    )
    features, targets = exclusive_or(500, seed=2)
    head = token_head(head_of(Method.MLP, fitted.tensors, fitted.settings))
    found = head.logits(torch.from_numpy(features)).argmax(dim=1).numpy()
    assert (found == targets).mean() > 0.8
    assert fitted.settings["trained_epochs"] <= QUICK["epochs"]


def test_the_same_seed_gives_the_same_tensors_and_leaves_chance_alone():
    short = QUICK | {"epochs": 2}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    runs = [fit_tokens(Method.MLP, *exclusive_or(200), classes=3, settings=short, seed=seed) for seed in (1, 1, 2)]
    assert torch.rand(3).equal(expected)
    first, again, other = (run.tensors for run in runs)
    assert all(tensor.equal(again[name]) for name, tensor in first.items())
    assert not first["fc1.weight"].equal(other["fc1.weight"])


def test_the_scaler_is_folded_into_the_first_layer():
    features, _ = exclusive_or(50)
    scaler, network = Scaler.of(features), Perceptron(24, 8, 3)
    folded = Perceptron(24, 8, 3)
    folded.load_state_dict(network.tensors(scaler))
    np.testing.assert_allclose(
        folded(torch.from_numpy(features)).detach().numpy(),
        network(torch.from_numpy(scaler(features))).detach().numpy(),
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["number", "several"])
def test_numbers_and_several_classes_are_learnt(kind):
    features, _ = exclusive_or(600)
    signs = np.sign(features - 3)
    number = kind == "number"
    targets = signs[:, 0] if number else (signs[:, : len(CLASSES)] > 0).astype(np.float32)
    fitted = fit_tokens(Method.MLP, features, targets, settings=QUICK)
    head = (
        number_head(Method.MLP, fitted.tensors, fitted.settings)
        if number
        else head_of(Method.MLP, fitted.tensors, fitted.settings, several=True)
    )
    found = token_head(head).logits(torch.from_numpy(features)).numpy()
    agree = np.sign(found[:, 0]) == signs[:, 0] if number else (found > 0) == (signs[:, : len(CLASSES)] > 0)
    assert agree.mean() > 0.9


def test_features_that_are_no_numbers_diverge():
    features, targets = exclusive_or(50)
    features[3, 3] = np.nan
    with pytest.raises(Diverged, match="NaN in the embeddings"):
        fit_tokens(Method.MLP, features, targets, settings=QUICK)
