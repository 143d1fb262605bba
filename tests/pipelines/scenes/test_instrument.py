"""Which instrument is used: what is given, what metadata tell, what names show, what wavelengths are stated."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from dofa_cli.errors import BadWavelengths, OptionError
from dofa_cli.pipelines.scenes.instrument import find_instrument
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.suggest import suggest
from dofa_cli.raster.scene import read_headers
from tests.made import TRAINED, reflectance, write_raster

THREE = (0.475, 0.56, 0.668)


def found(paths, name=None, wavelengths=None, *, chosen=False, reflectance=False):
    return find_instrument(
        read_headers([str(path) for path in paths]), name, wavelengths, chosen=chosen, reflectance=reflectance
    )


def stating(path, values, centres, widths=None):
    """Write a raster whose bands state their wavelengths in µm the way GDAL does."""
    write_raster(path, values)
    with rasterio.open(path, "r+") as file:
        for index, centre in enumerate(centres, 1):
            tags = {"CENTRAL_WAVELENGTH_UM": centre} | ({"FWHM_UM": widths[index - 1]} if widths else {})
            file.update_tags(index, ns="IMAGERY", **tags)
    return path


@pytest.fixture
def unnamed(tmp_path):
    return write_raster(tmp_path / "scene.tif", reflectance(7, 20, 20))


def test_a_sensor_given_is_taken_whatever_the_file_looks_like(unnamed):
    instrument = found([unnamed], "naip")
    assert (instrument.sensor.id, instrument.how, instrument.by_order) == ("naip", "given", False)


def test_wavelengths_given_go_before_a_sensor(unnamed):
    instrument = found([unnamed], "naip", "0.4,0.5,0.6,0.7,0.8,0.9,1.0")
    assert [band.center_um for band in instrument.sensor.bands] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert instrument.by_order


def test_as_many_wavelengths_as_bands(unnamed):
    with pytest.raises(BadWavelengths, match="gives 3 values, the scene has 7 bands"):
        found([unnamed], wavelengths="0.4,0.5,0.6")
    assert found([unnamed], wavelengths="0.4,0.5,0.6", chosen=True).by_order


def test_named_bands_and_a_name_settle_it_and_the_evidence_is_told(tmp_path):
    path = write_raster(tmp_path / "S2_sentinel2_crop.tif", reflectance(9, 20, 20), TRAINED)
    instrument = found([path])
    assert instrument.sensor.id == "sentinel2"
    (note,) = instrument.notes
    assert note.startswith("taken as sentinel2")
    assert "9 of 9 bands by description" in note
    assert "--sensor" in note


def test_nothing_known_stops_and_names_the_options(unnamed):
    with pytest.raises(OptionError, match=r"--sensor .* --wavelengths"):
        found([unnamed])


def test_candidates_are_named_when_none_is_sure(tmp_path):
    path = write_raster(tmp_path / "scene.tif", reflectance(4, 20, 20), ("blue", "green", "red", "nir"))
    with pytest.raises(OptionError, match=r"It may be .*bands by description"):
        found([path])


def test_stated_wavelengths_need_no_sensor(tmp_path):
    path = stating(tmp_path / "cube.tif", reflectance(3, 20, 20), THREE, (0.02, 0.04, 0.014))
    instrument = found([path])
    assert instrument.by_order
    assert [(band.center_um, band.fwhm_um) for band in instrument.sensor.bands] == [
        (0.475, 0.02),
        (0.56, 0.04),
        (0.668, 0.014),
    ]
    assert "3 wavelengths that the file states" in instrument.notes[0]


def test_one_band_without_a_wavelength_is_not_guessed(tmp_path):
    path = stating(tmp_path / "cube.tif", reflectance(3, 20, 20), THREE[:2])
    with pytest.raises(OptionError):
        found([path])


def test_a_sensor_whose_wavelengths_vary_takes_those_of_the_file(tmp_path):
    path = stating(tmp_path / "cube.tif", reflectance(3, 20, 20), THREE)
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'id = "mine"\nname = "Mine"\nkind = "optical"\nstatus = "given"\nwavelengths_vary = true\n'
        'products = [{ id = "dn", quantity = "dn" }]\nbands = [{ id = "a", center_um = 0.5 }]\n'
    )
    instrument = found([path], str(mine))
    assert instrument.sensor.id == "mine"
    assert [band.center_um for band in instrument.sensor.bands] == list(THREE)
    assert "wavelengths are those that the file states" in instrument.notes[0]


def test_bands_on_scales_of_their_own_mean_the_same_reflectance(tmp_path):
    same = reflectance(3, 40, 40)
    one = stating(tmp_path / "one.tif", same, THREE)
    own = stating(tmp_path / "own.tif", (same * np.array([1, 2, 4])[:, None, None]).astype(np.uint16), THREE)
    for path, scales in ((one, (1e-4,) * 3), (own, (1e-4, 0.5e-4, 0.25e-4))):
        with rasterio.open(path, "r+") as file:
            file.scales = scales
    checks = []
    for path in (one, own):
        options = SceneOptions()
        prepared = prepare_scene(describe([str(path)], options), options, "dofa_v1")
        assert prepared.product.quantity.is_reflectance
        checks.append([(check.mean, check.std) for check in prepared.checks])
    np.testing.assert_allclose(*checks, rtol=1e-6)


def test_suggest_tells_what_a_run_would_take(tmp_path, unnamed):
    named = write_raster(tmp_path / "sentinel2_crop.tif", reflectance(9, 20, 20), TRAINED)
    told = suggest([str(named)])
    assert told.taken == "sentinel2" == told.found[0].sensor
    assert told.found[0].evidence
    nothing = suggest([str(unnamed)])
    assert nothing.taken is None
    assert not nothing.stated_wavelengths
    stated = suggest([str(stating(tmp_path / "cube.tif", reflectance(3, 20, 20), THREE))])
    assert stated.stated_wavelengths


def test_a_folders_name_alone_decides_nothing(tmp_path):
    (tmp_path / "landsat7").mkdir()
    names = ("blue", "green", "red", "nir", "swir16", "swir22")
    path = write_raster(tmp_path / "landsat7" / "scene.tif", reflectance(6, 20, 20), names)
    with pytest.raises(OptionError, match="landsat7"):
        found([path])


def test_a_recognised_sensor_whose_wavelengths_vary_takes_those_of_the_file(tmp_path):
    centres = tuple(np.linspace(0.4, 2.45, 60).round(4))
    instrument = found([stating(tmp_path / "aviris_scene.tif", reflectance(60, 20, 20), centres)])
    assert instrument.by_order
    assert [band.center_um for band in instrument.sensor.bands] == list(centres)


def test_another_sensor_than_the_products_own_is_told(tmp_path):
    (tmp_path / "S2A_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204.SAFE" / "GRANULE").mkdir(parents=True)
    folder = next(tmp_path.glob("*.SAFE"))
    for name in ("B02", "B03", "B04"):
        write_raster(folder / f"T33UUU_20170216T102101_{name}.jp2", reflectance(1, 64, 64), driver="JP2OpenJPEG")
    instrument = found([folder], "landsat8")
    assert any("metadata say sentinel2" in note for note in instrument.notes)


def test_suggest_counts_wavelengths_in_descriptions_as_a_run_does(tmp_path):
    names = ("475 nm", "560 nm", "668 nm")
    path = write_raster(tmp_path / "cube.tif", reflectance(3, 20, 20), names)
    told = suggest([str(path)])
    assert told.stated_wavelengths
    assert (told.taken is None) == (found([path]).how == "wavelengths stated by the file")
