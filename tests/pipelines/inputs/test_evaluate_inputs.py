"""Heads of several inputs on new labels."""

from __future__ import annotations

import pytest

from dofa_cli.errors import GridError, OptionError, WrongHead
from dofa_cli.pipelines.evaluate import evaluate
from tests.pipelines.inputs.cases import HEIGHT, WIDTH, labels, optical, radar, squares


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Another place with the same inputs."""
    folder = tmp_path_factory.mktemp("there")
    classes = squares(3)
    optical(folder / "S2A_MSIL1C_new.tif", seed=4)
    radar(folder / "new.tif", classes, pixel=20)
    labels(folder / "labels.tif", classes)
    return folder


@pytest.fixture
def judge(here, there):
    def judge(heads, *scenes, **options):
        asked = {"labels": there / "labels.tif", "weights": str(here / "tiny.safetensors")}
        return evaluate(heads, scene=scenes, **{**asked, **options})

    return judge


@pytest.fixture
def scenes(there):
    return f"{there / 'S2A_MSIL1C_new.tif'}:sentinel2", f"{there / 'new.tif'}:sentinel1"


def accuracy(done):
    return {name: one.values["overall_accuracy"] for name, one in done.measured.items()}


def test_heads_with_one_and_with_several_inputs_are_compared_on_the_same_pixels(judge, learn, heads, scenes, s1, s2):
    alone = [learn(one, name=f"{name}.pt").head for one, name in ((s2, "optical"), (s1, "radar"))]
    done = judge([heads["concat"], *alone], *scenes)
    found = accuracy(done)
    assert {one.samples for one in done.measured.values()} == {HEIGHT * WIDTH}
    assert found["concat"] > 0.8
    assert found["radar"] > 0.8
    assert found["optical"] < 0.7
    assert len(done.comparison.duels) >= 3


def test_a_missing_input_costs_what_it_showed(judge, heads, scenes):
    both, one = (accuracy(judge(heads["mean"], *given))["mean"] for given in (scenes, scenes[:1]))
    assert both > 0.8
    assert one < 0.7


def test_what_is_missing_is_noted(judge, heads, scenes):
    said = []
    judge(heads["concat"], scenes[0], say=said.append)
    assert any(line.startswith("sentinel1 is not given; its mean over the training") for line in said)


def test_what_cannot_be_meant_is_refused(judge, here, there, heads, scenes):
    plain = there / "S2A_MSIL1C_new.tif"
    with pytest.raises(WrongHead, match="several inputs of a place"):
        judge(heads["concat"], plain)
    with pytest.raises(OptionError, match="names no sensor"):
        judge(heads["concat"], plain, scenes[1])
    with pytest.raises(OptionError, match="--sensor would hold"):
        judge(heads["concat"], *scenes, sensor="sentinel2")
    with pytest.raises(WrongHead, match="none of the inputs"):
        judge(heads["concat"], f"{plain}:landsat8", scenes[1])
    afar = radar(there / "afar.tif", squares(), crs="EPSG:32636")
    with pytest.raises(GridError, match="same ground"):
        judge(heads["concat"], scenes[0], f"{afar}:sentinel1")
