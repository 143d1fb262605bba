"""Every form in which DOFA weights are found, and every way in which a file can be wrong."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dofa_cli.errors import DamagedWeights, UnsafeWeights, WrongWeights
from dofa_cli.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import random_dofa

DIM = 384  # a published width, so that the architecture can be read off the shapes
SMALL = {1: DofaConfig(1, 4, DIM, 1, 6, 16), 2: DofaConfig(2, 4, DIM, 1, 6, 16)}
TINY = {1: DofaConfig(1, 4, 24, 2, 3, 16), 2: DofaConfig(2, 4, 24, 2, 3, 16)}
NORMS = ("norm.", "fc_norm.")
StateDict = dict[str, Tensor]

# Half precision keeps the files small; every number below survives it.
ENCODERS = {
    version: {name: t.half() for name, t in random_dofa(config).state_dict().items() if not name.startswith(NORMS)}
    for version, config in SMALL.items()
}
PRETRAINING = {
    "mask_token": torch.zeros(1, 1, 512),
    "projector.weight": torch.zeros(8, 8),
    "projector.bias": torch.zeros(8),
}
DECODER = {
    "decoder_embed.weight": torch.zeros(8, 8),
    "decoder_pos_embed": torch.zeros(1, 17, 8),
    "decoder_blocks.0.norm1.weight": torch.zeros(8),
    "decoder_norm.bias": torch.zeros(8),
    "decoder_pred.weight_generator.bias_token": torch.zeros(1, 8),
    "teacher.blocks.0.norm1.weight": torch.zeros(8),
    "teacher.norm.weight": torch.zeros(8),
}
HEAD = {"head.weight": torch.zeros(45, 8), "head.bias": torch.zeros(45)}


def norm(name: str) -> StateDict:
    """A trained norm: neither ones nor zeros."""
    return {f"{name}.weight": torch.full((DIM,), 1.5), f"{name}.bias": torch.full((DIM,), 0.25)}


def published_v1() -> StateDict:
    return ENCODERS[1] | norm("norm") | PRETRAINING


def published_v2() -> StateDict:
    inner = {name: t for name, t in ENCODERS[2].items() if not name.startswith("patch_embed.")} | norm("norm")
    embed = {name: t for name, t in ENCODERS[2].items() if name.startswith("patch_embed.")}
    outer = {"norm.weight": torch.full((DIM,), 9.0), "norm.bias": torch.full((DIM,), 9.0)}
    return embed | {f"model.{name}": t for name, t in inner.items()} | outer


def full_pretraining() -> dict[str, Any]:
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    arguments = argparse.Namespace(mask_ratio=0.75, norm_pix_loss=True, output_dir="out")
    model = published_v1() | DECODER
    return {"model": model, "optimizer": optimizer, "scaler": {}, "epoch": 100, "args": arguments}


def saved(folder: Path, content: Any, name: str = "weights.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


class Touch:
    """Unpickled carelessly, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def holds(found: Checkpoint, expected: StateDict) -> bool:
    state = found.model.state_dict()
    return all(torch.equal(state[name], tensor.float()) for name, tensor in expected.items())


class TestForms:
    @pytest.mark.parametrize(
        ("content", "version", "token_norm", "pooled_norm"),
        [
            pytest.param(published_v1(), 1, True, False, id="as published, version 1"),
            pytest.param(ENCODERS[1], 1, False, False, id="as torchgeo strips it"),
            pytest.param(ENCODERS[1] | norm("fc_norm") | HEAD, 1, False, True, id="with pooled norm and head"),
            pytest.param(published_v2(), 2, True, False, id="as published, version 2"),
            pytest.param(full_pretraining(), 1, True, False, id="all of pretraining"),
            pytest.param({"state_dict": published_v1()}, 1, True, False, id="wrapped as state_dict"),
        ],
    )
    def test_the_encoder_is_read_and_trained_norms_are_told_from_plain_ones(
        self, tmp_path, content, version, token_norm, pooled_norm
    ):
        found = load_checkpoint(saved(tmp_path, content))
        assert found.model.config == SMALL[version]
        assert holds(found, ENCODERS[version])
        assert (found.token_norm, found.pooled_norm, found.declared) == (token_norm, pooled_norm, False)
        for module, trained in ((found.model.norm, token_norm), (found.model.fc_norm, pooled_norm)):
            assert set(module.weight.tolist()) == {1.5 if trained else 1.0}
            assert set(module.bias.tolist()) == {0.25 if trained else 0.0}

    def test_legacy_files_that_are_no_zip(self, tmp_path):
        path = saved(tmp_path, published_v1(), _use_new_zipfile_serialization=False)
        assert not zipfile.is_zipfile(path)
        assert holds(load_checkpoint(path), ENCODERS[1])

    def test_own_files_in_half_precision(self, tmp_path):
        path = tmp_path / "own.safetensors"
        model = random_dofa(TINY[1])
        save_checkpoint(model, path, torch.float16)
        found = load_checkpoint(path)
        assert holds(found, {name: t.half() for name, t in model.state_dict().items()})
        assert all(parameter.dtype == torch.float32 for parameter in found.model.parameters())

    def test_own_files_are_readable_by_others(self, tmp_path):
        plain = tmp_path / "plain"
        plain.touch()
        save_checkpoint(random_dofa(TINY[1]), tmp_path / "own.safetensors")
        assert (tmp_path / "own.safetensors").stat().st_mode == plain.stat().st_mode

    def test_the_state_of_a_run_is_its_average_with_its_architecture(self, tmp_path):
        model, average = random_dofa(TINY[1], seed=0), random_dofa(TINY[1], seed=1)
        content = {"dofa_config": TINY[1].to_json(), "model": model.state_dict(), "average": average.state_dict()}
        found = load_checkpoint(saved(tmp_path, content))
        assert found.declared
        assert holds(found, average.state_dict())
        found = load_checkpoint(saved(tmp_path, content | {"average": None}))
        assert holds(found, model.state_dict())

    def test_safetensors_without_a_declared_architecture(self, tmp_path):
        save_file(published_v1(), tmp_path / "plain.safetensors")
        found = load_checkpoint(tmp_path / "plain.safetensors")
        assert found.model.config == SMALL[1]
        assert not found.declared

    def test_what_is_read_is_ready_for_inference(self, tmp_path):
        model = load_checkpoint(saved(tmp_path, published_v1())).model
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert bool(model(torch.zeros(1, 2, 16, 16), (0.665, 0.56)).patches.isfinite().all())


class TestRoundTrip:
    @pytest.mark.parametrize("version", [1, 2])
    def test_save_then_load_gives_the_same_network(self, tmp_path, version):
        model, path = random_dofa(TINY[version]), tmp_path / "own.safetensors"
        save_checkpoint(model, path)
        found = load_checkpoint(path)
        assert found.declared
        assert found.model.config == TINY[version]
        assert found.model.state_dict().keys() == model.state_dict().keys()
        assert holds(found, model.state_dict())

    @pytest.mark.parametrize(("version", "name"), [(1, "cls_token"), (2, "model.cls_token")])
    def test_files_hold_published_names(self, tmp_path, version, name):
        save_checkpoint(random_dofa(TINY[version]), tmp_path / "own.safetensors")
        names = load_file(tmp_path / "own.safetensors").keys()
        assert name in names
        assert "patch_embed.weight_generator.weight_tokens" in names


class TestKernelLayout:
    @pytest.mark.parametrize(("version", "ambiguous"), [(1, True), (2, False)])
    def test_published_shapes_of_version_1_alone_are_ambiguous(self, tmp_path, version, ambiguous):
        content = published_v1() if version == 1 else published_v2()
        assert load_checkpoint(saved(tmp_path, content)).layout_is_ambiguous is ambiguous

    def test_a_declared_architecture_settles_it(self, tmp_path):
        save_checkpoint(random_dofa(TINY[1]), tmp_path / "own.safetensors")
        assert not load_checkpoint(tmp_path / "own.safetensors").layout_is_ambiguous


class TestWrongFiles:
    def test_missing_names_are_named(self, tmp_path):
        state = {name: t for name, t in published_v1().items() if "attn.qkv" not in name}
        with pytest.raises(WrongWeights, match=r"weights\.pth.*blocks\.0\.attn\.qkv\.bias, blocks\.0\.attn\.qkv\.w"):
            load_checkpoint(saved(tmp_path, state))

    def test_unexpected_names_are_named(self, tmp_path):
        state = published_v1() | {"patch_embed.proj.weight": torch.zeros(1)}
        with pytest.raises(WrongWeights, match=r"weights\.pth.*patch_embed\.proj\.weight"):
            load_checkpoint(saved(tmp_path, state))

    def test_long_lists_of_names_are_cut(self, tmp_path):
        state = published_v1() | {f"extra{n}": torch.zeros(1) for n in range(9)}
        with pytest.raises(WrongWeights, match="extra0, extra1, extra2, extra3 and 5 more"):
            load_checkpoint(saved(tmp_path, state))

    def test_a_wrong_shape_is_named_with_both_shapes(self, tmp_path):
        state = published_v1() | {"blocks.0.mlp.fc1.bias": torch.zeros(7)}
        with pytest.raises(WrongWeights, match=r"blocks\.0\.mlp\.fc1\.bias has shape \(7,\).*\(1536,\)"):
            load_checkpoint(saved(tmp_path, state))

    @pytest.mark.parametrize("name", ["cls_token", "pos_embed", "patch_embed.weight_generator.fc_weight.weight"])
    @pytest.mark.parametrize("shape", [(), (1,), (DIM,), (2, 3, 4, 5)], ids=str)
    def test_shapes_that_no_architecture_has_are_refused(self, tmp_path, name, shape):
        with pytest.raises(WrongWeights):
            load_checkpoint(saved(tmp_path, ENCODERS[1] | {name: torch.zeros(shape)}))

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param({"conv1.weight": torch.zeros(1)}, id="another network"),
            pytest.param({}, id="nothing"),
            pytest.param(
                {name: t for name, t in ENCODERS[1].items() if not name.startswith("blocks.")}, id="no blocks"
            ),
        ],
    )
    def test_files_without_an_encoder_say_so(self, tmp_path, content):
        with pytest.raises(WrongWeights, match="not a DOFA encoder: it lacks"):
            load_checkpoint(saved(tmp_path, content))

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param([1, 2], id="list"),
            pytest.param(torch.zeros(3), id="tensor"),
            pytest.param({0: torch.zeros(1)}, id="numbered"),
            pytest.param({"weight_generator": {"a": torch.zeros(1)}, "fclayer": {}}, id="generator alone"),
            pytest.param({"epoch": 3}, id="no tensors"),
        ],
    )
    def test_what_is_no_state_dict_is_refused(self, tmp_path, content):
        with pytest.raises(WrongWeights, match="no DOFA state dict"):
            load_checkpoint(saved(tmp_path, content))

    def test_an_unpublished_width_needs_a_declared_architecture(self, tmp_path):
        with pytest.raises(WrongWeights, match=r"Width 24 .*dofa_config"):
            load_checkpoint(saved(tmp_path, random_dofa(TINY[1]).state_dict()))

    def test_unknown_fields_of_a_declared_architecture_are_named(self, tmp_path):
        text = '{"version": 1, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "registers": 4}'
        save_file(random_dofa(TINY[1]).state_dict(), tmp_path / "new.safetensors", metadata={"dofa_config": text})
        with pytest.raises(WrongWeights, match="registers"):
            load_checkpoint(tmp_path / "new.safetensors")


class TestDamagedFiles:
    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    @pytest.mark.parametrize("share", [0.0001, 0.2, 0.999])
    def test_truncated_torch_files(self, tmp_path, share, legacy):
        path = saved(tmp_path, ENCODERS[1], _use_new_zipfile_serialization=not legacy)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(DamagedWeights, match=r"weights\.pth is"):
            load_checkpoint(path)

    @pytest.mark.parametrize("share", [0, 0.0001, 0.5, 0.999])
    def test_truncated_safetensors(self, tmp_path, share):
        path = tmp_path / "own.safetensors"
        save_checkpoint(random_dofa(TINY[1]), path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(DamagedWeights, match=r"own\.safetensors is"):
            load_checkpoint(path)

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"hello, this is a note and not a network\n",
            b"<!DOCTYPE html><html><body>404 not found</body></html>",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 447669164\n",
            b'{"a": 1}',
            b"\x89PNG\r\n\x1a\n" + bytes(100),
            bytes(1000),
        ],
        ids=["empty", "text", "web page", "LFS pointer", "JSON", "picture", "zeros"],
    )
    def test_files_that_are_no_checkpoint(self, tmp_path, content, suffix):
        path = tmp_path / f"other{suffix}"
        path.write_bytes(content)
        with pytest.raises(DamagedWeights, match=rf"other\{suffix} is"):
            load_checkpoint(path)

    def test_a_zip_of_something_else(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
            archive.writestr("notes/readme.txt", "no network")
        with pytest.raises(DamagedWeights, match=r"other\.pth"):
            load_checkpoint(tmp_path / "other.pth")


class TestUnsafeFiles:
    @pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "old pickle"])
    def test_code_in_a_pickle_does_not_run(self, tmp_path, form):
        mark, path = tmp_path / "mark", tmp_path / "evil.pth"
        content = ENCODERS[1] | {"cls_token": Touch(mark)}
        if form.endswith("pickle"):
            path.write_bytes(pickle.dumps(Touch(mark), protocol=0 if form == "old pickle" else 4))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
        with pytest.raises(UnsafeWeights, match=r"evil\.pth.*not loaded"):
            load_checkpoint(path)
        assert not mark.exists()

    def test_whole_modules_are_refused(self, tmp_path):
        with pytest.raises(UnsafeWeights, match="safetensors"):
            load_checkpoint(saved(tmp_path, torch.nn.Linear(1, 1)))

    def test_only_the_namespace_itself_may_pass(self, tmp_path):
        content = {"model": ENCODERS[1], "args": argparse.Namespace(hook=Touch(tmp_path / "mark"))}
        with pytest.raises(UnsafeWeights):
            load_checkpoint(saved(tmp_path, content))
        assert not (tmp_path / "mark").exists()

    def test_the_permission_for_the_namespace_ends_with_the_load(self, tmp_path):
        load_checkpoint(saved(tmp_path, full_pretraining()))
        assert argparse.Namespace not in torch.serialization.get_safe_globals()
