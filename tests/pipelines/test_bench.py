"""The whole of what is measured: finite, whole, and of the scene that was asked for."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dofa_cli.errors import DeviceError, OptionError, OutputExists, SceneNotFound, UnknownWeights
from dofa_cli.model.backends.quantised import can_quantise
from dofa_cli.pipelines import bench as verbs
from dofa_cli.pipelines.bench import NO_CARD, bench
from dofa_cli.pipelines.inference.clock import STAGES
from dofa_cli.pipelines.measuring import network
from tests.made import TINY, TRAINED, sentinel2_scene, tiny_weights

SECONDS = 0.002


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Measure next to nothing."""
    monkeypatch.setattr(
        verbs, "QUICK", replace(verbs.QUICK, seconds=SECONDS, windows=9, copied=2**20, side=64, squares=(64,))
    )
    monkeypatch.setitem(network.SIZES, "test", TINY)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


def numbers(value):
    if isinstance(value, dict):
        return [one for item in value.values() for one in numbers(item)]
    if isinstance(value, list):
        return [one for item in value for one in numbers(item)]
    return [value] if isinstance(value, float | int) else []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_everything_is_measured_and_finite(weights, precision):
    report = bench(weights=weights, precision=precision, quick=True)
    plain = json.loads(report.to_json())
    assert all(math.isfinite(one) for one in numbers(plain))
    assert plain["machine"]["cores"] > 0
    assert "float32" in [one["precision"] for one in plain["products"]]
    assert [one["what"] for one in plain["copies"]] == ["memory"]
    assert {one["what"] for one in plain["decoding"]} == {
        "made here, none", "made here, deflate", "made here, zstd",
    }  # fmt: skip
    assert (plain["network"]["precision"], plain["network"]["bands"]) == (precision, 9)
    assert plain["network"]["share_of_chain"] > 0
    assert plain["scene"]["what"] == "made here, deflate"
    assert plain["scene"]["windows"] == 9
    assert plain["scene"]["windows_s"] == pytest.approx(9 / plain["scene"]["seconds"])
    assert plain["scene"]["km2_s"] == pytest.approx(plain["scene"]["mpixel_s"] * 100, rel=0.01)  # 10 m pixels
    assert report.verdict.sentence


def test_shares_add_up_and_leave_reading_beside(weights):
    scene = bench(weights=weights, quick=True).scene
    assert sum(scene.shares.values()) == pytest.approx(1)
    assert min(scene.shares.values()) >= 0
    assert set(scene.stages) == set(STAGES)
    assert "read" not in scene.shares
    assert set(scene.shares) == (set(STAGES) - {"read"}) | {"other"}


def test_int8_is_measured_without_a_chain_of_its_own(weights):
    if not can_quantise():
        pytest.skip("this PyTorch has no products of 8 bits")
    report = bench(weights=weights, precision="int8", backend="torch", quick=True)
    assert (report.network.precision, report.network.backend) == ("int8", "torch")
    assert report.network.share_of_chain is None
    assert all(math.isfinite(one) for one in numbers(json.loads(report.to_json())))


@pytest.mark.parametrize(
    ("options", "bands"),
    [({"bands": "4"}, 4), ({"wavelengths": "0.49,0.56"}, 2), ({"sensor": "sentinel1"}, 2), ({"sensor": "enmap"}, 202)],
)
def test_a_scene_is_made_of_any_bands(weights, options, bands):
    report = bench(weights=weights, quick=True, windows=1, **options)
    assert report.network.bands == report.scene.bands == bands
    assert report.scene.windows == 1


def test_random_weights_need_no_file():
    report = bench(weights="random:test", quick=True, windows=1)
    assert report.network.dimensions == TINY.embed_dim
    assert report.network.weights == "random-test.safetensors"
    assert {"tiny", "base", "large", "v2-large"} < set(network.SIZES)


def test_a_given_scene_is_measured_in_its_middle(weights, tmp_path):
    scene = sentinel2_scene(tmp_path / "scene.tif", 300, 320)
    heard = []
    report = bench(scene, weights=weights, sensor="sentinel2", windows=4, quick=True, say=heard.append)
    assert any("windows are measured, in the middle" in line for line in heard)
    assert 4 <= report.scene.windows <= 9
    assert report.scene.height < 300
    assert report.scene.what == str(scene)
    assert "the scene's files" in [one.what for one in report.decoding]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.tif"]


def test_no_windows_stand_for_the_whole_of_a_scene(weights, tmp_path):
    scene = sentinel2_scene(tmp_path / "scene.tif", 150, 170)
    report = bench(scene, weights=weights, sensor="sentinel2", windows=0, quick=True)
    assert (report.scene.height, report.scene.width) == (150, 170)
    assert report.scene.windows == 12
    assert report.scene.mb_s_in == pytest.approx(150 * 170 * len(TRAINED) * 2 / report.scene.seconds / 1e6)


def test_a_report_is_a_whole_file_and_is_not_replaced_unasked(weights, tmp_path):
    target = tmp_path / "bench.json"
    report = bench(weights=weights, quick=True, windows=1, report=target)
    assert json.loads(target.read_text()) == json.loads(report.to_json())
    with pytest.raises(OutputExists, match=r"bench\.json"):
        bench(weights=weights, quick=True, windows=1, report=target)
    bench(weights=weights, quick=True, windows=1, report=target, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a graphics card is here")
def test_without_a_card_one_line_says_so(weights):
    report = bench(weights=weights, quick=True, windows=1)
    assert NO_CARD in report.notes
    assert report.scene.device_peak_bytes is None


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"scene": "nowhere.tif"}, SceneNotFound, "nowhere.tif"),
        ({"precision": "float12"}, OptionError, "float12.*float32"),
        ({"precision": "float16", "device": "cpu"}, DeviceError, "float16"),
        ({"backend": "abacus"}, OptionError, "abacus.*torch"),
        ({"device": "tpu"}, DeviceError, "tpu"),
        ({"weights": "random:gigantic"}, UnknownWeights, "gigantic.*tiny, small, base"),
        ({"compress": "lzma"}, OptionError, "lzma.*deflate"),
        ({"windows": 0}, OptionError, "--windows 0"),
        ({"bands": "rgb"}, OptionError, "--bands 'rgb'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(weights, options, error, words):
    with pytest.raises(error, match=words) as caught:
        bench(**({"weights": weights, "quick": True} | options))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card is here")
def test_a_card_has_rows_of_its_own(weights):
    report = bench(weights=weights, device="cuda", quick=True)
    assert report.machine.device != "cpu"
    assert report.scene.device_peak_bytes > 0
    assert {"memory", "device memory", "to the device", "from the device"} == {one.what for one in report.copies}
    assert np.isfinite(report.network.share_of_chain)
