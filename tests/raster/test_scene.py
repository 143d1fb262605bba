"""Several files as one aligned stack: grids, nodata, masks and coordinate systems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.rpc import RPC
from rasterio.warp import reproject

from dofa_cli.errors import AreaError, GridError
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window
from dofa_cli.raster.scene import Scene, read_headers
from tests.made import UTM

LEFT, TOP = 300000.0, 5800000.0
LOWEST = float(np.finfo(np.float32).min)


def metres(size: float, left: float = LEFT, top: float = TOP) -> Affine:
    """A north-up grid of square pixels."""
    return Affine(size, 0, left, 0, -size, top)


def plane(transform: Affine, height: int, width: int, slope: tuple[float, float] = (0.5, -0.25)) -> np.ndarray:
    """Values (1, height, width) linear in x and y at pixel centres, which bilinear interpolation reproduces."""
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = transform.a * cols + transform.b * rows + transform.c, transform.d * cols + transform.e * rows + transform.f
    return (1000 + slope[0] * (x - LEFT) + slope[1] * (TOP - y)).astype(np.float32)[None]


def coarsened(mask: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel of a mask ``factor`` times along both axes: nearest neighbour on aligned grids."""
    return mask.repeat(factor, 0).repeat(factor, 1)


# Nodata


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0),
        ("int16", -9999),
        ("uint16", 65535),
        ("float32", np.nan),
        ("float32", -9999),
        ("float32", -3.4e38),
        ("float32", LOWEST),
        ("float32", -3.40282346638529e38),  # as some programs print the lowest float32
        ("float64", -1e308),
    ],
)
@pytest.mark.parametrize("where", ["every band", "one band"])
def test_a_pixel_is_invalid_where_any_band_is_nodata(tif, stack, whole, dtype, nodata, where):
    values = np.full((3, 20, 30), 7, dtype)
    values[: 3 if where == "every band" else 1, 4:9, 20:] = nodata
    pixels = whole(stack([tif("scene.tif", values, nodata=nodata)]))
    expected = np.ones((20, 30), bool)
    expected[4:9, 20:] = False
    np.testing.assert_array_equal(pixels.valid, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_invalid_whatever_nodata_says(tif, stack, whole, bad):
    values = np.ones((2, 8, 9), np.float32)
    values[1, 2, 3] = bad
    for nodata in (None, -9999):
        valid = whole(stack([tif(f"scene{nodata}.tif", values, nodata=nodata)])).valid
        assert not valid[2, 3]
        assert valid.sum() == 8 * 9 - 1


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", -9999.0), ("uint8", 256.0), ("int16", 1e20), ("uint8", 6.5), ("float32", 1e300)]
)
def test_a_nodata_value_that_the_type_cannot_hold_marks_nothing(tif, stack, whole, dtype, nodata):
    path = tif("scene.tif", np.full((1, 8, 9), 6, dtype))
    assert whole(stack([path], default_nodata=nodata)).valid.all()


def test_each_band_keeps_the_nodata_value_of_its_own_file(tif, stack, whole):
    one, two = np.full((1, 8, 9), 5, np.uint16), np.full((1, 8, 9), 5, np.float32)
    one[0, 0], one[0, 1], two[0, 2], two[0, 3] = 0, 9, 9, 0
    scene = stack([tif("one.tif", one, nodata=0), tif("two.tif", two, nodata=9)])
    np.testing.assert_array_equal(whole(scene).valid[:, 0], [False, True, False, True, *[True] * 4])


def test_a_default_nodata_stands_in_only_where_a_file_declares_none(tif, stack, whole):
    one, two = np.full((1, 8, 9), 5, np.int16), np.full((1, 8, 9), 5, np.int16)
    one[0, 0], one[0, 1], two[0, 2], two[0, 3] = 0, -1, 0, -1
    paths = [tif("one.tif", one), tif("two.tif", two, nodata=-1)]
    scene = stack(paths, default_nodata=0)
    assert scene.nodata == (0, -1)
    np.testing.assert_array_equal(whole(scene).valid[:, 0], [False, True, True, False, *[True] * 4])


@pytest.mark.parametrize("kind", ["float32 in float64", "uint8 in float32"])
def test_nodata_survives_a_stack_of_a_wider_type(tif, stack, whole, kind):
    narrow, wide = kind.split(" in ")
    nodata = {"float32": -3.4e38, "uint8": 255}[narrow]
    values = np.full((1, 8, 9), 5, narrow)
    values[0, 3] = nodata
    scene = stack([tif("one.tif", values, nodata=nodata), tif("two.tif", np.ones((1, 8, 9), wide))])
    pixels = whole(scene)
    assert pixels.values.dtype == np.dtype(wide)
    assert (~pixels.valid).nonzero()[0].tolist() == [3] * 9


# Grids of several files


def sentinel(tif: Callable[..., str], sizes: tuple[int, ...] = (10, 20, 60), dtype: str = "float32") -> list[str]:
    """One file per pixel size over the same 1200 m square, each holding a plane of its own slope."""
    files = []
    for size in sizes:
        side = 1200 // size
        values = plane(metres(size), side, side, (size / 40, -size / 80))
        files.append(tif(f"r{size}.tif", values.astype(dtype), transform=metres(size)))
    return files


def inner(size: int) -> slice:
    """The 10 m pixels of the square that lie between centres of ``size`` m pixels: no edge effects."""
    return slice(size // 20, 120 - size // 20)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_coarser_files_are_interpolated_onto_the_finest_grid(tif, stack, whole, order):
    files = sentinel(tif)
    scene = stack([files[position] for position in order])
    pixels = whole(scene)
    assert (scene.grid.height, scene.grid.width, scene.grid.transform) == (120, 120, metres(10))
    assert pixels.valid.all()
    for band, position in enumerate(order):
        size = (10, 20, 60)[position]
        expected = plane(metres(10), 120, 120, (size / 40, -size / 80))[0]
        part = inner(size)
        np.testing.assert_allclose(pixels.values[band][part, part], expected[part, part], rtol=0, atol=0.02)


def test_the_finest_file_is_not_resampled(tif, stack, whole):
    files = sentinel(tif)
    with rasterio.open(files[0]) as file:
        np.testing.assert_array_equal(whole(stack(files)).values[0], file.read(1))


def test_interpolation_equals_rasterios_reproject(tif, stack, whole):
    values = np.random.default_rng(0).uniform(0, 100, (1, 30, 30)).astype(np.float32)
    coarse = tif("coarse.tif", values, transform=metres(20, LEFT - 7, TOP + 3), nodata=-1)
    fine = tif("fine.tif", np.ones((1, 50, 50), np.float32), transform=metres(10))
    expected = np.full((50, 50), -1, np.float32)
    reproject(
        values[0],
        expected,
        src_transform=metres(20, LEFT - 7, TOP + 3),
        src_crs=UTM,
        dst_transform=metres(10),
        dst_crs=UTM,
        src_nodata=-1,
        dst_nodata=-1,
        resampling=Resampling.bilinear,
    )
    np.testing.assert_allclose(whole(stack([fine, coarse])).values[1], expected, rtol=1e-5)


def test_the_values_of_a_window_do_not_depend_on_how_the_stack_is_cut(tif, stack, whole):
    scene = stack(sentinel(tif))
    everything = whole(scene).values
    for window in (Window(0, 0, 7, 11), Window(113, 40, 7, 80), Window(30, 59, 64, 2)):
        np.testing.assert_array_equal(read_window(scene, window).values, everything[:, *window.slices])


def test_bands_come_in_the_order_asked_for_across_files(tif, stack, whole):
    one, two = (np.random.default_rng(seed).integers(1, 99, (3, 8, 9), dtype=np.int16) for seed in (1, 2))
    paths = [tif("one.tif", one), tif("two.tif", two)]
    order = (4, 0, 5, 2)
    scene = stack(paths, order)
    np.testing.assert_array_equal(whole(scene).values, np.concatenate([one, two])[list(order)])
    assert [(band.path, band.index) for band in scene.bands] == [
        (paths[1], 2),
        (paths[0], 1),
        (paths[1], 3),
        (paths[0], 3),
    ]


def test_a_file_without_wanted_bands_does_not_shape_the_grid(tif, stack):
    fine, coarse = (tif(f"r{size}.tif", np.ones((1, 9, 9), np.uint8), transform=metres(size)) for size in (10, 20))
    assert stack([fine, coarse], [1]).grid.transform == metres(20)


HOLE = np.s_[10:15, 8:20]


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", -9999), ("uint16", 0), ("float32", -9999), ("float32", np.nan)]
)
@pytest.mark.parametrize("bands", [1, 3])
def test_resampling_never_mixes_nodata_in_and_masks_by_the_nearest_pixel(tif, stack, whole, dtype, nodata, bands):
    values = np.full((bands, 30, 30), 1000, dtype)
    values[:, *HOLE] = nodata
    valid = np.ones((30, 30), bool)
    valid[HOLE] = False
    coarse = tif("coarse.tif", values, transform=metres(20), nodata=nodata)
    fine = tif("fine.tif", np.ones((1, 60, 60), dtype), transform=metres(10))
    pixels = whole(stack([fine, coarse]))
    np.testing.assert_array_equal(pixels.valid, coarsened(valid, 2))
    assert set(pixels.values[1:, pixels.valid].ravel()) == {1000}


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("uint16", 0), ("float32", np.nan)])
def test_nodata_of_one_band_alone_does_not_leak_either(tif, stack, whole, dtype, nodata):
    values = np.full((3, 30, 30), 1000, dtype)
    values[1, *HOLE] = nodata
    coarse = tif("coarse.tif", values, transform=metres(20), nodata=nodata)
    fine = tif("fine.tif", np.ones((1, 60, 60), dtype), transform=metres(10))
    pixels = whole(stack([fine, coarse]))
    assert set(pixels.values[1:, pixels.valid].ravel()) == {1000}
    assert not pixels.valid[22:28, 18:38].any()  # a coarse pixel inside the hole, nothing valid in reach
    assert pixels.valid[:20].all()
    assert pixels.valid[30:].all()


def test_undeclared_nan_does_not_leak(tif, stack, whole):
    values = np.full((2, 30, 30), 1000, np.float32)
    values[1, *HOLE] = np.nan
    paths = [
        tif("fine.tif", np.ones((1, 60, 60), np.float32), transform=metres(10)),
        tif("coarse.tif", values, transform=metres(20)),
    ]
    pixels = whole(stack(paths))
    assert set(pixels.values[1:, pixels.valid].ravel()) == {1000}
    assert not pixels.valid[20:30, 16:40].any()
    assert pixels.valid[:18].all()


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_what_lies_outside_a_files_extent_is_invalid_without_any_nodata(tif, stack, whole, bands, dtype):
    fine = tif("fine.tif", np.ones((1, 60, 60), dtype), transform=metres(10))
    shifted = np.full((bands, 30, 30), 1000, dtype)
    coarse = tif("coarse.tif", shifted, transform=metres(20, LEFT + 100, TOP - 200))
    pixels = whole(stack([fine, coarse]))
    expected = np.zeros((60, 60), bool)
    expected[20:, 10:] = True
    np.testing.assert_array_equal(pixels.valid, expected)
    assert (pixels.values[1:, expected] == 1000).all()


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
@pytest.mark.parametrize("internal", [True, False], ids=["internal mask", "mask beside the file"])
def test_masks_are_resampled_by_the_nearest_pixel_and_never_leak(tif, stack, whole, bands, internal):
    values, valid = np.full((bands, 30, 30), 1000, np.uint16), np.ones((30, 30), bool)
    valid[HOLE] = False
    values[:, *HOLE] = 65000
    coarse = tif("coarse.tif", values, transform=metres(20))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(coarse, "r+") as file:
        file.write_mask(valid)
    fine = tif("fine.tif", np.ones((1, 60, 60), np.uint16), transform=metres(10))
    pixels = whole(stack([fine, coarse]))
    np.testing.assert_array_equal(pixels.valid, coarsened(valid, 2))
    assert set(pixels.values[1:, pixels.valid].ravel()) == {1000}


def test_a_two_level_alpha_band_is_resampled_as_a_mask(tif, stack, whole):
    values = np.full((4, 30, 30), 100, np.uint8)
    values[3] = 255
    values[:, *HOLE] = 0
    path = tif("scene.tif", values, transform=metres(20), photometric="rgb", alpha="yes")
    pixels = whole(stack([path], resolution=10))
    assert pixels.values.shape == (3, 60, 60)
    np.testing.assert_array_equal(pixels.valid, coarsened(values[3] > 0, 2))
    assert set(pixels.values[:, pixels.valid].ravel()) == {100}


def test_a_spectral_band_labelled_alpha_is_resampled_like_any_other(tif, stack, whole):
    values = np.random.default_rng(0).integers(1, 200, (4, 30, 30)).astype(np.uint8)
    values[3, 5:9] = 0
    labelled = tif("labelled.tif", values, transform=metres(20), photometric="rgb", alpha="yes")
    plain = tif("plain.tif", values, transform=metres(20), photometric="minisblack", alpha="unspecified")
    np.testing.assert_array_equal(whole(stack([labelled])).values, values)
    found, expected = (whole(stack([path], resolution=10)) for path in (labelled, plain))
    assert found.valid.all()
    np.testing.assert_array_equal(found.values, expected.values)


@pytest.mark.parametrize("resolution", [5, 30])
def test_resolution_sets_the_pixel_over_the_same_ground(tif, stack, whole, resolution):
    path = tif("scene.tif", plane(metres(10), 60, 90), transform=metres(10))
    scene = stack([path], resolution=resolution)
    side = 600 // resolution
    assert (scene.grid.height, scene.grid.width) == (side, side * 3 // 2)
    assert scene.grid.transform == metres(resolution)
    pixels = whole(scene)
    assert pixels.valid.all()
    expected = plane(metres(resolution), side, side * 3 // 2)[0]
    part = np.s_[3:-3, 3:-3]
    np.testing.assert_allclose(pixels.values[0][part], expected[part], rtol=0, atol=0.02)


# Coordinate systems


def geographic(tif: Callable[..., str], size: float) -> str:
    """A geographic file around the scenes whose values are easting - LEFT, so that they tell where they landed."""
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(LEFT, TOP)
    transform = Affine(size, 0, lon - 0.01, 0, -size, lat + 0.01)
    side = round(0.04 / size)
    cols, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    x, _ = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(
        transform.c + size * cols, transform.f - size * rows
    )
    return tif("geographic.tif", (x - LEFT).astype(np.float32)[None], transform=transform, crs="EPSG:4326")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_files_in_other_coordinate_systems_land_in_the_right_place(tif, stack, whole, order):
    paths = [tif("fine.tif", np.ones((1, 90, 100), np.float32)), geographic(tif, 0.0003)]
    with rasterio.open(paths[0]) as file:
        first = file.transform
    scene = stack([paths[position] for position in order])
    assert scene.grid.crs.to_epsg() == 32633  # 10 m are finer than 0.0003 degrees (33 m)
    assert (scene.height, scene.width) == (90, 100)
    pixels = whole(scene)
    assert pixels.valid.all()
    expected = first.c - LEFT + 10 * (np.arange(100) + 0.5)
    np.testing.assert_allclose(pixels.values[order.index(1)], expected[None].repeat(90, 0), rtol=0, atol=5)


def test_files_that_do_not_overlap_are_refused_by_name(tif, stack):
    near = tif("near.tif", np.ones((1, 9, 9), np.uint8))
    far = tif("far.tif", np.ones((1, 9, 9), np.uint8), transform=metres(10, LEFT + 5000))
    with pytest.raises(GridError, match=r"far\.tif does not overlap"):
        stack([near, far])


def test_files_with_and_without_coordinates_are_refused(tif, stack):
    placed = tif("placed.tif", np.ones((1, 9, 9), np.uint8))
    adrift = tif("adrift.tif", np.ones((1, 9, 9), np.uint8), crs=None, transform=Affine.identity())
    with pytest.raises(GridError, match="coordinate system"):
        stack([placed, adrift])


def test_files_without_coordinates_stack_when_their_sizes_agree(tif, stack, whole):
    bare = {"crs": None, "transform": Affine.identity()}
    one, two = (np.full((1, 9, 9), value, np.uint8) for value in (1, 2))
    paths = [tif("one.tif", one, **bare), tif("two.tif", two, **bare)]
    scene = stack(paths)
    assert scene.grid.crs is None
    np.testing.assert_array_equal(whole(scene).values, np.concatenate([one, two]))
    small = tif("small.tif", np.ones((1, 8, 9), np.uint8), **bare)
    with pytest.raises(GridError, match=r"small\.tif"):
        stack([paths[0], small])


ROTATED = Affine.translation(LEFT, TOP) @ Affine.rotation(30) @ Affine.scale(10, -10)
SOUTH_UP = Affine(10, 0, LEFT, 0, 10, TOP)


@pytest.mark.parametrize("transform", [ROTATED, SOUTH_UP], ids=["rotated", "south up"])
def test_rotated_and_south_up_scenes_keep_their_grid_and_pixels(tif, stack, whole, transform):
    values = np.random.default_rng(0).integers(1, 99, (2, 30, 40), dtype=np.int16)
    scene = stack([tif("scene.tif", values, transform=transform)])
    assert scene.grid.transform.almost_equals(transform, 1e-6)
    assert scene.grid.pixel_size == pytest.approx(10)
    np.testing.assert_array_equal(whole(scene).values, values)


@pytest.mark.parametrize("transform", [ROTATED, SOUTH_UP], ids=["rotated", "south up"])
def test_coarser_files_align_on_rotated_and_south_up_scenes(tif, stack, whole, transform):
    coarse = transform @ Affine.scale(2)
    paths = [
        tif("fine.tif", plane(transform, 60, 80), transform=transform),
        tif("coarse.tif", plane(coarse, 30, 40), transform=coarse),
    ]
    values = whole(stack(paths)).values[:, 2:-2, 2:-2]
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=0.05)


@pytest.mark.parametrize("transform", [ROTATED, SOUTH_UP], ids=["rotated", "south up"])
def test_rotated_and_south_up_scenes_take_a_resolution(tif, stack, whole, transform):
    scene = stack([tif("scene.tif", plane(transform, 60, 80), transform=transform)], resolution=20)
    assert scene.grid.transform.almost_equals(transform @ Affine.scale(2), 1e-6)
    expected = plane(transform @ Affine.scale(2), 30, 40)[0]
    np.testing.assert_allclose(whole(scene).values[0, 2:-2, 2:-2], expected[2:-2, 2:-2], rtol=0, atol=0.05)


def test_crops_keep_coordinates_and_pixels(tif, stack, whole):
    values = np.random.default_rng(0).integers(1, 99, (2, 30, 40), dtype=np.int16)
    scene = stack([tif("scene.tif", values, transform=ROTATED)])
    part = scene.crop(Window(5, 7, 11, 13)).crop(Window(1, 2, 4, 3))
    np.testing.assert_array_equal(whole(part).values, values[:, 6:10, 9:12])
    assert part.grid.transform.almost_equals(ROTATED @ Affine.translation(9, 6), 1e-6)


def test_pixels_that_touch_bounds(scene_of):
    scene = scene_of(np.ones((1, 30, 40), np.uint8))
    left, top = scene.grid.transform.c, scene.grid.transform.f
    assert scene.pixel_window((left + 20, top - 50, left + 40, top - 30)) == Window(3, 2, 2, 2)
    assert scene.pixel_window((left + 19, top - 51, left + 41, top - 29)) == Window(2, 1, 4, 4)
    assert scene.pixel_window((left - 1e5, top - 1e5, left + 1e5, top + 1e5)) == Window(0, 0, 30, 40)
    with pytest.raises(AreaError):
        scene.pixel_window((left - 100, top, left - 50, top + 50))


# Scenes without an affine grid: a bright spot must land where its coordinates say.

ROWS, COLS, SPOT = 100, 80, (71, 21)
LON, LAT, STEP_LON, STEP_LAT = 12.39, 52.31, 0.00025, 0.0002


def spotted() -> np.ndarray:
    values = np.full((1, ROWS, COLS), 100, np.uint16)
    row, col = SPOT
    values[0, row - 1 : row + 2, col - 1 : col + 2] = 1000
    return values


def with_control_points(tif: Callable[..., str]) -> str:
    points = [
        GroundControlPoint(row=row, col=col, x=LON + col * STEP_LON, y=LAT - row * STEP_LAT, z=0)
        for row in (0, ROWS / 2, ROWS)
        for col in (0, COLS / 2, COLS)
    ]
    return tif("gcps.tif", spotted(), gcps=points, crs="EPSG:4326", transform=None)


def with_rpcs(tif: Callable[..., str]) -> str:
    def coefficients(*first: float) -> list[float]:
        return [*first, *[0.0] * (20 - len(first))]

    # RPCs count from the centre of the first pixel.
    rpcs = RPC(
        lat_off=LAT - STEP_LAT * ROWS / 2,
        lat_scale=STEP_LAT * ROWS / 2,
        long_off=LON + STEP_LON * COLS / 2,
        long_scale=STEP_LON * COLS / 2,
        line_off=ROWS / 2 - 0.5,
        line_scale=ROWS / 2,
        samp_off=COLS / 2 - 0.5,
        samp_scale=COLS / 2,
        height_off=0,
        height_scale=500,
        line_num_coeff=coefficients(0, 0, -1),
        line_den_coeff=coefficients(1),
        samp_num_coeff=coefficients(0, 1),
        samp_den_coeff=coefficients(1),
    )
    return tif("rpcs.tif", spotted(), rpcs=rpcs, crs=None, transform=None)


def with_geolocation_arrays(tif: Callable[..., str]) -> str:
    bare = {"crs": None, "transform": None}
    lat = np.repeat(LAT - STEP_LAT * (np.arange(ROWS) + 0.5)[:, None], COLS, 1)[None]
    lon = np.repeat(LON + STEP_LON * (np.arange(COLS) + 0.5)[None], ROWS, 0)[None]
    facts = {
        "SRS": "EPSG:4326",
        "X_DATASET": tif("lon.tif", lon, **bare),
        "X_BAND": 1,
        "Y_DATASET": tif("lat.tif", lat, **bare),
        "Y_BAND": 1,
        "PIXEL_OFFSET": 0,
        "LINE_OFFSET": 0,
        "PIXEL_STEP": 1,
        "LINE_STEP": 1,
        "GEOREFERENCING_CONVENTION": "PIXEL_CENTER",
    }
    path = tif("swath.tif", spotted(), **bare)
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="GEOLOCATION", **facts)
    return path


UNPLACED = [with_control_points, with_rpcs, with_geolocation_arrays]
BY_NAME = {"ids": ["control points", "RPCs", "geolocation arrays"]}


@pytest.mark.parametrize("write", UNPLACED, **BY_NAME)
def test_scenes_without_an_affine_grid_are_refused_with_the_option_named(tif, write):
    with pytest.raises(GridError, match="--warp"):
        read_headers([write(tif)])


def test_the_refusal_suggests_the_utm_zone_of_the_control_points(tif):
    with pytest.raises(GridError, match="EPSG:32633"):
        read_headers([with_control_points(tif)])


def spot_error(scene: Scene, values: np.ndarray) -> float:
    """Distance in pixels between the bright spot's centroid and where its coordinates say it is."""
    rows, cols = np.nonzero(values[0] > 500)
    x, y = Transformer.from_crs("EPSG:4326", scene.grid.crs, always_xy=True).transform(
        LON + (SPOT[1] + 0.5) * STEP_LON, LAT - (SPOT[0] + 0.5) * STEP_LAT
    )
    col, row = ~scene.grid.transform @ (x, y)
    return float(np.hypot(rows.mean() + 0.5 - row, cols.mean() + 0.5 - col))


@pytest.mark.parametrize("resolution", [None, 10])
@pytest.mark.parametrize("write", UNPLACED, **BY_NAME)
def test_warped_scenes_land_within_a_pixel(tif, stack, whole, write, resolution):
    scene = stack([write(tif)], warp=UTM, resolution=resolution)
    assert scene.grid.crs.to_epsg() == 32633
    assert resolution is None or scene.grid.pixel_size == pytest.approx(resolution)
    pixels = whole(scene)
    assert pixels.values.max() > 900
    assert spot_error(scene, pixels.values) < 1
    assert 0.8 < pixels.valid.mean() < 1  # the corners of the warped grid lie outside the scene
    assert pixels.values[:, pixels.valid].min() >= 90


def test_warping_a_scene_on_an_affine_grid_reprojects_it(tif, stack, whole):
    path = tif("scene.tif", spotted(), transform=Affine(STEP_LON, 0, LON, 0, -STEP_LAT, LAT), crs="EPSG:4326")
    scene = stack([path], warp=UTM, resolution=10)
    pixels = whole(scene)
    assert spot_error(scene, pixels.values) < 1
    assert 0.8 < pixels.valid.mean() < 1


@pytest.mark.parametrize("crs", ["EPSG:1", "nonsense"])
def test_a_warp_that_is_no_coordinate_system_is_refused(tif, crs):
    with pytest.raises(GridError, match="--warp"):
        read_headers([tif("scene.tif", np.ones((1, 9, 9), np.uint8))], crs)


def test_a_scene_without_coordinates_cannot_be_warped(tif):
    adrift = tif("adrift.tif", np.ones((1, 9, 9), np.uint8), crs=None, transform=Affine.identity())
    with pytest.raises(GridError, match="no coordinates"):
        read_headers([adrift], UTM)
