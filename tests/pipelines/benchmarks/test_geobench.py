"""The HDF5 layout of GEO-Bench 1.0, on files written here in the same layout."""

from __future__ import annotations

import json
import pickle
import sys

import h5py
import numpy as np
import pytest
import rasterio

from dofa_cli.errors import BandMismatch, DamagedRaster, LabelsUnreadable, OptionError, SceneNotFound
from dofa_cli.pipelines.benchmarks.geobench import read_geobench
from dofa_cli.pipelines.benchmarks.sets import benchmark

STORED = [
    "01 - Coastal aerosol", "02 - Blue", "03 - Green", "04 - Red", "05 - Vegetation Red Edge",
    "06 - Vegetation Red Edge", "07 - Vegetation Red Edge", "08 - NIR", "08A - Vegetation Red Edge",
    "09 - Water vapour", "10 - SWIR - Cirrus", "11 - SWIR", "12 - SWIR",
]  # fmt: skip
SPLITS = {"train": ["a", "b"], "valid": ["c"], "test": ["d"]}


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def write_sample(path, bands, label=None, date="", bomb=None):
    with h5py.File(path, "w") as file:
        for name, values in bands.items():
            file.create_dataset(name + date, data=values)
        if label is not None:
            file.create_dataset("label" + date, data=label)
        attributes = {"label": 0} if bomb is None else Bomb(bomb)
        file.attrs["pickle"] = str(pickle.dumps(attributes))


def write_set(folder, *, values=None, label=False, date="", labels=None, stats=None, bomb=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "default_partition.json").write_text(json.dumps(SPLITS))
    for number, name in enumerate("abcd"):
        bands = values or {stored: np.full((6, 6), 100.0 * at + number) for at, stored in enumerate(STORED)}
        mask = np.arange(36).reshape(6, 6) % 7 if label else None
        write_sample(folder / f"{name}.hdf5", bands, mask, date, bomb)
    if labels:
        (folder / "label_map.json").write_text(json.dumps(labels))
    if stats:
        (folder / "label_stats.json").write_text(json.dumps(stats))
    return folder


def pixels(row):
    with rasterio.open(row.image) as file:
        return file.read(), file.descriptions


class TestClassification:
    def test_gives_images_labels_and_splits(self, tmp_path):
        write_set(tmp_path / "m-eurosat", labels={"0": ["a", "d"], "9": ["b", "c"]})
        rows = list(read_geobench(benchmark("m-eurosat"), tmp_path, tmp_path / "out"))
        assert [(row.label, row.split) for row in rows] == [
            ("Annual Crop", "train"),
            ("SeaLake", "train"),
            ("SeaLake", "validation"),
            ("Annual Crop", "test"),
        ]
        values, names = pixels(rows[1])
        assert names == ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")
        assert values[:, 0, 0].tolist() == [301, 201, 101, 401, 501, 601, 701, 1001, 1101]
        assert values.dtype == np.uint16

    def test_understands_several_labels(self, tmp_path):
        stats = {name: [1, 0, 1] if name == "a" else [0, 1, 0] for name in "abcd"}
        folder = write_set(tmp_path / "set", stats=stats)
        rows = list(read_geobench(benchmark("m-bigearthnet"), folder, tmp_path / "out"))
        assert [row.label for row in rows] == ["0|2", "1", "1", "1"]

    def test_brings_reflectance_back_to_numbers(self, tmp_path):
        values = {stored: np.full((4, 4), 0.1234) for stored in STORED}
        folder = write_set(tmp_path / "set", values=values, labels={"3": list("abcd")})
        rows = list(read_geobench(benchmark("m-so2sat"), folder, tmp_path / "out"))
        assert rows[0].label == "Open high rise"
        assert set(np.unique(pixels(rows[0])[0])) == {1234}

    def test_keeps_eight_bits(self, tmp_path):
        values = {name: np.full((4, 4), 200.0, np.float32) for name in ("Red", "Green", "Blue")}
        folder = write_set(tmp_path / "set", values=values, labels={"1": list("abcd")})
        row = next(read_geobench(benchmark("m-pv4ger"), folder, tmp_path / "out"))
        assert pixels(row)[0].dtype == np.uint8

    def test_limits_each_part(self, tmp_path):
        folder = write_set(tmp_path / "set", labels={"0": list("abcd")})
        rows = list(read_geobench(benchmark("m-eurosat"), folder, tmp_path / "out", most=1))
        assert [row.split for row in rows] == ["train", "validation", "test"]


class TestSegmentation:
    def test_gives_label_rasters_whatever_the_date(self, tmp_path):
        folder = write_set(tmp_path / "set", label=True, date="_2019-11-05")
        rows = list(read_geobench(benchmark("m-cashew-plant"), folder, tmp_path / "out"))
        with rasterio.open(rows[0].label) as file:
            assert np.array_equal(file.read(1), np.arange(36).reshape(6, 6) % 7)
        assert pixels(rows[0])[0].shape == (9, 6, 6)

    def test_reads_what_was_converted_before(self, tmp_path):
        folder = write_set(tmp_path / "set", label=True)
        first = list(read_geobench(benchmark("m-cashew-plant"), folder, tmp_path / "out"))
        for file in folder.glob("*.hdf5"):
            file.unlink()
        assert list(read_geobench(benchmark("m-cashew-plant"), folder, tmp_path / "out")) == first


class TestRefusals:
    def test_nothing_is_unpickled(self, tmp_path):
        folder = write_set(tmp_path / "set", labels={"0": list("abcd")}, bomb=tmp_path / "exploded")
        assert len(list(read_geobench(benchmark("m-eurosat"), folder, tmp_path / "out"))) == 4
        assert not (tmp_path / "exploded").exists()

    def test_of_a_folder_without_a_partition(self, tmp_path):
        with pytest.raises(LabelsUnreadable, match=r"No default_partition\.json.*GEO-Bench 1\.0"):
            list(read_geobench(benchmark("m-eurosat"), tmp_path, tmp_path / "out"))

    def test_of_labels_that_are_missing(self, tmp_path):
        folder = write_set(tmp_path / "set", labels={"0": ["a"]})
        with pytest.raises(LabelsUnreadable, match="label of 'b'"):
            list(read_geobench(benchmark("m-eurosat"), folder, tmp_path / "out"))

    def test_of_bands_that_are_missing(self, tmp_path):
        folder = write_set(tmp_path / "set", values={"Red": np.ones((4, 4))}, labels={"0": list("abcd")})
        with pytest.raises(BandMismatch, match=r"a\.hdf5 has no band 'Green'; it has Red"):
            list(read_geobench(benchmark("m-pv4ger"), folder, tmp_path / "out"))

    def test_of_files_that_are_missing_or_damaged(self, tmp_path):
        folder = write_set(tmp_path / "set", labels={"0": list("abcd")})
        (folder / "a.hdf5").write_bytes(b"no hdf5")
        with pytest.raises(DamagedRaster, match=r"a\.hdf5 cannot be read"):
            list(read_geobench(benchmark("m-eurosat"), folder, tmp_path / "out"))
        (folder / "a.hdf5").unlink()
        with pytest.raises(SceneNotFound, match=r"names a\.hdf5, which is not there"):
            list(read_geobench(benchmark("m-eurosat"), folder, tmp_path / "out"))

    def test_without_h5py_names_the_extra(self, tmp_path, monkeypatch):
        folder = write_set(tmp_path / "set", labels={"0": list("abcd")})
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(OptionError, match=r"dofa\[bench\]"):
            list(read_geobench(benchmark("m-eurosat"), folder, tmp_path / "out"))
