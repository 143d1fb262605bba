"""What bounds a run follows from its shares, and what would help from what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dofa_cli.pipelines.measuring.decoding import DecodeRate
from dofa_cli.pipelines.measuring.network import NetworkRates
from dofa_cli.pipelines.measuring.products import PeakRate
from dofa_cli.pipelines.measuring.verdict import PARTS, largest, verdict
from dofa_cli.pipelines.measuring.whole_scene import SceneRates

NETWORK = NetworkRates(
    weights="base",
    dimensions=768,
    depth=12,
    bands=9,
    window_px=224,
    batch=4,
    device="cpu",
    precision="float32",
    backend="torch",
    gflop=35.6,
    windows_s=10.0,
    tflops=0.356,
    chain_windows_s=12.5,
    chain_tflops=0.445,
    share_of_chain=0.8,
)
SCENE = SceneRates(
    what="scene.tif",
    height=1000,
    width=1000,
    bands=9,
    windows=36,
    ready_seconds=1.0,
    seconds=4.0,
    windows_s=9.0,
    km2_s=25.0,
    mpixel_s=0.25,
    mb_s_in=4.5,
    mb_s_out=3.0,
    cores_busy=1.9,
    peak_memory_bytes=10**9,
    device_peak_bytes=None,
    stages={},
    shares={},
)
PEAKS = [PeakRate("float32", 0.464, ""), PeakRate("bfloat16", 0.952, "")]
DECODING = [DecodeRate("made here, none", 1, 900.0), DecodeRate("made here, none", 2, 1800.0)]
DECODING += [DecodeRate("the scene's files", 2, 32.0)]


def judged(shares, network=NETWORK, peaks=PEAKS, decoding=DECODING):
    return verdict(replace(SCENE, shares=shares), network, peaks, decoding)


def test_a_network_is_told_with_its_share_of_what_the_processor_can():
    found = judged({"infer": 0.83, "wait": 0.1, "other": 0.07})
    assert (found.bound_by, found.share) == ("the network", 0.83)
    assert found.sentence == (
        "The network bounds the run: 83% of the time. It runs at 80% of the rate of its bare matrix products and 77% "
        "of the largest product rate found here."
    )
    assert "--precision bfloat16 multiplies up to 2.1 times as fast" in found.would_help


def test_another_precision_is_named_only_where_it_is_faster():
    shares = {"infer": 1.0}
    assert "bfloat16" not in judged(shares, peaks=PEAKS[:1]).would_help
    assert "bfloat16" not in judged(shares, peaks=[PEAKS[0], PeakRate("bfloat16", 0.5, "")]).would_help
    assert "bfloat16" not in judged(shares, replace(NETWORK, precision="bfloat16")).would_help
    assert "graphics card" in judged(shares, peaks=PEAKS[:1]).would_help
    assert "graphics card" not in judged(shares, replace(NETWORK, device="cuda")).would_help


def test_reading_is_told_with_what_the_machine_decodes():
    found = judged({"infer": 0.3, "wait": 0.6, "other": 0.1})
    assert found.sentence == "Reading bounds the run: 60% of the time."
    assert "4.5 MB of pixels a second" in found.would_help
    assert "1,800 (made here, none)" in found.would_help
    assert "32 (the scene's files)" in found.would_help
    assert judged({"wait": 1.0}, decoding=[]).would_help


@pytest.mark.parametrize(
    ("shares", "part", "word"),
    [
        ({"infer": 0.4, "write": 0.3, "assemble": 0.3}, "writing", "--dtype"),
        ({"infer": 0.4, "prepare": 0.3, "blend": 0.3}, "cutting and blending windows", "--overlap"),
        ({"infer": 0.4, "other": 0.6}, "what is done once", "--windows"),
    ],
)
def test_stages_of_one_kind_count_together(shares, part, word):
    found = judged(shares)
    assert found.bound_by == part
    assert found.share == pytest.approx(0.6)
    assert word in found.would_help


def test_every_stage_belongs_to_one_part():
    names = [name for names in PARTS.values() for name in names]
    assert len(names) == len(set(names))
    for part, own in PARTS.items():
        assert largest(dict.fromkeys(own, 1.0)) == (part, float(len(own)))
