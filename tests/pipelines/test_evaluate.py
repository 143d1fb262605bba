"""The verb ``dofa evaluate``: heads on new labels, compared and held to a threshold."""

from __future__ import annotations

import csv
import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from dofa_cli.classes import ClassTable
from dofa_cli.errors import BelowThreshold, LabelError, LabelsMiss, OptionError, OutputExists, TooFewLabels, WrongHead
from dofa_cli.pipelines.evaluate import evaluate
from dofa_cli.pipelines.evaluation.evidence import Kept
from dofa_cli.pipelines.segment import segment
from dofa_cli.raster.source import close_handles
from tests.made import TRAINED, TRANSFORM, UTM, reflectance, sentinel2_scene, tiny_weights, write_raster
from tests.pipelines.head_cases import linear_head, recipe_for, saved
from tests.pipelines.image_heads import BIOMASS, image_head

CLASSES = ClassTable.of([1, 4, 9], {1: "water", 4: "forest", 9: "fields"})
ROWS, COLS = 96, 112


@pytest.fixture(autouse=True)
def closed():
    yield
    close_handles()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "scene.tif", ROWS, COLS)


@pytest.fixture(scope="module")
def maps(scene, weights, tmp_path_factory):
    """A segment head, and the map that it makes of the scene."""
    folder = tmp_path_factory.mktemp("maps")
    head = saved(linear_head(recipe_for(scene), weights, CLASSES), folder / "maps.pt")
    segment(scene, folder / "map.tif", head=head, weights=str(weights))
    with rasterio.open(folder / "map.tif") as file:
        return head, file.read(1)


@pytest.fixture(scope="module")
def always(scene, weights, tmp_path_factory):
    """A head of whole images that always says forest."""
    return image_head(scene, weights, tmp_path_factory.mktemp("always"), CLASSES, [0.0, 2.0, 1.0], name="always.pt")


@pytest.fixture
def images(tmp_path):
    """Ten images and a table: seven of forest, two of water, one of swamp."""
    rows = []
    for number in range(10):
        write_raster(tmp_path / f"{number}.tif", reflectance(9, 64, 64, number), TRAINED)
        rows.append((f"{number}.tif", "forest" if number < 7 else "water" if number < 9 else "swamp"))
    return table(tmp_path / "table.csv", rows)


def table(path, rows, columns=("image", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def label_raster(path, values, **profile):
    return write_raster(path, values[None].astype(np.uint8), nodata=255, **profile)


class TestMaps:
    def test_that_agree_with_the_labels_are_perfect(self, maps, scene, weights, tmp_path):
        head, predicted = maps
        labels = label_raster(tmp_path / "labels.tif", predicted)
        done = evaluate(head, scene=scene, labels=labels, weights=str(weights))
        (measured,) = done.measured.values()
        assert measured.samples == ROWS * COLS
        assert measured.values["overall_accuracy"] == 1
        assert measured.values["mean_iou"] == 1
        assert done.files == ()

    def test_are_compared_at_every_labelled_pixel(self, maps, scene, weights, tmp_path):
        head, predicted = maps
        truth = np.random.default_rng(0).choice([1, 4, 9, 255], predicted.shape)
        done = evaluate(head, scene=scene, labels=label_raster(tmp_path / "l.tif", truth), weights=str(weights))
        measured = done.measured["maps"]
        labelled = truth != 255
        expected = [[((truth == a) & (predicted == b) & labelled).sum() for b in (1, 4, 9)] for a in (1, 4, 9)]
        assert measured.confusion.tolist() == expected
        assert "blocks" in measured.uncertainty

    def test_give_areas_in_hectares_corrected_by_the_labels(self, maps, scene, weights, tmp_path):
        head, predicted = maps
        done = evaluate(head, scene=scene, labels=label_raster(tmp_path / "l.tif", predicted), weights=str(weights))
        areas = done.assessments["maps"].areas
        pixel = 100 / 1e4
        for row, value in zip(areas.rows, (1, 4, 9), strict=True):
            assert row.mapped_ha == pytest.approx((predicted == value).sum() * pixel, rel=0.01)
            assert row.adjusted_ha.value == pytest.approx(row.mapped_ha)

    def test_take_polygons_by_the_name_of_their_class(self, maps, scene, weights, tmp_path):
        head, predicted = maps
        cells = [(row, col) for row in (0, 40) for col in (0, 48)]
        shapes = [box(*(TRANSFORM @ (col, row + 30)), *(TRANSFORM @ (col + 30, row))) for row, col in cells]
        frame = gpd.GeoDataFrame({"kind": ["forest", "water", "fields", "forest"]}, geometry=shapes, crs=UTM)
        frame.to_crs("EPSG:4326").to_file(tmp_path / "fields.gpkg")
        done = evaluate(head, scene=scene, labels=tmp_path / "fields.gpkg", class_field="kind", weights=str(weights))
        value = {"forest": 4, "water": 1, "fields": 9}
        right = sum(
            (predicted[row : row + 30, col : col + 30] == value[kind]).sum()
            for (row, col), kind in zip(cells, frame["kind"], strict=True)
        )
        measured = done.measured["maps"]
        assert measured.samples == pytest.approx(3600, abs=4)
        assert measured.values["overall_accuracy"] == pytest.approx(right / 3600, abs=0.01)

    def test_of_several_scenes_are_added_up(self, maps, scene, weights, tmp_path):
        head, predicted = maps
        labels = tmp_path / "labels"
        labels.mkdir()
        label_raster(labels / "scene.tif", predicted)
        other = sentinel2_scene(tmp_path / "other.tif", 64, 64)
        label_raster(labels / "other.tif", np.full((64, 64), 4))
        done = evaluate(head, scene=[scene, other], labels=labels, weights=str(weights))
        assert done.measured["maps"].samples == ROWS * COLS + 64 * 64

    def test_of_numbers_are_scored_as_numbers(self, scene, weights, tmp_path):
        head = saved(linear_head(recipe_for(scene), weights, None), tmp_path / "height.pt")
        segment(scene, tmp_path / "height.tif", head=head, weights=str(weights))
        with rasterio.open(tmp_path / "height.tif") as file:
            predicted = file.read(1)
        labels = write_raster(tmp_path / "truth.tif", (predicted + 2)[None])
        measured = evaluate(head, scene=scene, labels=labels, weights=str(weights)).measured["height"]
        assert measured.values["rmse"] == pytest.approx(2, rel=1e-4)
        assert measured.values["bias"] == pytest.approx(-2, rel=1e-4)
        assert measured.unit == "m"

    def test_need_labels_that_touch_them(self, maps, scene, weights, tmp_path):
        far = gpd.GeoDataFrame({"kind": ["forest"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:4326")
        far.to_file(tmp_path / "far.gpkg")
        with pytest.raises(LabelsMiss):
            evaluate(maps[0], scene=scene, labels=tmp_path / "far.gpkg", class_field="kind", weights=str(weights))


class TestImages:
    def test_are_compared_with_the_table(self, always, images, weights):
        done = evaluate(always, labels=images, weights=str(weights))
        measured = done.measured["always"]
        assert measured.samples == 9
        assert measured.values["overall_accuracy"] == pytest.approx(7 / 9)
        notes = done.assessments["always"].all_notes
        assert any("no class of the head do not count: swamp (1 images)" in note for note in notes)

    @pytest.mark.usefixtures("images")
    def test_of_the_test_part_count_alone(self, always, weights, tmp_path):
        rows = [(f"{n}.tif", "forest" if n < 7 else "water", "test" if n > 5 else "train") for n in range(9)]
        listed = table(tmp_path / "split.csv", rows, ("image", "label", "split"))
        measured = evaluate(always, labels=listed, weights=str(weights)).measured["always"]
        assert measured.samples == 3
        assert measured.values["overall_accuracy"] == pytest.approx(1 / 3)

    @pytest.mark.usefixtures("images")
    def test_with_several_labels_get_average_precision(self, scene, weights, tmp_path):
        head = image_head(scene, weights, tmp_path, CLASSES, [1.0, 1.0, -1.0], several=True, name="several.pt")
        rows = [(f"{n}.tif", "forest|water" if n % 2 else "forest") for n in range(4)]
        measured = evaluate(head, labels=table(tmp_path / "s.csv", rows), weights=str(weights)).measured["several"]
        assert measured.values["micro_f1"] == pytest.approx(2 * 6 / (6 + 8))

    @pytest.mark.usefixtures("images")
    def test_with_numbers_are_scored_as_numbers(self, scene, weights, tmp_path):
        head = image_head(scene, weights, tmp_path, None, [0.5], target=BIOMASS, name="biomass.pt")
        listed = table(tmp_path / "n.csv", [(f"{n}.tif", 10.5 + n % 2) for n in range(4)])
        measured = evaluate(head, labels=listed, weights=str(weights)).measured["biomass"]
        assert measured.values["bias"] == pytest.approx(0)
        assert measured.values["mae"] == pytest.approx(0.5)

    @pytest.mark.usefixtures("images")
    def test_without_a_known_label_are_refused(self, always, weights, tmp_path):
        listed = table(tmp_path / "l.csv", [("0.tif", "swamp"), ("1.tif", "bog")])
        with pytest.raises(LabelError, match=r"the labels are bog, swamp, its classes water, forest, fields"):
            evaluate(always, labels=listed, weights=str(weights))


class TestReport:
    def test_is_a_page_and_json(self, always, images, weights, tmp_path):
        done = evaluate(
            always, labels=images, weights=str(weights), output=tmp_path / "r.html", command="dofa evaluate"
        )
        assert done.files == (tmp_path / "r.html", tmp_path / "r.json")
        plain = json.loads((tmp_path / "r.json").read_text())
        assert plain["scores"]["overall_accuracy"]["value"] == pytest.approx(7 / 9)
        assert plain["command"] == "dofa evaluate"
        assert "always" in (tmp_path / "r.html").read_text()

    def test_compares_heads(self, always, scene, images, weights, tmp_path):
        other = image_head(scene, weights, tmp_path, CLASSES, [2.0, 0.0, 1.0], name="water.pt")
        done = evaluate([always, other], labels=images, weights=str(weights), output=tmp_path / "r.json")
        (duel,) = done.comparison.duels
        assert (duel.only_first, duel.only_second) == (7, 2)
        assert duel.p_value == pytest.approx(2 * (1 + 9 + 36) / 2**9)
        plain = json.loads((tmp_path / "r.json").read_text())
        assert [one["name"] for one in plain["heads"]] == ["always", "water"]
        assert plain["comparison"]["duels"][0]["p_value"] == pytest.approx(duel.p_value)

    def test_of_heads_of_one_name_tells_them_by_folder(self, always, scene, images, weights, tmp_path):
        (tmp_path / "new").mkdir()
        twin = image_head(scene, weights, tmp_path / "new", CLASSES, [2.0, 0.0, 1.0], name="always.pt")
        done = evaluate([always, twin], labels=images, weights=str(weights))
        assert list(done.measured) == [f"{always.parent.name}/always", "new/always"]

    def test_is_written_before_a_threshold_is_missed(self, always, images, weights, tmp_path):
        with pytest.raises(BelowThreshold, match=r"overall accuracy is 0\.778, under the threshold of 0\.8"):
            evaluate(always, labels=images, weights=str(weights), output=tmp_path / "r.html", fail_under=0.8)
        assert (tmp_path / "r.html").exists()
        evaluate(always, labels=images, weights=str(weights), fail_under=0.7)
        with pytest.raises(BelowThreshold, match="mean IoU"):
            evaluate(always, labels=images, weights=str(weights), fail_under=0.7, metric="miou")

    def test_is_not_overwritten_unasked(self, always, images, tmp_path):
        (tmp_path / "r.json").write_text("mine")
        with pytest.raises(OutputExists):
            evaluate(always, labels=images, output=tmp_path / "r.html")
        assert (tmp_path / "r.json").read_text() == "mine"


class TestRefusals:
    def test_of_labels_of_another_kind(self, always, maps, scene, images, weights, tmp_path):
        with pytest.raises(WrongHead, match="maps pixels, but the labels are of whole images"):
            evaluate(maps[0], labels=images, weights=str(weights))
        labels = label_raster(tmp_path / "l.tif", np.full((ROWS, COLS), 4))
        with pytest.raises(WrongHead, match="whole images, but the labels lie on the ground"):
            evaluate(always, scene=scene, labels=labels, weights=str(weights))

    def test_of_heads_of_different_kinds(self, always, maps, images):
        with pytest.raises(OptionError, match=r"always\.pt \(classify, window\), maps\.pt \(segment, patch\)"):
            evaluate([always, maps[0]], labels=images)

    def test_of_a_head_named_twice(self, always, images):
        with pytest.raises(OptionError, match="named twice"):
            evaluate([always, always], labels=images)

    def test_of_another_report_format(self, always, images, tmp_path):
        with pytest.raises(OptionError, match=r"'r\.pdf' ends in neither"):
            evaluate(always, labels=images, output=tmp_path / "r.pdf")


class TestKept:
    def test_an_even_part_of_too_many_samples_does_not_depend_on_their_order(self):
        rows, cols = (axis.ravel() for axis in np.mgrid[:60, :50])
        values = np.arange(3000)

        def kept(order):
            held = Kept(most=500)
            for part in np.array_split(order, 7):
                held.add(3, (rows[part], cols[part]), (values[part], -values[part]), np.zeros(len(part), np.int64))
            return held

        forwards, backwards = kept(np.arange(3000)), kept(np.arange(3000)[::-1])
        found = forwards.samples(spatial=True)
        assert 200 < len(found.key) <= 500
        assert np.array_equal(found.reference, backwards.samples(spatial=True).reference)
        assert np.array_equal(found.reference, -found.predicted)
        assert "of 3,000 labelled pixels" in next(iter(forwards.notes))

    def test_nothing_is_too_little(self):
        with pytest.raises(TooFewLabels):
            Kept().samples(spatial=True)
