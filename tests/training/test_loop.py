"""Training: the loss falls, a run that was cut off goes on as if it had not been, and trouble is named."""

from __future__ import annotations

import errno
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
import torch

from dofa_cli.errors import DamagedWeights, Diverged, NoSpace
from dofa_cli.model.checkpoint import load_checkpoint
from dofa_cli.model.masked import published_state
from dofa_cli.training.config import Training
from dofa_cli.training.engine import OneProcess, open_engine, training_precision
from dofa_cli.training.loop import Learner, adamw, evaluate, new_learner, steps
from dofa_cli.training.losses import masked_error
from dofa_cli.training.objective import Objective
from dofa_cli.training.state import Progress, read_state, restore, save_state
from dofa_cli.training.stream import BatchStream
from dofa_cli.training.teachers import FrozenTeacher

FLOAT32 = Training(precision="float32", ema=0.9)


class Colour(torch.nn.Module):
    """A teacher that sees the mean of each band."""

    def forward(self, pixels):
        return pixels.mean(dim=(2, 3))


@pytest.fixture
def learner_of(network_of):
    def made(teacher=None, settings=FLOAT32, seed=0, **fields) -> Learner:
        network = network_of(teacher.dim if teacher else None)
        engine = OneProcess("cpu", settings.precision)
        return new_learner(Objective(network, -2, **fields), engine, teacher, settings, seed)

    return made


@pytest.fixture
def stream_of(source_of, schedule_of, rules):
    def made(**fields) -> BatchStream:
        radar = fields.pop("radar", 0.0)
        sources = (source_of(), source_of("radar", (3.75, 3.75)))
        return BatchStream(sources, schedule_of(rgb=1.0, radar=radar, **fields), rules, seed=0, parts=1)

    return made


def weights(learner: Learner) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in published_state(learner.network).values()]


class TestLearning:
    def test_the_loss_falls(self, learner_of, stream_of):
        losses = [step.loss for step in steps(learner_of(), stream_of(steps=36, lr=6e-3), 0)]
        assert losses[0] == pytest.approx(1, abs=0.15)
        assert sum(losses[-5:]) / 5 < 0.85

    def test_the_loss_of_each_band_by_itself_falls_too(self, learner_of, stream_of):
        losses = [step.loss for step in steps(learner_of(by_band=True), stream_of(steps=36, lr=6e-3), 0)]
        assert sum(losses[-5:]) / 5 < 0.95 * losses[0]

    def test_a_student_learns_what_its_teacher_sees(self, learner_of, stream_of):
        teacher = FrozenTeacher("colour", 3, Colour(), Colour())
        stream = stream_of(steps=30, distill=1.0)
        stream = BatchStream(stream.sources, stream.schedule, stream.rules.__class__(16, 4, proxies=1.0), 0)
        found = list(steps(learner_of(teacher), stream, 0))
        assert found[-1].distillation < found[0].distillation - 0.1
        assert found[-1].loss == pytest.approx(found[-1].reconstruction + found[-1].distillation, abs=1e-5)

    def test_several_sensors_share_the_network(self, learner_of, stream_of):
        found = [step.sources[0] for step in steps(learner_of(), stream_of(steps=12, radar=1.0), 0)]
        assert set(found) == {"rgb", "radar"}

    def test_images_that_are_measured_are_learned_too(self, learner_of, stream_of):
        learner, stream = learner_of(), stream_of(steps=30, lr=6e-3)
        before = evaluate(learner, stream.measured())
        list(steps(learner, stream, 0))
        after = evaluate(learner, stream.measured())
        assert set(after) == {"rgb", "radar"}
        assert after["rgb"] < 0.9 * before["rgb"]

    def test_measuring_changes_nothing_and_repeats(self, learner_of, stream_of):
        learner, measured = learner_of(), stream_of().measured()
        before = weights(learner)
        assert evaluate(learner, measured) == evaluate(learner, measured)
        assert all(torch.equal(*pair) for pair in zip(before, weights(learner), strict=True))

    def test_parts_of_a_step_add_up_to_a_larger_batch(self, learner_of, stream_of):
        """Two parts of 8 crops change the network as their mean loss does."""
        halves = learner_of(settings=Training(precision="float32", accumulate=2, weight_decay=0.0))
        stream = stream_of(steps=1)
        stream = BatchStream(stream.sources, stream.schedule, stream.rules, 0, parts=2)
        (step,) = steps(halves, stream, 0)
        assert (step.images, len(step.sources)) == (16, 2)

    def test_frozen_parameters_stay(self, stream_of, network_of):
        network = network_of()
        network.encoder.blocks.requires_grad_(False)
        before = network.encoder.blocks[0].attn.qkv.weight.clone()
        learner = new_learner(Objective(network, -2), OneProcess("cpu", "float32"), None, FLOAT32, 0)
        list(steps(learner, stream_of(steps=2), 0))
        assert torch.equal(network.encoder.blocks[0].attn.qkv.weight, before)

    def test_invalid_patches_do_not_count(self):
        predicted, target = torch.zeros(1, 2, 4), torch.tensor([[[1.0] * 4, [9.0] * 4]])
        assert float(masked_error(predicted, target, torch.tensor([[True, False]]))) == 1


class TestOptimiser:
    def test_vectors_do_not_decay(self, network_of):
        network = network_of()
        decayed, free = adamw(network, 0.05).param_groups
        assert (decayed["weight_decay"], free["weight_decay"], decayed["betas"]) == (0.05, 0.0, (0.9, 0.95))
        assert any(one is network.mask_token for one in decayed["params"])
        assert any(one is network.decoder_norm.weight for one in free["params"])
        assert all(one.dim() <= 1 for one in free["params"])

    def test_fixed_positions_are_not_trained(self, network_of):
        network = network_of()
        given = [id(one) for group in adamw(network, 0.05).param_groups for one in group["params"]]
        assert id(network.decoder_pos_embed) not in given
        assert id(network.encoder.pos_embed) not in given


class TestGoingOn:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_a_run_cut_off_and_taken_up_is_the_run_that_was_not(self, learner_of, stream_of, tmp_path, precision):
        settings = Training(precision=precision, ema=0.9)
        whole = learner_of(settings=settings)
        expected = [step.loss for step in steps(whole, stream_of(steps=12, radar=1.0), 0)]

        cut = learner_of(settings=settings)
        with closing(steps(cut, stream_of(steps=12, radar=1.0), 0)) as following:
            first = [step.loss for step in islice(following, 7)]
        save_state(tmp_path / "last.pt", cut, Progress(step=7), "{}")

        taken_up = learner_of(settings=settings, seed=0)
        progress = restore(taken_up, read_state(tmp_path / "last.pt"))
        rest = [step.loss for step in steps(taken_up, stream_of(steps=12, radar=1.0), progress.step)]
        assert first + rest == expected
        assert all(torch.equal(*pair) for pair in zip(weights(taken_up), weights(whole), strict=True))
        averages = (published_state(one.best_guess).values() for one in (taken_up, whole))
        assert all(torch.equal(*pair) for pair in zip(*averages, strict=True))

    def test_a_full_disk_leaves_the_last_good_state(self, learner_of, tmp_path, monkeypatch):
        path, learner = tmp_path / "last.pt", learner_of()
        save_state(path, learner, Progress(step=3), "{}")

        class Full:
            def __init__(self, file):
                self.file = file

            def write(self, _):
                raise OSError(errno.ENOSPC, "No space left on device")

            def flush(self):
                self.file.flush()

        real = torch.save
        monkeypatch.setattr(torch, "save", lambda content, file: real(content, Full(file)))
        with pytest.raises(NoSpace, match="disk is full"):
            save_state(path, learner, Progress(step=9), "{}")
        assert read_state(path)["progress"]["step"] == 3
        assert list(tmp_path.iterdir()) == [path]

    def test_a_truncated_state_is_named(self, learner_of, tmp_path):
        path = tmp_path / "last.pt"
        save_state(path, learner_of(), Progress(), "{}")
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(DamagedWeights, match=r"last\.pt is damaged"):
            read_state(path)

    def test_other_files_are_no_states(self, tmp_path):
        torch.save({"model": {}}, tmp_path / "last.pt")
        with pytest.raises(DamagedWeights, match="not the state of a pretraining run"):
            read_state(tmp_path / "last.pt")


class TestTrouble:
    def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_network(self, learner_of, stream_of):
        learner = learner_of(settings=Training(precision="float32"))
        with torch.no_grad():
            learner.network.mask_token.fill_(float("nan"))
        before = weights(learner)
        with pytest.raises(Diverged, match=r"diverged at step 0 \(rgb\): loss nan.*last good state.*--lr"):
            list(steps(learner, stream_of(), 0))
        assert all(
            torch.equal(
                *pair,
            )
            or pair[0].isnan().all()
            for pair in zip(before, weights(learner), strict=True)
        )

    def test_so_does_a_loss_beyond_all_bounds(self, learner_of, stream_of):
        learner = learner_of(settings=Training(precision="float32", clip=None))
        with pytest.raises(Diverged, match="diverged"):
            list(steps(learner, stream_of(lr=1e4, steps=30), 0))


class TestPrecision:
    def test_auto_is_one_that_the_processor_has(self):
        found = training_precision("auto", torch.device("cpu"))
        assert found.value in ("float32", "bfloat16")

    def test_named_ones_are_taken(self):
        assert training_precision("bfloat16", torch.device("cpu")).value == "bfloat16"

    def test_one_device_needs_nothing_installed(self):
        assert open_engine("cpu", "float32", 1).mean([1.0, 2.0]) == [1.0, 2.0]


def test_a_trained_encoder_is_read_as_weights(learner_of, stream_of, tmp_path: Path):
    from dofa_cli.model.checkpoint import save_checkpoint

    learner = learner_of()
    list(steps(learner, stream_of(steps=3), 0))
    save_checkpoint(learner.network.encoder, tmp_path / "encoder.safetensors")
    found = load_checkpoint(tmp_path / "encoder.safetensors")
    assert found.token_norm
    pixels = torch.randn(1, 3, 16, 16)
    expected = learner.network.encoder.eval()(pixels, (0.665, 0.56, 0.49)).patches
    torch.testing.assert_close(found.model(pixels, (0.665, 0.56, 0.49)).patches, expected)
