"""Reading STAC items. Samples are built from the structure of the specification and of public catalogues."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import DamagedRaster, NoBands, SceneError, SceneNotFound
from dofa_cli.raster.deliveries import stac_item
from dofa_cli.raster.deliveries.delivery import DeliveredBand, Delivery, Screen
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.deliveries.stac import read
from dofa_cli.sensors import registry
from dofa_cli.sensors.names import BandNames
from tests.made import write_raster
from tests.raster.deliveries.stac_made import COG, OPTICAL, data_space, earth_search, item_of, landsat, rasters, written

RASTER = {"type": COG, "roles": ["data"]}


@dataclass(frozen=True)
class Website:
    """A folder, and the address at which it is served."""

    folder: Path
    address: str


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """Serve a folder on loopback, in a process of its own: GDAL keeps Python's lock while it waits for an answer."""
    folder = tmp_path_factory.mktemp("website")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            port = re.search(r"port (\d+)", server.stdout.readline())
            assert port is not None
            yield Website(folder, f"http://127.0.0.1:{port[1]}")
            server.terminate()


def found(path: str) -> Delivery:
    delivery = read(path)
    assert delivery is not None
    return delivery


def named(delivery: Delivery) -> dict[str, DeliveredBand]:
    return {band.name: band for band in delivery.bands}


def one_line(error: Exception) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_an_earth_search_item_gives_its_cloud_optimised_bands_alone(tmp_path: Path) -> None:
    delivery = found(written(tmp_path / "item.json", earth_search(tmp_path)))
    assert list(named(delivery)) == ["red", "green", "blue", "rededge1", "swir16"]
    assert [Path(band.path).name for band in delivery.bands] == ["B04.tif", "B03.tif", "B02.tif", "B05.tif", "B11.tif"]
    assert (delivery.sensor, delivery.product, delivery.kind) == ("sentinel2", "l2a-0400", "STAC item")
    assert delivery.taken == datetime(2023, 6, 28, 7, 24, 41, 632000, UTC)
    assert delivery.quality is not None
    assert (delivery.quality.screen, delivery.quality.path) == (Screen.SENTINEL2_SCL, str(tmp_path / "SCL.tif"))
    red = named(delivery)["red"]
    assert (red.scale, red.offset, red.nodata) == (0.0001, -0.1, 0.0)
    assert (red.wavelength_um, red.fwhm_um) == (0.665, 0.038)


def test_an_offset_that_was_applied_is_not_applied_again(tmp_path: Path) -> None:
    item = earth_search(tmp_path, **{"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"})
    delivery = found(written(tmp_path / "item.json", item))
    assert {(band.scale, band.offset) for band in delivery.bands} == {(0.0001, 0.0)}
    assert delivery.product == "l2a"
    assert "boa_offset_applied" in delivery.notes[0]


def test_an_offset_before_baseline_4_is_not_applied(tmp_path: Path) -> None:
    item = earth_search(tmp_path, **{"s2:processing_baseline": "02.14"})
    delivery = found(written(tmp_path / "item.json", item))
    assert {band.offset for band in delivery.bands} == {0.0}
    assert delivery.product == "l2a"
    assert "older than baseline 04.00" in delivery.notes[0]


def test_an_offset_that_is_stated_as_not_applied_holds_with_a_word_of_doubt(tmp_path: Path) -> None:
    item = earth_search(tmp_path, **{"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.11"})
    delivery = found(written(tmp_path / "item.json", item))
    assert {band.offset for band in delivery.bands} == {-0.1}
    assert delivery.product == "l2a-0400"
    assert "--offset 0" in delivery.notes[0]


def test_an_offset_of_0_says_that_values_are_harmonised(tmp_path: Path) -> None:
    item = earth_search(tmp_path, offset=0, **{"s2:processing_baseline": "05.11"})
    delivery = found(written(tmp_path / "item.json", item))
    assert (delivery.product, {band.offset for band in delivery.bands}) == ("l2a", {0.0})
    assert delivery.notes == ()


@pytest.mark.parametrize(
    ("properties", "product"),
    [
        ({"s2:processing_baseline": "04.00"}, "l2a-0400"),
        ({"s2:processing_baseline": "03.01"}, "l2a"),
        ({"s2:processing_baseline": "04.00", "sentinel:boa_offset_applied": True}, "l2a"),
        ({"s2:product_uri": "S2A_MSIL2A_20230628T070631_N0509_R106_T39QTA_20230628T113955.SAFE"}, "l2a-0400"),
        ({}, "l2a"),
    ],
)
def test_without_scales_the_baseline_tells_the_offset(tmp_path: Path, properties: Any, product: str) -> None:
    """As in the Planetary Computer, whose items state no scales."""
    rasters(tmp_path, "B04.tif")
    asset = {**RASTER, "href": "B04.tif", "eo:bands": [{"name": "B04", "common_name": "red"}]}
    item = item_of({"B04": asset}, "sentinel-2-l2a", platform="Sentinel-2B", **properties)
    delivery = found(written(tmp_path / "item.json", item))
    assert delivery.product == product
    assert (delivery.bands[0].scale, delivery.bands[0].offset) == (None, None)


def test_level_1c_is_told_from_2a(tmp_path: Path) -> None:
    rasters(tmp_path, "B04.tif")
    item = item_of({"red": {**RASTER, "href": "B04.tif"}}, "sentinel-2-l1c", platform="sentinel-2a")
    assert found(written(tmp_path / "item.json", item)).product == "l1c"
    del item["collection"]
    assert found(written(tmp_path / "item.json", item)).product is None


def test_a_data_space_item_of_stac_1_1_gives_each_band_once_at_its_finest(tmp_path: Path) -> None:
    delivery = found(written(tmp_path / "item.json", data_space(tmp_path)))
    assert {band.name: Path(band.path).name for band in delivery.bands} == {
        "B02": "B02_10m.tif",
        "B03": "B03_10m.tif",
        "B04": "B04_10m.tif",
        "B8A": "B8A_20m.tif",
    }
    red = named(delivery)["B04"]
    assert (red.scale, red.offset, red.nodata) == (0.0001, -0.1, 0.0)
    assert (red.wavelength_um, red.fwhm_um) == (0.665, 0.03)
    assert (delivery.sensor, delivery.product) == ("sentinel2", "l2a-0400")
    assert delivery.quality is not None
    assert Path(delivery.quality.path).name == "SCL_20m.tif"


def test_a_landsat_item_keeps_its_bands_and_leaves_the_rest_out(tmp_path: Path) -> None:
    delivery = found(written(tmp_path / "item.json", landsat(tmp_path)))
    assert [(band.name, band.scale, band.offset) for band in delivery.bands] == [
        ("B4", 2.75e-05, -0.2),
        ("B10", 0.00341802, 149.0),
    ]
    assert (delivery.sensor, delivery.product) == ("landsat8", "c2-l2")
    assert delivery.quality is not None
    assert delivery.quality.screen is Screen.LANDSAT_QA_PIXEL


def test_a_landsat_level_1_item_says_that_the_sun_is_not_corrected_for(tmp_path: Path) -> None:
    item = landsat(tmp_path)
    item["properties"]["landsat:correction"] = "L1TP"
    for key in ("red", "lwir11"):
        del item["assets"][key]["raster:bands"]
    delivery = found(written(tmp_path / "item.json", item))
    assert delivery.product == "c2-l1"
    assert "sun's elevation" in delivery.notes[0]


def test_assets_without_any_band_list_are_named_by_their_keys(tmp_path: Path) -> None:
    """As in NASA's catalogue of HLS."""
    rasters(tmp_path, "B04.tif", "B8A.tif", "Fmask.tif", "SZA.tif")
    keys = ("B04", "B8A", "Fmask", "SZA")
    item = item_of({key: {"href": f"{key}.tif", "roles": ["data"]} for key in keys}, "HLSS30_2.0")
    delivery = found(written(tmp_path / "item.json", item))
    assert [band.name for band in delivery.bands] == ["B04", "B8A"]
    assert (delivery.sensor, delivery.product) == ("hls-s30", "sr")
    assert delivery.quality is not None
    assert delivery.quality.screen is Screen.HLS_FMASK


def test_one_asset_of_several_bands_gives_each_by_its_number(tmp_path: Path) -> None:
    """As in catalogues of NAIP."""
    write_raster(tmp_path / "image.tif", np.arange(4 * 36, dtype=np.uint8).reshape(4, 6, 6))
    names = ("Red", "Green", "Blue", "NIR")
    bands = [{"name": name, "common_name": name.lower()} for name in names]
    item = item_of({"image": {**RASTER, "href": "image.tif", "eo:bands": bands}}, "naip")
    path = written(tmp_path / "item.json", item)
    assert [(band.name, band.index) for band in found(path).bands] == [(name, n) for n, name in enumerate(names, 1)]
    (header,) = headers_at(path)
    assert [band.text for band in header.bands] == list(names)


def test_wavelengths_in_nanometres_become_micrometres(tmp_path: Path) -> None:
    rasters(tmp_path, "a.tif")
    told = {"name": "a", "center_wavelength": 665, "full_width_half_max": 38}
    item = item_of({"a": {**RASTER, "href": "a.tif", "eo:bands": [told]}})
    (band,) = found(written(tmp_path / "item.json", item)).bands
    assert (band.wavelength_um, band.fwhm_um) == (0.665, 0.038)


def test_an_unknown_platform_leaves_sensor_and_product_open(tmp_path: Path) -> None:
    rasters(tmp_path, "a.tif")
    item = item_of({"a": {**RASTER, "href": "a.tif"}}, "a-collection", platform="skylark-1")
    delivery = found(written(tmp_path / "item.json", item))
    assert (delivery.sensor, delivery.product) == (None, None)


@pytest.mark.parametrize(
    ("platform", "collection", "instruments", "sensor"),
    [
        ("LANDSAT_5", "landsat-c2l2-sr", ["TM"], "landsat5"),
        ("landsat-5", "landsat-c2-l1", ["mss"], None),
        ("landsat-7", "landsat-c2-l2", ["etm+"], "landsat7"),
        ("LANDSAT_9", "", ["OLI", "TIRS"], "landsat9"),
        ("landsat-8", "hls2-l30", ["oli"], "hls-l30"),
        ("sentinel-1a", "sentinel-1-rtc", ["c-sar"], "sentinel1"),
        (None, "naip", None, "naip"),
    ],
)
def test_platform_collection_and_instrument_tell_the_sensor(
    tmp_path: Path, platform: str | None, collection: str, instruments: list[str] | None, sensor: str | None
) -> None:
    rasters(tmp_path, "a.tif")
    item = item_of({"a": {**RASTER, "href": "a.tif"}}, collection, platform=platform, instruments=instruments)
    assert found(written(tmp_path / "item.json", item)).sensor == sensor


@pytest.mark.parametrize("stated", [0, -1, "nan", True, "high"])
def test_a_scale_that_is_none_is_left_out(tmp_path: Path, stated: Any) -> None:
    rasters(tmp_path, "a.tif")
    item = item_of({"a": {**RASTER, "href": "a.tif", "raster:bands": [{"scale": stated, "nodata": "nan"}]}})
    (band,) = found(written(tmp_path / "item.json", item)).bands
    assert (band.scale, band.offset) == (None, None)
    assert band.nodata is not None
    assert np.isnan(band.nodata)


def test_bands_that_are_not_there_are_left_out_with_a_note(tmp_path: Path) -> None:
    path = written(tmp_path / "item.json", earth_search(tmp_path))
    (tmp_path / "B03.tif").unlink()
    delivery = found(path)
    assert "green" not in named(delivery)
    assert delivery.notes == ("not there: green.",)


def test_remote_links_stay_as_they_are(tmp_path: Path) -> None:
    links = {
        "a": "https://example.com/a.tif?key=1",
        "b": "s3://bucket/b.tif",
        "c": "/vsicurl/https://example.com/c.tif",
    }
    item = item_of({key: {**RASTER, "href": href} for key, href in links.items()})
    delivery = found(written(tmp_path / "item.json", item))
    assert {band.name: band.path for band in delivery.bands} == links


def test_relative_links_of_a_downloaded_item_start_where_it_comes_from(tmp_path: Path) -> None:
    item = item_of({"a": {**RASTER, "href": "./a.tif"}})
    item["links"] = [{"rel": "self", "href": "https://example.com/items/one/one.json"}]
    (band,) = found(written(tmp_path / "item.json", item)).bands
    assert band.path == "https://example.com/items/one/a.tif"
    rasters(tmp_path, "a.tif")
    (band,) = found(str(tmp_path / "item.json")).bands
    assert band.path == str(tmp_path / "a.tif")


def test_file_links_become_paths(tmp_path: Path) -> None:
    rasters(tmp_path, "a b.tif")
    item = item_of({"a": {**RASTER, "href": (tmp_path / "a b.tif").as_uri()}})
    (band,) = found(written(tmp_path / "item.json", item)).bands
    assert band.path == str(tmp_path / "a b.tif")


def test_an_item_at_an_address_reads_like_its_file(website: Website) -> None:
    path = written(website.folder / "item.json", earth_search(website.folder))
    local, remote = found(path), found(f"{website.address}/item.json")
    assert [band.name for band in remote.bands] == [band.name for band in local.bands]
    assert remote.bands[0].path == f"{website.address}/B04.tif"
    with rasterio.open(remote.bands[0].path) as file:
        assert file.read(1)[0, 0] == 1600


def test_an_address_of_a_catalogues_service_needs_no_suffix(website: Website) -> None:
    (website.folder / "items").mkdir()
    (website.folder / "items" / "one").write_text(json.dumps(earth_search(website.folder)))
    delivery = found(f"{website.address}/items/one")
    assert delivery.bands[0].path == f"{website.address}/items/B04.tif"


def test_an_address_that_does_not_answer_is_one_line(website: Website) -> None:
    with pytest.raises(SceneNotFound, match=r"/none\.json answers 404") as caught:
        read(f"{website.address}/none.json?token=secret")
    assert "secret" not in one_line(caught.value)
    with pytest.raises(SceneNotFound, match="cannot be reached") as caught:
        read("http://127.0.0.1:9/item.json")
    one_line(caught.value)


def test_an_answer_that_is_too_large_is_refused(website: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac_item, "LARGEST_ITEM", 2**20)
    (website.folder / "large.json").write_text(" " * (2**20 + 1))
    with pytest.raises(DamagedRaster, match="larger than 1 MB"):
        read(f"{website.address}/large.json")


def test_an_answer_that_is_no_json_is_one_line(website: Website) -> None:
    (website.folder / "page.json").write_text("<html>Log in</html>")
    with pytest.raises(DamagedRaster, match="is no whole JSON file") as caught:
        read(f"{website.address}/page.json")
    one_line(caught.value)


def test_addresses_of_rasters_are_left_to_gdal() -> None:
    assert read("https://example.com/a.tif") is None
    assert read("https://example.com/items/a.tif") is None
    assert read("s3://bucket/item.json") is None


def test_a_truncated_item_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "item.json", earth_search(tmp_path))
    Path(path).write_text(Path(path).read_text()[:400])
    with pytest.raises(DamagedRaster, match=re.escape(f"{path} is no whole JSON file")) as caught:
        read(path)
    one_line(caught.value)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "items": (
        {"type": "FeatureCollection", "features": [item_of({}) | {"id": f"item-{n}"} for n in range(5)]},
        r"holds 5 STAC items \(item-0, item-1, item-2, …\)",
    ),
    "collection": ({"type": "Collection", "stac_version": "1.0.0"}, "is a STAC Collection, not an item"),
    "catalogue": ({"type": "Catalog", "stac_version": "1.1.0"}, "is a STAC Catalog, not an item"),
    "no bands": (item_of({"info": {"href": "a.json", "type": "application/json"}}), "Its assets: info"),
    "no files": (item_of({"a": {**RASTER, "href": "a.tif"}}), "None of the 1 bands"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_is_not_one_scene_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    body, message = REFUSED[kind]
    with pytest.raises(NoBands, match=message) as caught:
        read(written(tmp_path / "item.json", body))
    one_line(caught.value)


@pytest.mark.parametrize(
    "body",
    [[1, 2], {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}}]}, {"type": "Feature"}],
)
def test_other_json_is_left_to_other_readers(tmp_path: Path, body: Any) -> None:
    path = tmp_path / "areas.geojson"
    path.write_text(json.dumps(body))
    assert read(str(path)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"properties": None},
        {"links": None, "collection": None, "id": None},
        {"links": ["a link"], "properties": {"datetime": "soon", "platform": 5, "instruments": 7}},
        {"properties": {"datetime": 2023}},
    ],
)
def test_fields_of_the_wrong_kind_do_no_harm(tmp_path: Path, change: dict[str, Any]) -> None:
    rasters(tmp_path, "a.tif")
    strange = {"href": "a.tif", "eo:bands": [0, None], "raster:bands": "none", "proj:transform": ["x"], "gsd": "fine"}
    item = item_of({"a": strange, "b": "no asset", "c": {"href": None}, "d": {"type": None, "href": 5}}) | change
    delivery = found(written(tmp_path / "item.json", item))
    assert [band.index for band in delivery.bands] == [1, 2]


FIELDS = ("bands", "eo:bands", "raster:bands", "proj:transform", "gsd", "roles", "type", "nodata", "raster:scale")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "scale", "rel"]), inner),
    max_leaves=6,
)


@given(
    asset=st.dictionaries(st.sampled_from(FIELDS), anything),
    item=st.dictionaries(st.sampled_from(["properties", "links", "collection", "id"]), anything),
    told=st.dictionaries(st.sampled_from(["datetime", "platform", "instruments", "s2:processing_baseline"]), anything),
)
def test_whatever_an_item_states_it_is_read_or_refused(asset: Any, item: Any, told: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        body = item_of({"a": {**asset, "href": "https://example.com/a.tif"}}, "sentinel-2-l2a", **told) | item
        try:
            assert found(written(Path(folder) / "item.json", body)).bands
        except NoBands as error:
            one_line(error)


def test_a_band_that_the_file_has_not_is_one_line(tmp_path: Path) -> None:
    rasters(tmp_path, "a.tif")
    bands = [{"name": "red"}, {"name": "green"}]
    path = written(tmp_path / "item.json", item_of({"a": {**RASTER, "href": "a.tif", "eo:bands": bands}}))
    with pytest.raises(SceneError, match="has no band 2") as caught:
        headers_at(path)
    one_line(caught.value)


def test_an_item_is_prepared_with_the_scales_it_states(tmp_path: Path) -> None:
    """1600 is (1600 · 0.0001 - 0.1) = 0.06, and 0.16 where the offset was applied already."""
    from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene

    means = []
    for applied in (False, True):
        item = earth_search(tmp_path, **{"earthsearch:boa_offset_applied": applied})
        path = written(tmp_path / "item.json", item)
        prepared = prepare_scene(describe([path], SceneOptions()), SceneOptions(), "dofa_v1")
        assert [check.norm.band for check in prepared.checks] == ["B04", "B03", "B02", "B05", "B11"]
        red = prepared.checks[0]
        assert red.norm.mean is not None
        assert red.norm.std is not None
        means.append(red.mean * red.norm.std + red.norm.mean)
    assert means[1] - means[0] == pytest.approx(1000 * 254 / 3558, abs=0.01)


@pytest.mark.parametrize(
    ("sensor", "products"),
    [("sentinel2", {"l1c", "l1c-0400", "l2a", "l2a-0400"}), ("naip", set()), ("sentinel1", set())],
)
def test_the_registry_knows_what_items_may_name(sensor: str, products: set[str]) -> None:
    assert products <= {product.id for product in registry.built_in(sensor).products}


@pytest.mark.parametrize("key", list(OPTICAL))
def test_the_names_of_earth_search_are_names_of_sentinel2(key: str) -> None:
    assert BandNames(registry.built_in("sentinel2")).by_text(key) == OPTICAL[key][0]
