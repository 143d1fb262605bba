"""Sensors that users make: by hand, from rasters, like known ones, as radar, and with statistics of their scenes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import rasterio

from dofa_cli.errors import (
    BadSensorFile,
    BadWavelengths,
    DofaError,
    NotARaster,
    OptionError,
    OutputExists,
    SceneNotFound,
    UnknownSensor,
)
from dofa_cli.pipelines.add_sensor import Added, add_sensor
from dofa_cli.pipelines.scenes.own_statistics import Moments
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.sensors import registry
from dofa_cli.sensors.normalise import normalisation
from dofa_cli.sensors.scale import AS_IS, own_scale, pixel_scale
from dofa_cli.sensors.schema import Band, Kind, Product, Quantity, Sensor, TrainingScale
from tests.made import write_raster

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    """An empty user folder, an empty current folder, and no search path."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(registry.SEARCH_PATH, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return registry.user_folder()


def told(made: Added, part: str) -> bool:
    return any(part in notice for notice in made.notices)


class TestByHand:
    def test_wavelengths_names_widths_and_pixel_size(self, user_folder):
        made = add_sensor(
            "mydrone",
            wavelengths="0.475,0.56,0.668,0.717,0.842",
            names="Blue,green,red,rededge,nir",
            fwhm="0.02,0.02,0.01,0.01,0.04",
            gsd="0.05",
            name="My drone",
            aliases=["drone-1"],
        )
        assert made.path == user_folder / "mydrone.toml"
        found = registry.sensor("Drone1")
        assert found == made.sensor
        assert (found.id, found.name, found.kind) == ("mydrone", "My drone", Kind.OPTICAL)
        assert [band.center_um for band in found.bands] == [0.475, 0.56, 0.668, 0.717, 0.842]
        assert [band.fwhm_um for band in found.bands] == [0.02, 0.02, 0.01, 0.01, 0.04]
        assert {band.gsd_m for band in found.bands} == {0.05}
        assert found.bands[0].common_name == "blue"
        assert found.presets == {"rgb": ("red", "green", "Blue")}
        assert found.products[0].quantity is Quantity.DN

    def test_nanometres_are_converted_and_told(self):
        made = add_sensor("a", wavelengths="475,560", fwhm="20,30", dry_run=True)
        assert [(band.center_um, band.fwhm_um) for band in made.sensor.bands] == [(0.475, 0.02), (0.56, 0.03)]
        assert told(made, "nanometres")

    def test_a_scale_makes_reflectance(self):
        made = add_sensor("a", wavelengths="0.5", product_scale=1e-4, product_offset=-0.1, nodata=0, dry_run=True)
        (product,) = made.sensor.products
        assert (product.quantity, product.scale, product.offset, product.nodata) == ("toa_reflectance", 1e-4, -0.1, 0)
        assert not told(made, "uncalibrated")

    def test_without_a_scale_values_are_uncalibrated_and_that_is_told(self):
        assert told(add_sensor("a", wavelengths="0.5", dry_run=True), "uncalibrated")

    @pytest.mark.parametrize(
        ("count", "kind", "wanted"), [(29, None, "optical"), (30, None, "hyperspectral"), (30, "optical", "optical")]
    )
    def test_many_bands_are_hyperspectral_unless_said_otherwise(self, count, kind, wanted):
        wavelengths = ",".join(str(0.4 + n / 100) for n in range(count))
        assert add_sensor("a", wavelengths=wavelengths, kind=kind, dry_run=True).sensor.kind.value == wanted

    @pytest.mark.parametrize(("count", "columns"), [(30, False), (31, True)])
    def test_many_plain_bands_are_written_as_columns(self, count, columns):
        wavelengths = ",".join(str(0.4 + n / 100) for n in range(count))
        made = add_sensor("a", wavelengths=wavelengths, gsd="5", dry_run=True)
        assert ("spectrum" in tomllib.loads(made.text)) is columns
        assert [band.id for band in made.sensor.bands] == [f"b{n}" for n in range(1, count + 1)]
        assert {band.gsd_m for band in made.sensor.bands} == {5}

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"wavelengths": "0.5,0.6", "names": "red"}, OptionError, "--names gives 1 values for 2 bands"),
            ({"wavelengths": "0.5,0.6", "fwhm": "0.1"}, OptionError, "--fwhm gives 1 values for 2 bands"),
            ({"wavelengths": "0.5,0.6,0.7", "gsd": "1,2"}, OptionError, "--gsd gives 2 values for 3 bands"),
            ({"wavelengths": "0.5,0.6", "names": "red,red"}, BadSensorFile, "cannot be told apart"),
            ({"wavelengths": "0.5,0.6", "names": "red,"}, OptionError, "empty name"),
            ({"wavelengths": "0.5,660"}, BadWavelengths, "mixed units.*value 2 look like nanometres"),
            ({"wavelengths": "0.5,x"}, BadWavelengths, "Cannot read"),
            ({"wavelengths": ""}, BadSensorFile, "No band"),
            ({"wavelengths": "0.5", "gsd": "-1"}, OptionError, "--gsd -1 is not a finite number above 0"),
            ({"wavelengths": "0.5", "gsd": "x"}, OptionError, "--gsd 'x' is not a list of numbers"),
            ({"wavelengths": "0.5", "kind": "sar"}, OptionError, "--kind sar needs --frequency"),
            ({"wavelengths": "0.5", "kind": "lidar"}, OptionError, "'lidar' is not one of optical, hyperspectral, sar"),
            ({"wavelengths": "0.5", "product_scale": 0.0}, OptionError, "--product-scale 0 is not above 0"),
            ({"wavelengths": "0.5", "nodata": float("nan")}, OptionError, "--nodata nan is not a finite number"),
            ({"wavelengths": "0.5", "source": "a.tif"}, OptionError, "--wavelengths and --from were given"),
            ({}, OptionError, "one of --wavelengths, --from, --from-srf, --like, --frequency; none was given"),
            ({"frequency": 5.4}, OptionError, "both --frequency GHZ and --polarisations"),
            ({"wavelengths": "0.5", "polarisations": "VV"}, OptionError, "both --frequency GHZ and --polarisations"),
            ({"wavelengths": "0.5", "into": "x", "project": True}, OptionError, "--into and --project"),
        ],
    )
    def test_what_cannot_be_is_refused_and_nothing_is_written(self, user_folder, options, error, message):
        with pytest.raises(error, match=message):
            add_sensor("a", **options)
        assert not user_folder.exists()


class TestPlace:
    def test_it_is_never_replaced_unless_forced(self):
        first = add_sensor("a", wavelengths="0.5")
        with pytest.raises(OutputExists, match=r"a\.toml exists already.*--force"):
            add_sensor("a", wavelengths="0.6")
        assert first.path.read_text() == first.text
        add_sensor("a", wavelengths="0.6", force=True)
        assert registry.sensor("a").bands[0].center_um == 0.6

    def test_a_dry_run_writes_nothing_and_says_where_it_would(self, user_folder):
        made = add_sensor("a", wavelengths="0.5", dry_run=True)
        assert not made.is_written
        assert not user_folder.exists()
        assert told(made, f"nothing was written; it would be {user_folder / 'a.toml'}.")
        add_sensor("a", wavelengths="0.5")
        assert told(add_sensor("a", wavelengths="0.6", dry_run=True), "which exists already")

    def test_the_project_s_folder(self):
        made = add_sensor("a", wavelengths="0.5", project=True)
        assert made.path.absolute() == Path.cwd() / ".dofa" / "sensors" / "a.toml"
        assert registry.entry("a").layer == "project"

    def test_a_folder_that_is_not_looked_in_is_told(self, tmp_path):
        made = add_sensor("a", wavelengths="0.5", into=tmp_path / "mine")
        assert told(made, f"give --sensor {tmp_path / 'mine' / 'a.toml'}")
        with pytest.raises(UnknownSensor):
            registry.sensor("a")

    def test_a_sensor_of_the_same_id_that_comes_first_is_told(self):
        add_sensor("a", wavelengths="0.5", project=True)
        assert told(add_sensor("a", wavelengths="0.6"), "has the same id and comes first")

    def test_a_name_of_another_sensor_is_told(self):
        assert told(add_sensor("a", wavelengths="0.5", aliases=["s2"]), "sentinel2")


class TestRadar:
    def test_bands_are_its_polarisations(self):
        made = add_sensor("x", frequency=9.65, polarisations="hh,HV", gsd="3", dry_run=True)
        assert made.sensor.kind is Kind.SAR
        assert [(b.id, b.polarisation, b.frequency_ghz, b.gsd_m) for b in made.sensor.bands] == [
            ("HH", "HH", 9.65, 3),
            ("HV", "HV", 9.65, 3),
        ]

    @pytest.mark.parametrize(("frequency", "polarisations", "strange"), [(5.4, "VV,VH", False), (9.65, "VV", True)])
    def test_it_is_given_the_wavelengths_of_training_and_what_training_never_saw_is_told(
        self, frequency, polarisations, strange
    ):
        made = add_sensor("x", frequency=frequency, polarisations=polarisations, dry_run=True)
        assert made.sensor.bands[0].model == {"dofa_v1": 3.75, "dofa_v2": 5.405}
        assert told(made, "C-band VV and VH only") is strange

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"polarisations": "VV,VX"}, "'VX' is not one of VV, VH, HV, HH"),
            ({"polarisations": "VV,VV"}, "needs different ones"),
            ({"polarisations": "VV", "names": "a"}, "named by --polarisations"),
            ({"polarisations": "VV", "product_scale": 1.0}, "which a radar does not measure"),
            ({"polarisations": "VV", "kind": "optical"}, "--kind optical needs wavelengths"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options, message):
        with pytest.raises(OptionError, match=message):
            add_sensor("x", frequency=5.4, dry_run=True, **options)

    def test_a_frequency_that_no_radar_has_names_the_band(self):
        with pytest.raises(BadSensorFile, match="band VV, frequency_ghz"):
            add_sensor("x", frequency=5400, polarisations="VV", dry_run=True)


class TestLike:
    def test_alone_it_only_extends(self):
        made = add_sensor("mine", like="s2", aliases=["m"])
        assert tomllib.loads(made.text) == {"id": "mine", "name": "mine", "aliases": ["m"], "extends": "sentinel2"}
        known = registry.sensor("sentinel2")
        assert made.sensor.bands == known.bands
        assert made.sensor.statistics == known.statistics

    def test_what_changes_is_all_that_is_written(self):
        made = add_sensor("mine", like="naip", wavelengths="0.66,0.56,0.48,0.84", gsd="0.3", dry_run=True)
        bands = tomllib.loads(made.text)["bands"]
        assert bands[0] == {"id": "R", "center_um": 0.66, "model": {}, "status": "given", "gsd_m": 0.3}
        assert bands[1] == {"id": "G", "gsd_m": 0.3}
        assert told(made, "statistics of naip still stand for R;")

    def test_a_band_that_moves_is_given_to_the_network_where_it_lies(self):
        made = add_sensor("mine", like="naip", wavelengths="0.66,0.56,0.48,0.84", dry_run=True)
        assert made.sensor.by_id["R"].wavelength_um("dofa_v1") == 0.66
        assert made.sensor.by_id["G"].wavelength_um("dofa_v1") == registry.sensor("naip").by_id["G"].model["dofa_v1"]

    def test_widths_alone_keep_the_centres(self):
        made = add_sensor("mine", like="naip", fwhm="0.01,0.02,0.03,0.04", dry_run=True)
        known = registry.sensor("naip")
        assert [band.fwhm_um for band in made.sensor.bands] == [0.01, 0.02, 0.03, 0.04]
        assert [band.center_um for band in made.sensor.bands] == [band.center_um for band in known.bands]
        assert [band.model for band in made.sensor.bands] == [band.model for band in known.bands]

    def test_new_names_stand_everywhere(self):
        made = add_sensor("mine", like="naip", names="red,green,blue,nir", dry_run=True)
        known = registry.sensor("naip")
        assert "extends" not in tomllib.loads(made.text)
        assert made.sensor.presets["rgb"] == ("red", "green", "blue")
        assert made.sensor.stack_orders[0] == ("red", "green", "blue", "nir")
        assert made.sensor.statistics[0].bands == ("red", "green", "blue")
        assert made.sensor.statistics[0].mean == known.statistics[0].mean
        assert [band.center_um for band in made.sensor.bands] == [band.center_um for band in known.bands]
        assert "R" in made.sensor.by_id["red"].aliases

    def test_names_that_change_places_name_one_band_each(self):
        made = add_sensor("mine", like="naip", names="B,G,R,N", dry_run=True)
        assert "R" not in made.sensor.by_id["B"].aliases
        assert made.sensor.by_id["B"].common_name == "red"

    def test_a_scale_replaces_the_products(self):
        made = add_sensor("mine", like="sentinel2", product_scale=2e-4, dry_run=True)
        assert [(product.id, product.scale) for product in made.sensor.products] == [("reflectance", 2e-4)]
        assert made.sensor.default_product == "reflectance"

    def test_nodata_alone_stands_in_all_products(self):
        made = add_sensor("mine", like="sentinel2", nodata=-1, dry_run=True)
        known = registry.sensor("sentinel2")
        assert {product.nodata for product in made.sensor.products} == {-1}
        assert [p.id for p in made.sensor.products] == [p.id for p in known.products]
        assert made.sensor.default_product == known.default_product

    def test_it_may_replace_what_it_is_like(self):
        add_sensor("mine", wavelengths="0.5,0.6", names="a,b")
        made = add_sensor("mine", like="mine", gsd="3", force=True)
        assert "extends" not in tomllib.loads(made.text)
        assert [(band.id, band.gsd_m) for band in registry.sensor("mine").bands] == [("a", 3), ("b", 3)]

    def test_it_may_hide_a_built_in_sensor_of_its_own_id(self):
        add_sensor("naip", like="naip", gsd="0.3")
        assert registry.entry("naip").layer == "user"
        assert {band.gsd_m for band in registry.sensor("naip").bands} == {0.3}

    def test_what_the_file_would_not_find_is_copied(self):
        add_sensor("first", wavelengths="0.5,0.6", project=True)
        made = add_sensor("second", like="first")
        assert "extends" not in tomllib.loads(made.text)
        assert len(registry.sensor("second").bands) == 2

    def test_a_sensor_in_a_file_is_copied(self, tmp_path):
        other = add_sensor("other", wavelengths="0.5", into=tmp_path)
        made = add_sensor("mine", like=str(other.path), dry_run=True)
        assert made.sensor.bands == other.sensor.bands

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            (
                {"like": "naip", "wavelengths": "0.66,0.5"},
                OptionError,
                r"gives 2 values, naip has 4 bands \(R, G",
            ),
            ({"like": "naip", "names": "a"}, OptionError, "--names gives 1 values for 4 bands"),
            ({"like": "naip", "fwhm": "0.7,0.1,0.1,0.1"}, BadWavelengths, "R .*below its centre"),
            ({"like": "naip", "kind": "sar"}, BadSensorFile, "sensor of kind sar needs frequency_ghz"),
            ({"like": "nothing"}, UnknownSensor, "No sensor 'nothing'"),
            ({"like": "sentinel1", "wavelengths": "1,2,3,4"}, OptionError, "is a radar"),
        ],
    )
    def test_what_cannot_be_is_refused(self, options, error, message):
        with pytest.raises(error, match=message):
            add_sensor("mine", dry_run=True, **options)


ENVI = """ENVI
samples = 4
lines = 3
bands = 3
header offset = 0
file type = ENVI Standard
data type = 2
interleave = bsq
byte order = 0
map info = {UTM, 1, 1, 300000, 5800020, 20, 20, 33, North, WGS-84, units=Meters}
"""


def envi_file(folder: Path, extra: str) -> Path:
    (folder / "scene.img").write_bytes(np.ones((3, 3, 4), np.int16).tobytes())
    (folder / "scene.hdr").write_text(ENVI + extra)
    return folder / "scene.img"


def content(made: Added) -> dict:
    """What a file says, but for where it comes from."""
    return {key: value for key, value in tomllib.loads(made.text).items() if key != "sources"}


class TestRasters:
    def test_gdal_s_own_tags(self, tmp_path):
        path = write_raster(tmp_path / "a.tif", np.ones((2, 4, 4), np.uint8), ("red", "nir"))
        with rasterio.open(path, "r+") as file:
            for index, center in ((1, "0.66"), (2, "0.84")):
                file.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=center, FWHM_UM="0.03")
        made = add_sensor("a", source=path, dry_run=True)
        assert [(b.id, b.center_um, b.fwhm_um, b.gsd_m) for b in made.sensor.bands] == [
            ("red", 0.66, 0.03, 10),
            ("nir", 0.84, 0.03, 10),
        ]
        assert made.sensor.stack_orders == (("red", "nir"),)

    @pytest.mark.parametrize(
        ("texts", "ids"),
        [
            (("400.02nm", "409.82nm"), ["b1", "b2"]),
            (("band 1 (418.24 Nanometers)", "band 2 (423.87 Nanometers)"), ["b1", "b2"]),
            (("R 0.65 µm", "NIR 0.83 µm"), ["R", "NIR"]),
        ],
    )
    def test_wavelengths_in_band_descriptions(self, tmp_path, texts, ids):
        path = write_raster(tmp_path / "a.tif", np.ones((2, 4, 4), np.uint8), texts)
        made = add_sensor("a", source=path, dry_run=True)
        assert [band.id for band in made.sensor.bands] == ids
        assert all(0.4 < band.center_um < 0.9 for band in made.sensor.bands)

    @pytest.mark.parametrize(
        "extra",
        [
            pytest.param("wavelength units = Nanometers\nwavelength = {400.5, 500, 600.25}\n", id="nanometres"),
            pytest.param("wavelength units = Micrometers\nwavelength = {.4,.5,.6}\nfwhm = {.01,.01,.02}", id="widths"),
            pytest.param("wavelength = {400,500,600}\nband names = {Band 1, Band 2, Band 3}", id="names that number"),
            pytest.param("wavelength = {400,500,600}\nband names = {blue, green, red}", id="names that tell"),
            pytest.param("wavelength = {400,500,600}\nbbl = {1, 0, 1}", id="a bad band"),
            pytest.param("wavelength units = Angstroms\nwavelength = {4000,5000,6000}\n", id="Angstroms"),
        ],
    )
    def test_an_envi_header_gives_what_its_data_file_gives(self, tmp_path, extra):
        data = envi_file(tmp_path, extra)
        by_data, by_header = (add_sensor("a", source=path, dry_run=True) for path in (data, data.with_suffix(".hdr")))
        assert content(by_data) == content(by_header)
        assert by_header.sensor.bands[0].gsd_m == 20
        data.unlink()
        assert content(add_sensor("a", source=data.with_suffix(".hdr"), dry_run=True)) == content(by_header)

    def test_bad_bands_are_kept_and_left_out_by_default(self, tmp_path):
        data = envi_file(tmp_path, "wavelength = {400,500,600}\nbbl = {1, 0, 1}\n")
        made = add_sensor("a", source=data, dry_run=True)
        assert [band.id for band in made.sensor.bands] == ["b1", "b2", "b3"]
        assert made.sensor.default_bands("dofa_v1") == made.sensor.default_bands("dofa_v2") == ("b1", "b3")
        assert told(made, "1 bad bands are kept")

    def test_degrees_are_no_pixel_size(self, tmp_path):
        profile = {"crs": "EPSG:4326", "transform": rasterio.Affine(0.001, 0, 10, 0, -0.001, 50)}
        path = write_raster(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8), ("500 nm",), **profile)
        assert add_sensor("a", source=path, dry_run=True).sensor.bands[0].gsd_m is None

    def test_names_widths_and_sizes_given_by_hand_come_first(self, tmp_path):
        path = write_raster(tmp_path / "a.tif", np.ones((2, 4, 4), np.uint8), ("R 650nm", "N 830nm"))
        made = add_sensor("a", source=path, names="red,nir", fwhm="0.03,0.04", gsd="7", dry_run=True)
        assert [(b.id, b.fwhm_um, b.gsd_m, b.aliases) for b in made.sensor.bands] == [
            ("red", 0.03, 7, ("R",)),
            ("nir", 0.04, 7, ("N",)),
        ]

    def test_a_scale_that_the_file_declares_is_told_and_not_taken(self, tmp_path):
        path = write_raster(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8), ("500 nm",))
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (0.0001,), (-0.1,)
        made = add_sensor("a", source=path, dry_run=True)
        assert told(made, "--product-scale 0.0001 --product-offset -0.1")
        assert made.sensor.products[0].quantity is Quantity.DN

    def test_a_raster_without_wavelengths_asks_for_them(self, tmp_path):
        path = write_raster(tmp_path / "a.tif", np.ones((2, 4, 4), np.uint8))
        with pytest.raises(OptionError, match=r"a\.tif states no wavelengths.*--wavelengths"):
            add_sensor("a", source=path, dry_run=True)

    def test_bands_without_a_wavelength_are_named(self, tmp_path):
        path = write_raster(tmp_path / "a.tif", np.ones((3, 4, 4), np.uint8), ("500 nm", "quality", "600 nm"))
        with pytest.raises(BadWavelengths, match="No centre wavelength for band 2 quality"):
            add_sensor("a", source=path, dry_run=True)

    @pytest.mark.parametrize(("name", "error"), [("nowhere.tif", SceneNotFound), ("text.dat", NotARaster)])
    def test_what_gdal_does_not_open(self, tmp_path, name, error):
        (tmp_path / "text.dat").write_text("hello")
        with pytest.raises(error):
            add_sensor("a", source=tmp_path / name, dry_run=True)

    def test_the_scene_itself_can_then_be_used(self, tmp_path):
        path = write_raster(
            tmp_path / "a.tif", np.random.default_rng(0).integers(0, 999, (2, 40, 40), np.uint16), ("500 nm", "600 nm")
        )
        add_sensor("mine", source=path)
        prepared = prepare_scene(describe([str(path)], SceneOptions(sensor="mine")), SceneOptions(), "dofa_v1")
        assert prepared.wavelengths_um == (0.5, 0.6)


def test_text_sources_and_responses_are_read_too(tmp_path):
    (tmp_path / "bands.csv").write_text("name,center_nm\nred,660\n")
    (tmp_path / "srf.csv").write_text("nm,red\n640,0\n660,1\n680,0\n")
    by_table = add_sensor("a", source=tmp_path / "bands.csv", dry_run=True)
    by_curve = add_sensor("a", from_srf=tmp_path / "srf.csv", dry_run=True)
    assert by_table.sensor.bands[0].center_um == by_curve.sensor.bands[0].center_um == 0.66
    assert by_curve.sensor.bands[0].fwhm_um == 0.02


def test_bands_of_separate_stac_assets_tell_no_order_of_stacks(tmp_path):
    assets = {name: {"eo:bands": [{"name": name, "center_wavelength": at}]} for name, at in (("a", 0.5), ("b", 0.6))}
    (tmp_path / "item.json").write_text(json.dumps({"assets": assets}))
    made = add_sensor("x", source=tmp_path / "item.json", dry_run=True)
    assert made.sensor.stack_orders == ()
    assert told(made, "files need band names")


def scene(path: Path, seed: int, side: int = 50, **profile: object) -> tuple[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal([[[800 + 50 * seed]], [[2500]]], [[[90]], [[300]]], (2, side, side)).clip(1).astype(np.uint16)
    return str(write_raster(path, values, ("500 nm", "800 nm"), **profile)), values


def stats_of(made: Added, scale: str) -> tuple[list[float], list[float]]:
    (found,) = [stats for stats in made.sensor.statistics if stats.training_scale == scale]
    return list(found.mean), list(found.std)


class TestStatistics:
    def test_values_as_they_are_stored_over_several_scenes(self, tmp_path):
        (first, a), (second, b) = scene(tmp_path / "a.tif", 0), scene(tmp_path / "b.tif", 3, side=80)
        made = add_sensor("mine", source=first, stats_from=[first, second], dry_run=True)
        together = np.concatenate([a.reshape(2, -1), b.reshape(2, -1)], axis=1).astype(float)
        means, stds = stats_of(made, "values")
        np.testing.assert_allclose(means, together.mean(axis=1), rtol=1e-6)
        np.testing.assert_allclose(stds, together.std(axis=1), rtol=1e-6)
        assert {stats.weights for stats in made.sensor.statistics} == {("dofa_v1", "dofa_v2")}
        assert made.sensor.statistics[0].source == "sample of a.tif, b.tif"

    def test_reflectance_is_measured_on_the_scale_of_reflectance(self, tmp_path):
        path, values = scene(tmp_path / "a.tif", 0)
        made = add_sensor("mine", source=path, product_scale=1e-4, stats_from=[path], dry_run=True)
        means, stds = stats_of(made, "reflectance")
        np.testing.assert_allclose(means, (values / 1e4).mean(axis=(1, 2)), rtol=1e-5)
        np.testing.assert_allclose(stds, (values / 1e4).std(axis=(1, 2)), rtol=1e-5)

    @pytest.mark.parametrize("scale", [None, 1e-4])
    @pytest.mark.parametrize("family", ["dofa_v1", "dofa_v2"])
    def test_the_network_s_normalisation_applies_them(self, tmp_path, scale, family):
        path, _ = scene(tmp_path / "a.tif", 0)
        add_sensor("mine", source=path, product_scale=scale, stats_from=[path])
        prepared = prepare_scene(describe([path], SceneOptions(sensor="mine")), SceneOptions(sensor="mine"), family)
        for check in prepared.checks:
            assert check.norm.origin.startswith("estimated from scenes")
            assert (check.mean, check.std) == pytest.approx((0, 1), abs=1e-3)
        assert not [warning for warning in prepared.warnings if "statistics" in warning]

    def test_another_scene_is_held_against_the_same_numbers(self, tmp_path):
        (first, a), (second, b) = scene(tmp_path / "a.tif", 0), scene(tmp_path / "b.tif", 3)
        add_sensor("mine", source=first, stats_from=[first])
        options = SceneOptions(sensor="mine")
        prepared = prepare_scene(describe([second], options), options, "dofa_v1")
        expected = (b[0].mean() - a[0].mean()) / a[0].std()
        assert prepared.checks[0].mean == pytest.approx(expected, rel=1e-3)
        assert expected > 1

    def test_nodata_is_left_out(self, tmp_path):
        path, values = scene(tmp_path / "a.tif", 0, nodata=0)
        with rasterio.open(path, "r+") as file:
            values[:, :20] = 0
            file.write(values)
        made = add_sensor("mine", source=path, stats_from=[path], dry_run=True)
        np.testing.assert_allclose(stats_of(made, "values")[0], values[:, 20:].mean(axis=(1, 2)), rtol=1e-6)

    def test_the_nodata_of_the_product_counts_where_the_file_declares_none(self, tmp_path):
        path, values = scene(tmp_path / "a.tif", 0)
        with rasterio.open(path, "r+") as file:
            values[:, :20] = 9
            file.write(values)
        made = add_sensor("mine", source=path, stats_from=[path], nodata=9, dry_run=True)
        np.testing.assert_allclose(stats_of(made, "values")[0], values[:, 20:].mean(axis=(1, 2)), rtol=1e-6)

    def test_a_band_without_valid_pixels_is_left_out_by_default(self, tmp_path):
        path, values = scene(tmp_path / "a.tif", 0, nodata=0)
        with rasterio.open(path, "r+") as file:
            file.write(np.zeros_like(values[1]), 2)
        made = add_sensor("mine", source=path, stats_from=[path], dry_run=True)
        assert made.sensor.statistics[0].bands == ("b1",)
        assert made.sensor.default_bands("dofa_v1") == ("b1",)
        assert told(made, "no statistics for b2")

    def test_a_constant_band_gets_1_for_its_deviation_and_is_told(self, tmp_path):
        path, values = scene(tmp_path / "a.tif", 0)
        with rasterio.open(path, "r+") as file:
            file.write(np.full_like(values[1], 7), 2)
        made = add_sensor("mine", source=path, stats_from=[path], dry_run=True)
        assert (stats_of(made, "values")[0][1], stats_of(made, "values")[1][1]) == (7, 1)
        assert told(made, "b2")

    def test_a_scene_without_valid_pixels_is_refused(self, tmp_path):
        path = str(write_raster(tmp_path / "a.tif", np.zeros((1, 9, 9), np.uint8), ("500 nm",), nodata=0))
        with pytest.raises(OptionError, match=r"a\.tif has no pixel that is valid in all bands"):
            add_sensor("mine", source=path, stats_from=[path])

    def test_a_scene_with_other_bands_is_refused(self, tmp_path):
        path = str(write_raster(tmp_path / "a.tif", np.ones((3, 9, 9), np.uint8)))
        with pytest.raises(DofaError, match="3 bands"):
            add_sensor("mine", wavelengths="0.5,0.6", stats_from=[path])

    def test_they_take_the_place_of_published_ones(self, tmp_path):
        values = np.random.default_rng(0).integers(1, 255, (4, 30, 30), np.uint8)
        path = str(write_raster(tmp_path / "a.tif", values))
        made = add_sensor("mine", like="naip", stats_from=[path], dry_run=True)
        means, _ = stats_of(made, "display-8bit")
        np.testing.assert_allclose(means, values.mean(axis=(1, 2)), rtol=1e-6)
        assert len(made.sensor.statistics) == 1

    def test_a_radar_in_decibels_is_measured_as_it_is_stored(self, tmp_path):
        values = np.random.default_rng(0).normal(-12, 3, (2, 30, 30)).astype(np.float32)
        path = str(write_raster(tmp_path / "a.tif", values, ("HH", "HV")))
        made = add_sensor("x", frequency=9.65, polarisations="HH,HV", stats_from=[path], dry_run=True)
        np.testing.assert_allclose(stats_of(made, "values")[0], values.mean(axis=(1, 2)), rtol=1e-5)

    def test_moments_of_two_samples_are_those_of_both(self):
        a, b = np.arange(7.0), np.arange(40.0, 59.0)
        first, second = (Moments(len(x), float(x.mean()), float(x.var())) for x in (a, b))
        both = np.concatenate([a, b])
        total = first + second
        assert (total.count, total.mean, total.variance) == pytest.approx((26, both.mean(), both.var()))


class TestScaleOfValues:
    visible, thermal = Band(id="a", center_um=0.5), Band(id="t", center_um=10.9)

    @pytest.mark.parametrize(
        ("quantity", "scale"),
        [
            (Quantity.DN, TrainingScale.VALUES),
            (Quantity.RADIANCE, TrainingScale.VALUES),
            (Quantity.BOA_REFLECTANCE, TrainingScale.REFLECTANCE),
            (Quantity.DISPLAY, TrainingScale.DISPLAY_8BIT),
            (Quantity.SIGMA0_DB, TrainingScale.AMPLITUDE_8BIT),
        ],
    )
    def test_each_quantity_has_one(self, quantity, scale):
        assert own_scale(self.visible, Product(id="p", quantity=quantity)) is scale

    def test_a_thermal_band_is_kept_as_it_is_stored(self):
        product = Product(id="p", quantity=Quantity.BOA_REFLECTANCE)
        assert own_scale(self.thermal, product) is TrainingScale.VALUES
        assert pixel_scale(self.thermal, product, TrainingScale.VALUES) is AS_IS

    def test_statistics_of_stored_values_are_not_applied_to_reflectance(self):
        products = (Product(id="dn", quantity=Quantity.DN), Product(id="r", quantity=Quantity.BOA_REFLECTANCE))
        stats = {
            "weights": ("dofa_v1",),
            "training_scale": "values",
            "bands": ("a",),
            "mean": (900.0,),
            "std": (90.0,),
            "status": "estimated",
            "source": "a test",
        }
        made = Sensor(
            id="x",
            name="X",
            kind="optical",
            status="given",
            products=products,
            bands=(self.visible,),
            statistics=(stats,),
        )
        (raw,), (reflectance,) = (normalisation(made, made.bands, product, "dofa_v1") for product in products)
        assert (raw.scale, raw.mean, raw.std, raw.origin) == (AS_IS, 900, 90, "estimated from scenes (values)")
        assert reflectance.origin.startswith("interpolated")


@pytest.mark.skipif(not DATA.exists(), reason="needs the folder of sample scenes")
class TestRealScenes:
    @pytest.mark.parametrize(
        ("files", "count", "first", "last"),
        [
            ("aviris/indian_pines/indian_pines_200b.tif", 200, 0.40002, 2.48911),
            ("enmap/potsdam/images/enmap_potsdam_tile_128_0.tif", 224, 0.41824, 2.44553),
            ("rosis/pavia_roi/pavia_roi_103b.tif", 103, 0.43, 0.86),
            ("naip/rasterframes_va/NAIP_VA.tif", 4, 0.65, 0.83),
        ],
    )
    def test_a_scene_tells_its_bands_and_can_then_be_standardised(self, files, count, first, last):
        path = str(DATA / files)
        made = add_sensor("mine", source=path, stats_from=[path])
        assert len(made.sensor.bands) == count
        assert (made.sensor.bands[0].center_um, made.sensor.bands[-1].center_um) == (first, last)
        options = SceneOptions(sensor="mine")
        prepared = prepare_scene(describe([path], options), options, "dofa_v1")
        assert len(prepared.checks) == len(made.sensor.default_bands("dofa_v1"))
        assert all(abs(check.mean) < 0.01 and abs(check.std - 1) < 0.01 for check in prepared.checks)

    def test_naip_of_the_archive_states_none(self):
        path = next((DATA / "naip" / "opengeos_nd").glob("*.tif"))
        with pytest.raises(OptionError, match="states no wavelengths"):
            add_sensor("mine", source=path)
