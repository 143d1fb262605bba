"""Each wrong input: one clear line on stderr, its own exit code, no traceback, nothing half-written."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.model.config import PUBLISHED
from dofa_cli.model.vit import Dofa
from tests.made import TRAINED, reflectance, sentinel2_scene, write_raster


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments: list[str], code: int, *words: str, out: Path) -> str:
    """Run ``dofa embed``; check the code, the single line, its words, and that ``out`` holds nothing new."""
    before = sorted(path.name for path in out.iterdir())
    result = CliRunner().invoke(app, ["embed", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
    assert sorted(path.name for path in out.iterdir()) == before
    return result.stderr


def test_missing_file(here, weights):
    refused(["nowhere.tif", "--sensor", "sentinel2", "--weights", weights], 11, "nowhere.tif", out=here)


def test_not_a_raster(here, weights):
    Path("notes.tif").write_text("these are notes")
    refused(["notes.tif", "--sensor", "sentinel2", "--weights", weights], 12, "notes.tif", "not a raster", out=here)


def test_truncated_tiff(here, weights, scene):
    whole = Path(scene).read_bytes()
    Path("half.tif").write_bytes(whole[: len(whole) // 2])
    refused(["half.tif", "--sensor", "sentinel2", "--weights", weights], 13, "half.tif", out=here)


def test_zero_bands(here, weights):
    Path("empty.vrt").write_text('<VRTDataset rasterXSize="8" rasterYSize="8"></VRTDataset>')
    refused(["empty.vrt", "--sensor", "sentinel2", "--weights", weights], 14, "no raster bands", out=here)


def test_unnamed_bands_of_a_wrong_count(here, weights):
    write_raster(here / "five.tif", reflectance(5, 40, 40))
    arguments = ["five.tif", "--sensor", "sentinel2", "--weights", weights]
    refused(arguments, 15, "5 bands", "B01, B02", "--bands", "--wavelengths", out=here)


def test_band_that_the_file_lacks(here, weights, scene):
    refused([scene, "--sensor", "sentinel2", "--bands", "B09", "--weights", weights], 15, "B09", out=here)


def test_reflectance_from_0_to_1(here, weights):
    write_raster(here / "unit.tif", (reflectance(9, 64, 64) / 10000).astype(np.float32), TRAINED)
    refused(["unit.tif", "--sensor", "sentinel2", "--weights", weights], 16, "0 to 1", "--scale 1", out=here)


def test_bytes_where_digital_numbers_are_expected(here, weights):
    write_raster(here / "bytes.tif", (reflectance(9, 64, 64) // 12).astype(np.uint8), TRAINED)
    refused(["bytes.tif", "--sensor", "sentinel2", "--product", "l1c", "--weights", weights], 16, "8-bit", out=here)


def test_complex_radar(here, weights):
    write_raster(here / "slc.tif", np.ones((1, 40, 40), np.complex64), ("VV",))
    refused(["slc.tif", "--sensor", "sentinel1", "--weights", weights], 16, "complex", out=here)


def test_unknown_sensor(here, weights, scene):
    refused([scene, "--sensor", "sentinell2", "--weights", weights], 21, "Did you mean 'sentinel2'", out=here)


def test_broken_sensor_file(here, weights, scene):
    Path("mine.toml").write_text('id = "mine"\nname = "mine"\n')
    refused([scene, "--sensor", "mine.toml", "--weights", weights], 22, "mine.toml", "bands", out=here)


@pytest.mark.parametrize(("given", "words"), [("665,560,490", "nanometres"), ("red,green", "µm")])
def test_wavelengths_that_are_not_micrometres(here, weights, scene, given, words):
    words = words if words != "µm" else "micrometres"
    refused([scene, "--wavelengths", given, "--weights", weights], 23, words, out=here)


def test_wavelengths_of_the_wrong_number(here, weights, scene):
    refused([scene, "--wavelengths", "0.6,0.5", "--weights", weights], 23, "2 values", "9 bands", out=here)


def test_missing_weights_file(here, scene):
    refused([scene, "--sensor", "sentinel2", "--weights", "nowhere.pth"], 31, "nowhere.pth", out=here)


def test_unknown_weights(here, scene):
    refused([scene, "--sensor", "sentinel2", "--weights", "dofa-bse"], 32, "dofa-base", out=here)


def test_truncated_weights(here, scene, weights):
    whole = Path(weights).read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    refused([scene, "--sensor", "sentinel2", "--weights", "cut.safetensors"], 33, "cut.safetensors", out=here)


def test_truncated_pickle(here, scene):
    torch.save({"cls_token": torch.zeros(1, 1, 24)}, "whole.pth")
    Path("cut.pth").write_bytes(Path("whole.pth").read_bytes()[:-200])
    refused([scene, "--sensor", "sentinel2", "--weights", "cut.pth"], 33, "cut.pth", out=here)


def test_weights_of_something_else(here, scene):
    torch.save({"layer.weight": torch.zeros(3, 3)}, "other.pth")
    refused([scene, "--sensor", "sentinel2", "--weights", "other.pth"], 34, "not a DOFA encoder", out=here)


def test_malicious_pickle_does_not_run(here, scene):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch ran",)

    Path("evil.pth").write_bytes(pickle.dumps({"cls_token": Evil()}))
    refused([scene, "--sensor", "sentinel2", "--weights", "evil.pth"], 35, "not loaded", out=here)
    assert not Path("ran").exists()


def test_unknown_file_of_published_shape_needs_trust(here, scene):
    state = Dofa(PUBLISHED["v1_small"]).state_dict()
    torch.save(state, "small.pth")
    refused([scene, "--sensor", "sentinel2", "--weights", "small.pth"], 36, "--trust-weights", out=here)


def test_existing_output(here, scene, weights):
    Path("there.tif").write_text("mine")
    refused([scene, "--sensor", "sentinel2", "--weights", weights, "-o", "there.tif"], 41, "--overwrite", out=here)
    assert Path("there.tif").read_text() == "mine"


@pytest.mark.parametrize("output", ["no/such/folder/out.tif", "afile/out.tif"])
def test_unwritable_output(here, scene, weights, output):
    Path("afile").write_text("a file, not a folder")
    refused([scene, "--sensor", "sentinel2", "--weights", weights, "-o", output], 42, output, out=here)


def test_unknown_device(here, scene, weights):
    refused([scene, "--sensor", "sentinel2", "--weights", weights, "--device", "tpu"], 50, "tpu", out=here)


def test_half_precision_on_a_cpu(here, scene, weights):
    arguments = [scene, "--sensor", "sentinel2", "--weights", weights, "--device", "cpu", "--precision", "float16"]
    refused(arguments, 50, "bfloat16", out=here)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--window", "60"], ("--window 60", "multiple of the patch")),
        (["--overlap", "10"], ("--overlap 10",)),
        (["--overlap", "64"], ("leaves nothing",)),
        (["--level", "tile"], ("--level 'tile'", "patch, window, scene")),
        (["--batch-size", "many"], ("auto",)),
        (["--level", "window", "--dtype", "int8"], ("--level patch",)),
        (["--level", "window", "-o", "out.tif"], (".parquet",)),
        (["-o", "out.png"], (".tif",)),
        (["--product", "l9"], ("no product 'l9'", "l1c")),
    ],
)
def test_options_that_do_not_fit(here, scene, weights, options, words):
    refused([scene, "--sensor", "sentinel2", "--weights", weights, *options], 2, *words, out=here)


def test_neither_sensor_nor_wavelengths_nor_anything_that_tells_them(here, weights):
    write_raster(here / "unknown.tif", reflectance(7, 64, 64))
    refused(["unknown.tif", "--weights", weights], 2, "--sensor", "--wavelengths", out=here)


def test_clouds_to_mask_without_a_layer_that_tells_them(here, scene, weights):
    refused([scene, "--sensor", "sentinel2", "--weights", weights, "--mask-clouds"], 2, "--mask FILE", out=here)


def test_values_of_a_mask_that_is_not_given(here, scene, weights):
    refused([scene, "--sensor", "sentinel2", "--weights", weights, "--mask-values", "3"], 2, "--mask", out=here)


def test_values_of_a_mask_that_are_no_numbers(here, scene, weights):
    arguments = [scene, "--sensor", "sentinel2", "--weights", weights, "--mask", scene, "--mask-values", "cloud"]
    refused(arguments, 2, "cloud", "whole numbers", out=here)


@pytest.mark.parametrize("written", ["scene.tif", "./../{here}/scene.tif"])
def test_an_input_is_never_the_output(here, weights, written):
    sentinel2_scene(here / "scene.tif", 64, 64)
    before = (here / "scene.tif").read_bytes()
    arguments = ["scene.tif", "--weights", weights, "--sensor", "sentinel2", "--overwrite"]
    refused([*arguments, "-o", written.format(here=here.name)], 41, "is an input", out=here)
    assert (here / "scene.tif").read_bytes() == before


@pytest.mark.parametrize("resolution", ["-5", "0", "nan", "inf", "1e9"])
def test_a_resolution_that_is_none(here, scene, weights, resolution):
    code = 17 if resolution == "1e9" else 2
    refused([scene, "--sensor", "sentinel2", "--weights", weights, "--resolution", resolution], code, out=here)


@pytest.mark.parametrize("option", [["--mask-snow"], ["--keep-cirrus"], ["--cloud-dilate", "3"]])
def test_options_of_masks_that_are_not_asked_for(here, scene, weights, option):
    refused([scene, "--sensor", "sentinel2", "--weights", weights, *option], 2, option[0], "--mask-clouds", out=here)


def test_a_mask_of_another_place(here, scene, weights):
    far = rasterio.Affine(10, 0, 900000, 0, -10, 1000000)
    write_raster(here / "mask.tif", np.ones((1, 8, 8), np.uint8), transform=far)
    arguments = [scene, "--sensor", "sentinel2", "--weights", weights, "--mask", "mask.tif"]
    refused(arguments, 17, "does not touch", out=here)


def test_a_folder_without_a_product(here, weights):
    (here / "empty").mkdir()
    refused(["empty", "--weights", weights], 11, "No scene in empty", ".tif", out=here)


def test_area_that_misses_the_scene(here, scene, weights):
    Path("area.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": {"type": '
        '"Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}]}'
    )
    arguments = [scene, "--sensor", "sentinel2", "--weights", weights, "--aoi", "area.geojson"]
    refused(arguments, 18, "does not touch", out=here)


def test_disk_that_is_too_small(here, scene, weights, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    refused([scene, "--sensor", "sentinel2", "--weights", weights], 43, "free", "needs", out=here)


def accepted(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, ["embed", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stderr


def test_scene_without_coordinates_is_allowed_with_a_warning(here, weights):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_raster(here / "bare.tif", reflectance(9, 70, 70), TRAINED, crs=None, transform=None)
    said = accepted(["bare.tif", "--sensor", "sentinel2", "--weights", weights, "-o", "out.tif"])
    assert "no coordinate system" in said
    with rasterio.open("out.tif") as file:
        assert file.crs is None
        assert file.read().std() > 0


def test_all_nodata_gives_all_nodata_and_a_warning(here, weights):
    write_raster(here / "blank.tif", np.zeros((9, 70, 70), np.uint16), TRAINED, nodata=0)
    said = accepted(["blank.tif", "--sensor", "sentinel2", "--weights", weights, "-o", "out.tif"])
    assert "no valid pixel" in said
    with rasterio.open("out.tif") as file:
        assert np.isnan(file.read()).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_invalid(here, weights, bad):
    values = reflectance(9, 128, 128).astype(np.float32)
    values[3, :64, :64] = bad
    write_raster(here / "holes.tif", values, TRAINED)
    accepted(["holes.tif", "--sensor", "sentinel2", "--weights", weights, "-o", "out.tif"])
    with rasterio.open("out.tif") as file:
        tokens = file.read()
    assert np.isnan(tokens[:, :4, :4]).all()
    assert np.isfinite(tokens[:, 4:]).all()
    assert np.isfinite(tokens[:, :, 4:]).all()


def test_failure_while_running_leaves_nothing(here, weights):
    sentinel2_scene(here / "scene.tif", 600, 600, tiled=True, blockxsize=256, blockysize=256)
    whole = Path("scene.tif").read_bytes()
    with rasterio.open("scene.tif") as file:
        assert file.width == 600
    Path("scene.tif").write_bytes(whole[: int(len(whole) * 0.8)])
    refused(["scene.tif", "--sensor", "sentinel2", "--weights", weights], 13, "scene.tif", out=here)
