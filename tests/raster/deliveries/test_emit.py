"""Reading EMIT reflectance. Samples have the groups, dimensions and attributes of the published level 2A files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from dofa_cli.errors import DamagedRaster, NoBands, OutputUnwritable
from dofa_cli.raster.deliveries.delivery import Delivery
from dofa_cli.raster.deliveries.emit import NODATA, read
from dofa_cli.raster.deliveries.headers import headers_at
from dofa_cli.raster.source import close_handles
from tests.raster.deliveries.hdf5_made import Array, Group, write_hdf5

NAME = "EMIT_L2A_RFL_001_20230422T195924_2311213_002.nc"
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433],'
    'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
SIZES = {"downtrack": 8, "crosstrack": 6, "bands": 5, "ortho_y": 10, "ortho_x": 9}
CENTRES = np.array([381.0056, 600.0, 1378.4, 2000.0, 2492.9238], np.float32)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_handles()


def dimension(name: str) -> Array:
    """A dimension as netCDF-4 stores one that has no values."""
    label = f"This is a netCDF dimension but not a netCDF variable.{SIZES[name]:10d}"
    number = np.int32(list(SIZES).index(name))
    return Array(
        np.zeros(SIZES[name], np.float32), {"CLASS": "DIMENSION_SCALE", "NAME": label, "_Netcdf4Dimid": number}
    )


def variable(values: np.ndarray, *names: str, **attributes: Any) -> Array:
    """A variable over dimensions."""
    numbers = np.array([list(SIZES).index(name) for name in names], np.int32)
    return Array(values, {"_Netcdf4Coordinates": numbers, **attributes})


def reflectance() -> np.ndarray:
    """Values (downtrack, crosstrack, bands)."""
    return np.random.default_rng(0).random((8, 6, 5)).astype(np.float32)


def table() -> tuple[np.ndarray, np.ndarray]:
    """The look-up table (rows and columns from 1, 0 outside): the swath turned upside down, one pixel twice."""
    rows, cols = np.zeros((10, 9), np.int32), np.zeros((10, 9), np.int32)
    rows[1:9, 2:8] = np.arange(8, 0, -1)[:, None]
    cols[1:9, 2:8] = np.arange(1, 7)
    rows[9, 0], cols[9, 0] = 1, 6
    return rows, cols


def rectified() -> np.ndarray:
    """What the map should show (bands, rows, columns), by indexing."""
    rows, cols = table()
    values = reflectance()[rows - 1, cols - 1].transpose(2, 0, 1)
    return np.where(rows > 0, values, np.float32(NODATA))


def scene(folder: Path, name: str = NAME, without: str = "", **changed: Any) -> Path:
    """Write a scene; ``without`` names a group or variable to leave out, ``changed`` are attributes of the file."""
    rows, cols = table()
    along, good = ("downtrack", "crosstrack"), np.array([1, 1, 0, 1, 1], np.uint8)
    groups = {
        "sensor_band_parameters": {
            "wavelengths": variable(CENTRES, "bands", units="nm"),
            "fwhm": variable(np.full(5, 8.415, np.float32), "bands", units="nm"),
            "good_wavelengths": variable(good, "bands"),
        },
        "location": {
            "lon": variable(np.zeros((8, 6)), *along),
            "lat": variable(np.zeros((8, 6)), *along),
            "glt_x": variable(cols, "ortho_y", "ortho_x"),
            "glt_y": variable(rows, "ortho_y", "ortho_x"),
        },
    }
    fill = np.array([NODATA], np.float32)
    members: dict[str, Array | Group] = {name: dimension(name) for name in SIZES}
    members["reflectance"] = variable(reflectance(), *along, "bands", _FillValue=fill, units="unitless")
    for group, variables in groups.items():
        members[group] = Group({key: value for key, value in variables.items() if key != without})
    attributes = {
        "title": "EMIT L2A Estimated Surface Reflectance 60 m V001",
        "time_coverage_start": "2023-04-22T19:59:24+0000",
        "spatial_ref": WGS84,
        "geotransform": np.array([-100.5, 0.000542, 0, 40.25, 0, -0.000542]),
    } | changed
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in members.items() if key != without}
    return write_hdf5(folder / name, Group(kept, attributes))


def found(path: Path | str) -> Delivery:
    delivery = read(str(path))
    assert delivery is not None
    return delivery


def test_pixels_lie_where_the_look_up_table_puts_them(tmp_path: Path) -> None:
    with rasterio.open(found(scene(tmp_path)).bands[0].path) as file:
        np.testing.assert_array_equal(file.read(), rectified())
        np.testing.assert_array_equal(file.read(4, window=((3, 7), (2, 9))), rectified()[3, 3:7, 2:9])


def test_the_grid_is_that_of_the_table(tmp_path: Path) -> None:
    (header,) = headers_at(str(scene(tmp_path)))
    assert header.grid.transform == Affine(0.000542, 0, -100.5, 0, -0.000542, 40.25)
    assert header.grid.crs.to_epsg() == 4326
    assert (header.grid.height, header.grid.width) == (10, 9)
    assert header.is_affine


def test_bands_carry_centres_widths_and_which_are_bad(tmp_path: Path) -> None:
    (header,) = headers_at(str(scene(tmp_path)))
    assert [band.text for band in header.bands] == ["B001", "B002", "B003", "B004", "B005"]
    assert [band.wavelength_um for band in header.bands] == pytest.approx(CENTRES / 1000, abs=1e-6)
    assert [band.fwhm_um for band in header.bands] == pytest.approx([0.008415] * 5, abs=1e-7)
    assert [band.usable for band in header.bands] == [True, True, False, True, True]
    assert {band.nodata for band in header.bands} == {NODATA}


def test_the_scene_tells_sensor_product_and_time(tmp_path: Path) -> None:
    delivery = found(scene(tmp_path))
    assert (delivery.sensor, delivery.product) == ("emit", "l2a")
    assert delivery.taken == datetime(2023, 4, 22, 19, 59, 24, tzinfo=UTC)
    assert "look-up table" in delivery.notes[0]


def test_a_folder_with_mask_and_uncertainty_reads_like_its_reflectance(tmp_path: Path) -> None:
    file = scene(tmp_path)
    for kind in ("RFLUNCERT", "MASK"):
        (tmp_path / NAME.replace("RFL", kind)).write_bytes(b"")
    assert found(tmp_path).bands == found(file).bands


def test_a_folder_of_two_scenes_is_refused(tmp_path: Path) -> None:
    scene(tmp_path)
    scene(tmp_path, NAME.replace("002", "003"))
    with pytest.raises(NoBands, match="2 EMIT scenes"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("reflectance", "reflectance of .* cannot be opened"),
        ("good_wavelengths", "no sensor_band_parameters/good_wavelengths"),
        ("glt_x", "no geometry look-up table.*emit_utils"),
        ("location", "no geometry look-up table.*emit_utils"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, without: str, says: str) -> None:
    with pytest.raises(DamagedRaster, match=says):
        read(str(scene(tmp_path, without=without)))


@pytest.mark.parametrize("changed", [{"spatial_ref": "nowhere"}, {"geotransform": np.array([1.0, 2.0])}])
def test_a_grid_that_cannot_be_read_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(DamagedRaster, match="no map grid"):
        read(str(scene(tmp_path, **changed)))


def test_other_netcdf_files_are_none_of_its_kind(tmp_path: Path) -> None:
    for title in ("MODIS", "EMIT L2A Estimated Surface Reflectance Uncertainty 60 m V001"):
        assert read(str(scene(tmp_path, title=title))) is None
    (tmp_path / "text.nc").write_text("no netCDF")
    assert read(str(tmp_path / "text.nc")) is None
    assert read(str(tmp_path / "missing.nc")) is None


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(OutputUnwritable, match="XDG_CACHE_HOME"):
        read(str(scene(tmp_path)))
