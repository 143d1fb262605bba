"""The verb as a whole, on scenes and labels made here."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from shapely.geometry import box

from dofa_cli.errors import LabelsMiss, OptionError, OutputExists, TooFewLabels, UnknownField
from dofa_cli.heads.file import load_head
from dofa_cli.pipelines.learning.report import report_on
from dofa_cli.pipelines.segment import segment
from dofa_cli.pipelines.train import train
from tests.made import TRANSFORM, UTM, sentinel2_scene, tiny_weights, write_raster

HEIGHT, WIDTH = 150, 170


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOFA_CACHE", str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A scene, and labels that follow its brightness in three steps: as raster and as polygons."""
    folder = tmp_path_factory.mktemp("data")
    scene = sentinel2_scene(folder / "scene.tif", HEIGHT, WIDTH)
    with rasterio.open(scene) as file:
        bright = file.read().mean(axis=0)
    coarse = bright[: HEIGHT // 10 * 10].reshape(15, 10, 17, 10).mean(axis=(1, 3))
    classes = np.digitize(coarse, np.quantile(coarse, [1 / 3, 2 / 3])).astype(np.uint8)
    labels = np.kron(classes, np.ones((10, 10), np.uint8))
    write_raster(folder / "labels.tif", labels[None] * 5 + 2)
    write_raster(folder / "height.tif", bright[None].astype(np.float32))
    squares, names = [], []
    for row, col in np.argwhere(classes >= 0):
        corners = [TRANSFORM @ (col * 10 + 1, row * 10 + 9), TRANSFORM @ (col * 10 + 9, row * 10 + 1)]
        squares.append(box(*corners[0], *corners[1]))
        names.append(("dark", "grey", "bright")[classes[row, col]])
    gpd.GeoDataFrame({"cover": names}, geometry=squares, crs=UTM).to_crs(4326).to_file(folder / "fields.gpkg")
    return folder


@pytest.fixture
def run(weights, data, tmp_path):
    def run(head="head.pt", scene="scene.tif", labels="labels.tif", **options):
        given = {"scene": str(data / scene), "labels": str(data / labels), "sensor": "sentinel2"}
        return train(tmp_path / head, **{**given, "weights": weights, **options})

    return run


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    """Two classes of images that differ in brightness."""
    folder = tmp_path_factory.mktemp("chips")
    rng = np.random.default_rng(0)
    for number in range(40):
        name = "dark" if number % 2 else "bright"
        (folder / name).mkdir(exist_ok=True)
        values = rng.normal(60 if number % 2 else 180, 20, (3, 64, 64)).clip(1, 255).astype(np.uint8)
        with rasterio.open(
            folder / name / f"{number:02}.png", "w", driver="PNG", count=3, height=64, width=64, dtype="uint8"
        ) as file:
            file.write(values)
    return folder


def notes(**options):
    heard: list[str] = []
    return heard, {"say": heard.append, **options}


def test_a_head_is_written_with_its_report(run, tmp_path):
    report = run(settings={"c": [1.0]}, command="dofa train head.pt")
    head = load_head(tmp_path / "head.pt")
    assert head.classes.values == (2, 7, 12)
    assert (head.recipe.window, head.recipe.overlap, head.recipe.sensor) == (64, 16, "sentinel2")
    assert head.metrics["overall_accuracy"] > 0.45  # of three classes, from random features
    plain = json.loads((tmp_path / "head.report.json").read_text())
    assert plain["scores"]["mean_iou"]["value"] == pytest.approx(head.metrics["mean_iou"])
    assert "blocks of" in plain["split"]["description"]
    assert plain["split"]["samples"]["test"] == report.assessment.split.counts["test"]
    page = (tmp_path / "head.report.html").read_text()
    assert "scene.tif" in page
    assert len(plain["mistakes"]) == page.count("% sure")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.pt", "head.report.html", "head.report.json"]


@pytest.mark.parametrize(("method", "settings"), [("linear", {"c": 1.0}), ("upernet", {"epochs": 1, "channels": 8})])
def test_the_tested_predictions_are_those_of_the_map(run, data, weights, tmp_path, monkeypatch, method, settings):
    asked = []

    def listening(*given):
        asked.extend(given)
        return report_on(*given)

    monkeypatch.setattr("dofa_cli.pipelines.train.report_on", listening)
    run(method=method, settings=settings, zoom=2)
    _, lesson, _, result, _ = asked
    segment(data / "scene.tif", tmp_path / "map.tif", head=tmp_path / "head.pt", weights=weights)
    with rasterio.open(tmp_path / "map.tif") as file:
        mapped = file.read(1)[lesson.points.row[result.at], lesson.points.col[result.at]]
    predicted = np.array(lesson.classes.values)[result.outputs.argmax(axis=1)]
    assert (mapped == predicted).mean() > 0.999


def test_another_method_finds_the_embeddings_on_disk(run):
    first, options = notes(method="knn", seed=5)
    report = run("a.pt", **options)
    again, options = notes(method="knn", seed=5)
    assert run("b.pt", **options).assessment.measured.values == report.assessment.measured.values
    assert not any("taken from" in line for line in first)
    assert any("1 of 1 scenes taken from" in line for line in again)


def test_polygons_in_another_system_stay_whole(run, tmp_path):
    report = run(labels="fields.gpkg", class_field="cover", method="mlp", settings={"epochs": 3})
    assert report.classes == ("bright", "dark", "grey")
    assert report.samples["train"] > 5000
    assert load_head(tmp_path / "head.pt").classes.values == (1, 2, 3)


def test_every_fold_is_tested_and_all_labels_train_the_head(run, data):
    report = run(method="knn", cv=3)
    with rasterio.open(data / "labels.tif") as file:
        assert report.assessment.measured.samples == file.read().size
    assert "cross-validation" in report.split
    assert "trained on all labels" in report.split


def test_training_samples_of_a_class_can_be_few(run):
    report = run(method="knn", max_per_class=7)
    assert report.assessment.split.counts["train"] == [7, 7, 7]


def test_the_best_of_several_zooms_is_kept(run, tmp_path):
    heard, options = notes(zoom="1,2", method="knn")
    report = run(**options)
    scores = [float(line.split(" on ")[0].split()[-1]) for line in heard if "mean iou" in line]
    assert report.zoom == (1, 2)[int(np.argmax(scores))]
    assert load_head(tmp_path / "head.pt").recipe.zoom == report.zoom


def test_values_of_one_name_become_one_class(run, tmp_path):
    (tmp_path / "names.csv").write_text("value,name\n2,low\n7,low\n12,high\n")
    report = run(method="knn", class_names=tmp_path / "names.csv")
    assert report.classes == ("low", "high")
    assert load_head(tmp_path / "head.pt").classes.values == (2, 12)


def test_numbers_are_regressed_and_scaled_back(run, tmp_path):
    report = run(labels="height.tif", task="regress", unit="m")
    head = load_head(tmp_path / "head.pt")
    assert head.target.mean == pytest.approx(1300, abs=150)
    assert head.target.unit == "m"
    assert report.assessment.measured.values["rmse"] < 2 * head.target.std
    assert "RMSE" in report.summary()[0]


@pytest.mark.parametrize("method", ["linear", "lora"])
def test_class_folders_are_images_of_classes(weights, chips, tmp_path, method):
    settings = {"epochs": 2, "batch": 8} if method == "lora" else {}
    report = train(
        tmp_path / "head.pt",
        scene=chips,
        sensor="sentinel2",
        bands="rgb",
        weights=weights,
        method=method,
        settings=settings,
    )
    assert report.task == "classify"
    assert "no coordinates" in report.split
    head = load_head(tmp_path / "head.pt")
    assert (head.recipe.level, head.recipe.chip) == ("window", 64)
    if method == "linear":
        assert report.assessment.measured.values["overall_accuracy"] == 1


@pytest.mark.parametrize("several", [False, True])
def test_a_table_decides_splits_and_labels(weights, chips, tmp_path, several):
    images = sorted(map(str, chips.rglob("*.png")))
    labels = [f"{path.split('/')[-2]}|image" if several else path.split("/")[-2] for path in images]
    split = ["test" if n % 4 == 0 else "train" for n in range(len(images))]
    pd.DataFrame({"image": images, "label": labels, "split": split}).to_csv(tmp_path / "list.csv", index=False)
    report = train(tmp_path / "head.pt", labels=tmp_path / "list.csv", sensor="sentinel2", bands="rgb", weights=weights)
    assert report.assessment.measured.samples == split.count("test")
    assert "column 'split'" in report.split
    assert load_head(tmp_path / "head.pt").several is several


def test_many_scenes_are_split_as_a_whole(weights, tmp_path):
    rows = []
    for number in range(6):
        scene = sentinel2_scene(tmp_path / f"s{number}.tif", 64, 64, crs=None)
        labels = np.kron(np.random.default_rng(number).integers(1, 3, (4, 4)), np.ones((16, 16))).astype(np.uint8)
        write_raster(tmp_path / f"l{number}.tif", labels[None], crs=None)
        rows.append((scene.name, f"l{number}.tif"))
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "list.csv", index=False)
    options = {"sensor": "sentinel2", "product": "l1c", "weights": weights, "method": "knn"}
    report = train(tmp_path / "head.pt", labels=tmp_path / "list.csv", **options)
    assert "whole scenes (6 in" in report.split
    assert report.samples["test"] % 4096 == 0


def test_existing_outputs_are_refused_before_any_work(run, tmp_path):
    (tmp_path / "head.report.html").write_text("mine")
    with pytest.raises(OutputExists, match=r"head\.report\.html"):
        run(labels="gone.tif")
    assert (tmp_path / "head.report.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": "fields.gpkg", "class_field": "covr"}, UnknownField, "cover"),
        ({"ignore": "2,7"}, TooFewLabels, "one class"),
        ({"task": "classify"}, OptionError, "class folders"),
        ({"method": "liner"}, OptionError, "Did you mean linear"),
        ({"zoom": "big"}, OptionError, "1,2,4"),
        ({"settings": {"epoch": 3}, "method": "mlp"}, OptionError, "epochs"),
        ({"block": "5000m"}, TooFewLabels, "--block"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path, options, error, words):
    with pytest.raises(error, match=words) as caught:
        run(**options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_labels_elsewhere_are_told(run, tmp_path):
    far = gpd.GeoDataFrame({"cover": ["a", "b"]}, geometry=[box(0, 0, 1, 1), box(1, 1, 2, 2)], crs=4326)
    far.to_file(tmp_path / "far.gpkg")
    with pytest.raises(LabelsMiss):
        run(labels=tmp_path / "far.gpkg", class_field="cover")
