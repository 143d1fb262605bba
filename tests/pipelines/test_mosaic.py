"""Mosaics of results: against rasterio's own merge, on grids of every kind, and what is refused."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.merge import merge
from rasterio.warp import Resampling, reproject

from dofa_cli.classes import ClassTable
from dofa_cli.errors import DofaError, GridError, Interrupted, NotAResult, OptionError, OutputExists, OutputLocked
from dofa_cli.pipelines.mosaic import mosaic
from dofa_cli.pipelines.shards.lock import locked
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from dofa_cli.raster.style import read_style
from dofa_cli.raster.style_files import write_style
from dofa_cli.raster.writer import Overviews, RasterSpec, write_cog
from dofa_cli.raster.zarr_layout import ZarrLayout
from dofa_cli.raster.zarr_store import create, finish, write_region

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul")  # of rasterio's own merge
UTM = rasterio.crs.CRS.from_epsg(32633)
CELL = 160.0
ORIGIN = (300000.0, 5800000.0)
CLASSES = ClassTable((1, 2, 7), ("water", "forest", "town"), ((0, 0, 255), (0, 99, 0), (200, 0, 0)), 255)


def grid_at(row, col, height=40, width=50, cell=CELL, crs=UTM):
    transform = Affine(cell, 0, ORIGIN[0] + col * CELL, 0, -cell, ORIGIN[1] - row * CELL)
    return Grid(transform, crs, height, width)


def tags(**changed):
    told = {"dofa_version": "0", "level": "patch", "weights": "tiny", "weights_sha256": "abc", "token_norm": "norm"}
    told |= {"patch_px": "16", "zoom": "1", "source": "a scene", "sensor": "sentinel2", "storage": "float32"}
    return told | {name: str(value) for name, value in changed.items()}


def embedding(path, grid, bands=3, seed=0, told=None, **fields):
    """A raster of embeddings with a hole; returns its path."""
    spec = {"dtype": "float32", "nodata": float("nan"), **fields}
    names = [f"dim_{number}" for number in range(bands)]
    values = np.random.default_rng(seed).normal(0, 1, (grid.height, grid.width, bands)).astype(np.float32)
    values[5:15, 30:45] = np.nan
    if spec["dtype"] == "int8":
        values = np.where(np.isnan(values), -128, np.rint(values * 30)).astype(np.int8)
    made = RasterSpec(grid, bands, descriptions=names, tags=tags() if told is None else told, **spec)
    write_cog(path, lambda window: values[window.slices], made)
    return path


def class_map(path, grid, seed=0, classes=CLASSES):
    values = np.random.default_rng(seed).choice([*classes.values, classes.nodata], (grid.height, grid.width, 1))
    named = json.dumps(dict(zip(map(str, classes.values), classes.names, strict=True)))
    colours = dict(zip(classes.values, classes.colours, strict=True)) if classes.dtype == "uint8" else None
    spec = RasterSpec(
        grid,
        1,
        classes.dtype,
        classes.nodata,
        ["class"],
        tags(level="segment", classes=named),
        colours=colours,
        overviews=Overviews.MOST,
    )
    write_cog(path, lambda window: values[window.slices].astype(classes.dtype), spec)
    write_style(path, classes)
    return path


@pytest.fixture
def three(tmp_path):
    """Three rasters of embeddings that overlap."""
    places = [(0, 0), (20, 30), (-10, 60)]
    return [embedding(tmp_path / f"e{n}.tif", grid_at(*place), seed=n) for n, place in enumerate(places)]


@pytest.fixture
def maps(tmp_path):
    """Three class maps that overlap, with a gap."""
    places = [(0, 0), (20, 30), (60, 10)]
    return [class_map(tmp_path / f"m{n}.tif", grid_at(*place), seed=n) for n, place in enumerate(places)]


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform


def oracle(paths, method):
    """What rasterio makes of the files."""
    if method != "mean":
        return merge(paths, method=method)
    (total, place), (count, _) = merge(paths, method="sum"), merge(paths, method="count")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), place


@pytest.mark.parametrize("method", ["first", "last", "min", "max", "mean"])
def test_a_mosaic_of_embeddings_is_what_rasterio_merges(three, tmp_path, method):
    report = mosaic(tmp_path / "all.tif", three, on_overlap=method)
    found, place = read(report.output)
    expected, transform = oracle(three, method)
    assert place == transform
    if method == "mean":
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["first", "last"])
@pytest.mark.parametrize("ending", [".tif", ".vrt"])
def test_a_mosaic_of_classes_is_what_rasterio_merges(maps, tmp_path, method, ending):
    report = mosaic(tmp_path / f"all{ending}", maps, on_overlap=method)
    found, place = read(report.output)
    expected, transform = oracle(maps, method)
    assert place == transform
    np.testing.assert_array_equal(found, expected)
    assert (found == CLASSES.nodata).any()


@pytest.mark.parametrize("method", ["first", "last"])
def test_a_virtual_mosaic_of_embeddings_shows_the_same(three, tmp_path, method):
    one = read(mosaic(tmp_path / "all.vrt", three, on_overlap=method).output)
    other = read(mosaic(tmp_path / "all.tif", three, on_overlap=method).output)
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1] == other[1]
    with rasterio.open(tmp_path / "all.vrt") as file:
        assert file.descriptions == ("dim_0", "dim_1", "dim_2")
        assert np.isnan(file.nodata)
        assert file.tags()["weights_sha256"] == "abc"


def test_a_virtual_mosaic_moves_with_its_folder(three, tmp_path):
    (tmp_path / "out").mkdir()
    mosaic(tmp_path / "out/all.vrt", three)
    before = read(tmp_path / "out/all.vrt")[0]
    (tmp_path / "elsewhere").mkdir()
    for path in [*three, tmp_path / "out"]:
        path.rename(tmp_path / "elsewhere" / path.name)
    np.testing.assert_array_equal(read(tmp_path / "elsewhere/out/all.vrt")[0], before)


@pytest.mark.parametrize("ending", [".tif", ".vrt"])
def test_colours_names_and_tags_of_classes_stay(maps, tmp_path, ending):
    path = tmp_path / f"all{ending}"
    mosaic(path, maps)
    style = read_style(str(path))
    assert {value: style.names[value] for value in CLASSES.values} == {1: "water", 2: "forest", 7: "town"}
    assert style.colours[7] == (200, 0, 0)
    with rasterio.open(path) as file:
        assert file.colormap(1)[2] == (0, 99, 0, 255)
        assert file.nodata == 255
        assert json.loads(file.tags()["classes"])["7"] == "town"
        assert json.loads(file.tags()["mosaic"]) == {"inputs": 3, "on_overlap": "first"}
        assert "source" not in file.tags()
    assert 'label="forest"' in path.with_suffix(".qml").read_text()


def test_names_of_16_bit_classes_stay_too(tmp_path):
    classes = ClassTable((1, 900), ("water", "town"), ((0, 0, 255), (200, 0, 0)), 65535)
    paths = [class_map(tmp_path / f"m{n}.tif", grid_at(0, 40 * n), classes=classes) for n in range(2)]
    for ending in (".tif", ".vrt"):
        mosaic(tmp_path / f"all_{ending[1:]}{ending}", paths)
        style = read_style(str(tmp_path / f"all_{ending[1:]}{ending}"))
        assert (style.names[900], style.colours[900]) == ("town", (200, 0, 0))


def test_a_folder_a_pattern_and_a_list_name_the_same_inputs(maps, tmp_path):
    (tmp_path / "maps").mkdir()
    moved = [path.rename(tmp_path / "maps" / path.name) for path in maps]
    (tmp_path / "list.txt").write_text("\n".join(map(str, moved)))
    expected = merge(moved, method="first")[0]
    for number, named in enumerate(("maps", "maps/m*.tif", "list.txt")):
        report = mosaic(tmp_path / f"all{number}.tif", [str(tmp_path / named)])
        assert report.inputs == 3
        np.testing.assert_array_equal(read(report.output)[0], expected)


def test_a_mosaic_in_the_folder_of_its_inputs_can_be_made_again(maps, tmp_path):
    mosaic(tmp_path / "all.tif", [str(tmp_path)])
    report = mosaic(tmp_path / "all.tif", [str(tmp_path)], overwrite=True)
    assert report.inputs == 3


def test_inputs_between_the_pixels_are_moved_to_the_nearest_and_that_is_said(tmp_path):
    paths = [embedding(tmp_path / "a.tif", grid_at(0, 0)), embedding(tmp_path / "b.tif", grid_at(0.3, 60.4), seed=1)]
    said = []
    report = mosaic(tmp_path / "all.tif", paths, say=said.append)
    assert (report.shifted, report.resampled) == (1, 0)
    assert any("less than a pixel" in line for line in said)
    np.testing.assert_array_equal(read(report.output)[0][:, :40, 60:110], read(paths[1])[0])


@pytest.mark.parametrize("kind", ["classes", "embeddings"])
def test_other_coordinate_systems_are_warped_when_one_is_named(tmp_path, kind):
    make = class_map if kind == "classes" else embedding
    far = Grid(Affine(CELL, 0, 708000, 0, -CELL, 5798000), rasterio.crs.CRS.from_epsg(32632), 40, 50)
    paths = [make(tmp_path / "a.tif", grid_at(0, 0)), make(tmp_path / "b.tif", far, seed=1)]
    with pytest.raises(GridError, match=r"EPSG:32633.*EPSG:32632.*--crs"):
        mosaic(tmp_path / "all.tif", paths)
    with pytest.raises(GridError, match=r"write a \.tif"):
        mosaic(tmp_path / "all.vrt", paths, crs="EPSG:32633")
    report = mosaic(tmp_path / "all.tif", paths, crs="EPSG:32633")
    assert report.resampled == 1
    found, transform = read(report.output)
    with rasterio.open(paths[1]) as file:
        expected = np.full_like(found, file.nodata)
        reproject(
            rasterio.band(file, file.indexes),
            expected,
            dst_transform=transform,
            dst_crs="EPSG:32633",
            dst_nodata=file.nodata,
            resampling=Resampling.nearest if kind == "classes" else Resampling.bilinear,
        )
    own = read(paths[0])[0]
    row, col = round((transform.f - ORIGIN[1]) / CELL), round((ORIGIN[0] - transform.c) / CELL)
    under = expected[:, row : row + 40, col : col + 50]
    valid = own != 255 if kind == "classes" else np.isfinite(own)
    under[valid] = own[valid]
    if kind == "classes":
        assert (found == expected).mean() > 0.995  # GDAL's own warps differ at a few borders between blocks
    else:
        both = np.isfinite(found) & np.isfinite(expected)
        assert both.sum() > 0.98 * np.isfinite(expected).sum()
        np.testing.assert_allclose(found[both], expected[both], atol=1e-3)


def test_another_resolution_is_written_as_asked(tmp_path, maps):
    report = mosaic(tmp_path / "all.tif", maps, resolution=320)
    found, transform = read(report.output)
    assert (transform.a, transform.e) == (320, -320)
    assert transform.c % 320 == 0
    assert set(np.unique(found)) <= {1, 2, 7, 255}


def test_8_bit_embeddings_of_one_code_keep_it_and_those_of_several_are_decoded(tmp_path):
    code = {"dtype": "int8", "nodata": -128}
    first = embedding(tmp_path / "a.tif", grid_at(0, 0), scales=[0.5] * 3, offsets=[1.0] * 3, **code)
    same = embedding(tmp_path / "b.tif", grid_at(0, 30), seed=1, scales=[0.5] * 3, offsets=[1.0] * 3, **code)
    other = embedding(tmp_path / "c.tif", grid_at(0, 60), seed=2, scales=[0.25, 0.5, 1], offsets=[0, 1.5, 2], **code)
    with rasterio.open(mosaic(tmp_path / "same.tif", [first, same]).output) as file:
        assert (file.dtypes[0], file.scales, file.offsets) == ("int8", (0.5,) * 3, (1.0,) * 3)
    said = []
    expected = np.full((3, 40, 110), np.nan, np.float32)
    for path, col in ((other, 60), (first, 0)):
        with rasterio.open(path) as file:
            codes = file.read()
            values = codes * np.float32(file.scales)[:, None, None] + np.float32(file.offsets)[:, None, None]
        part = expected[:, :, col : col + 50]
        part[codes != -128] = values[codes != -128]
    for ending in (".tif", ".vrt"):
        report = mosaic(tmp_path / f"all{ending}", [first, other], say=said.append)
        found, _ = read(report.output)
        assert report.dtype == "float32"
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert any("decoded" in line for line in said)


def test_zarr_stores_are_inputs_like_any(three, tmp_path):
    values, _ = read(three[1])
    spec = RasterSpec(grid_at(20, 30), 3, "float32", float("nan"), ["dim_0", "dim_1", "dim_2"], tags())
    create(tmp_path / "b.zarr", ZarrLayout("embedding", spec, 16))
    write_region(tmp_path / "b.zarr", Window(0, 0, 40, 50), values.transpose(1, 2, 0))
    finish(tmp_path / "b.zarr")
    report = mosaic(tmp_path / "all.tif", [three[0], tmp_path / "b.zarr", three[2]])
    np.testing.assert_array_equal(read(report.output)[0], merge(three, method="first")[0])
    with pytest.raises(OptionError, match=r"b\.zarr is a Zarr store"):
        mosaic(tmp_path / "all.vrt", [three[0], tmp_path / "b.zarr"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"weights_sha256": "def", "weights": "other"}, r"weights_sha256 tiny \(abc…\) and other \(def…\)"),
        ({"level": "segment", "classes": "{}"}, "level patch and segment"),
        ({"zoom": "2"}, "zoom 1 and 2"),
    ],
)
def test_what_does_not_belong_together_is_named_with_both_files(tmp_path, changed, named):
    one = embedding(tmp_path / "a.tif", grid_at(0, 0))
    other = embedding(tmp_path / "b.tif", grid_at(0, 60), told=tags(**changed))
    with pytest.raises(OptionError, match=rf"a\.tif and .*b\.tif do not belong.*{named}"):
        mosaic(tmp_path / "all.tif", [one, other])
    assert not (tmp_path / "all.tif").exists()


def test_other_classes_and_other_dimensions_are_refused(tmp_path, maps, three):
    other = ClassTable((1, 2), ("water", "wood"), ((0, 0, 255), (0, 99, 0)), 255)
    with pytest.raises(OptionError, match="classes"):
        mosaic(tmp_path / "all.tif", [maps[0], class_map(tmp_path / "n.tif", grid_at(0, 70), classes=other)])
    with pytest.raises(OptionError, match="bands 3 and 4"):
        mosaic(tmp_path / "all.tif", [three[0], embedding(tmp_path / "w.tif", grid_at(0, 70), bands=4)])


def test_differences_that_do_not_forbid_a_mosaic_are_warned_of(tmp_path):
    one = embedding(tmp_path / "a.tif", grid_at(0, 0))
    other = embedding(tmp_path / "b.tif", grid_at(0, 60), told=tags(sensor="landsat8"))
    report = mosaic(tmp_path / "all.tif", [one, other])
    assert any("sensor" in line for line in report.warnings)
    assert "sensor" not in report.tags
    assert report.tags["weights_sha256"] == "abc"


@pytest.mark.parametrize(
    ("output", "options", "error", "message"),
    [
        ("all.png", {}, OptionError, "not 'all.png'"),
        ("all.vrt", {"on_overlap": "mean"}, OptionError, r"write a \.tif"),
        ("all.tif", {"resolution": -1}, OptionError, "no pixel size"),
        ("all.tif", {"crs": "EPSG:1"}, GridError, "not a coordinate system"),
    ],
)
def test_options_that_cannot_be_are_named(three, tmp_path, output, options, error, message):
    with pytest.raises(error, match=message):
        mosaic(tmp_path / output, three, **options)


def test_means_of_classes_are_refused(maps, tmp_path):
    with pytest.raises(OptionError, match="is for numbers"):
        mosaic(tmp_path / "all.tif", maps, on_overlap="mean")


def test_rasters_of_others_and_without_a_place_are_refused(three, tmp_path, tif):
    with pytest.raises(NotAResult, match="gdalbuildvrt"):
        mosaic(tmp_path / "all.tif", [three[0], tif("other.tif", np.zeros((3, 5, 5), np.float32))])
    lost = embedding(tmp_path / "lost.tif", Grid(Affine.identity(), None, 40, 50))
    with pytest.raises(GridError, match="no coordinates"):
        mosaic(tmp_path / "all.tif", [three[0], lost])


def test_an_output_that_is_there_is_locked_or_is_an_input_stays(three, tmp_path):
    mosaic(tmp_path / "all.tif", three)
    before = (tmp_path / "all.tif").read_bytes()
    with pytest.raises(OutputExists, match="--overwrite"):
        mosaic(tmp_path / "all.tif", three)
    with locked(tmp_path / "all.tif"), pytest.raises(OutputLocked, match="Another run"):
        mosaic(tmp_path / "all.tif", three, overwrite=True)
    assert (tmp_path / "all.tif").read_bytes() == before


def test_a_dry_run_tells_the_size_and_writes_nothing(three, tmp_path):
    before = sorted(tmp_path.iterdir())
    report = mosaic(tmp_path / "all.tif", three, dry_run=True)
    assert (report.height, report.width, report.bands, report.written) == (70, 110, 3, False)
    assert report.output_bytes == 70 * 110 * 3 * 4
    assert sorted(tmp_path.iterdir()) == before
    assert json.loads(report.to_json())["inputs"] == 3


def test_a_damaged_input_leaves_nothing_behind(three, tmp_path):
    whole = three[1].read_bytes()
    three[1].write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DofaError, match=r"e1\.tif"):
        mosaic(tmp_path / "all.tif", three)
    assert sorted(tmp_path.iterdir()) == before


def test_memory_does_not_grow_with_the_mosaic(tmp_path):
    """Two inputs far apart: the ground between them is written block by block."""
    peaks = []
    for far in (200, 4000):
        paths = [class_map(tmp_path / f"{far}-{n}.tif", grid_at(n * far, n * far)) for n in range(2)]
        tracemalloc.start()
        mosaic(tmp_path / f"all{far}.tif", paths)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 8 * 2**20


def test_a_mosaic_that_is_stopped_leaves_nothing(three, tmp_path, monkeypatch):
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("dofa_cli.pipelines.mosaic.stop_asked", lambda: True)
    with pytest.raises(Interrupted, match="starts anew"):
        mosaic(tmp_path / "all.tif", three)
    assert sorted(tmp_path.iterdir()) == before


def test_few_files_stay_open_at_once(three, tmp_path, monkeypatch):
    import dofa_cli.raster.mosaic_blocks as blocks

    closed = []
    monkeypatch.setattr(blocks, "FEWEST_OPEN", 1)
    monkeypatch.setattr(blocks, "OPEN_BYTES", 0)
    usual = blocks.close_handles
    monkeypatch.setattr(blocks, "close_handles", lambda: (closed.append(1), usual()))
    report = mosaic(tmp_path / "all.tif", three)
    assert closed
    np.testing.assert_array_equal(read(report.output)[0], merge(three, method="first")[0])
