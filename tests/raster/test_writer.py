"""Parts become one Cloud Optimized GeoTIFF that equals numpy's assembly, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError

from dofa_cli.errors import NoSpace, OutputExists, OutputUnwritable
from dofa_cli.raster import writer
from dofa_cli.raster.grid import Window
from dofa_cli.raster.parts import Part, PartIndex
from dofa_cli.raster.source import Grid
from dofa_cli.raster.writer import (
    BLOCK_BYTES,
    Overviews,
    RasterSpec,
    block_side,
    check_output,
    check_space,
    gather,
    half_precision,
    save_part,
    working_file,
    write_cog,
)
from tests.made import UTM

TRANSFORM = Affine(160, 0, 300000, 0, -160, 5800000)


def spec_for(values: np.ndarray, **fields: object) -> RasterSpec:
    rows, cols, bands = values.shape
    defaults = {
        "grid": Grid(TRANSFORM, CRS.from_user_input(UTM), rows, cols),
        "bands": bands,
        "dtype": str(values.dtype),
        "nodata": float("nan"),
        "descriptions": [f"dim_{number}" for number in range(bands)],
        "tags": {"weights": "tiny", "normalization": '[{"band": "B4"}]'},
    }
    return RasterSpec(**{**defaults, **fields})


def parts_of(folder: Path, values: np.ndarray, side: int) -> list[Part]:
    """Cut (rows, cols, bands) into square parts and save them."""
    folder.mkdir(exist_ok=True)
    parts = []
    for row in range(0, values.shape[0], side):
        for col in range(0, values.shape[1], side):
            piece = values[row : row + side, col : col + side]
            part = Part(folder / f"{len(parts)}.npy", Window(row, col, *piece.shape[:2]))
            save_part(part.path, piece)
            parts.append(part)
    return parts


def noise(rows: int, cols: int, bands: int, dtype: str = "float32") -> np.ndarray:
    values = np.random.default_rng(0).normal(0, 50, (rows, cols, bands))
    return values.astype(dtype)


@pytest.fixture
def written(tmp_path):
    """Write values through parts to a COG and return its path."""

    def write(values: np.ndarray, side: int = 19, **fields: object) -> Path:
        path = tmp_path / "out.tif"
        write_cog(path, parts_of(tmp_path / "parts", values, side), spec_for(values, **fields))
        return path

    return write


@pytest.mark.parametrize(
    ("shape", "side"),
    [((1, 1, 1), 5), ((50, 70, 3), 19), ((50, 70, 3), 100), ((33, 17, 1024), 16), ((600, 20, 8), 64), ((7, 530, 2), 7)],
)
def test_parts_become_the_array_that_numpy_assembles(written, shape, side):
    values = noise(*shape)
    values[0, 0] = np.nan
    with rasterio.open(written(values, side)) as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), values)
        assert file.transform == TRANSFORM
        assert file.crs.to_epsg() == 32633
        assert np.isnan(file.nodata)


@pytest.mark.parametrize("bands", [3, 1024])
def test_the_result_is_a_cloud_optimized_geotiff_with_blocks_of_the_promised_size(written, bands):
    values = noise(40, 45, bands)
    with rasterio.open(written(values, 64)) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.tags(ns="IMAGE_STRUCTURE")["INTERLEAVE"] == "PIXEL"
        assert file.profile["compress"] == "zstd"
        side = min(block_side(bands, 4), 48)  # no larger than the raster needs
        assert set(file.block_shapes) == {(side, side)}


def test_tags_descriptions_scales_and_offsets_survive(written):
    codes = np.random.default_rng(0).integers(-128, 128, (40, 30, 5)).astype(np.int8)
    scales, offsets = [0.5, 0.25, 1e-3, 2.0, 1.0], [0.0, -3.5, 1e-4, 7.0, 100.0]
    path = written(codes, nodata=-128, scales=scales, offsets=offsets)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), codes)
        assert file.nodatavals == (-128,) * 5
        assert file.descriptions == tuple(f"dim_{number}" for number in range(5))
        assert file.scales == tuple(scales)
        assert file.offsets == tuple(offsets)
        assert file.tags()["weights"] == "tiny"
        assert file.tags()["normalization"] == '[{"band": "B4"}]'


@pytest.mark.parametrize("bands", [1, 3, 24, 192, 384, 768, 1024, 1280, 2048])
@pytest.mark.parametrize("itemsize", [1, 4])
def test_a_block_over_all_bands_stays_within_16_megabytes(bands, itemsize):
    side = block_side(bands, itemsize)
    assert side % 16 == 0
    assert 16 <= side <= 512
    assert bands * side**2 * itemsize <= BLOCK_BYTES == 16 * 10**6
    assert side == 512 or bands * (side + 16) ** 2 * itemsize > BLOCK_BYTES  # and is as large as that allows


def test_overviews_are_made_when_cheap_and_leave_nodata_out(written):
    values = np.full((700, 650, 2), 8, np.float32)
    values[:300, 200:] = np.nan
    with rasterio.open(written(values, 256)) as file:
        assert file.overviews(1)
        small = file.read(1, out_shape=(350, 325))
    assert set(small[np.isfinite(small)]) == {8}


def test_half_precision_takes_half_the_space_and_rounds_by_half_an_ulp_at_most(tmp_path):
    side = block_side(256, 4)  # a whole block, as padding weighs much in a small file
    values = noise(side, side, 256)
    halves = values.astype(np.float16)
    storage = half_precision()
    sizes = {}
    for name, fields in (("half", storage), ("single", {"dtype": "float32"})):
        stored = halves if name == "half" else values
        path = tmp_path / f"{name}.tif"
        write_cog(path, parts_of(tmp_path / name, stored, 64), spec_for(stored, **fields))
        sizes[name] = path.stat().st_size
    with rasterio.open(tmp_path / "half.tif") as file:
        found = file.read().transpose(1, 2, 0).astype(np.float32)
        np.testing.assert_array_equal(found, halves.astype(np.float32))
    assert (np.abs(found - values) <= np.spacing(np.abs(halves)).astype(np.float32) / 2).all()
    assert sizes["half"] < 0.55 * sizes["single"]


@pytest.mark.parametrize("value", [np.nan, 0.0, 65504.0, -65504.0, 6e-8, 6.1e-5, 0.1])
def test_half_precision_keeps_every_kind_of_value(written, value):
    values = np.full((20, 30, 4), value, np.float16)
    with rasterio.open(written(values, **half_precision())) as file:
        found = file.read().astype(np.float32)
    np.testing.assert_array_equal(found, np.full_like(found, np.float32(np.float16(value))))


def test_gather_takes_any_rectangle_from_the_parts_under_it(tmp_path):
    values = noise(50, 70, 3)
    parts = parts_of(tmp_path / "parts", values, 19)
    for window in (Window(0, 0, 50, 70), Window(18, 37, 3, 3), Window(49, 69, 1, 1), Window(20, 0, 10, 70)):
        np.testing.assert_array_equal(gather(PartIndex(parts), window), values[window.slices])


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_same_values_give_the_same_bytes_however_they_were_cut(tmp_path, dtype):
    values = noise(60, 75, 12, dtype)
    files = [tmp_path / f"{side}.tif" for side in (16, 75)]
    for file, side in zip(files, (16, 75), strict=True):
        write_cog(file, parts_of(tmp_path / file.stem, values, side), spec_for(values, nodata=-128))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_progress_is_told_of_every_block(tmp_path):
    values, calls = noise(600, 520, 2), []
    write_cog(
        tmp_path / "out.tif", parts_of(tmp_path / "parts", values, 300), spec_for(values), lambda: calls.append(1)
    )
    assert len(calls) == 4


def test_blocks_may_come_from_a_function(tmp_path):
    values = noise(600, 520, 2)
    asked: list[Window] = []

    def block(window: Window) -> np.ndarray:
        asked.append(window)
        return values[window.slices]

    write_cog(tmp_path / "out.tif", block, spec_for(values))
    with rasterio.open(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), values)
    assert sum(window.height * window.width for window in asked) == 600 * 520


def test_classes_keep_colours_unit_and_overviews_of_the_most_frequent(tmp_path):
    values = np.full((1100, 1100, 1), 3, np.uint8)
    values[::2, ::2] = 7  # a quarter of the pixels: never the most frequent, and their mean would be 4
    spec = spec_for(values, nodata=255, colours={3: (1, 2, 3), 7: (4, 5, 6)}, unit="m", overviews=Overviews.MOST)
    write_cog(tmp_path / "out.tif", lambda window: values[window.slices], spec)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.colormap(1)[3], file.colormap(1)[7]) == ((1, 2, 3, 255), (4, 5, 6, 255))
        assert file.units == ("m",)
        assert file.overviews(1)
        assert set(np.unique(file.read(1, out_shape=(550, 550)))) == {3}


# Whole or not at all


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "parts")


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def parts(tmp_path):
    return parts_of(tmp_path / "parts", noise(20, 30, 2), 16)


@pytest.mark.parametrize("broken", ["numpy.load", "rasterio.open", "rasterio.shutil.copy"])
def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, parts, monkeypatch, broken):
    monkeypatch.setattr(broken, full_disk)
    with pytest.raises(NoSpace, match=r"out\.tif"):
        write_cog(tmp_path / "out.tif", parts, spec_for(noise(20, 30, 2)))
    assert left_in(tmp_path) == []


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("free", "expected"), [(1000, NoSpace), (10**12, OutputUnwritable)])
def test_what_gdal_says_of_a_failure_is_explained_by_the_space_left(tmp_path, parts, monkeypatch, free, expected):
    def failing(*_: object, **__: object) -> None:
        raise RasterioIOError("write failed")

    monkeypatch.setattr(rasterio.shutil, "copy", failing)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    with pytest.raises(expected, match=r"out\.tif"):
        write_cog(tmp_path / "out.tif", parts, spec_for(noise(20, 30, 2)))
    assert left_in(tmp_path) == []


def test_a_failure_keeps_the_file_that_was_there(tmp_path, parts, monkeypatch):
    path = tmp_path / "out.tif"
    path.write_text("the last run")
    monkeypatch.setattr(rasterio.shutil, "copy", full_disk)
    with pytest.raises(NoSpace):
        write_cog(path, parts, spec_for(noise(20, 30, 2)))
    assert path.read_text() == "the last run"
    assert left_in(tmp_path) == ["out.tif"]


def test_an_interruption_leaves_nothing_behind(tmp_path, parts):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cog(tmp_path / "out.tif", parts, spec_for(noise(20, 30, 2)), interrupt)
    assert left_in(tmp_path) == []


def test_a_success_replaces_the_file_that_was_there_and_leaves_only_it(tmp_path, parts):
    path = tmp_path / "out.tif"
    path.write_text("the last run")
    write_cog(path, parts, spec_for(noise(20, 30, 2)))
    assert left_in(tmp_path) == ["out.tif"]
    with rasterio.open(path) as file:
        assert file.count == 2


def test_a_part_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(NoSpace):
        save_part(tmp_path / "0.npy", noise(2, 2, 2))
    assert left_in(tmp_path) == []


def test_a_working_file_that_was_never_made_is_an_unwritable_output(tmp_path):
    with pytest.raises(OutputUnwritable), working_file(tmp_path / "out.tif"):
        pass


def test_an_output_that_exists_is_kept_unless_overwriting_is_allowed(tmp_path):
    path = tmp_path / "out.tif"
    check_output(path, overwrite=False)
    path.write_text("precious")
    with pytest.raises(OutputExists, match="--overwrite"):
        check_output(path, overwrite=False)
    check_output(path, overwrite=True)
    assert path.read_text() == "precious"
    assert left_in(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_or_a_place_that_is_not_there_is_no_output(tmp_path, overwrite):
    with pytest.raises(OutputUnwritable, match="is a folder"):
        check_output(tmp_path, overwrite=overwrite)
    with pytest.raises(OutputUnwritable, match="missing"):
        check_output(tmp_path / "missing" / "out.tif", overwrite=overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable):
        check_output(tmp_path / "file" / "out.tif", overwrite=overwrite)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_no_output(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputUnwritable, match="Permission denied"):
            check_output(tmp_path / "out.tif", overwrite=False)
    finally:
        tmp_path.chmod(0o700)


def test_space_is_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: Usage(0, 0, 5 * 10**9))
    check_space(tmp_path / "out.tif", 5 * 10**9)
    with pytest.raises(NoSpace, match=r"5\.0 GB free; the run needs up to 6\.0 GB"):
        check_space(tmp_path / "out.tif", 6 * 10**9)
