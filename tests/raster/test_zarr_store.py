"""Zarr stores: written region by region, whole at the end, read alike by xarray, rioxarray and this program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.windows import Window as RasterWindow

from dofa_cli.classes import ClassTable
from dofa_cli.errors import DamagedRaster, OutputExists, OutputUnwritable
from dofa_cli.raster.grid import Window
from dofa_cli.raster.source import Grid
from dofa_cli.raster.writer import RasterSpec
from dofa_cli.raster.zarr_layout import LEAST_CHUNK, ZarrLayout, chunk_side
from dofa_cli.raster.zarr_places import check_store, move_store, remove_store
from dofa_cli.raster.zarr_raster import ZarrRaster, open_raster
from dofa_cli.raster.zarr_store import create, finish, is_complete, write_region
from tests.raster.grids_made import made_grid

TAGS = {"dofa_version": "0", "level": "patch", "architecture": '{"dim": 3}'}


def layout(height=50, width=37, bands=3, side=16, kind="projected", **fields):
    fields = {"dtype": "float32", "nodata": float("nan"), **fields}
    names = [f"dim_{number}" for number in range(bands)]
    spec = RasterSpec(made_grid(kind, height, width), bands, descriptions=names, tags=TAGS, **fields)
    return ZarrLayout("embedding", spec, side)


def regions(plan: ZarrLayout) -> list[Window]:
    _, height, width = plan.shape
    _, rows, cols = plan.shards
    whole = Window(0, 0, height, width)
    corners = [(row, col) for row in range(0, height, rows) for col in range(0, width, cols)]
    return [Window(row, col, rows, cols).intersect(whole) for row, col in corners]


def values_for(plan: ZarrLayout, seed=0) -> np.ndarray:
    bands, height, width = plan.shape
    found = np.random.default_rng(seed).normal(0, 30, (height, width, bands))
    found[: height // 3, : width // 3] = plan.spec.nodata
    return found.astype(plan.dtype)


def stored(path, plan: ZarrLayout, values=None, tags=None):
    values = values_for(plan) if values is None else values
    create(path, plan)
    for region in regions(plan):
        write_region(path, region.intersect(Window(0, 0, *values.shape[:2])), values[region.slices])
    finish(path, tags)
    return values


@given(st.integers(1, 400), st.sampled_from([1, 4, 96, 3072, 4096]))
def test_a_chunk_divides_its_shard_and_is_no_sliver(side, pixel_bytes):
    chunk = chunk_side(side, pixel_bytes)
    assert side % chunk == 0
    assert chunk >= min(side, LEAST_CHUNK)


@settings(max_examples=12)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([8, 16, 24]), st.randoms(use_true_random=False))
def test_regions_in_any_order_make_the_same_array(tmp_path_factory, height, width, side, order):
    plan, path = layout(height, width, side=side), tmp_path_factory.mktemp("store") / "x.zarr"
    values, todo = values_for(plan), regions(plan)
    order.shuffle(todo)
    create(path, plan)
    for region in todo:
        write_region(path, region, values[region.slices])
    finish(path)
    with ZarrRaster(str(path)) as file:
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), values)


def test_each_region_is_a_file_of_its_own_and_an_empty_one_leaves_none(tmp_path):
    path, plan = tmp_path / "x.zarr", layout(height=32, width=48)
    values = values_for(plan)
    values[:16, :16] = np.nan
    create(path, plan)
    names = [name for region in regions(plan) for name in write_region(path, region, values[region.slices])]
    files = {str(file.relative_to(path)) for file in (path / "embedding" / "c").rglob("*") if file.is_file()}
    assert sorted(names) == [f"embedding/c/0/{row}/{col}" for row in range(2) for col in range(3)]
    assert files == set(names) - {"embedding/c/0/0/0"}


def test_shards_hold_several_chunks_when_a_pixel_is_large(tmp_path):
    plan = layout(height=400, width=352, bands=96, side=176)
    assert plan.shards == (96, 176, 176)
    assert plan.chunks == (96, 88, 88)
    values = stored(tmp_path / "x.zarr", plan)
    metadata = json.loads((tmp_path / "x.zarr/embedding/zarr.json").read_text())
    assert metadata["codecs"][0]["name"] == "sharding_indexed"
    assert metadata["zarr_format"] == 3
    with ZarrRaster(str(tmp_path / "x.zarr")) as file:
        some = file.read([96, 2], window=RasterWindow(170, 90, 20, 15))
        np.testing.assert_array_equal(some, values[90:105, 170:190, [95, 1]].transpose(2, 0, 1))
        assert file.block_shapes[0] == (88, 88)


WRITE_HALF = """
import pickle, sys
from dofa_cli.raster.zarr_store import write_region
for path, region, values in pickle.load(open(sys.argv[1], "rb")):
    write_region(path, region, values)
"""


def test_two_processes_write_into_one_store(tmp_path):
    import pickle

    path, plan = tmp_path / "x.zarr", layout(height=64, width=64)
    values, todo = values_for(plan), regions(plan)
    create(path, plan)
    running = []
    for half in range(2):
        work = tmp_path / f"{half}.pickle"
        work.write_bytes(pickle.dumps([(str(path), one, values[one.slices]) for one in todo[half::2]]))
        running.append(subprocess.Popen([sys.executable, "-c", WRITE_HALF, str(work)]))
    assert [one.wait(60) for one in running] == [0, 0]
    finish(path)
    np.testing.assert_array_equal(open_raster(path).read().transpose(1, 2, 0), values)


@pytest.mark.filterwarnings("ignore:Use `@` matmul")  # rioxarray's own use of affine
@pytest.mark.parametrize("kind", ["projected", "degrees", "south up"])
def test_xarray_and_rioxarray_find_values_place_and_nodata(tmp_path, kind):
    plan = layout(kind=kind)
    values, grid = stored(tmp_path / "x.zarr", plan), plan.spec.grid
    found = xr.open_zarr(tmp_path / "x.zarr")
    array = found["embedding"]
    np.testing.assert_array_equal(array.values.transpose(1, 2, 0), values)
    assert array.dims == ("band", "y", "x")
    assert array.rio.crs == grid.crs
    assert array.rio.transform(recalc=True).almost_equals(grid.transform, precision=1e-6)
    assert array.rio.transform() == grid.transform
    assert np.isnan(array.rio.nodata if array.rio.nodata is not None else array.encoding.get("_FillValue", np.nan))
    assert float(array.x[0]) == pytest.approx((grid.transform @ (0.5, 0.5))[0])
    assert array.attrs["band_names"] == ["dim_0", "dim_1", "dim_2"]


@pytest.mark.filterwarnings("ignore:Use `@` matmul")
def test_a_rotated_grid_is_told_by_its_transform_alone(tmp_path):
    plan = layout(kind="rotated")
    stored(tmp_path / "x.zarr", plan)
    found = xr.open_zarr(tmp_path / "x.zarr")
    assert not {"x", "y"} & set(found.coords)
    assert found.rio.transform().almost_equals(plan.spec.grid.transform)
    with ZarrRaster(str(tmp_path / "x.zarr")) as file:
        assert file.transform == plan.spec.grid.transform


def test_codes_of_8_bits_carry_scale_and_offset_and_count_as_missing_at_nodata(tmp_path):
    scales, offsets = [0.5, 0.25, 2.0], [1.0, 0.0, -3.0]
    plan = layout(dtype="int8", nodata=-128, scales=scales, offsets=offsets)
    codes = stored(tmp_path / "x.zarr", plan)
    found = xr.open_zarr(tmp_path / "x.zarr")
    values = (found["embedding"] * found["scale"] + found["offset"]).transpose("y", "x", "band").values
    expected = np.where(codes == -128, np.nan, codes * np.float32(scales) + np.float32(offsets))
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    with ZarrRaster(str(tmp_path / "x.zarr")) as file:
        assert (file.scales, file.offsets, file.nodata) == (tuple(scales), tuple(offsets), -128)


def test_half_precision_is_stored_as_such(tmp_path):
    plan = layout(nbits=16)
    stored(tmp_path / "x.zarr", plan)
    assert xr.open_zarr(tmp_path / "x.zarr")["embedding"].dtype == np.float16


def test_classes_become_flags_with_names_and_colours(tmp_path):
    table = ClassTable((1, 2, 7), ("open water", "forest", "town"), ((0, 0, 255), (0, 99, 0), (200, 0, 0)), 255)
    grid = made_grid("projected", 20, 30)
    spec = RasterSpec(grid, 1, "uint8", 255, ["class"], TAGS)
    values = np.random.default_rng(0).choice([1, 2, 7, 255], (20, 30, 1)).astype(np.uint8)
    stored(tmp_path / "m.zarr", ZarrLayout("classes", spec, 16, table), values)
    array = xr.open_zarr(tmp_path / "m.zarr", mask_and_scale=False)["classes"]
    assert array.dtype == np.uint8
    assert array.attrs["flag_values"] == [1, 2, 7]
    assert array.attrs["flag_meanings"] == "open_water forest town"
    assert array.attrs["_FillValue"] == 255
    with ZarrRaster(str(tmp_path / "m.zarr")) as file:
        assert file.style.names == {1: "open water", 2: "forest", 7: "town"}
        assert file.style.colours[7] == (200, 0, 0)
        np.testing.assert_array_equal(file.dataset_mask() == 0, values[..., 0] == 255)


def test_crs_and_transform_stand_where_gdal_looks_for_them(tmp_path):
    plan = layout()
    stored(tmp_path / "x.zarr", plan)
    metadata = json.loads((tmp_path / "x.zarr/embedding/zarr.json").read_text())
    assert metadata["dimension_names"] == ["band", "y", "x"]
    assert CRS.from_wkt(metadata["attributes"]["_CRS"]["wkt"]) == plan.spec.grid.crs
    mapping = json.loads((tmp_path / f"x.zarr/{metadata['attributes']['grid_mapping']}/zarr.json").read_text())
    origin = [float(number) for number in mapping["attributes"]["GeoTransform"].split()]
    assert Affine.from_gdal(*origin) == plan.spec.grid.transform
    store = json.loads((tmp_path / "x.zarr/zarr.json").read_text())["attributes"]
    assert store["proj:code"] == "EPSG:32633"
    assert Affine(*store["spatial:transform"]) == plan.spec.grid.transform
    for axis in ("x", "y"):  # plain, since many builds of GDAL lack a codec
        codecs = json.loads((tmp_path / f"x.zarr/{axis}/zarr.json").read_text())["codecs"]
        assert [codec["name"] for codec in codecs] == ["bytes"]


def test_tags_come_back_as_they_were_and_the_last_ones_too(tmp_path):
    stored(tmp_path / "x.zarr", layout(), tags={"quantization": "{}"})
    with ZarrRaster(str(tmp_path / "x.zarr")) as file:
        assert file.tags() == TAGS | {"quantization": "{}"}
        assert file.tags(ns="IMAGERY") == {}
        assert file.descriptions == ("dim_0", "dim_1", "dim_2")


def test_a_store_is_complete_only_when_it_was_finished(tmp_path):
    path, plan = tmp_path / "x.zarr", layout()
    assert not is_complete(path)
    create(path, plan)
    assert not is_complete(path)
    with pytest.raises(DamagedRaster, match="never finished"):
        open_raster(path)
    finish(path)
    assert is_complete(path)
    assert np.isnan(open_raster(path).read()).all()


def test_stores_of_others_and_other_folders_are_named(tmp_path):
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(DamagedRaster, match="did not write"):
        ZarrRaster(str(tmp_path / "other.zarr"))
    with pytest.raises(DamagedRaster, match="cannot be opened"):
        ZarrRaster(str(tmp_path / "none.zarr"))


def test_stores_of_others_are_left_to_gdal(tmp_path, tif):
    values = np.arange(20, dtype=np.uint8).reshape(1, 4, 5)
    rasterio.shutil.copy(tif("a.tif", values), tmp_path / "a.zarr", driver="Zarr")
    with open_raster(tmp_path / "a.zarr") as file:
        assert isinstance(file, rasterio.DatasetReader)
        np.testing.assert_array_equal(file.read(), values)


def test_an_object_store_is_written_in_place(tmp_path):
    url = "memory://bucket/there/x.zarr"
    plan = layout()
    values = values_for(plan)
    check_store(url, overwrite=False)
    stored(url, plan, values)
    np.testing.assert_array_equal(open_raster(url).read().transpose(1, 2, 0), values)
    with pytest.raises(OutputExists, match="--overwrite"):
        check_store(url, overwrite=False)
    check_store(url, overwrite=True)
    remove_store(url)
    assert not is_complete(url)


def test_a_local_address_is_a_path(tmp_path):
    url = f"file://{tmp_path}/x.zarr"
    stored(url, layout())
    assert is_complete(tmp_path / "x.zarr")
    assert [one.name for one in tmp_path.iterdir()] == ["x.zarr"]


def test_a_missing_driver_of_an_object_store_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(OutputUnwritable, match=r"s3:// needs a package"):
        create("s3://bucket/x.zarr", layout())


def test_a_store_takes_the_place_of_an_older_one(tmp_path):
    path, plan = tmp_path / "x.zarr", layout()
    values = stored(path, plan)
    (tmp_path / ".x.zarr.old").mkdir()  # of a move that was cut short
    (tmp_path / ".x.zarr.old/zarr.json").touch()
    stored(tmp_path / "new.zarr", plan, values + 1)
    move_store(tmp_path / "new.zarr", path)
    assert [one.name for one in tmp_path.iterdir()] == ["x.zarr"]
    np.testing.assert_array_equal(open_raster(path).read().transpose(1, 2, 0), values + 1)


def test_what_is_there_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "x.zarr"
    stored(path, layout())
    with pytest.raises(OutputExists, match="--overwrite"):
        check_store(path, overwrite=False)
    check_store(path, overwrite=True)
    with pytest.raises(OutputExists, match="input"):
        check_store(path, overwrite=True, inputs=(str(path),))
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(OutputUnwritable, match="no Zarr store"):
        check_store(tmp_path / "mine.zarr", overwrite=True)
    with pytest.raises(OutputUnwritable, match="No such file"):
        check_store(tmp_path / "no/folder/x.zarr", overwrite=False)


def test_a_region_across_shards_of_others_is_a_bug(tmp_path):
    plan = layout()
    create(tmp_path / "x.zarr", plan)
    with pytest.raises(AssertionError, match="whole shards"):
        write_region(tmp_path / "x.zarr", Window(8, 0, 16, 16), np.zeros((16, 16, 3), np.float32))


def test_a_chunk_that_was_cut_off_is_named_when_it_is_read(tmp_path):
    from rasterio.errors import RasterioError

    plan = layout(height=400, width=352, bands=96, side=176)
    stored(tmp_path / "x.zarr", plan)
    file = tmp_path / "x.zarr/embedding/c/0/1/1"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(RasterioError):
        open_raster(tmp_path / "x.zarr").read()


def test_a_grid_without_coordinates_is_kept_without(tmp_path):
    spec = RasterSpec(Grid(Affine.identity(), None, 20, 20), 1, "float32", float("nan"), ["a"], TAGS)
    stored(tmp_path / "x.zarr", ZarrLayout("embedding", spec, 16))
    with ZarrRaster(str(tmp_path / "x.zarr")) as file:
        assert file.crs is None
        assert file.transform == Affine.identity()
    assert "_CRS" not in json.loads(Path(tmp_path / "x.zarr/embedding/zarr.json").read_text())["attributes"]
