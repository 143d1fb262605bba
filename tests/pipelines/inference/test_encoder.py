"""Weights opened under their policies, and the encoder made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from dofa_cli.errors import DeviceError, NoWeights, UnknownWeights, UntrustedWeights, WrongWeights
from dofa_cli.model.checkpoint import load_checkpoint, save_checkpoint
from dofa_cli.model.config import PUBLISHED, DofaConfig
from dofa_cli.model.device import Precision
from dofa_cli.model.vit import Dofa, random_dofa
from dofa_cli.pipelines.inference.encoder import Encoder, TokenNorm, Weights, about_default, open_weights
from dofa_cli.weights import checksum, manifest, store

RGB = (0.665, 0.56, 0.49)
TINY = {version: DofaConfig(version, 4, 24, 2, 3, 16) for version in (1, 2)}
SMALL = DofaConfig(1, patch_size=4, embed_dim=384, depth=1, num_heads=6, image_size=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep checksums and placed files of these tests out of the user's cache."""
    monkeypatch.setattr(checksum, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setenv("DOFA_WEIGHTS", str(tmp_path / "placed"))


def normed(config: DofaConfig) -> Dofa:
    """A random network whose norms are anything but plain."""
    model = random_dofa(config)
    for seed, norm in enumerate((model.norm, model.fc_norm)):
        torch.nn.init.normal_(norm.weight, 1.0, 0.3, generator=torch.Generator().manual_seed(seed))
        torch.nn.init.normal_(norm.bias, 0.0, 0.3, generator=torch.Generator().manual_seed(9 + seed))
    return model


@pytest.fixture
def own_file(tmp_path) -> Path:
    """A file that declares its architecture."""
    save_checkpoint(normed(TINY[1]), tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


@pytest.fixture
def undeclared_file(tmp_path, monkeypatch) -> Path:
    """A file without norms and of published shapes (those of a small network, which the test declares published)."""
    monkeypatch.setitem(PUBLISHED, "small", SMALL)
    state = {name: t for name, t in random_dofa(SMALL).state_dict().items() if not name.startswith(("norm.", "fc_"))}
    torch.save(state, tmp_path / "found.pth")
    return tmp_path / "found.pth"


def publish(monkeypatch, name: str, path: Path) -> None:
    """Make the manifest know the file by its checksum."""
    entry = next(iter(manifest.checkpoints().values()))
    known = entry.model_copy(update={"name": name, "file": path.name, "sha256": store.sha256(path), "size": None})
    for module in (manifest, store):
        monkeypatch.setattr(module, "checkpoints", lambda: {name: known})


class TestOpening:
    def test_none_named_are_those_that_come_with_the_program(self):
        weights = open_weights(None)
        assert weights.name == manifest.DEFAULT
        assert weights.checkpoint.token_norm
        assert "dofa weights download dofa-base" in about_default()

    def test_a_file_that_is_not_there(self):
        with pytest.raises(NoWeights, match=r"nowhere\.pth"):
            open_weights("nowhere.pth")

    def test_a_name_that_is_nearly_one(self):
        with pytest.raises(UnknownWeights, match="dofa-base"):
            open_weights("dofa-bas")

    def test_files_of_the_old_kernel_layout_are_refused_by_their_hash_even_if_trusted(
        self, undeclared_file, monkeypatch
    ):
        old = manifest.OldLayout(
            file="early.pth", sha256_prefix=store.sha256(undeclared_file)[:8], reason="from before August 2024"
        )
        monkeypatch.setattr(manifest, "old_layouts", lambda: (old,))
        with pytest.raises(WrongWeights, match=r"found\.pth is early\.pth, of the old kernel layout: from before"):
            open_weights(str(undeclared_file), trusted=True)

    def test_published_shapes_with_an_unknown_hash_need_trust(self, undeclared_file):
        with pytest.raises(UntrustedWeights, match=r"found\.pth.*same shapes.*--trust-weights"):
            open_weights(str(undeclared_file))
        assert open_weights(str(undeclared_file), trusted=True).name == "found.pth"

    def test_a_published_hash_is_trusted_and_gives_the_name(self, undeclared_file, monkeypatch):
        publish(monkeypatch, "dofa-small", undeclared_file)
        weights = open_weights(str(undeclared_file))
        assert weights.name == "dofa-small"
        assert weights.sha256 == store.sha256(undeclared_file)

    def test_a_file_that_declares_itself_needs_no_trust(self, own_file):
        weights = open_weights(str(own_file))
        assert (weights.name, weights.config) == ("own.safetensors", TINY[1])


class TestNormInUse:
    @pytest.mark.parametrize(
        ("file", "wanted", "said"),
        [
            ("own_file", TokenNorm.TRAINED, "trained"),
            ("own_file", TokenNorm.NONE, "none"),
            ("undeclared_file", TokenNorm.TRAINED, "plain"),
            ("undeclared_file", TokenNorm.NONE, "none"),
        ],
    )
    def test_it_says_what_tokens_go_through(self, request, file, wanted, said):
        path = request.getfixturevalue(file)
        assert open_weights(str(path), trusted=True).norm_in_use(wanted) == said


def weights_of(path: Path) -> Weights:
    return Weights(path.name, "0" * 64, load_checkpoint(path))


def encoder(path: Path, precision: Precision = Precision.FLOAT32, token_norm: TokenNorm = TokenNorm.TRAINED) -> Encoder:
    return Encoder(weights_of(path), RGB, device="cpu", precision=precision, token_norm=token_norm)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class TestTokens:
    def test_without_norm_they_are_the_published_output(self, own_file, pixels):
        expected = load_checkpoint(own_file).model(pixels, RGB).patches
        found = encoder(own_file, token_norm=TokenNorm.NONE).tokens(pixels)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

    def test_the_trained_norm_is_the_file_s(self, own_file, pixels):
        norm = load_checkpoint(own_file).model.norm
        raw = encoder(own_file, token_norm=TokenNorm.NONE).tokens(pixels)
        expected = F.layer_norm(raw, (24,), norm.weight, norm.bias, eps=1e-6)
        torch.testing.assert_close(encoder(own_file).tokens(pixels), expected, rtol=1e-5, atol=1e-5)

    def test_a_norm_that_the_file_lacks_is_plain_and_not_left_out(self, undeclared_file, pixels):
        found = encoder(undeclared_file).tokens(pixels)
        torch.testing.assert_close(found.mean(dim=-1), torch.zeros(2, 16), rtol=0, atol=1e-5)
        torch.testing.assert_close(found.std(dim=-1, correction=0), torch.ones(2, 16), rtol=0, atol=1e-3)

    def test_they_need_no_gradient_and_stand_in_float32(self, own_file, pixels):
        for precision in (Precision.FLOAT32, Precision.BFLOAT16):
            found = encoder(own_file, precision).tokens(pixels)
            assert (found.dtype, found.requires_grad, found.shape) == (torch.float32, False, (2, 16, 24))


class TestVectors:
    @pytest.mark.parametrize("version", [1, 2])
    def test_they_are_the_pooled_valid_cells(self, tmp_path, pixels, version):
        path = tmp_path / "own.safetensors"
        save_checkpoint(normed(TINY[version]), path)
        weight = torch.zeros(2, 16)
        weight[:, :5] = 1
        model = load_checkpoint(path).model
        expected = model.pool(model(pixels, RGB).patches[:, :5])
        torch.testing.assert_close(encoder(path).vectors(pixels, weight), expected, rtol=1e-5, atol=1e-5)


class TestPrecision:
    @pytest.mark.parametrize("version", [1, 2])
    def test_bfloat16_points_where_float32_points(self, tmp_path, pixels, version):
        path = tmp_path / "own.safetensors"
        save_checkpoint(normed(TINY[version]), path)
        full, lowered = encoder(path), encoder(path, Precision.BFLOAT16)
        tokens = F.cosine_similarity(full.tokens(pixels), lowered.tokens(pixels), dim=-1)
        weight = torch.ones(2, 16)
        vectors = F.cosine_similarity(full.vectors(pixels, weight), lowered.vectors(pixels, weight), dim=-1)
        assert float(tokens.min()) > 0.999
        assert float(vectors.min()) > 0.999

    def test_auto_on_a_cpu_is_float32(self, own_file):
        assert encoder(own_file, Precision.AUTO).precision is Precision.FLOAT32

    def test_float16_on_a_cpu_is_refused(self, own_file):
        with pytest.raises(DeviceError, match="float16"):
            encoder(own_file, Precision.FLOAT16)


def test_an_encoder_tells_patch_width_and_device(own_file):
    made = encoder(own_file)
    assert (made.patch_size, made.dim, made.device) == (4, 24, torch.device("cpu"))


def test_a_second_encoder_of_the_same_weights_keeps_float32(own_file):
    weights = open_weights(str(own_file))
    pixels = torch.randn(1, 3, 16, 16)
    before = Encoder(weights, RGB, device="cpu").tokens(pixels)
    Encoder(weights, RGB, device="cpu", precision=Precision.BFLOAT16).tokens(pixels)
    assert torch.equal(Encoder(weights, RGB, device="cpu").tokens(pixels), before)
