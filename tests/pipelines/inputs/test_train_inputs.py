"""Heads that learn from several inputs of a place."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.vrt import WarpedVRT

from dofa_cli.errors import GridError, LabelsUnreadable, OptionError, TooFewLabels, UnknownSensor
from dofa_cli.heads.file import describe, load_head
from dofa_cli.heads.head import InputRecipe
from dofa_cli.heads.joining import FILL
from dofa_cli.pipelines.inputs.named import Input
from dofa_cli.pipelines.learning.report import report_on
from dofa_cli.pipelines.segment import segment
from tests.made import TRAINED, TRANSFORM, write_raster
from tests.pipelines.inputs.cases import HEIGHT, WIDTH, labels, optical, radar, squares


def accuracy(report):
    return report.assessment.measured.values["overall_accuracy"]


@pytest.mark.parametrize(
    ("method", "combine", "settings"),
    [
        ("linear", "concat", {"c": [1.0]}),
        ("linear", "mean", {"c": [1.0]}),
        ("knn", "concat", {}),
        ("mlp", "mean", {"epochs": 8}),
    ],
)
def test_a_head_of_both_learns_what_only_the_second_shows(learn, s1, s2, method, combine, settings):
    both = learn(s2, s1, method=method, combine=combine, settings=settings)
    alone = learn(s2, name="alone.pt", method=method, settings=settings)
    assert accuracy(both) > 0.9
    assert accuracy(alone) < 0.7


def test_a_number_is_learnt_from_both(learn, here, s1, s2, tmp_path):
    values = (squares() * 10.0 + 5)[None].astype(np.float32)
    asked = {"task": "regress", "labels": write_raster(tmp_path / "height.tif", values), "settings": {}}
    both, alone = (learn(*scenes, name=f"{len(scenes)}.pt", **asked) for scenes in ((s2, s1), (s2,)))
    assert both.assessment.measured.values["r2"] > 0.4
    assert alone.assessment.measured.values["r2"] < 0.1


def test_the_head_holds_its_inputs(learn, s1, s2, tmp_path):
    report = learn(f"{s2}:2024-05", s1)
    head = load_head(tmp_path / "head.pt")
    first, second = head.recipe.inputs
    assert [one.name for one in head.recipe.inputs] == ["sentinel2:2024-05", "sentinel1"]
    assert isinstance(first, InputRecipe)
    assert (first.product, second.product, second.bands) == ("l1c", "sigma0-db", ("VV", "VH"))
    assert len(first.wavelengths_um) == len(first.normalization) == 9
    assert head.tensors[FILL].shape == (2, 24)
    assert head.tensors["weight"].shape == (2, 48)
    assert (head.recipe.sensor, head.recipe.combine) == ("sentinel2", "concat")
    assert describe(head)["format"] == 2
    facts = report.assessment.facts
    assert facts["sensor"] == "sentinel2:2024-05, product l1c; sentinel1, product sigma0-db"


def test_a_head_of_one_input_is_filed_as_ever(learn, s2, tmp_path):
    learn(s2)
    stored = torch.load(tmp_path / "head.pt", weights_only=True)
    assert stored["format"] == 1
    assert not {"inputs", "combine"} & set(stored["recipe"])
    assert load_head(tmp_path / "head.pt").recipe.inputs == ()


def test_what_stands_in_is_the_mean_over_training_samples(here, heads):
    concat, mean = (load_head(heads[name]) for name in ("concat", "mean"))
    assert FILL not in mean.tensors
    assert mean.tensors["weight"].shape == (2, 24)
    assert torch.isfinite(concat.tensors[FILL]).all()
    assert not torch.allclose(concat.tensors[FILL][0], concat.tensors[FILL][1], atol=0.05)


@pytest.mark.parametrize("combine", ["concat", "mean"])
def test_the_tested_predictions_are_those_of_the_map(learn, here, s1, s2, tmp_path, monkeypatch, combine):
    asked = []

    def listening(*given):
        asked.extend(given)
        return report_on(*given)

    monkeypatch.setattr("dofa_cli.pipelines.train.report_on", listening)
    learn(s2, s1, combine=combine)
    _, lesson, _, result, _ = asked
    segment([s2, s1], tmp_path / "map.tif", head=tmp_path / "head.pt", weights=str(here / "tiny.safetensors"))
    with rasterio.open(tmp_path / "map.tif") as file:
        mapped = file.read(1)[lesson.points.row[result.at], lesson.points.col[result.at]]
    predicted = np.array(lesson.classes.values)[result.outputs.argmax(axis=1)]
    assert (mapped == predicted).mean() > 0.999


def test_two_dates_of_a_sensor_are_two_inputs(learn, here, tmp_path):
    dull, bright = optical(tmp_path / "a.tif"), optical(tmp_path / "b.tif", squares(), seed=1)
    report = learn(f"{dull}:sentinel2:2024-05", f"{bright}:sentinel2:2024-08")
    assert accuracy(report) > 0.9
    assert [one.date for one in load_head(tmp_path / "head.pt").recipe.inputs] == ["2024-05", "2024-08"]


def flipped(path):
    """Store the rows of a raster the other way round, south up."""
    with rasterio.open(path) as file:
        values, transform, height = file.read(), file.transform, file.height
    turned = transform @ Affine.translation(0, height) @ Affine.scale(1, -1)
    return turned, values[:, ::-1]


def in_degrees(path, target):
    """Warp a raster to longitude and latitude."""
    with rasterio.open(path) as file, WarpedVRT(file, crs="EPSG:4326", nodata=np.nan, dtype="float32") as view:
        place = {"transform": view.transform, "crs": view.crs, "nodata": np.nan}
        return write_raster(target, view.read(), ("VV", "VH"), **place)


@pytest.mark.parametrize("how", ["coarser", "finer", "another CRS", "south up"])
def test_the_second_input_may_lie_on_any_grid(learn, here, s2, tmp_path, how):
    classes = squares()
    path = tmp_path / "s1.tif"
    if how in ("coarser", "finer"):
        radar(path, classes, pixel=20 if how == "coarser" else 5)
    elif how == "another CRS":
        path = in_degrees(here / "s1.tif", path)
    else:
        transform, values = flipped(here / "s1.tif")
        write_raster(path, values, ("VV", "VH"), transform=transform)
    assert accuracy(learn(s2, f"{path}:sentinel1")) > 0.85


def test_the_first_input_may_be_south_up(learn, here, s1, tmp_path):
    transform, values = flipped(here / "S2A_MSIL1C_s2.tif")
    path = write_raster(tmp_path / "S2A_MSIL1C_up.tif", values, TRAINED, transform=transform)
    assert accuracy(learn(f"{path}:sentinel2", s1)) > 0.9


def test_places_that_lack_an_input_still_train(learn, here, s1, s2, tmp_path):
    said = []
    away = {"transform": TRANSFORM @ Affine.translation(3 * WIDTH, 0)}
    bright = optical(tmp_path / "far.tif", squares(5), seed=2, **away)
    names = {"S2A_MSIL1C_s2": squares(), "far": squares(5)}
    (tmp_path / "masks").mkdir()
    for name, classes in names.items():
        labels(tmp_path / "masks" / f"{name}.tif", classes)
    write_raster(tmp_path / "masks" / "far.tif", (squares(5) * 4 + 3)[None].astype(np.uint8), **away)
    learn(s2, s1, f"{bright}:sentinel2", labels=tmp_path / "masks", say=said.append)
    assert any("1 of 2 places have no sentinel1" in line for line in said)
    missing = next(line for line in said if "of the cells around labels" in line)
    assert 0.4 < float(missing.split()[4].removesuffix("%")) / 100 < 0.6


def test_cells_without_data_of_one_input_are_told(learn, here, s2, tmp_path):
    said = []
    with rasterio.open(here / "s1.tif") as file:
        values = file.read()
    values[:, :, : WIDTH // 2] = np.nan
    path = write_raster(tmp_path / "half.tif", values, ("VV", "VH"), nodata=np.nan)
    learn(s2, f"{path}:sentinel1", say=said.append)
    share = next(line for line in said if "cells around labels" in line)
    assert share == "sentinel1 is missing in 50.0% of the cells around labels."


def test_each_input_is_found_on_disk_by_its_own_pixels(learn, here, s2, tmp_path):
    path = radar(tmp_path / "coarse.tif", squares(), pixel=20)
    heard = [[] for _ in range(3)]
    learn(s2, f"{path}:sentinel1", seed=3, name="a.pt", say=heard[0].append)
    learn(s2, f"{path}:sentinel1", seed=3, name="b.pt", combine="mean", say=heard[1].append)
    learn(f"{path}:sentinel1", s2, seed=3, name="c.pt", say=heard[2].append)
    taken = [[line for line in said if "taken from" in line] for said in heard]
    assert "of 2 of 2 scenes" in taken[1][0]
    assert not taken[2]  # the same files, on other pixels


def test_one_input_alone_is_a_scene_of_that_sensor(learn, here, s1, tmp_path):
    learn(s1)
    plain = load_head(tmp_path / "head.pt")
    learn(here / "s1.tif", sensor="sentinel1", name="plain.pt")
    other = load_head(tmp_path / "plain.pt")
    assert plain.recipe == other.recipe
    assert torch.equal(plain.tensors["weight"], other.tensors["weight"])


def test_inputs_may_be_given_as_objects(learn, here, s2, s1, tmp_path):
    learn(
        Input((str(here / "S2A_MSIL1C_s2.tif"),), "sentinel2"),
        Input((str(here / "s1.tif"),), "sentinel1"),
    )
    found = load_head(tmp_path / "head.pt")
    learn(s2, s1, name="again.pt")
    assert torch.equal(found.tensors["weight"], load_head(tmp_path / "again.pt").tensors["weight"])


def test_cross_validation_fills_by_round(learn, s1, s2):
    report = learn(s2, s1, cv=3)
    assert report.assessment.measured.samples == HEIGHT * WIDTH
    assert accuracy(report) > 0.9


WRONG = {
    "unknown sensor": (["{s2}", "{here}/s1.tif:sentinal1"], {}, UnknownSensor, "Did you mean 'sentinel1'"),
    "plain among inputs": (["{s2}", "{here}/s1.tif"], {}, OptionError, "names no sensor"),
    "same key, same ground": (["{s2}", "{s1}", "{here}/s1b.tif:sentinel1"], {}, OptionError, "both sentinel1 of the"),
    "same first key": (["{s2}", "{here}/s2b.tif:sentinel2", "{s1}"], {}, OptionError, "both sentinel2 of the"),
    "apart": (["{s2}", "{here}/away.tif:sentinel1"], {}, GridError, "do not cover the same ground"),
    "dense": (["{s2}", "{s1}"], {"method": "upernet"}, OptionError, "linear, knn and mlp"),
    "one sensor's option": (["{s2}", "{s1}"], {"sensor": "sentinel2"}, OptionError, "--sensor would hold for all"),
    "no labels": (["{s2}", "{s1}"], {"labels": None}, OptionError, "labels on the ground"),
    "no such labels": (["{s2}", "{s1}"], {"labels": "none.gpkg"}, LabelsUnreadable, "No labels at"),
    "nothing to combine": (["{s2}"], {"combine": "mean"}, OptionError, "there is one"),
    "combined wrongly": (["{s2}", "{s1}"], {"combine": "meen"}, OptionError, "Did you mean mean"),
    "sensor twice": (["{s2}"], {"sensor": "sentinel1"}, OptionError, "names its sensor"),
    "images as a whole": (["{s2}", "{s1}"], {"task": "classify"}, OptionError, "labels on the ground"),
}


@pytest.fixture(scope="module")
def more(here):
    """Scenes that are wrong beside the others."""
    radar(here / "s1b.tif", squares())
    optical(here / "s2b.tif")
    radar(here / "away.tif", squares(), transform=TRANSFORM @ Affine.translation(0, 5 * HEIGHT))
    return here


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_refused(learn, more, s1, s2, tmp_path, case):
    scenes, options, error, text = case
    with pytest.raises(error, match=text):
        learn(*(one.format(s1=s1, s2=s2, here=more) for one in scenes), **options)
    assert not list(tmp_path.glob("head*"))


def test_an_input_without_valid_pixels_is_refused(learn, here, s2, tmp_path):
    empty = write_raster(
        tmp_path / "empty.tif", np.full((2, HEIGHT, WIDTH), np.nan, np.float32), ("VV", "VH"), nodata=np.nan
    )
    with pytest.raises(TooFewLabels, match="No training sample lies where sentinel1"):
        learn(s2, f"{empty}:sentinel1")


def test_the_report_is_json_with_the_inputs(learn, s1, s2, tmp_path):
    learn(s2, s1)
    plain = json.loads((tmp_path / "head.report.json").read_text())
    assert plain["facts"]["inputs joined by"] == "concat"
