from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dofa_cli.errors import LabelsUnreadable, OptionError, TooFewLabels, UnknownField
from dofa_cli.pipelines.learning.label_table import LabelKind, class_folders, class_names, rasters_beside, read_table


@pytest.fixture
def images(tmp_path):
    for name in ("a.tif", "b.tif", "c.tif"):
        (tmp_path / name).write_bytes(b"")
    return ["a.tif", "b.tif", "c.tif"]


def table(tmp_path, **columns):
    path = tmp_path / "list.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_paths_are_relative_to_the_table(tmp_path, images):
    found = read_table(table(tmp_path, image=images, label=["x", "y", "x"]))
    assert [row.image for row in found.rows] == [str(tmp_path / name) for name in images]
    assert found.kind is LabelKind.NAMES


@pytest.mark.parametrize(
    ("labels", "kind", "first"),
    [
        (["forest", "water", "forest"], LabelKind.NAMES, "forest"),
        ([1, 2, 1], LabelKind.NAMES, "1"),
        (["forest|water", "water", "forest"], LabelKind.SEVERAL, ("forest", "water")),
        ([0.5, 2.0, 1.0], LabelKind.NUMBERS, 0.5),
        (["b.tif", "c.tif", "a.tif"], LabelKind.RASTERS, "b.tif"),
    ],
)
def test_labels_are_told_by_what_they_hold(tmp_path, images, labels, kind, first):
    found = read_table(table(tmp_path, image=images, label=labels))
    assert found.kind is kind
    assert found.rows[0].label == (str(tmp_path / first) if kind is LabelKind.RASTERS else first)


def test_whole_numbers_are_numbers_when_asked_for(tmp_path, images):
    found = read_table(table(tmp_path, image=images, height=[3, 4, 5]), "height", numbers=True)
    assert [row.label for row in found.rows] == [3.0, 4.0, 5.0]


def test_lists_of_a_parquet_table_are_several_labels(tmp_path, images):
    path = tmp_path / "list.parquet"
    pd.DataFrame({"image": images, "label": [["x", "y"], ["y"], ["x"]]}).to_parquet(path)
    assert read_table(path).rows[0].label == ("x", "y")


def test_splits_go_by_many_names(tmp_path, images):
    found = read_table(table(tmp_path, image=images, label=["x", "y", "x"], split=["train", "valid", "Test"]))
    assert [row.split for row in found.rows] == ["train", "validation", "test"]


def test_rows_without_a_label_are_counted(tmp_path, images):
    found = read_table(table(tmp_path, image=images, label=["x", None, "y"]))
    assert len(found.rows) == 2
    assert "1 rows" in found.notes[0]


def test_a_missing_column_is_named_with_what_is_near(tmp_path, images):
    with pytest.raises(UnknownField, match=r"no column 'image'.*Did you mean 'images'"):
        read_table(table(tmp_path, images=images, label=["x", "y", "x"]))


def test_a_missing_image_is_named(tmp_path, images):
    with pytest.raises(LabelsUnreadable, match=r"gone\.tif"):
        read_table(table(tmp_path, image=["a.tif", "gone.tif"], label=["x", "y"]))


@pytest.mark.parametrize(("column", "value"), [("split", "holdout"), ("fold", "first")])
def test_an_unknown_split_names_its_row(tmp_path, images, column, value):
    with pytest.raises(OptionError, match=f"'{value}' in row 3"):
        read_table(table(tmp_path, image=["a.tif", "b.tif"], label=["x", "y"], **{column: [None, value]}))


def test_an_empty_table_holds_too_few_labels(tmp_path):
    with pytest.raises(TooFewLabels):
        read_table(table(tmp_path, image=[], label=[]))


def test_several_sensors_need_several_heads(tmp_path, images):
    found = read_table(table(tmp_path, image=images, label=["x", "y", "x"], sensor=["naip", "sentinel2", "naip"]))
    with pytest.raises(OptionError, match="naip, sentinel2"):
        _ = found.sensor


def test_subfolders_are_classes(tmp_path):
    for name in ("water", "forest"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"")
    (tmp_path / "water" / "notes.txt").write_text("no image")
    found = class_folders(tmp_path)
    assert found is not None
    assert [row.label for row in found.rows] == ["forest", "water"]
    assert class_names(found.rows) == ["forest", "water"]
    assert class_folders(tmp_path / "water") is None


def test_label_rasters_are_paired_by_stem(tmp_path):
    (tmp_path / "t1.png").write_bytes(b"")
    found = rasters_beside(["images/t1.tif", "images/t2.tif"], tmp_path)
    assert [(row.image, row.label) for row in found.rows] == [("images/t1.tif", str(tmp_path / "t1.png"))]
    assert "1 scenes" in found.notes[0]
    with pytest.raises(LabelsUnreadable, match="'x9"):
        rasters_beside(["images/x9.tif"], tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path, images):
    with pytest.raises(OptionError, match="'tall'"):
        read_table(table(tmp_path, image=images, label=["1", "tall", "2"]), numbers=True)


def test_damaged_tables_are_unreadable(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(np.random.default_rng(0).bytes(64))
    with pytest.raises(LabelsUnreadable, match=r"bad\.parquet"):
        read_table(tmp_path / "bad.parquet")
