"""Wavelengths that files state, read back through GDAL from files in each of the ways that writers put them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.raster.header import FileBand, read_header
from dofa_cli.raster.spectrum import all_stated, micrometres
from tests.made import write_raster

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CENTRES = ("400.5", "550.0", "1400.25", "2450.75")
VALUES = np.arange(4 * 3 * 2, dtype=np.int16).reshape(4, 3, 2)
AXES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def envi(folder: Path, *fields: str, interleave: str = "bsq", header: str = "cube.hdr") -> str:
    """Write a cube of four bands with a header of the usual fields and ``fields``."""
    usual = ("samples = 2", "lines = 3", "bands = 4", "header offset = 0", "file type = ENVI Standard", "data type = 2")
    text = "\n".join(["ENVI", *usual, f"interleave = {interleave}", "byte order = 0", *fields])
    (folder / header).write_text(text + "\n")
    (folder / "cube.dat").write_bytes(np.ascontiguousarray(VALUES.transpose(AXES[interleave])).tobytes())
    return str(folder / "cube.dat")


def listed(name: str, values: tuple[str, ...]) -> str:
    return f"{name} = {{ {values[0]}, {values[1]},\n {', '.join(values[2:])}}}"


def bands(path: str) -> tuple[FileBand, ...]:
    return read_header(path).bands


def centres(path: str) -> list[float | None]:
    return [band.wavelength_um for band in bands(path)]


def widths(path: str) -> list[float | None]:
    return [band.fwhm_um for band in bands(path)]


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_an_envi_cube_states_centres_widths_and_bad_bands(tmp_path: Path, interleave: str) -> None:
    fields = (
        "wavelength units = Nanometers",
        listed("wavelength", CENTRES),
        listed("fwhm", ("5.75", "6.0", "10.5", "9.25")),
        listed("bbl", ("1", "1", "0", "1")),
    )
    path = envi(tmp_path, *fields, interleave=interleave)
    assert centres(path) == [0.4005, 0.55, 1.40025, 2.45075]  # GDAL's own tags are rounded to 0.401, 0.55, 1.4, 2.451
    assert widths(path) == [0.00575, 0.006, 0.0105, 0.00925]
    assert [band.usable for band in bands(path)] == [True, True, False, True]
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), VALUES)


def test_a_header_in_micrometres_reads_like_one_in_nanometres(tmp_path: Path) -> None:
    path = envi(
        tmp_path,
        "wavelength units = Micrometers",
        listed("wavelength", ("0.4005", "0.55", "1.40025", "2.45075")),
        listed("fwhm", ("0.00575", "0.006", "0.0105", "0.00925")),
    )
    assert centres(path) == [0.4005, 0.55, 1.40025, 2.45075]
    assert widths(path) == [0.00575, 0.006, 0.0105, 0.00925]


@pytest.mark.parametrize("unit", ["", "wavelength units = Unknown"])
def test_without_a_unit_large_numbers_are_nanometres(tmp_path: Path, unit: str) -> None:
    path = envi(tmp_path, unit, listed("wavelength", CENTRES), listed("fwhm", ("5", "6", "10", "9")))
    assert centres(path) == [0.4005, 0.55, 1.40025, 2.45075]
    assert widths(path) == [0.005, 0.006, 0.01, 0.009]


def test_a_header_beside_the_whole_name_is_found(tmp_path: Path) -> None:
    path = envi(tmp_path, listed("wavelength", CENTRES), header="cube.dat.hdr")
    assert centres(path)[0] == 0.4005


def test_band_names_do_not_hide_wavelengths(tmp_path: Path) -> None:
    path = envi(tmp_path, listed("band names", ("a", "b", "c", "d")), listed("wavelength", CENTRES))
    assert centres(path) == [0.4005, 0.55, 1.40025, 2.45075]


@pytest.mark.parametrize("unit", ["Index", "Wavenumber", "GHz", "MHz"])
def test_numbers_that_are_no_wavelengths_are_left_out(tmp_path: Path, unit: str) -> None:
    path = envi(tmp_path, f"wavelength units = {unit}", listed("wavelength", ("1", "2", "3", "4")))
    assert centres(path) == [None] * 4
    assert not all_stated(bands(path))


def test_lists_of_another_length_than_the_bands_say_nothing_of_bad_bands(tmp_path: Path) -> None:
    path = envi(tmp_path, "wavelength units = nm", "wavelength = {400, 500}", "bbl = {1, 0}", "fwhm = {5, 5}")
    assert [band.usable for band in bands(path)] == [True] * 4
    assert (centres(path)[2:], widths(path)[2:]) == ([None, None], [None, None])


def test_widths_in_another_unit_than_centres_are_left_out(tmp_path: Path) -> None:
    path = envi(tmp_path, listed("wavelength", CENTRES), listed("fwhm", ("0.005", "0.006", "0.01", "0.009")))
    assert widths(path) == [None] * 4


def test_a_geotiff_states_them_as_tags_of_its_bands(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "cube.tif", VALUES)
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, wavelength="400.5", wavelength_units="Nanometers", fwhm="6.5")
        file.update_tags(2, WAVELENGTH="0.55", WAVELENGTH_UNITS="Micrometers", FWHM="0.01", bbl="0")
        file.update_tags(3, wavelength_nm="1400.25", fwhm_nm="10")
        file.update_tags(4, center_wavelength="2450.75 nm", bad_band_multiplier="1")
    assert centres(str(path)) == [0.4005, 0.55, 1.40025, 2.45075]
    assert widths(str(path)) == [0.0065, 0.01, 0.01, None]
    assert [band.usable for band in bands(str(path))] == [True, False, True, True]


def test_gdal_imagery_tags_are_micrometres(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "cube.tif", VALUES)
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.4005", FWHM_UM="0.0065")
    assert (centres(str(path))[0], widths(str(path))[0]) == (0.4005, 0.0065)
    assert centres(str(path))[1] is None


@pytest.mark.parametrize("domain", [None, "ENVI"])
def test_a_geotiff_states_them_as_lists(tmp_path: Path, domain: str | None) -> None:
    path = write_raster(tmp_path / "cube.tif", VALUES)
    lists = {"wavelength": f"{{{', '.join(CENTRES)}}}", "fwhm": "{5, 6, 7, 8}", "bbl": "{1, 0, 1, 1}"}
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns=domain, wavelength_units="nanometers", **lists)
    assert centres(str(path)) == [0.4005, 0.55, 1.40025, 2.45075]
    assert widths(str(path)) == [0.005, 0.006, 0.007, 0.008]
    assert [band.usable for band in bands(str(path))] == [True, False, True, True]


def test_the_unit_may_stand_in_the_name_of_a_list(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "cube.tif", VALUES)
    with rasterio.open(path, "r+") as file:
        file.update_tags(WAVELENGTHS_NM=",".join(CENTRES))
    assert centres(str(path)) == [0.4005, 0.55, 1.40025, 2.45075]


@pytest.mark.parametrize(
    ("dimension", "attributes"),
    [("wavelength", {"units": "nm"}), ("wavelength", {}), ("band", {"units": "nanometers"})],
)
def test_a_netcdf_states_them_as_a_dimension(tmp_path: Path, dimension: str, attributes: dict[str, str]) -> None:
    values = [float(centre) for centre in CENTRES]
    coordinates = {dimension: (dimension, values, attributes), "y": [90.0, 60.0, 30.0], "x": [0.0, 30.0]}
    array = xr.Dataset({"rfl": ((dimension, "y", "x"), VALUES)}, coordinates)
    array.to_netcdf(tmp_path / "cube.nc", engine="scipy")
    assert centres(str(tmp_path / "cube.nc")) == [0.4005, 0.55, 1.40025, 2.45075]


def test_a_dimension_of_depths_or_numbers_is_none_of_wavelengths(tmp_path: Path) -> None:
    for name, attributes in (("depth", {"units": "m"}), ("band", {})):
        coordinates = {name: (name, [1.0, 2.0, 3.0, 4.0], attributes), "y": [90.0, 60.0, 30.0], "x": [0.0, 30.0]}
        array = xr.Dataset({"rfl": ((name, "y", "x"), VALUES)}, coordinates)
        array.to_netcdf(tmp_path / f"{name}.nc", engine="scipy")
        assert centres(str(tmp_path / f"{name}.nc")) == [None] * 4


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (550, "nm", 0.55),
        (550, "Nanometers", 0.55),
        (0.55, "µm", 0.55),
        (0.55, "um", 0.55),
        (5500, "Angstroms", 0.55),
        (5.5e-7, "m", 0.55),
        (5.5e-4, "mm", 0.55),
        (550, None, 0.55),
        (0.55, None, 0.55),
        (0, "nm", None),
        (float("nan"), None, None),
        (float("inf"), "nm", None),
        (18181, "cm-1", None),
        (50, None, None),
    ],
)
def test_units_are_converted(value: float, unit: str | None, expected: float | None) -> None:
    assert micrometres(value, unit) == expected


@given(st.floats(0.2, 25, allow_nan=False))
def test_nanometres_and_micrometres_mean_the_same(centre: float) -> None:
    assert micrometres(centre * 1000, "nm") == pytest.approx(micrometres(centre, "µm"), abs=2e-9)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared imagery is not here")
@pytest.mark.parametrize(
    ("scene", "first", "count"),
    [("aviris/indian_pines/indian_pines_200b.tif", 0.40002, 200), ("rosis/pavia_roi/pavia_roi_103b.tif", 0.43, 103)],
)
def test_real_cubes_state_theirs_as_a_list(scene: str, first: float, count: int) -> None:
    stated = centres(str(SHARED / scene))
    assert (stated[0], len(stated)) == (first, count)
    assert all(centre is not None and 0.4 <= centre <= 2.5 for centre in stated)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared imagery is not here")
def test_a_real_cube_that_states_nothing_is_not_given_any() -> None:
    assert set(centres(str(SHARED / "neon_hsi/harv_crop/2019_HARV_hsi_crop.tif"))) == {None}


@pytest.mark.parametrize(("factor", "scale"), [("10000", 1e-4), ("0", 1.0), ("none", 1.0)])
def test_an_envi_headers_scale_factor_is_the_bands_scale(tmp_path: Path, factor: str, scale: float) -> None:
    assert {band.scale for band in bands(envi(tmp_path, f"reflectance scale factor = {factor}"))} == {scale}
