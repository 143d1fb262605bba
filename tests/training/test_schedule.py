"""Stages and learning rates against the published formula; settings and what is wrong with them."""

from __future__ import annotations

import json
import math

import pytest

from dofa_cli.errors import OptionError
from dofa_cli.training.config import RunConfig
from dofa_cli.training.config_file import difference, inline_table, read_tables, to_config
from dofa_cli.training.schedule import schedule

SOURCES = [{"sensor": "naip", "path": "a/*.tif"}, {"sensor": "sentinel2", "path": "b/*.tif", "weight": 3}]


def config(**tables) -> RunConfig:
    return to_config({"source": SOURCES, **tables}, "test")


class TestLearningRate:
    stage = schedule(config(training={"steps": 100, "lr": 1.0, "warmup": 10})).stages[0]

    def test_rises_in_a_line(self):
        assert [self.stage.learning_rate(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])

    def test_falls_along_half_a_cosine(self):
        assert self.stage.learning_rate(10) == pytest.approx(1.0)
        assert self.stage.learning_rate(55) == pytest.approx(0.5)
        assert self.stage.learning_rate(99) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))

    def test_grows_with_the_batch_by_default(self):
        assert schedule(config(training={"batch": 512})).stages[0].lr == pytest.approx(3e-4)

    def test_counts_the_batches_of_a_step(self):
        assert schedule(config(training={"batch": 128, "accumulate": 4})).stages[0].lr == pytest.approx(3e-4)


class TestStages:
    plan = schedule(
        config(
            training={"batch": 64, "lr": 1e-3, "mask_ratio": 0.6},
            stage=[
                {"steps": 20},
                {"name": "more", "steps": 30, "lr": 1e-4, "weights": {"naip": 0}, "distill_weight": 0},
            ],
        )
    )

    def test_follow_one_another(self):
        assert [(stage.name, stage.first, stage.end) for stage in self.plan.stages] == [
            ("stage 1", 0, 20),
            ("more", 20, 50),
        ]
        assert self.plan.steps == 50
        assert [self.plan.at(step).name for step in (0, 19, 20, 49)] == ["stage 1", "stage 1", "more", "more"]

    def test_change_what_they_name_and_keep_the_rest(self):
        more = self.plan.stages[1]
        assert (more.lr, more.batch, more.mask_ratio, more.distill_weight) == (1e-4, 64, 0.6, 0)
        assert more.weights == {"naip": 0, "sentinel2": 3}

    def test_each_warms_up_anew(self):
        assert self.plan.stages[1].learning_rate(20) < self.plan.stages[1].learning_rate(21)

    def test_unknown_sources_are_named(self):
        with pytest.raises(OptionError, match=r"weights 'enmap', which is no source\. There are naip, sentinel2"):
            schedule(config(stage=[{"steps": 1, "weights": {"enmap": 1}}]))

    def test_a_stage_without_any_source_is_refused(self):
        with pytest.raises(OptionError, match="stage 1 leaves every source out"):
            schedule(config(stage=[{"steps": 1, "weights": {"naip": 0, "sentinel2": 0}}]))


class TestSources:
    def test_take_their_names_from_sensors(self):
        twice = config(source=[*SOURCES, {"sensor": "naip", "path": "c"}, {"wavelengths": "0.6", "path": "d"}])
        assert [one.name for one in twice.sources] == ["naip", "sentinel2", "naip-2", "custom"]

    def test_the_same_name_twice_is_refused(self):
        with pytest.raises(OptionError, match="Two sources are called 'x'"):
            _ = config(source=[{**source, "name": "x"} for source in SOURCES]).sources

    def test_an_ablation_takes_one_away_by_sensor_or_name(self):
        assert [one.name for one in config(ablation=["without=naip"]).sources] == ["sentinel2"]

    def test_stages_may_still_weight_what_an_ablation_took_away(self):
        plan = schedule(config(ablation=["without=naip"], stage=[{"steps": 1, "weights": {"naip": 2}}]))
        assert plan.stages[0].weights == {"sentinel2": 3}

    def test_an_ablation_of_nothing_is_refused(self):
        with pytest.raises(OptionError, match="without=enmap: no such source"):
            _ = config(ablation=["without=enmap"]).sources

    def test_none_at_all_is_refused_with_the_option(self):
        with pytest.raises(OptionError, match="--source SENSOR=PATTERN"):
            _ = to_config({}, "test").sources


class TestNetworks:
    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            ({}, (192, 12, 3, 16, 224)),
            ({"size": "base"}, (768, 12, 12, 16, 224)),
            ({"size": "tiny", "patch": 8, "crop": 64}, (192, 12, 3, 8, 64)),
            ({"size": "256x6x8x4"}, (256, 6, 8, 4, 56)),
            ({"size": "128×2"}, (128, 2, 2, 16, 224)),
        ],
    )
    def test_sizes_have_names_or_numbers(self, table, expected):
        shape = config(network=table).network.shape
        assert (shape.embed_dim, shape.depth, shape.num_heads, shape.patch_size, shape.image_size) == expected

    def test_a_size_that_is_none_is_refused(self):
        with pytest.raises(OptionError, match="--size 'giant' is none of tiny"):
            _ = config(network={"size": "giant"}).network.shape

    def test_the_decoder_follows_the_encoder(self):
        tiny, base = (config(network={"size": size}) for size in ("tiny", "base"))
        assert tiny.decoder.shape(tiny.network.shape).width == 128
        published = base.decoder.shape(base.network.shape)
        assert (published.width, published.depth, published.num_heads) == (512, 8, 16)


class TestFiles:
    def test_toml_and_json_say_the_same(self, tmp_path):
        (tmp_path / "run.toml").write_text('seed = 3\n[[source]]\nsensor = "naip"\npath = "x"\n')
        (tmp_path / "run.json").write_text(json.dumps({"seed": 3, "source": [{"sensor": "naip", "path": "x"}]}))
        assert read_tables(tmp_path / "run.toml") == read_tables(tmp_path / "run.json")

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(OptionError, match=r"No such file: .*run\.toml"):
            read_tables(tmp_path / "run.toml")

    def test_broken_toml_is_refused(self, tmp_path):
        (tmp_path / "run.toml").write_text("seed = = 3")
        with pytest.raises(OptionError, match="not a readable TOML file"):
            read_tables(tmp_path / "run.toml")

    @pytest.mark.parametrize(
        ("tables", "named"),
        [
            ({"trainning": {}}, "trainning: Extra inputs"),
            ({"training": {"steps": 0}}, "training.steps: Input should be greater than 0"),
            ({"training": {"mask_ratio": 1.5}}, "training.mask_ratio"),
            ({"source": [{"path": "x"}]}, "source.0: give either sensor or wavelengths"),
            ({"ablation": ["fixed"]}, "--ablation 'fixed' is none of fixed-embedding"),
        ],
    )
    def test_faults_are_named_by_field(self, tables, named):
        with pytest.raises(OptionError, match=named):
            to_config(tables, "run.toml")

    def test_a_stage_is_written_in_one_line(self):
        assert inline_table("steps = 10, lr = 1e-4", "--stage") == {"steps": 10, "lr": 1e-4}
        with pytest.raises(OptionError, match="--stage 'ten'"):
            inline_table("ten", "--stage")

    def test_two_runs_differ_in_the_first_setting_that_differs(self):
        other = config(training={"lr": 2e-3, "steps": 50})
        assert difference(config(training={"lr": 1e-3, "steps": 50}), other) == "training.lr was 0.001, now 0.002"
        assert difference(other, other) is None

    def test_one_more_source_is_a_difference(self):
        assert "source[1]" in difference(config(source=SOURCES[:1]), config())
