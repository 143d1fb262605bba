"""Sensors made in each way, then used on real scenes as on one's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from tests.made import tiny_weights

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PINES = DATA / "aviris" / "indian_pines" / "indian_pines_200b.tif"
PAVIA = DATA / "rosis" / "pavia_roi" / "pavia_roi_103b.tif"
NAIP = DATA / "naip" / "rasterframes_va" / "NAIP_VA.tif"
PHOTO = DATA / "aerial_rgb" / "deepforest" / "OSBS_029.tif"
HEADER = """ENVI
samples = 145
lines = 145
bands = 200
data type = 12
interleave = bsq
byte order = 0
wavelength units = Nanometers
wavelength = {%s}
"""
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the collection of real scenes is not beside the checkout")


def response(centres: tuple[float, ...]) -> str:
    """Write a table of triangular responses, 60 nm wide at half maximum."""
    rows = [f"{nm}," + ",".join(f"{max(0, 1 - abs(nm - centre) / 60):.4f}" for centre in centres) for nm in GRID]
    return "\n".join(["nm,red,green,blue", *rows]) + "\n"


GRID = range(380, 800, 5)
ITEM = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "photo",
    "properties": {},
    "assets": {
        "image": {
            "href": "photo.tif",
            "eo:bands": [
                {"name": "red", "common_name": "red", "center_wavelength": 0.65},
                {"name": "green", "common_name": "green", "center_wavelength": 0.56},
                {"name": "blue", "common_name": "blue", "center_wavelength": 0.48},
            ],
        }
    },
}
TABLE = "band,center_nm,fwhm_nm\nred,650,60\ngreen,560,60\nblue,480,60\nnir,830,100\n"
WAYS = {
    "a cube's own header": (PINES, ["--from", PINES], 200),
    "an ENVI header": (PINES, ["--from", "pines.hdr"], 200),
    "a cube with a scale to reflectance": (PAVIA, ["--from", PAVIA, "--product-scale", "0.0001"], 103),
    "statistics measured on the scene": (PAVIA, ["--from", PAVIA, "--stats-from", PAVIA], 103),
    "a table, for an aerial tile taken as unknown": (NAIP, ["--from", "bands.csv"], 4),
    "a known one": (NAIP, ["--like", "naip", "--gsd", "1"], 3),
    "a camera by flags": (PHOTO, ["--wavelengths", "0.65,0.56,0.48", "--names", "red,green,blue"], 3),
    "a STAC item": (PHOTO, ["--from", "item.json"], 3),
    "spectral responses": (PHOTO, ["--from-srf", "srf.csv"], 3),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with rasterio.open(PINES) as file:
        Path("pines.hdr").write_text(HEADER % file.tags()["wavelengths_nm"])
    Path("bands.csv").write_text(TABLE)
    Path("item.json").write_text(json.dumps(ITEM))
    Path("srf.csv").write_text(response((650, 560, 480)))
    tiny_weights(tmp_path / "tiny.safetensors")
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
def test_a_new_sensor_embeds_a_real_scene(here, way):
    scene, flags, bands = WAYS[way]
    made = CliRunner().invoke(app, ["sensors", "add", "mine", *map(str, flags)])
    assert made.exit_code == 0, made.output
    run = ["embed", str(scene), "--sensor", "mine", "--weights", "tiny.safetensors", "-o", "out.tif", "--json"]
    told = CliRunner().invoke(app, run)
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert report["sensor"] == "mine"
    assert len(report["rules"]) == bands
    assert all(np.isfinite(band["mean"]) and band["std"] > 0 for band in report["standardised"])
    with rasterio.open("out.tif") as file, rasterio.open(scene) as source:
        assert file.crs == source.crs
        tokens = file.read()
    assert np.isfinite(tokens).any()
