"""Files read lazily equal what rasterio reads; headers tell bands, masks and sidecar files apart."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window as RasterWindow

from dofa_cli.errors import DamagedRaster, NoBands, NotARaster, SceneNotFound
from dofa_cli.raster import reader
from dofa_cli.raster.grid import Window
from dofa_cli.raster.header import read_header, with_resolution
from dofa_cli.raster.reader import read_window, read_windows
from dofa_cli.raster.source import Source, close_handles, gdal_options
from tests.made import UTM, sentinel2_scene

HEIGHT, WIDTH = 90, 75
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
LAYOUTS = {
    "striped": {},
    "one-row strips": {"blockysize": 1},
    "tiled by pixel": {"tiled": True, "blockxsize": 16, "blockysize": 32, "interleave": "pixel"},
    "tiled by band": {"tiled": True, "blockxsize": 32, "blockysize": 16, "interleave": "band"},
    "compressed": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
}


def noise(bands: int, height: int, width: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Random values over the positive range of the type."""
    high = 1e6 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return np.random.default_rng(seed).uniform(1, high, (bands, height, width)).astype(dtype)


def source_of(path: str) -> Source:
    header = read_header(path)
    indices = tuple(band.index for band in header.bands)
    return Source(path, indices, header.bands[0].dtype, (len(indices), header.grid.height, header.grid.width))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_scene_equals_rasterio_in_the_files_own_type(tif, stack, whole, layout, dtype):
    path = tif("scene.tif", noise(3, HEIGHT, WIDTH, dtype), **LAYOUTS[layout])
    pixels = whole(stack([path]))
    with rasterio.open(path) as file:
        expected = file.read()
    assert pixels.values.dtype == expected.dtype
    np.testing.assert_array_equal(pixels.values, expected)
    assert pixels.valid.all()


@pytest.fixture(scope="module")
def big(tmp_path_factory, stack):
    """A scene of several Dask chunks, its file and its values."""
    values = noise(2, 700, 1100)
    path = str(tmp_path_factory.mktemp("big") / "big.tif")
    options = {"tiled": True, "blockxsize": 128, "blockysize": 128, "crs": UTM}
    with rasterio.open(
        path, "w", "GTiff", 1100, 700, 2, dtype="uint16", transform=(10, 0, 0, 0, -10, 0), **options
    ) as f:
        f.write(values)
    return stack([path]), path, values


@given(st.data())
def test_any_window_equals_rasterios(big, data):
    scene, path, values = big
    row, col = data.draw(st.integers(0, 699)), data.draw(st.integers(0, 1099))
    window = Window(row, col, data.draw(st.integers(1, 700 - row)), data.draw(st.integers(1, 1100 - col)))
    found = read_window(scene, window, threads=1).values
    np.testing.assert_array_equal(found, values[:, *window.slices])
    with rasterio.open(path) as file:
        oracle = file.read(window=RasterWindow(window.col, window.row, window.width, window.height))
    np.testing.assert_array_equal(found, oracle)


@pytest.mark.parametrize("ahead", [0, 1, 2, 7])
def test_windows_read_ahead_come_in_order(big, ahead):
    scene, _, values = big
    windows = [Window(row, col, 100, 130) for row in (600, 0, 300) for col in (970, 0)]
    for window, pixels in zip(windows, read_windows(scene, windows, ahead), strict=True):
        np.testing.assert_array_equal(pixels.values, values[:, *window.slices])


def test_nothing_is_read_ahead_while_decoding_keeps_the_cores_busy(big, monkeypatch):
    answers = iter([True, True, False])
    monkeypatch.setattr(reader, "_busy_since", lambda *_: next(answers))
    scene, _, values = big
    windows = [Window(row, 0, 100, 130) for row in range(0, 700, 100)]
    taken = []
    tiles = read_windows(scene, (taken.append(one) or one for one in windows), 2, shares_cores=True)
    for number, pixels in enumerate(tiles):
        np.testing.assert_array_equal(pixels.values, values[:, *windows[number].slices])
        assert len(taken) == (number + 1 if number < 3 else min(number + 3, 7))


def test_a_source_slices_like_an_array(tif):
    values = noise(4, 20, 30)
    source = source_of(tif("scene.tif", values))
    np.testing.assert_array_equal(source[1:3, 5:9, -4:], values[1:3, 5:9, -4:])
    np.testing.assert_array_equal(source[2, 5:9, 3:7], values[2, 5:9, 3:7])


def test_one_band_or_row_of_the_lazy_stack_can_be_computed(tif, stack):
    values = noise(4, 20, 30)
    pixels = stack([tif("scene.tif", values)]).pixels
    np.testing.assert_array_equal(pixels[2].compute(), values[2])
    np.testing.assert_array_equal(pixels[:, 7].compute(), values[:, 7])


def test_what_one_source_reads_does_not_depend_on_other_sources_of_its_file(tif):
    """One thread's open file serves many views; none may leave its mark on the next."""
    values = noise(4, 30, 30, "uint8")
    values[3, 5:9] = 0
    near = source_of(tif("scene.tif", values, photometric="rgb", alpha="yes"))  # the fourth is spectral all the same
    header = read_header(near.path)
    finer = replace(near, grid=with_resolution(header.grid, 5), shape=(4, 60, 60))
    whole = (slice(None),) * 3
    alone = finer[whole]
    close_handles()
    np.testing.assert_array_equal(near[whole], values)
    np.testing.assert_array_equal(finer[whole], alone)
    np.testing.assert_array_equal(near[whole], values)


def test_a_file_replaced_between_two_scenes_is_read_anew(tif, stack, whole):
    """Threads keep files open, but a scene opened later must not show what its file held before."""
    for seed in (1, 2, 3):
        values = noise(1, 20, 30, seed=seed)
        np.testing.assert_array_equal(whole(stack([tif("scene.tif", values)])).values, values)


def test_a_source_pickles(tif):
    source = source_of(tif("scene.tif", noise(2, 20, 30)))
    whole = (slice(None),) * 3
    before = source[whole]
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    np.testing.assert_array_equal(copy[whole], before)


def test_bands_of_different_types_in_one_file_are_read_in_a_common_type(tif, tmp_path, stack, whole):
    small, large = noise(1, 8, 9, "uint8"), noise(1, 8, 9, "float32")
    tif("small.tif", small)
    tif("large.tif", large)
    bands = "".join(
        f'<VRTRasterBand dataType="{name}" band="{index}"><SimpleSource><SourceFilename relativeToVRT="1">{path}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for index, (path, name) in enumerate((("small.tif", "Byte"), ("large.tif", "Float32")), 1)
    )
    vrt = tmp_path / "both.vrt"
    vrt.write_text(
        f'<VRTDataset rasterXSize="9" rasterYSize="8"><SRS>{UTM}</SRS>'
        f"<GeoTransform>300000, 10, 0, 5800000, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    found = whole(stack([str(vrt)])).values
    np.testing.assert_array_equal(found, np.concatenate([small, large]))


@pytest.mark.parametrize("internal", [True, False], ids=["internal mask", "mask beside the file"])
def test_a_mask_band_makes_pixels_invalid_and_is_no_spectral_band(tif, stack, whole, internal):
    values, mask = noise(3, 40, 50), np.full((40, 50), 255, np.uint8)
    mask[10:20, :7] = 0
    path = tif("scene.tif", values)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert Path(f"{path}.msk").exists() != internal
    with rasterio.Env(**gdal_options([path])):  # as the program reads
        scene = stack([path])
        pixels = whole(scene)
    assert len(scene.bands) == 3
    np.testing.assert_array_equal(pixels.valid, mask > 0)
    np.testing.assert_array_equal(pixels.values, values)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_two_level_alpha_band_is_a_mask(tif, stack, whole, bands):
    values = noise(bands + 1, 40, 50, "uint8")
    values[-1] = 255
    values[-1, 5:9, 30:] = 0
    photometric = {1: "minisblack", 3: "rgb"}[bands]
    scene = stack([tif("scene.tif", values, photometric=photometric, alpha="yes")])
    assert len(scene.bands) == bands
    pixels = whole(scene)
    np.testing.assert_array_equal(pixels.valid, values[-1] > 0)
    np.testing.assert_array_equal(pixels.values, values[:-1])


def test_an_alpha_band_behind_more_than_three_bands_is_a_mask_too(tif, stack, whole):
    values = noise(5, 40, 50)
    values[-1] = 65535
    values[-1, :7] = 0
    path = tif("scene.tif", values)
    with rasterio.open(path, "r+") as file:
        gray, alpha = rasterio.enums.ColorInterp.gray, rasterio.enums.ColorInterp.alpha
        file.colorinterp = (gray, gray, gray, gray, alpha)
    scene = stack([path])
    assert len(scene.bands) == 4
    np.testing.assert_array_equal(whole(scene).valid, values[-1] > 0)


def test_a_fourth_spectral_band_that_the_writer_labelled_alpha_is_no_mask(tif, stack, whole):
    values = noise(4, 40, 50, "uint8")
    values[3, 5:9] = 0
    scene = stack([tif("scene.tif", values, photometric="rgb", alpha="yes")])
    pixels = whole(scene)
    assert len(scene.bands) == 4
    assert pixels.valid.all()
    np.testing.assert_array_equal(pixels.values, values)


@pytest.mark.parametrize("name", ["cube.img", "cube.dat", "cube"])
def test_envi_files_with_their_header_beside_them_open_as_the_program_reads(tif, stack, whole, name):
    values = noise(6, 12, 13)
    path = tif(name, values, driver="ENVI")
    with rasterio.Env(**gdal_options([path])):
        np.testing.assert_array_equal(whole(stack([path])).values, values)


def test_a_world_file_beside_the_scene_places_it_as_the_program_reads(tif, stack):
    path = tif("scene.tif", noise(1, 12, 13), profile="BASELINE", TFW="YES")
    with rasterio.open(path) as file:
        expected = file.transform
    with rasterio.Env(**gdal_options([path])):
        assert stack([path]).grid.transform.almost_equals(expected)


def test_a_truncated_file_names_file_and_window_and_leaves_the_rest_readable(tif, stack):
    values = noise(1, 256, 256)
    path = Path(tif("scene.tif", values, tiled=True, blockxsize=64, blockysize=64))
    close_handles()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    scene = stack([str(path)])
    np.testing.assert_array_equal(read_window(scene, Window(0, 0, 64, 64)).values, values[:, :64, :64])
    with pytest.raises(DamagedRaster) as caught:
        read_window(scene, Window(192, 64, 64, 64))
    assert str(path) in str(caught.value)
    assert "rows 192 to 256, columns 64 to 128" in str(caught.value)


def test_damage_is_told_every_time(tmp_path):
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    path = sentinel2_scene(tmp_path / "scene.tif", 1100, 520, **layout)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400_000] = bytes(400_000)
    path.write_bytes(content)
    source = source_of(str(path))
    for _ in range(3):
        with pytest.raises(DamagedRaster):
            source[:, 512:1024, 0:512]


def test_damage_in_a_tile_read_ahead_surfaces_at_that_tile(tif, stack):
    path = Path(tif("scene.tif", noise(1, 1024, 64), tiled=True, blockxsize=64, blockysize=64))
    close_handles()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 8])
    tiles = read_windows(stack([str(path)]), [Window(row, 0, 256, 64) for row in (0, 256, 512, 768)])
    assert next(tiles).valid.all()
    assert next(tiles).valid.all()
    with pytest.raises(DamagedRaster, match="rows 512 to 1024"):
        list(tiles)


def test_a_netcdf_of_several_variables_lists_them(tif, tmp_path):
    path = tmp_path / "scene.nc"
    with rasterio.open(tif("scene.tif", noise(2, 8, 9, "int16"))) as file:
        rasterio.shutil.copy(file, path, driver="netCDF")
    with pytest.raises(NoBands) as caught:
        read_header(str(path))
    for name in ("Band1", "Band2"):
        assert f"{path}:{name}" in str(caught.value)


def test_a_netcdf_variable_named_in_full_opens(tif, tmp_path, stack, whole):
    values, path = noise(2, 8, 9, "int16"), tmp_path / "scene.nc"
    with rasterio.open(tif("scene.tif", values)) as file:
        rasterio.shutil.copy(file, path, driver="netCDF")
    np.testing.assert_array_equal(whole(stack([f"netcdf:{path}:Band2"])).values, values[1:])


def test_files_that_are_not_there_or_no_rasters(tmp_path):
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    with pytest.raises(NotARaster, match=r"text\.tif"):
        read_header(str(text))
    with pytest.raises(SceneNotFound, match=r"missing\.tif"):
        read_header(str(tmp_path / "missing.tif"))


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("T33UVU_20200215T100101_B04.tif", "2020-02-15T10:01:01+00:00"),
        ("LC08_20200215_20200301_T1.tif", "2020-02-15T00:00:00+00:00"),
        ("scene.tif", None),
        ("tile_20200230.tif", None),
        ("id_19991231T997733.tif", "1999-12-31T00:00:00+00:00"),
    ],
)
def test_the_date_in_a_name_is_read_where_it_is_one(tif, name, taken):
    found = read_header(tif(name, noise(1, 4, 4))).taken
    assert (found and found.isoformat()) == taken


def test_a_thread_that_read_from_afar_still_sees_what_lies_beside_a_local_file(tif):
    """rasterio leaves a thread with the options that the main thread had set meanwhile."""
    path = tif("scene.tif", noise(3, 40, 50))
    mask = np.full((40, 50), 255, np.uint8)
    mask[10:20, :7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    source = Source(path, (1, 2, 3), np.dtype(np.uint8), (1, 40, 50), masked=True, validity=True)

    def far() -> None:
        with rasterio.Env(**gdal_options(["https://somewhere/scene.tif"])):
            pass

    with ThreadPoolExecutor(1) as pool:
        with rasterio.Env(**gdal_options(["https://somewhere/scene.tif"])):
            pool.submit(far).result()
        found = pool.submit(lambda: source[:, :, :]).result()
        pool.submit(close_handles).result()
    np.testing.assert_array_equal(found[0] > 0, mask > 0)


def test_an_option_in_the_environment_counts(monkeypatch):
    assert gdal_options(["scene.tif"])["GDAL_HTTP_MAX_RETRY"] == 5
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    assert "GDAL_HTTP_MAX_RETRY" not in gdal_options(["scene.tif"])


@pytest.mark.parametrize("path", ["https://somewhere/scene.tif", "/vsis3/bucket/scene.tif", "s3://bucket/scene.tif"])
def test_remote_files_are_read_with_one_gdal_thread_whatever_the_environment_says(monkeypatch, path):
    """With more, blocks that a server fails to send may come back as zeros."""
    monkeypatch.setenv("GDAL_NUM_THREADS", "ALL_CPUS")
    assert gdal_options(["local.tif", path])["GDAL_NUM_THREADS"] == 1
    assert "GDAL_NUM_THREADS" not in gdal_options(["local.tif"])
