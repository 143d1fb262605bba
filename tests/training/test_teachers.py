"""Teachers: installed, stored as programs, or DOFA itself; and what is wrong with those that cannot be used."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from dofa_cli.errors import DamagedWeights, OptionError, UntrustedWeights, WrongWeights
from dofa_cli.model.config import DofaConfig
from dofa_cli.training import teachers
from dofa_cli.training.proxies import RED_GREEN_BLUE
from dofa_cli.training.transplant import fit_generator, init_from_teacher, is_vision_transformer
from tests.made import tiny_weights


class Small(nn.Module):
    """Maps of eight features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x))


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("programs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Small(), torch.randn(2, 3, 16, 16)).save(str(folder / "script.pt"))
        free = {0: torch.export.Dim("n", min=1, max=4096)}
        exported = torch.export.export(Small(), (torch.randn(2, 3, 16, 16),), dynamic_shapes=(free,))
        torch.export.save(exported, folder / "exported.pt2")
    torch.save(Small().state_dict(), folder / "weights.pt")
    return {path.stem: path for path in folder.iterdir()}


class TestPrograms:
    @pytest.mark.parametrize("kind", ["script", "exported"])
    def test_give_the_mean_of_their_maps(self, programs, kind):
        teacher = teachers.program(programs[kind], trusted=True, side=16)
        found = teacher.feature(torch.randn(5, 3, 32, 32))
        assert (teacher.dim, found.shape, found.requires_grad) == (8, (5, 8), False)

    @pytest.mark.parametrize("kind", ["script", "exported"])
    def test_run_only_when_they_are_trusted(self, programs, kind):
        with pytest.raises(UntrustedWeights, match="--trust-teacher"):
            teachers.program(programs[kind], trusted=False)

    def test_are_told_from_weights(self, programs):
        assert {name: teachers.is_program(path) for name, path in programs.items()} == {
            "script": True,
            "exported": True,
            "weights": False,
        }

    def test_of_another_size_say_so(self, programs):
        with pytest.raises(OptionError, match=r"cannot take two images of 64 pixels.*side in \[distill\]"):
            teachers.program(programs["exported"], trusted=True)

    def test_that_are_damaged_say_so(self, programs, tmp_path):
        broken = tmp_path / "broken.pt2"
        broken.write_bytes(programs["exported"].read_bytes()[:500])
        with pytest.raises(DamagedWeights, match="cannot be loaded as a program"):
            teachers.program(broken, trusted=True)


class TestOutputs:
    @pytest.mark.parametrize("shape", [(2, 5), (2, 7, 5), (2, 5, 3, 4)])
    def test_become_one_vector_an_image(self, shape):
        assert teachers.vector(torch.ones(shape)).tolist() == [[1.0] * 5] * 2

    @pytest.mark.parametrize("output", [torch.ones(3), (torch.ones(2, 5),), {"x": 1}])
    def test_of_other_kinds_are_refused(self, output):
        with pytest.raises(OptionError, match="The teacher returns"):
            teachers.vector(output)


class TestEfficientNet:
    def test_gives_1280_features_that_tell_images_apart(self):
        pytest.importorskip("efficientnet_lite_pytorch", reason="the extra 'teacher' is not installed")
        teacher = teachers.efficientnet(side=64)
        pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        pixels[1] = pixels[1].cumsum(dim=2) / 5
        found = teacher.feature(pixels)
        assert found.shape == (2, 1280)
        assert torch.cosine_similarity(found[:1], found[1:]).item() < 0.9
        assert not any(parameter.requires_grad for parameter in teacher.module.parameters())

    def test_missing_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
        with pytest.raises(OptionError, match=r"dofa\[teacher\].*--distill none"):
            teachers.efficientnet()


class TestTimm:
    def test_missing_is_one_line(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(OptionError, match="pip install timm"):
            teachers.timm_network("timm:vit_tiny_patch16_224")

    def test_is_asked_by_name_for_features(self, monkeypatch):
        class Timm:
            @staticmethod
            def create_model(name, pretrained, num_classes):
                assert (name, pretrained, num_classes) == ("small", True, 0)
                network = Small()
                network.forward_features = network.forward
                return network

        monkeypatch.setitem(sys.modules, "timm", Timm)
        assert teachers.timm_network("timm:small").dim == 8

    def test_unknown_names_are_said(self, monkeypatch):
        class Timm:
            @staticmethod
            def create_model(*_, **__):
                raise RuntimeError("Unknown model (smal)")

        monkeypatch.setitem(sys.modules, "timm", Timm)
        with pytest.raises(OptionError, match=r"timm cannot give 'smal': Unknown model"):
            teachers.timm_network("timm:smal")


def test_dofa_teaches_with_its_mean_token_of_red_green_and_blue(tmp_path):
    teacher = teachers.dofa_teacher(tiny_weights(tmp_path / "tiny.safetensors"))
    pixels = torch.randn(2, 3, 64, 64)
    network = teacher.module
    expected = network.norm(network(pixels, RED_GREEN_BLUE).patches).mean(dim=1)
    torch.testing.assert_close(teacher.feature(pixels), expected)


class TestCentring:
    def test_takes_the_mean_of_its_samples_from_every_feature(self):
        plain = teachers.FrozenTeacher("mean", 3, nn.Identity(), lambda pixels: pixels.mean(dim=(2, 3)))
        samples = [torch.full((2, 3, 4, 4), 1.0), torch.full((4, 3, 4, 4), 3.0)]
        centred = plain.centred(iter(samples))
        assert centred.feature(samples[0]).tolist() == [[-1.0] * 3] * 2
        assert plain.feature(samples[0]).tolist() == [[1.0] * 3] * 2


class TestTransplant:
    CONFIG = DofaConfig(1, patch_size=4, embed_dim=24, depth=2, num_heads=3, image_size=16)

    def transformer(self, network) -> dict[str, torch.Tensor]:
        """A vision transformer under timm's names, of the student's shape."""
        generator = torch.Generator().manual_seed(5)
        own = network.encoder.state_dict()
        taken = ("blocks.", "cls_token", "pos_embed", "norm.")
        state = {
            name: torch.randn(tensor.shape, generator=generator)
            for name, tensor in own.items()
            if name.startswith(taken)
        }
        state["patch_embed.proj.weight"] = 0.05 * torch.randn(24, 3, 4, 4, generator=generator)
        state["patch_embed.proj.bias"] = 0.05 * torch.randn(24, generator=generator)
        return state

    def test_takes_blocks_positions_class_token_and_norm(self, network_of):
        network = network_of()
        state = self.transformer(network)
        assert is_vision_transformer(state)
        init_from_teacher(network, state)
        found = network.encoder.state_dict()
        assert all(torch.equal(found[name], state[name]) for name in state if "patch_embed" not in name)

    def test_another_shape_is_named(self, network_of):
        network = network_of()
        state = self.transformer(network) | {"pos_embed": torch.zeros(1, 5, 24)}
        with pytest.raises(WrongWeights, match=r"pos_embed is \(1, 5, 24\), the run wants \(1, 17, 24\)"):
            init_from_teacher(network, state)

    def test_the_generator_learns_to_write_the_transformers_kernel(self, network_of):
        network = network_of()
        state = self.transformer(network)
        errors = []
        left = fit_generator(
            network.encoder.patch_embed, state, steps=80, on_step=lambda _, error: errors.append(error)
        )
        assert left < 0.3 * errors[0]
        with torch.no_grad():
            kernel, _ = network.encoder.patch_embed.kernel(torch.tensor(RED_GREEN_BLUE))
        wanted = state["patch_embed.proj.weight"]
        assert float((kernel - wanted).square().mean() / wanted.square().mean()) < 0.5

    def test_a_kernel_of_another_patch_is_refused(self, network_of):
        network = network_of()
        state = self.transformer(network) | {"patch_embed.proj.weight": torch.zeros(24, 3, 8, 8)}
        with pytest.raises(WrongWeights, match=r"\(24, 3, 8, 8\), the run wants \(24, 3, 4, 4\)"):
            fit_generator(network.encoder.patch_embed, state)
