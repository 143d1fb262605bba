"""Linear heads against scikit-learn's own pipeline, and laws that any of them keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dofa_cli.errors import OptionError, TooFewLabels
from dofa_cli.heads.build import token_head
from dofa_cli.heads.fit import Fitted, fit_tokens
from dofa_cli.heads.head import Method
from dofa_cli.heads.linear import NEVER, Scaler
from tests.heads.cases import head_of, number_head

DIM = 24
RNG = np.random.default_rng(0)
CENTRES = 4 * RNG.normal(size=(3, DIM))


def clouds(number: int, spread: float = 1.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return features around three centres, far from 0 and of uneven scale, and their classes."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, number)
    features = CENTRES[targets] + spread * rng.normal(size=(number, DIM))
    return (features * np.linspace(0.1, 30, DIM) + 50).astype(np.float32), targets


def logits(fitted: Fitted, features: np.ndarray) -> np.ndarray:
    """Compute by hand."""
    return features @ fitted.tensors["weight"].numpy().T + fitted.tensors["bias"].numpy()


def test_separable_classes_are_recovered():
    fitted = fit_tokens(Method.LINEAR, *clouds(200))
    features, targets = clouds(300, seed=2)
    assert (logits(fitted, features).argmax(axis=1) == targets).all()


def test_folding_the_scaler_equals_scikit_learns_pipeline():
    features, targets = clouds(400, spread=8)
    fitted = fit_tokens(Method.LINEAR, features, targets, settings={"c": 0.01})
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-8, max_iter=1000))
    oracle.fit(features.astype(np.float64), targets)
    found = token_head(head_of(Method.LINEAR, fitted.tensors))
    ours = found.probabilities(found.logits(torch.from_numpy(features))).numpy()
    assert np.abs(ours - oracle.predict_proba(features.astype(np.float64))).max() < 3e-3  # two optimisers' tolerance


def test_folded_weights_give_what_scaled_ones_give_to_1e_5():
    features, _ = clouds(100)
    scaler = Scaler.of(features)
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(5, DIM)), rng.normal(size=5)
    folded, moved = scaler.folded(weight, bias)
    exact = StandardScaler().fit_transform(features.astype(np.float64)) @ weight.T + bias
    np.testing.assert_allclose(features.astype(np.float64) @ folded.T + moved, exact, atol=1e-5)


def test_a_constant_feature_does_no_harm():
    features, targets = clouds(200)
    features[:, 3] = 7.25
    fitted = fit_tokens(Method.LINEAR, features, targets)
    assert all(tensor.isfinite().all() for tensor in fitted.tensors.values())
    assert (logits(fitted, features).argmax(axis=1) == targets).all()


def test_two_classes_get_a_row_each():
    features, targets = clouds(300)
    keep = targets < 2
    fitted = fit_tokens(Method.LINEAR, features[keep], targets[keep])
    assert fitted.tensors["weight"].shape == (2, DIM)
    assert (logits(fitted, features[keep]).argmax(axis=1) == targets[keep]).all()


def test_a_class_without_labels_is_never_predicted():
    features, targets = clouds(300)
    kept = targets != 1
    fitted = fit_tokens(Method.LINEAR, features[kept], targets[kept], classes=4)
    found = logits(fitted, features)
    assert found.shape[1] == 4
    assert set(found.argmax(axis=1)) == {0, 2}
    assert (found[:, [1, 3]] == NEVER).all()


def test_permuting_classes_permutes_outputs():
    features, targets = clouds(300, spread=6)
    order = np.array([2, 0, 1])
    plain, permuted = (fit_tokens(Method.LINEAR, features, t, settings={"c": 0.01}) for t in (targets, order[targets]))
    np.testing.assert_allclose(logits(permuted, features)[:, order], logits(plain, features), atol=0.05)


def test_validation_chooses_the_strength_and_noise_asks_for_little():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(60, DIM)).astype(np.float32)
    noisy = fit_tokens(
        Method.LINEAR,
        noise,
        rng.normal(size=60).astype(np.float32),
        validation=(rng.normal(size=(200, DIM)).astype(np.float32), rng.normal(size=200).astype(np.float32)),
    )
    clear = fit_tokens(Method.LINEAR, *clouds(200), validation=clouds(200, seed=9))
    assert noisy.settings["chosen_c"] == 1e-4
    assert clear.settings["chosen_c"] >= 1


def test_balanced_weights_find_more_of_a_rare_class():
    rng = np.random.default_rng(6)
    targets = (np.arange(1000) % 20 == 0).astype(np.int64)
    features = (rng.normal(size=(1000, DIM)) + 0.8 * targets[:, None] * (np.arange(DIM) < 3)).astype(np.float32)
    recall = {
        weights: (logits(fit_tokens(Method.LINEAR, features, targets, weights=weights), features).argmax(1) == 1)[
            targets == 1
        ].mean()
        for weights in ("none", "balanced")
    }
    assert recall["balanced"] > recall["none"] + 0.3


def test_numbers_are_ridge():
    features, _ = clouds(300)
    numbers = (features @ np.linspace(-1, 1, DIM) / 100).astype(np.float32)
    numbers = (numbers - numbers.mean()) / numbers.std()
    fitted = fit_tokens(Method.LINEAR, features, numbers, settings={"c": 0.1})
    oracle = make_pipeline(StandardScaler(), Ridge(alpha=10)).fit(features, numbers)
    found = token_head(number_head(Method.LINEAR, fitted.tensors)).logits(torch.from_numpy(features))
    np.testing.assert_allclose(found[:, 0].numpy(), oracle.predict(features), atol=1e-3)


def test_several_classes_are_told_apart_one_by_one():
    features, targets = clouds(400)
    several = np.stack([targets == 0, targets != 2, np.zeros(400), np.ones(400)], axis=1).astype(np.float32)
    fitted = fit_tokens(Method.LINEAR, features, several)
    found = logits(fitted, features) > 0
    assert (found == several.astype(bool)).all()


def test_one_class_alone_and_no_labels_are_refused():
    features, targets = clouds(50)
    for chosen in (targets == 1, targets == 7):
        with pytest.raises(TooFewLabels):
            fit_tokens(Method.LINEAR, features[chosen], targets[chosen])


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"cc": 1.0}, "Did you mean 'c'"), ({"c": "big"}, "must be like"), ({"c": []}, "must be like")],
)
def test_unknown_settings_are_named(settings, said):
    with pytest.raises(OptionError, match=said):
        fit_tokens(Method.LINEAR, *clouds(20), settings=settings)


def test_unknown_weights_are_named():
    with pytest.raises(OptionError, match=r"No class weights 'even'\. Use none or balanced"):
        fit_tokens(Method.LINEAR, *clouds(20), weights="even")
