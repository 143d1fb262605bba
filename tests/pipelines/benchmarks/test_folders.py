"""Data sets in folders, and how they are split."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from dofa_cli.errors import LabelsUnreadable, SceneNotFound
from dofa_cli.pipelines.benchmarks.folders import read_class_folders, read_label_rasters
from dofa_cli.pipelines.benchmarks.rows import Row, counts, limited, with_splits, write_rows


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def told(rows, folder):
    return {(row.image.removeprefix(f"{folder}/"), row.label, row.split) for row in rows}


class TestClassFolders:
    def test_are_classes(self, tmp_path):
        touch(tmp_path, "forest/1.jpg", "forest/2.jpg", "river/1.tif", "river/notes.txt")
        assert told(read_class_folders(tmp_path), tmp_path) == {
            ("forest/1.jpg", "forest", ""),
            ("forest/2.jpg", "forest", ""),
            ("river/1.tif", "river", ""),
        }

    def test_may_lie_in_parts_or_one_folder_down(self, tmp_path):
        touch(
            tmp_path, "set/train/forest/1.jpg", "set/train/river/2.jpg", "set/val/river/3.jpg", "set/test/river/4.jpg"
        )
        assert told(read_class_folders(tmp_path), tmp_path / "set") == {
            ("train/forest/1.jpg", "forest", "train"),
            ("train/river/2.jpg", "river", "train"),
            ("val/river/3.jpg", "river", "validation"),
            ("test/river/4.jpg", "river", "test"),
        }

    def test_are_split_by_lists_beside_them(self, tmp_path):
        touch(tmp_path, "NWPU/forest/forest_1.jpg", "NWPU/river/river_1.jpg", "NWPU/river/river_2.jpg")
        (tmp_path / "resisc45-train.txt").write_text("forest_1.jpg\n")
        (tmp_path / "resisc45-test.txt").write_text("river_2.jpg\n")
        rows = read_class_folders(tmp_path / "NWPU")
        assert {(row.label, row.split) for row in rows} == {("forest", "train"), ("river", "test")}

    def test_that_are_none_are_refused(self, tmp_path):
        touch(tmp_path, "1.jpg")
        with pytest.raises(SceneNotFound, match="has no class folders"):
            read_class_folders(tmp_path)
        with pytest.raises(SceneNotFound, match="No folder"):
            read_class_folders(tmp_path / "none")


class TestLabelRasters:
    def test_pair_by_name(self, tmp_path):
        touch(tmp_path, "img/1.tif", "img/2.tif", "label/1.tif", "label/2.png", "img/alone.tif")
        rows = read_label_rasters(tmp_path)
        assert [(row.image, row.label) for row in rows] == [
            (str(tmp_path / "img/1.tif"), str(tmp_path / "label/1.tif")),
            (str(tmp_path / "img/2.tif"), str(tmp_path / "label/2.png")),
        ]

    @pytest.mark.parametrize("layout", ["train/img/1.tif train/label/1.tif", "img_dir/train/1.tif ann_dir/train/1.tif"])
    def test_may_lie_in_parts(self, tmp_path, layout):
        touch(tmp_path, *layout.split(), *layout.replace("train", "val").split())
        assert Counter(row.split for row in read_label_rasters(tmp_path)) == {"train": 1, "validation": 1}

    def test_without_pairs_are_refused(self, tmp_path):
        touch(tmp_path, "images/1.tif", "masks/2.tif")
        with pytest.raises(LabelsUnreadable, match="has the name of an image"):
            read_label_rasters(tmp_path)
        with pytest.raises(SceneNotFound, match="no folders of images and label rasters"):
            read_label_rasters(tmp_path / "images")


UNSPLIT = tuple(Row(f"{n}.jpg", "forest" if n % 3 else "river", "") for n in range(90))


class TestRows:
    def test_are_dealt_by_share_and_class_the_same_each_time(self):
        found = with_splits(UNSPLIT, (0.6, 0.2, 0.2), 0, by_label=True)
        assert counts(found) == {"train": 54, "validation": 18, "test": 18}
        assert Counter(row.label for row in found if row.split == "test") == {"forest": 12, "river": 6}
        assert found == with_splits(UNSPLIT, (0.6, 0.2, 0.2), 0, by_label=True)
        assert found != with_splits(UNSPLIT, (0.6, 0.2, 0.2), 1, by_label=True)

    def test_keep_the_split_that_they_have(self):
        rows = [Row("1", "a", "test"), Row("2", "a", "train")]
        assert with_splits(rows, (0.6, 0.2, 0.2), 0, by_label=True) == rows

    def test_are_limited_class_by_class(self):
        found = limited(with_splits(UNSPLIT, (0.6, 0.2, 0.2), 0, by_label=True), 10, 0)
        assert counts(found) == {"train": 10, "validation": 10, "test": 10}
        assert Counter(row.label for row in found if row.split == "train") == {"forest": 5, "river": 5}

    def test_become_a_table(self, tmp_path):
        write_rows(tmp_path / "t.csv", [Row(str(tmp_path / "ä,b.tif"), "x|y", "train")], "sentinel2")
        with (tmp_path / "t.csv").open(encoding="utf-8") as file:
            assert list(csv.reader(file)) == [
                ["image", "label", "sensor", "split"],
                [str(tmp_path / "ä,b.tif"), "x|y", "sentinel2", "train"],
            ]
