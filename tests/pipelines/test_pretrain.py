"""The verb as a whole: a run's folder, going on, starting from weights, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dofa_cli.errors import Diverged, OptionError, OutputExists, OutputUnwritable, UntrustedWeights, WrongWeights
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.pretrain import pretrain
from dofa_cli.pipelines.pretraining import student, training_run
from dofa_cli.pipelines.pretraining.stopping import stop_signals
from dofa_cli.training.metrics import read_metrics
from dofa_cli.training.transplant import fit_generator
from tests.made import reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.pretrain_cases import POSITIONS, transformer_of

SMALL = {
    "size": "24x2x3x8",
    "crop": 32,
    "decoder": "16x1x4",
    "batch": 4,
    "lr": 1e-3,
    "distill": "none",
    "precision": "float32",
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, str]:
    """Patterns of two sensors."""
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(3):
        sentinel2_scene(folder / f"s2_{number}.tif", 40, 48)
        rng = np.random.default_rng(number)
        chip = (120 + 40 * np.sin(np.mgrid[0:40, 0:40][0] / 5) + rng.normal(0, 5, (3, 40, 40))).astype(np.uint8)
        write_raster(folder / f"naip_{number}.tif", chip)
    return {"sentinel2": str(folder / "s2_*.tif"), "naip": str(folder / "naip_*.tif")}


@pytest.fixture
def train(scenes, monkeypatch):
    """Pretrain on both sensors with a tiny network, without drawing pictures."""
    monkeypatch.setattr(training_run, "draw_reconstructions", lambda *_: None)
    monkeypatch.setattr(training_run, "plot_losses", lambda *_: None)

    def run(folder: Path, **options):
        sources = [f"{sensor}={pattern}" for sensor, pattern in scenes.items()]
        return pretrain(folder, **({"source": sources, "steps": 4} | SMALL | options))

    return run


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder.safetensors")


class TestFolder:
    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, scenes, tmp_path_factory):
        folder = tmp_path_factory.mktemp("run") / "here"
        sources = [f"{sensor}={pattern}" for sensor, pattern in scenes.items()]
        said = []
        report = pretrain(folder, source=sources, steps=4, ema=0.9, say=said.append, **SMALL)
        return folder, report, said

    def test_holds_all_that_a_run_leaves(self, run):
        folder, _, _ = run
        assert {path.name for path in folder.iterdir()} == {
            *("config.json", "images.csv", "metrics.jsonl", "loss.png", "card.md", "last.pt", "best.pt"),
            *("encoder.safetensors", "encoder_best.safetensors"),
            *("reconstructions_sentinel2.png", "reconstructions_naip.png"),
        }

    def test_has_an_encoder_that_embeds_scenes(self, run, tmp_path):
        _, report, _ = run
        scene = sentinel2_scene(tmp_path / "scene.tif", 64, 64)
        found = embed(scene, tmp_path / "out.tif", sensor="sentinel2", weights=report.encoder)
        assert (found.dimensions, found.tags["token_norm"]) == (24, "trained")

    def test_is_summed_up(self, run):
        _, report, said = run
        assert (report.steps, report.of_steps, report.images) == (4, 4, 16)
        assert set(report.measured) == {"sentinel2", "naip"}
        assert json.loads(report.to_json())["sources"][1]["bands"] == ["R", "G", "B"]
        assert said[0].startswith("sentinel2: 3 images, 9 bands")

    def test_has_a_card_that_says_how_and_on_what(self, run):
        folder, _, _ = run
        card = (folder / "card.md").read_text()
        for part in (
            "24 wide, 2 deep",
            "| sentinel2 | sentinel2 | 3 |",
            "4 of 4 steps, 16 crops",
            "there is no teacher",
        ):
            assert part in card

    def test_has_every_step_in_its_metrics(self, run):
        folder, _, _ = run
        lines = read_metrics(folder / "metrics.jsonl")
        assert [line["step"] for line in lines if "loss" in line] == [0, 1, 2, 3]
        assert lines[-1]["measured"].keys() == {"sentinel2", "naip"}

    def test_that_is_complete_stays_as_it_is(self, run):
        folder, _, _ = run
        before = tensors(folder)
        again = pretrain(folder)
        assert again.steps == 4
        assert all(torch.equal(before[name], tensor) for name, tensor in tensors(folder).items())


class TestGoingOn:
    def test_gives_what_an_uninterrupted_run_gives(self, train, tmp_path):
        train(tmp_path / "whole")
        said = []
        for _ in range(5):
            report = train(tmp_path / "cut", minutes=1e-9, say=said.append)
        assert report.steps == 4
        assert "Going on at step 3 of 4." in said
        assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
        whole, cut = tensors(tmp_path / "whole"), tensors(tmp_path / "cut")
        assert all(torch.equal(whole[name], cut[name]) for name in whole)

    def test_needs_no_options(self, train, tmp_path):
        train(tmp_path / "run", minutes=1e-9)
        assert pretrain(tmp_path / "run").steps == 4

    def test_with_other_settings_is_refused_by_name(self, train, tmp_path):
        train(tmp_path / "run", minutes=1e-9)
        with pytest.raises(OutputExists, match=r"training\.lr was 0\.001, now 0\.002.*--overwrite"):
            train(tmp_path / "run", lr=2e-3)

    def test_can_be_refused_in_favour_of_a_new_run(self, train, tmp_path):
        train(tmp_path / "run", minutes=1e-9)
        assert train(tmp_path / "run", lr=2e-3, overwrite=True).steps == 4
        assert losses(tmp_path / "run")[0] == pytest.approx(1, abs=0.3)
        assert len(losses(tmp_path / "run")) == 4

    def test_can_be_demanded(self, train, tmp_path):
        with pytest.raises(OptionError, match=r"--resume: .* holds no run"):
            train(tmp_path / "run", resume=True)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_works_after_a_signal(self, train, tmp_path, monkeypatch, number):
        train(tmp_path / "whole")
        asked = []

        def show(*_):
            if not asked:
                asked.append(number)
                signal.raise_signal(number)

        monkeypatch.setattr(training_run, "_show", show)
        if number == signal.SIGINT:
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "cut")
        else:
            assert train(tmp_path / "cut").steps == 2
        monkeypatch.undo()
        train(tmp_path / "cut")
        assert losses(tmp_path / "cut") == losses(tmp_path / "whole")

    @pytest.mark.slow
    def test_works_after_a_kill(self, train, scenes, tmp_path):
        """A process that is killed between two saves goes on from the last one, and ends where it would have."""
        train(tmp_path / "whole", steps=150)
        code = "import sys, json; from dofa_cli.pipelines.pretrain import pretrain; pretrain(**json.loads(sys.argv[1]))"
        sources = [f"{sensor}={pattern}" for sensor, pattern in scenes.items()]
        options = {"folder": str(tmp_path / "cut"), "source": sources, "steps": 150, **SMALL}
        tables = tmp_path / "run.toml"
        tables.write_text("[training]\nevaluate_every = 10\n")
        process = subprocess.Popen([sys.executable, "-c", code, json.dumps(options | {"config": str(tables)})])
        deadline = time.monotonic() + 60
        while not (tmp_path / "cut" / "last.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert 0 < len(losses(tmp_path / "cut")) < 150
        pretrain(tmp_path / "cut")
        assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


class TestStages:
    def test_show_other_sources_and_batches(self, train, tmp_path):
        stages = ["steps = 2, batch = 2, weights = {naip = 0}", "name = 'rest', steps = 2, weights = {sentinel2 = 0}"]
        report = train(tmp_path / "run", stage=stages)
        lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
        assert [line["sources"] for line in lines] == [["sentinel2"]] * 2 + [["naip"]] * 2
        assert [line["images"] for line in lines] == [2, 2, 4, 4]
        assert report.of_steps == 4
        assert "- rest: 2 steps of 4 crops" in (tmp_path / "run" / "card.md").read_text()


class TestConfigFile:
    def test_says_the_same_as_options(self, train, scenes, tmp_path):
        tables = tmp_path / "run.toml"
        sources = "".join(f'[[source]]\nsensor = "{name}"\npath = "{path}"\n' for name, path in scenes.items())
        tables.write_text(
            "[network]\nsize = '24x2x3x8'\ncrop = 32\n[decoder]\nwidth = 16\ndepth = 1\nheads = 4\n"
            "[training]\nsteps = 4\nbatch = 4\nlr = 1e-3\nprecision = 'float32'\n[distill]\nteacher = 'none'\n"
            + sources
        )
        pretrain(tmp_path / "file", config=tables)
        train(tmp_path / "options")
        assert losses(tmp_path / "file") == losses(tmp_path / "options")

    def test_yields_to_options(self, scenes, tmp_path):
        tables = tmp_path / "run.toml"
        tables.write_text("[training]\nsteps = 9\nbatch = 64\n")
        report = pretrain(tmp_path / "run", config=tables, source=[f"naip={scenes['naip']}"], **SMALL, dry_run=True)
        assert report.of_steps == 9
        assert not (tmp_path / "run").exists()


class TestWeightsToBeginWith:
    def started(self, train, tmp_path, init, **options):
        own = {"size": None, "crop": None, "steps": 1, "lr": 1e-12, "warmup": 0}
        train(tmp_path / "next", **(own | {"init": str(init)} | options))
        return tensors(tmp_path / "next")

    def test_may_be_an_encoder(self, train, tmp_path):
        path = tiny_weights(tmp_path / "tiny.safetensors")
        found = self.started(train, tmp_path, path, crop=32)
        expected = load_file(path)
        assert all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in expected.items())

    def test_may_be_the_state_of_a_run_with_its_decoder(self, train, tmp_path):
        train(tmp_path / "first")
        said = []
        self.started(train, tmp_path, tmp_path / "first" / "last.pt", say=said.append)
        states = [torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("first", "next")]
        assert all(torch.allclose(states[0][name], states[1][name], atol=1e-6) for name in states[0])
        assert not any("made anew" in line for line in said)

    def test_leave_a_decoder_of_another_shape_out(self, train, tmp_path):
        train(tmp_path / "first")
        said = []
        self.started(train, tmp_path, tmp_path / "first" / "last.pt", decoder="20x1x4", say=said.append)
        assert any(line.startswith("The decoder of the weights has another shape") for line in said)

    def test_may_be_a_vision_transformer(self, train, tmp_path, monkeypatch):
        monkeypatch.setattr(student, "fit_generator", partial(fit_generator, steps=20))
        state = transformer_of(width=24, depth=2, patch=8, cells=4)
        torch.save(state, tmp_path / "vit.pth")
        said = []
        found = self.started(train, tmp_path, tmp_path / "vit.pth", size="24x2x3x8", crop=32, say=said.append)
        assert torch.allclose(found["blocks.1.mlp.fc1.weight"], state["blocks.1.mlp.fc1.weight"], atol=1e-6)
        assert torch.allclose(found[POSITIONS], state[POSITIONS])
        assert any("patch embedding" in line for line in said)

    def test_bring_their_own_size(self, train, tmp_path):
        with pytest.raises(OptionError, match="leave --size and --patch out"):
            self.started(train, tmp_path, tiny_weights(tmp_path / "tiny.safetensors"), size="tiny")

    def test_want_crops_of_whole_patches(self, train, tmp_path):
        with pytest.raises(OptionError, match="--crop 30 is no multiple of the patch of 16"):
            self.started(train, tmp_path, tiny_weights(tmp_path / "tiny.safetensors"), crop=30)

    def test_that_are_something_else_are_refused(self, train, tmp_path):
        torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
        with pytest.raises(WrongWeights, match="not a DOFA encoder"):
            self.started(train, tmp_path, tmp_path / "other.pth")


class TestFreezing:
    def test_keeps_what_matches(self, train, tmp_path):
        train(tmp_path / "run", freeze=["blocks.*", "patch_embed.*"])
        train(tmp_path / "other", freeze=["blocks.*", "patch_embed.*"], steps=1)
        first, second = tensors(tmp_path / "run"), tensors(tmp_path / "other")
        assert torch.equal(first["blocks.0.attn.qkv.weight"], second["blocks.0.attn.qkv.weight"])
        assert not torch.equal(first["cls_token"], second["cls_token"])
        assert "million frozen" not in (tmp_path / "run" / "card.md").read_text()

    def test_of_nothing_is_refused(self, train, tmp_path):
        with pytest.raises(OptionError, match=r"--freeze 'block\.\*' matches no parameter\. Try for instance blocks"):
            train(tmp_path / "run", freeze=["block.*"])

    def test_of_everything_is_refused(self, train, tmp_path):
        with pytest.raises(OptionError, match="leaves nothing to train"):
            train(tmp_path / "run", freeze=["*"])


class TestAblations:
    def test_without_a_sensor(self, train, tmp_path):
        train(tmp_path / "run", ablation=["without=naip"])
        assert {
            name for line in read_metrics(tmp_path / "run" / "metrics.jsonl") for name in line.get("sources", ())
        } == {"sentinel2"}

    def test_with_fixed_embeddings_there_is_no_encoder_for_any_sensor(self, train, tmp_path):
        report = train(tmp_path / "run", ablation=["fixed-embedding"])
        assert report.encoder is None
        assert not (tmp_path / "run" / "encoder.safetensors").exists()

    def test_with_fixed_embeddings_bands_cannot_be_dropped(self, train, tmp_path):
        tables = tmp_path / "run.toml"
        tables.write_text("[data]\ndrop_bands = 0.5\n")
        with pytest.raises(OptionError, match=r"fixed-embedding.*drop_bands"):
            train(tmp_path / "run", config=tables, ablation=["fixed-embedding"])


class TestTeachers:
    def test_may_be_dofa(self, train, tmp_path):
        teacher = tiny_weights(tmp_path / "teacher.safetensors")
        train(tmp_path / "run", distill=str(teacher))
        lines = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
        assert all(-1 <= line["distillation"] <= 1 for line in lines)
        assert "the teacher is teacher.safetensors" in (tmp_path / "run" / "card.md").read_text()

    def test_may_be_centred_on_the_images_that_measure(self, train, tmp_path):
        tables = tmp_path / "run.toml"
        tables.write_text("[distill]\ncentre = true\nshare = 0.5\n")
        teacher = tiny_weights(tmp_path / "teacher.safetensors")
        train(tmp_path / "plain", distill=str(teacher))
        train(tmp_path / "centred", distill=str(teacher), config=tables)
        assert losses(tmp_path / "plain") != losses(tmp_path / "centred")
        assert "the teacher's features are centred" in (tmp_path / "centred" / "card.md").read_text()

    def test_take_no_part_in_that_ablation(self, train, tmp_path):
        teacher = tiny_weights(tmp_path / "teacher.safetensors")
        train(tmp_path / "run", distill=str(teacher), ablation=["no-distillation"])
        assert all(line.get("distillation") is None for line in read_metrics(tmp_path / "run" / "metrics.jsonl"))

    def test_that_are_programs_must_be_trusted(self, train, tmp_path):
        path = tmp_path / "teacher.pt2"
        shapes = ({0: torch.export.Dim("n", min=1, max=64)},)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3))
        exported = torch.export.export(network, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=shapes)
        torch.export.save(exported, path)
        tables = tmp_path / "run.toml"
        tables.write_text("[distill]\nside = 32\n")
        with pytest.raises(UntrustedWeights, match="--trust-teacher"):
            train(tmp_path / "run", distill=str(path), config=tables)
        assert train(tmp_path / "run", distill=str(path), config=tables, trust_teacher=True).steps == 4

    def test_are_compared_with_a_block_that_exists(self, train, tmp_path):
        tables = tmp_path / "run.toml"
        tables.write_text("[distill]\nblock = -5\n")
        with pytest.raises(OptionError, match=r"block = -5 in \[distill\]: the network has 2 blocks"):
            train(tmp_path / "run", config=tables)


class TestTrouble:
    def test_divergence_keeps_the_last_good_state(self, train, tmp_path):
        train(tmp_path / "run", minutes=1e-9, lr=1e30, steps=40)
        good = (tmp_path / "run" / "last.pt").read_bytes()
        with pytest.raises(Diverged, match="diverged"):
            train(tmp_path / "run", lr=1e30, steps=40)
        assert (tmp_path / "run" / "last.pt").read_bytes() == good

    def test_a_file_is_no_folder(self, train, tmp_path):
        (tmp_path / "run").write_text("")
        with pytest.raises(OutputUnwritable, match=r"is a file\. Name a folder"):
            train(tmp_path / "run")

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"source": ["naip"]}, "--source 'naip' is not like sentinel2=scenes"),
            ({"decoder": "big"}, "--decoder 'big' is not like 512x8x16"),
            ({"stage": ["many"]}, "--stage 'many'"),
            ({"source": []}, "No images to train on"),
            ({"steps": -1}, r"options: training\.steps: Input should be greater than 0"),
        ],
    )
    def test_bad_options_are_named(self, train, tmp_path, options, named):
        with pytest.raises(OptionError, match=named):
            train(tmp_path / "run", **options)


class TestStopping:
    def test_a_second_signal_acts_at_once(self):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs begin with it ignored
        try:
            with stop_signals(None) as stop:
                signal.raise_signal(signal.SIGINT)
                assert (stop.is_due, stop.signal) == (True, signal.SIGINT)
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, before)

    def test_handlers_are_put_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with stop_signals(0):
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_dry_run_shows_rules_and_writes_nothing(train, tmp_path):
    report = train(tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    assert report.sources[1]["means"] == [123.675, 116.28, 103.53]
    assert report.encoder_parameters < report.parameters


def test_scenes_with_holes_train_too(tmp_path):
    values = reflectance(9, 64, 64)
    values[:, 20:24, 20:60] = 0
    write_raster(
        tmp_path / "scene.tif", values, ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12"), nodata=0
    )
    report = pretrain(tmp_path / "run", source=[f"sentinel2={tmp_path}/scene.tif"], steps=3, **SMALL)
    assert np.isfinite(list(report.measured.values())).all()
