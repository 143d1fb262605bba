"""Zarr results in and out of the other verbs: maps as stores, stored embeddings mapped, described and drawn."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.errors import GridError, OptionError, OutputExists
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.info import info
from dofa_cli.pipelines.quicklook import quicklook
from dofa_cli.pipelines.segment import segment
from dofa_cli.raster.style import read_style
from dofa_cli.raster.zarr_raster import open_raster
from dofa_cli.raster.zarr_store import is_complete
from tests.made import sentinel2_scene, tiny_weights
from tests.pipelines.head_cases import CLASSES, HEIGHT, linear_head, recipe_for, saved

ROWS, COLS = 150, 170


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sentinel2_scene(tmp_path_factory.mktemp("scene") / "S2A_MSIL1C_scene.tif", ROWS, COLS)


@pytest.fixture
def run(weights, scene, tmp_path):
    def run(output, source=scene, **options):
        head = saved(linear_head(recipe_for(scene), weights), tmp_path / "crops.pt")
        return segment(source, tmp_path / output, **({"head": head, "weights": str(weights)} | options))

    return run


@pytest.fixture(scope="module")
def stored(weights, scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    given = {"sensor": "sentinel2", "weights": str(weights)}
    return [embed(scene, folder / f"patch{ending}", **given).output for ending in (".tif", ".zarr")]


def read(path):
    with open_raster(path) as file:
        return file.read()


def test_a_map_as_a_store_holds_the_classes_of_the_geotiff(run, tmp_path):
    made, cog = run("map.zarr"), run("map.tif")
    np.testing.assert_array_equal(read(made.output), read(cog.output))
    assert made.classes == cog.classes
    found = xr.open_zarr(made.output, mask_and_scale=False)["classes"]
    assert found.attrs["flag_values"] == list(CLASSES.values)
    assert found.attrs["_FillValue"] == CLASSES.nodata
    assert found.rio.crs.to_epsg() == 32633
    style = read_style(made.output)
    assert [style.names[value] for value in CLASSES.values] == list(CLASSES.names)
    assert not (tmp_path / "map.zarr.aux.xml").exists()


def test_shares_confidence_and_polygons_come_with_a_store_too(run, tmp_path):
    options = {"probabilities": True, "confidence": "margin"}
    made, cog = run("map.zarr", **options, polygons=tmp_path / "a.gpkg"), run("map.tif", **options)
    for name in ("probabilities", "confidence"):
        assert made.files[name].endswith(f"map_{name}.zarr")
        np.testing.assert_array_equal(read(made.files[name]), read(cog.files[name]))
        with open_raster(made.files[name]) as one, rasterio.open(cog.files[name]) as other:
            np.testing.assert_allclose(one.scales, other.scales)
    assert gpd.read_file(tmp_path / "a.gpkg").area.sum() > 0
    with pytest.raises(OutputExists, match=r"map_confidence\.zarr|map\.zarr"):
        run("map.zarr", **options)


def test_numbers_as_a_store_keep_unit_and_nodata(run, weights, scene, tmp_path):
    head = saved(linear_head(recipe_for(scene), weights, classes=None), tmp_path / "h.pt")
    made, cog = run("n.zarr", head=head), run("n.tif", head=head)
    np.testing.assert_array_equal(read(made.output), read(cog.output))
    assert made.numbers == cog.numbers
    with open_raster(made.output) as file:
        assert file.units[0] == HEIGHT.unit
        assert np.isnan(file.nodata)


def test_a_large_map_is_written_region_by_region(run, monkeypatch, tmp_path):
    from dofa_cli.raster import zarr_blocks

    monkeypatch.setattr(zarr_blocks, "region_side", lambda _: 64)
    made, cog = run("map.zarr"), run("map.tif")
    assert len(list((tmp_path / "map.zarr/classes/c").rglob("*/*/*"))) == 9
    np.testing.assert_array_equal(read(made.output), read(cog.output))


def test_stored_embeddings_map_alike_from_a_store(run, stored):
    maps = [read(run(f"{n}.tif", source=path).output) for n, path in enumerate(stored)]
    np.testing.assert_array_equal(*maps)


def test_a_store_is_described_and_drawn(stored, run, tmp_path):
    one, other = (info(path).scenes[0] for path in stored)
    assert (other.files[0].driver, other.files[0].crs) == ("Zarr", one.files[0].crs)
    assert other.files[0].made_by == one.files[0].made_by
    assert len(other.bands) == len(one.bands) == 24
    assert other.bands[3].values.median == pytest.approx(one.bands[3].values.median, rel=1e-5)
    pictures = [quicklook(path, tmp_path / f"{n}.png").read_bytes() for n, path in enumerate(stored)]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert quicklook(run("map.zarr").output, tmp_path / "map.png").exists()


def test_a_store_on_another_grid_is_refused_in_words(stored, scene, stack):
    with pytest.raises(GridError, match=r"patch\.zarr lies on another grid"):
        stack([str(scene), stored[1]])


@pytest.mark.parametrize(
    ("output", "options"),
    [("map.tif", {"file_format": "zarr"}), ("map.zarr", {"file_format": "cog"}), ("map.png", {})],
)
def test_an_ending_that_does_not_fit_the_format_is_named(run, output, options):
    with pytest.raises(OptionError, match=rf"\.zarr.*--format.*{output}"):
        run(output, **options)


def test_the_command_line_takes_the_format(scene, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["embed", str(scene), "--sensor", "sentinel2", "--weights", str(weights), "--format", "zarr"]
    done = CliRunner().invoke(app, given)
    assert (done.exit_code, done.stdout.strip()) == (0, "S2A_MSIL1C_scene_patch.zarr")
    assert is_complete("S2A_MSIL1C_scene_patch.zarr")
    done = CliRunner().invoke(app, [*given[:-1], "hdf5"])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, [*given, "--overwrite", "-o", "memory://bucket/cli.zarr"])
    assert (done.exit_code, done.stdout.strip()) == (0, "memory://bucket/cli.zarr")
    assert is_complete("memory://bucket/cli.zarr")


def test_many_scenes_become_stores_in_a_folder(scene, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()
    for number in range(2):
        (tmp_path / f"scenes/s{number}.tif").symlink_to(scene)
    given = ["embed", "scenes", "--sensor", "sentinel2", "--weights", str(weights), "--format", "zarr", "-o", "out/"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert sorted(one.name for one in (tmp_path / "out").glob("*.zarr")) == ["s0_patch.zarr", "s1_patch.zarr"]
    again = CliRunner().invoke(app, [*given, "--resume"])
    assert again.exit_code == 0, again.output
