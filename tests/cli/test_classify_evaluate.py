"""What ``dofa classify`` and ``dofa evaluate`` print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dofa_cli.classes import ClassTable
from dofa_cli.cli.main import app
from dofa_cli.errors import OptionError
from tests.pipelines.image_heads import image_head

CLASSES = ClassTable.of([1, 4], {1: "water", 4: "forest"})


@pytest.fixture
def here(tmp_path, monkeypatch, scene, weights):
    monkeypatch.chdir(tmp_path)
    image_head(Path(scene), Path(weights), tmp_path, CLASSES, [0.0, 1.0], name="forest.pt")
    image_head(Path(scene), Path(weights), tmp_path, CLASSES, [1.0, 0.0], name="water.pt")
    (tmp_path / "labels.csv").write_text(f"image,label\n{scene},forest\n")
    return tmp_path


def called(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.usefixtures("here")
class TestClassify:
    def test_prints_the_file_and_counts(self, scene, weights):
        result = called("classify", scene, "--head", "forest.pt", "--weights", weights, "-o", "out.csv")
        assert result.exit_code == 0, result.output
        assert result.stdout == "out.csv\n"
        assert "forest  1" in result.stderr

    def test_gives_json(self, scene, weights):
        result = called("classify", scene, "--head", "forest.pt", "--weights", weights, "-o", "o.csv", "--json")
        assert json.loads(result.stdout)["counts"] == {"water": 0, "forest": 1}

    def test_foretells(self, scene, weights):
        result = called("classify", scene, "--head", "forest.pt", "--weights", weights, "-o", "out.csv", "--dry-run")
        assert result.stdout.splitlines()[0].split() == ["images", "1"]
        assert "memory" in result.stdout
        assert not Path("out.csv").exists()
        many = called("classify", scene, "--head", "forest.pt", "-o", "out/", "--grid", "64px", "--dry-run")
        assert many.exit_code == OptionError.exit_code
        assert "not many scenes" in many.stderr

    def test_refuses_in_one_line(self, scene):
        result = called("classify", scene, "--head", "none.pt", "-o", "out.csv")
        assert result.exit_code == 70
        assert result.stderr.startswith("Error: No head file none.pt")
        assert not Path("out.csv").exists()


@pytest.mark.usefixtures("here")
class TestEvaluate:
    def test_prints_scores(self, weights):
        result = called("evaluate", "forest.pt", "--labels", "labels.csv", "--weights", weights, "-o", "r.html")
        assert result.exit_code == 0, result.output
        assert "overall accuracy" in result.stdout
        assert result.stdout.endswith("r.html\nr.json\n")

    def test_prints_heads_side_by_side(self, weights):
        result = called("evaluate", "forest.pt", "water.pt", "--labels", "labels.csv", "--weights", weights)
        assert "forest against water" in result.stdout

    def test_fails_under_a_threshold_after_the_report(self, weights):
        arguments = ("--labels", "labels.csv", "--weights", weights, "--fail-under", "0.5", "-o", "r.json")
        result = called("evaluate", "water.pt", *arguments)
        assert result.exit_code == 82
        assert "under the threshold of 0.5" in result.stderr
        assert json.loads(Path("r.json").read_text())["scores"]["overall_accuracy"]["value"] == 0

    def test_lists_benchmarks(self):
        assert "m-eurosat" in called("evaluate", "--benchmark", "list").stdout
        listed = json.loads(called("evaluate", "--benchmark", "list", "--json").stdout)
        assert len(listed) >= 14

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "Name a head file, or a data set with --benchmark"),
            (("--benchmark", "m-euro-sat", "--data", "."), "Did you mean 'm-eurosat'"),
            (("--benchmark", "m-eurosat"), "needs --data"),
            (("forest.pt", "--benchmark", "m-eurosat"), "leave head files out"),
            (("--benchmark", "m-eurosat", "--data", "."), "No default_partition.json"),
            (("forest.pt", "--labels", "none.csv"), "No table"),
        ],
    )
    def test_refuses_in_one_line(self, arguments, said):
        result = called("evaluate", *arguments)
        assert result.exit_code > 0
        assert said in result.stderr
        assert "Traceback" not in result.output
