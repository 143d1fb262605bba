"""Our network against vectors of the published implementation (tests/data/parity has them and says what they are)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dofa_cli.model.checkpoint import load_checkpoint
from dofa_cli.model.config import PUBLISHED, DofaConfig
from dofa_cli.model.decoder import DynamicPrediction
from dofa_cli.model.vit import Dofa

DATA = Path(__file__).parents[1] / "data" / "parity"
PUBLISHED_SHAPES = json.loads((DATA / "state_dict_shapes.json").read_text())
V1_CASES = ("rgb", "s1", "s2", "hyper24")
V2_CASES = ("rgb", "s1")


def vectors(name: str, case: str) -> dict[str, torch.Tensor]:
    """The arrays of one case by what they hold, in float32."""
    stored = load_file(DATA / f"{name}_io.safetensors")
    return {key.split(".")[1]: tensor.float() for key, tensor in stored.items() if key.startswith(f"{case}.")}


def same(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def v1() -> Dofa:
    return load_checkpoint(DATA / "dofa_v1_tiny_weights.safetensors").model


@pytest.fixture(scope="module")
def v2() -> Dofa:
    return load_checkpoint(DATA / "dofa_v2_tiny_weights.safetensors").model


@pytest.mark.parametrize("case", V1_CASES)
class TestVersion1:
    def test_embedded_patches(self, v1, case):
        io = vectors("dofa_v1_tiny", case)
        found = v1.patch_embed(io["pixels"], io["wavelengths_um"])
        same(found.flatten(2).transpose(1, 2), io["patch_tokens"])

    def test_tokens_after_the_last_block(self, v1, case):
        io = vectors("dofa_v1_tiny", case)
        tokens = v1(io["pixels"], io["wavelengths_um"])
        same(torch.cat([tokens.cls[:, None], tokens.patches], dim=1), io["block_tokens"])

    def test_pooled_vector(self, v1, case):
        io = vectors("dofa_v1_tiny", case)
        same(v1.pool(v1(io["pixels"], io["wavelengths_um"]).patches), io["pooled"])

    def test_folding_the_wavelengths_changes_nothing(self, v1, case):
        io = vectors("dofa_v1_tiny", case)
        folded = v1.fold(io["wavelengths_um"])(io["pixels"])
        same(folded.patches, v1(io["pixels"], io["wavelengths_um"]).patches, 1e-6)


@pytest.mark.parametrize("case", ["s1", "s2"])
def test_generated_kernel_and_bias(v1, case):
    io = vectors("dofa_v1_tiny", case)
    kernel, bias = v1.patch_embed.kernel(io["wavelengths_um"])
    same(kernel[: len(io["kernel"])], io["kernel"])
    same(bias, io["bias"])


@pytest.mark.parametrize("case", V2_CASES)
class TestVersion2:
    def test_feature_maps_after_each_block(self, v2, case):
        io = vectors("dofa_v2_tiny", case)
        tokens = v2(io["pixels"], io["wavelengths_um"], taps=(0, 1))
        for number, tapped in enumerate(tokens.taps):
            same(tapped.transpose(1, 2).unflatten(2, tokens.grid), io[f"map_block{number}"])

    def test_folding_the_wavelengths_changes_nothing(self, v2, case):
        io = vectors("dofa_v2_tiny", case)
        folded = v2.fold(io["wavelengths_um"])(io["pixels"])
        same(folded.patches, v2(io["pixels"], io["wavelengths_um"]).patches, 1e-6)


@pytest.mark.parametrize("case", ["s1", "s2"])
def test_dynamic_prediction_layer(case):
    weights = {name: t.float() for name, t in load_file(DATA / "decoder_pred_weights.safetensors").items()}
    layer = DynamicPrediction(patch_size=16, decoder_dim=16).eval()
    layer.weight_generator.load_state_dict(weights)
    io = vectors("decoder_pred", case)
    same(layer(io["decoder_tokens"], io["wave_features"]), io["pred"])


def our_shapes(config: DofaConfig) -> dict[str, list[int]]:
    """Names and shapes under published names; the norm that a version does not publish left out."""
    with torch.device("meta"):
        state = Dofa(config).state_dict()
    unpublished, prefix = ("norm.", "") if config.version == 1 else ("fc_norm.", "model.")
    return {
        name if name.startswith("patch_embed.") else prefix + name: list(tensor.shape)
        for name, tensor in state.items()
        if not name.startswith(unpublished)
    }


@pytest.mark.parametrize("size", PUBLISHED_SHAPES)
class TestPublishedSizes:
    def test_every_tensor_has_its_published_name_and_shape(self, size):
        unused = "head." if PUBLISHED[size].version == 1 else "norm."
        published = {name: shape for name, shape in PUBLISHED_SHAPES[size].items() if not name.startswith(unused)}
        assert our_shapes(PUBLISHED[size]) == published

    def test_architecture_is_inferred_from_the_shapes(self, size):
        version = PUBLISHED[size].version
        shapes = {name.removeprefix("model."): tuple(shape) for name, shape in PUBLISHED_SHAPES[size].items()}
        assert DofaConfig.from_shapes(shapes, version) == PUBLISHED[size]


def test_every_published_size_is_known():
    assert PUBLISHED.keys() == PUBLISHED_SHAPES.keys()
