"""A data set from its files to a figure, on small files in the same layouts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dofa_cli.errors import BelowThreshold, OptionError, TooFewLabels
from dofa_cli.model.checkpoint import save_checkpoint
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import random_dofa
from dofa_cli.pipelines.benchmarks.run import BenchmarkOptions, run_benchmark
from dofa_cli.raster.source import close_handles
from tests.pipelines.benchmarks.test_geobench import STORED, write_sample

CONFIG = DofaConfig(1, 8, 24, 2, 2, 32)


@pytest.fixture(autouse=True)
def own_features(tmp_path, monkeypatch):
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))
    yield
    close_handles()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(random_dofa(CONFIG), path)
    return str(path)


def options(weights, **more):
    return BenchmarkOptions(weights=weights, trust_weights=True, device="cpu", **more)


@pytest.fixture
def photographs(tmp_path):
    """Two classes that differ in colour."""
    rng = np.random.default_rng(0)
    for name, level in (("beach", (200, 180, 120)), ("forest", (40, 80, 50))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(20):
            pixels = (np.array(level) + rng.normal(0, 12, (32, 32, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


class TestRun:
    def test_on_class_folders_tests_what_was_held_out(self, photographs, weights):
        report = run_benchmark("ucmerced", photographs, options(weights))
        assert report.samples == {"train": 24, "validation": 8, "test": 8}
        assert report.report.assessment.measured.samples == 8
        assert report.value == 100 * report.report.assessment.measured.values["overall_accuracy"]
        assert report.value == 100
        assert report.complete

    def test_stands_beside_the_published_figures(self, photographs, weights):
        report = run_benchmark("resisc45", photographs, options(weights, method="linear"))
        rows = report.rows()
        assert rows[0][0].startswith("this run (linear")
        assert [row[:2] for row in rows[1:]] == [("DOFA base, frozen", "91.3"), ("DOFA large, frozen", "91.9")]
        assert json.loads(report.to_json())["published"][0]["value"] == 91.3

    def test_on_a_part_says_so(self, photographs, weights):
        report = run_benchmark("ucmerced", photographs, options(weights, method="knn", most=6))
        assert report.samples == {"train": 6, "validation": 6, "test": 6}
        assert not report.complete
        assert "part of the data" in report.rows()[0][2]

    def test_keeps_its_files_where_told(self, photographs, weights, tmp_path):
        run_benchmark("ucmerced", photographs, options(weights, work=tmp_path / "work"))
        names = {path.name for path in (tmp_path / "work").iterdir()}
        assert names >= {"ucmerced.csv", "ucmerced.linear.pt", "ucmerced.linear.report.html"}

    def test_on_hdf5_of_pixels(self, weights, tmp_path):
        folder, rng = tmp_path / "m-nz-cattle", np.random.default_rng(0)
        folder.mkdir()
        parts = {"train": ["a", "b", "c"], "valid": ["d"], "test": ["e"]}
        (folder / "default_partition.json").write_text(json.dumps(parts))
        for name in "abcde":
            label = np.zeros((32, 32), np.uint8)
            label[:, 16:] = 1
            bands = {
                band: (60 + 120 * label + rng.normal(0, 8, label.shape)).clip(0, 255).astype(np.uint8)
                for band in ("Red", "Green", "Blue")
            }
            write_sample(folder / f"{name}.hdf5", bands, label)
        torch.manual_seed(0)
        report = run_benchmark("m-nz-cattle", tmp_path, options(weights, method="linear"))
        measured = report.report.assessment.measured
        assert [row.name for row in measured.rows] == ["no cattle", "cattle"]
        assert report.metric == "mean_iou"
        assert report.value > 60

    def test_on_hdf5_of_several_labels(self, weights, tmp_path):
        folder = tmp_path / "m-bigearthnet"
        folder.mkdir()
        names = [f"id_{n}" for n in range(12)]
        parts = {"train": names[:8], "valid": names[8:10], "test": names[10:]}
        (folder / "default_partition.json").write_text(json.dumps(parts))
        stats = {name: [1, n % 2, 1 - n % 2] for n, name in enumerate(names)}
        (folder / "label_stats.json").write_text(json.dumps(stats))
        for number, name in enumerate(names):
            level = 800 + 1500 * (number % 2) + np.arange(1024).reshape(32, 32) % 50
            write_sample(folder / f"{name}.hdf5", {band: level.astype(np.float32) for band in STORED})
        report = run_benchmark("m-bigearthnet", folder, options(weights))
        assert report.metric == "micro_average_precision"
        assert report.value == pytest.approx(100, abs=1)

    def test_can_fail_under_a_threshold(self, photographs, weights):
        report = run_benchmark("ucmerced", photographs, options(weights))
        report.check(0.99)
        with pytest.raises(BelowThreshold):
            report.check(1.01)


class TestRefusals:
    def test_of_a_method_for_pixels_on_images(self, photographs, weights):
        with pytest.raises(OptionError, match="upernet is for pixels"):
            run_benchmark("ucmerced", photographs, options(weights, method="upernet"))

    def test_of_a_method_that_is_none(self, photographs, weights):
        with pytest.raises(OptionError, match="Did you mean linear"):
            run_benchmark("ucmerced", photographs, options(weights, method="liner"))

    def test_of_a_set_without_a_test_part(self, photographs, weights, tmp_path):
        (tmp_path / "parts").mkdir()
        photographs.rename(tmp_path / "parts" / "train")
        with pytest.raises(TooFewLabels, match="no images to test with"):
            run_benchmark("ucmerced", tmp_path / "parts", options(weights))
