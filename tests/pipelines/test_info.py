"""What ``info`` says of files, against rasterio, numpy and hand-made scenes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from dofa_cli.errors import DamagedRaster, NotAResult, SceneNotFound, UnknownSensor
from dofa_cli.pipelines.info import info
from dofa_cli.pipelines.scenes import histogram
from dofa_cli.raster.grid import Window
from dofa_cli.raster.ground import ground_pixel
from dofa_cli.raster.source import Grid
from dofa_cli.raster.vector import footprint, write_geoparquet
from tests.made import TRAINED, reflectance, sentinel2_scene, write_raster

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LANDSAT = ("B1 443nm", "B2 482nm", "B3 561nm", "B4 655nm", "B5 865nm", "B6 1609nm", "B7 2201nm")


def only_scene(*paths, **options):
    (scene,) = info([str(path) for path in paths], **options).scenes
    return scene


@pytest.fixture
def scene(tmp_path):
    return sentinel2_scene(tmp_path / "scene.tif", nodata=0)


def test_header_facts_are_those_of_rasterio(scene):
    facts = only_scene(scene).files[0]
    with rasterio.open(scene) as file:
        assert (facts.driver, facts.height, facts.width, facts.bands) == (file.driver, *file.shape, file.count)
        assert facts.extent == tuple(file.bounds)
        assert (facts.dtypes, facts.nodata, facts.block) == (("uint16",), (0,), file.block_shapes[0])
    assert facts.crs == "EPSG:32633 (WGS 84 / UTM zone 33N)"
    assert facts.pixel == (10, 10)


def test_a_named_stack_is_told_with_its_product_and_reflectance(scene):
    found = only_scene(scene)
    assert found.sensor == "sentinel2"
    assert tuple(band.sensor_band for band in found.bands) == TRAINED
    assert (found.product.id, found.product.fits) == ("l1c", True)
    assert found.bands[0].physical[1] == pytest.approx(found.bands[0].values.median / 10000)
    assert any("9 of 9 bands" in clue for clue in found.guesses[0].evidence)


def test_band_files_are_one_scene(tmp_path):
    for name, values in zip(("B02", "B03", "B8A"), reflectance(3, 20, 20), strict=True):
        write_raster(tmp_path / f"T33UUU_20170216T102101_{name}.tif", values[None])
    found = only_scene(*sorted(tmp_path.iterdir()))
    assert (found.sensor, len(found.files)) == ("sentinel2", 3)
    assert found.assumed_nodata == 0
    assert found.files[0].datetime.startswith("2017-02-16T10:21:01")


def test_files_with_several_bands_are_scenes_of_their_own(scene, tmp_path):
    other = sentinel2_scene(tmp_path / "other.tif", height=20, width=20)
    assert [len(found.files) for found in info([scene, other]).scenes] == [1, 1]


def test_twins_are_both_named_and_neither_is_chosen(tmp_path):
    found = only_scene(write_raster(tmp_path / "x.tif", reflectance(7, 20, 20), LANDSAT))
    assert found.sensor is None
    assert {"landsat8", "hls-l30"} <= {guess.sensor for guess in found.guesses[:2]}


def test_the_name_tells_twins_apart(tmp_path):
    found = only_scene(write_raster(tmp_path / "LC08_L1TP_193023.tif", reflectance(7, 20, 20), LANDSAT))
    assert found.sensor == "landsat8"


def test_stated_wavelengths_outweigh_band_names(tmp_path):
    """Landsat's B5 is near infrared; Sentinel-2 has a B5 too, at the red edge."""
    found = only_scene(write_raster(tmp_path / "x.tif", reflectance(7, 20, 20), LANDSAT), sensor="sentinel2")
    assert found.bands[4].sensor_band is None
    assert found.bands[3].sensor_band == "B04"


def test_an_unnamed_stack_stays_unknown(tmp_path):
    found = only_scene(write_raster(tmp_path / "x.tif", reflectance(6, 20, 20)))
    assert (found.sensor, found.product) == (None, None)


def test_part_of_an_unknown_instrument_does_not_pass_for_a_known_one(tmp_path):
    names = tuple(f"{centre:.1f} nm" for centre in np.arange(400, 2500, 21.3))
    assert only_scene(write_raster(tmp_path / "x.tif", reflectance(len(names), 4, 4), names)).sensor is None


def test_values_on_another_scale_are_called_implausible(tmp_path):
    values = (reflectance(9, 40, 40) * 37).astype(np.float32)
    found = only_scene(write_raster(tmp_path / "s2.tif", values, TRAINED))
    assert found.product.fits is False
    assert "--scale" in found.product.message


def test_a_given_sensor_is_compared_with_even_if_nothing_speaks_for_it(tmp_path):
    found = only_scene(write_raster(tmp_path / "x.tif", reflectance(6, 20, 20)), sensor="sentinel1")
    assert (found.sensor, found.guesses[0].bands, found.product.fits) == ("sentinel1", 0, None)
    assert "--bands" in found.product.message


def test_distribution_is_that_of_numpy_without_nodata(tmp_path):
    values = np.random.default_rng(0).normal(5, 2, (2, 60, 70)).astype(np.float32)
    values[:, :30] = -9999
    found = only_scene(write_raster(tmp_path / "x.tif", values, nodata=-9999)).bands[1].values
    valid = values[1, 30:]
    expected = [valid.min(), *np.quantile(valid, (0.001, 0.01, 0.5, 0.99)), valid.max()]
    got = [found.minimum, found.floor, found.low, found.median, found.high, found.maximum]
    assert got == pytest.approx(expected)
    assert found.valid_share == pytest.approx(0.5)
    assert sum(found.counts) == np.count_nonzero((valid >= found.low) & (valid <= found.high))


def test_whole_numbers_fill_whole_bins(tmp_path):
    values = np.tile(np.arange(10, dtype=np.uint8), (1, 50, 5))
    assert set(only_scene(write_raster(tmp_path / "x.tif", values)).bands[0].values.counts) == {250}


def test_bands_are_sampled_in_groups_with_the_same_result(scene, monkeypatch):
    whole = only_scene(scene).bands
    monkeypatch.setattr(histogram, "GROUP_BYTES", 2 * 150 * 170 * 2)
    assert only_scene(scene).bands == whole


def test_a_band_without_data_does_not_hide_the_others(tmp_path):
    values = np.ones((2, 8, 8), np.float32)
    values[1] = np.nan
    first, second = only_scene(write_raster(tmp_path / "x.tif", values)).bands
    assert first.values.valid_share == 1
    assert second.values is None


def test_only_the_sensors_bands_take_its_usual_nodata(tmp_path):
    """A slope of 0 is a slope; a Sentinel-2 value of 0 is none."""
    values = reflectance(10, 20, 20).astype(np.float32)
    values[9], values[:9, 0] = 0, 0
    bands = only_scene(write_raster(tmp_path / "s2.tif", values, (*TRAINED, "slope"))).bands
    assert bands[9].values.valid_share == 1
    assert bands[0].values.valid_share == pytest.approx(0.95)


def test_a_file_cut_off_is_described_and_called_damaged(tmp_path):
    path = write_raster(tmp_path / "x.tif", np.random.default_rng(0).integers(0, 9999, (3, 300, 300), np.uint16))
    path.write_bytes(path.read_bytes()[:200_000])
    report = info(path)
    assert report.scenes[0].files[0].height == 300
    assert "Cannot read" in report.damage


def test_a_result_shows_what_made_it_and_no_guesses(tmp_path):
    tags = {"dofa_version": "1", "level": "patch", "sensor": "sentinel2", "normalization": '[{"band": "B04"}]'}
    path = write_raster(tmp_path / "e.tif", np.zeros((40, 4, 4), np.float32))
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tags, datetime="2020-05-01T00:00:00+00:00")
    found = only_scene(path)
    assert found.files[0].made_by["normalization"] == [{"band": "B04"}]
    assert (found.guesses, found.sensor) == ((), None)
    assert found.files[0].datetime.startswith("2020-05-01")
    assert sum(band.values is not None for band in found.bands) == histogram.SAMPLED_DIMENSIONS


def write_table(path, crs):
    grid = Grid(Affine(10, 0, 300000, 0, -10, 5800020), crs, 64, 64)
    shapes = [footprint(Window(0, 32 * col, 32, 32), grid) for col in range(2)]
    tags = {"dofa": json.dumps({"dofa_version": "1", "level": "window", "sensor": "naip"})}
    vectors, taken = np.zeros((2, 24), np.float32), datetime(2020, 1, 1, tzinfo=UTC)
    write_geoparquet(path, vectors, shapes, grid, columns={}, metadata=tags, taken=taken)


@pytest.mark.parametrize(("crs", "named"), [(CRS.from_epsg(32633), "4326"), (None, None)])
def test_tables_tell_rows_dimensions_and_tags(tmp_path, crs, named):
    write_table(tmp_path / "e.parquet", crs)
    (found,) = info(tmp_path / "e.parquet").tables
    assert (found.rows, found.dimensions, found.made_by["sensor"]) == (2, 24, "naip")
    assert (named in found.crs) if named else found.crs is None


def test_tables_of_others_and_damaged_ones_are_refused(tmp_path):
    foreign = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), foreign)
    with pytest.raises(NotAResult, match="did not write"):
        info(foreign)
    foreign.write_bytes(foreign.read_bytes()[:60])
    with pytest.raises(DamagedRaster):
        info(foreign)


def test_what_is_not_there_is_named(scene):
    with pytest.raises(SceneNotFound):
        info("/nowhere.tif")
    with pytest.raises(UnknownSensor):
        info(scene, sensor="sentinel")


def test_json_has_no_nan(tmp_path):
    path = write_raster(tmp_path / "x.tif", np.full((1, 4, 4), np.nan, np.float32), nodata=np.nan)
    report = json.loads(info(path).to_json())
    assert report["scenes"][0]["files"][0]["nodata"] == [None]
    assert report["scenes"][0]["bands"][0]["values"] is None


@pytest.mark.parametrize(
    ("crs", "transform", "height", "width"),
    [
        (32633, Affine(10, 0, 500000, 0, -10, 5800000), 10 / 0.9996, 10 / 0.9996),  # on the central meridian
        (4326, Affine(0.001, 0, 12, 0, -0.001, 60), 111.41, 55.80),  # a degree at 60° north: 111.41 and 55.80 km
        (3857, Affine(10, 0, 0, 0, -10, 8399737.9), 5.01, 5.01),  # Mercator at 60° north doubles lengths
        (32633, Affine(0, -10, 500000, -10, 0, 5800000), 10 / 0.9996, 10 / 0.9996),  # rotated by a quarter
    ],
)
def test_pixels_are_measured_on_the_ground(crs, transform, height, width):
    found = ground_pixel(Grid(transform, CRS.from_epsg(crs), 2, 2))
    assert (found.height, found.width) == pytest.approx((height, width), rel=2e-3)


def test_without_coordinates_there_is_no_ground():
    assert ground_pixel(Grid(Affine.identity(), None, 2, 2)) is None
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]')
    assert ground_pixel(Grid(Affine.identity(), local, 2, 2)) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared imagery is not here")
@pytest.mark.parametrize(
    ("pattern", "sensor", "fits"),
    [
        ("sentinel1/bigearthnet_sample/S1A_IW_GRDH_1SDV_20170613T165043_33UUP_87_48/*.tif", "sentinel1", True),
        ("sentinel2/eolearn_slovenia/s2_l1c_date2.tif", "sentinel2", True),
        ("enmap/potsdam/images/enmap_potsdam_tile_160_160.tif", "enmap", True),
        ("naip/rasterframes_va/NAIP_VA.tif", "naip", None),
        ("aviris/indian_pines/indian_pines_200b.tif", "aviris", None),
        ("worldview/solaris_rotterdam/ms1.tif", None, None),
    ],
)
def test_real_scenes_are_told(pattern, sensor, fits):
    found = only_scene(*sorted(SHARED.glob(pattern)))
    assert found.sensor == sensor
    assert sensor is None or found.product.fits is fits
