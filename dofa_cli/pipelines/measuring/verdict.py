"""What bounds a run, in a sentence, and what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dofa_cli.model.device import Precision
from dofa_cli.pipelines.measuring.decoding import DecodeRate
from dofa_cli.pipelines.measuring.network import NetworkRates
from dofa_cli.pipelines.measuring.products import PeakRate
from dofa_cli.pipelines.measuring.whole_scene import OTHER, SceneRates

WORTH_WHILE = 1.3
"""How many times as fast another precision must multiply to be named."""
PARTS = {
    "the network": ("infer",),
    "reading": ("wait",),
    "cutting and blending windows": ("prepare", "blend"),
    "writing": ("write", "assemble"),
    "what is done once": (OTHER,),
}
"""What may bound a run, and the stages that are its own."""
HELP = {
    "cutting and blending windows": "A smaller --overlap leaves less to blend.",
    "writing": "--dtype float16 or int8 writes less.",
    "what is done once": (
        "The scene is small against it: measure more --windows, and give many scenes to one command, which shares it."
    ),
}


@dataclass(frozen=True)
class Verdict:
    """``bound_by`` is one of :data:`PARTS`, ``share`` its part of the time; the others are for people."""

    bound_by: str
    share: float
    sentence: str
    would_help: str


def verdict(
    scene: SceneRates, network: NetworkRates, peaks: Sequence[PeakRate], decoding: Sequence[DecodeRate]
) -> Verdict:
    """Judge a scene's shares by what was measured of machine and network."""
    bound, share = largest(scene.shares)
    sentence = f"{bound[0].upper()}{bound[1:]} bounds the run: {share:.0%} of the time."
    if bound == "the network":
        by_name = {peak.precision: peak.tflops for peak in peaks}
        return Verdict(bound, share, f"{sentence}{_of_peak(network, by_name)}", _faster_network(network, by_name))
    if bound == "reading":
        return Verdict(bound, share, sentence, _faster_reading(scene, decoding))
    return Verdict(bound, share, sentence, HELP[bound])


def largest(shares: Mapping[str, float]) -> tuple[str, float]:
    """Return the part of a run that takes most of its time, with its share."""
    found = {part: sum(shares.get(name, 0.0) for name in names) for part, names in PARTS.items()}
    return max(found.items(), key=lambda pair: pair[1])


def _of_peak(network: NetworkRates, peaks: Mapping[str, float]) -> str:
    words = []
    if network.share_of_chain is not None:
        words.append(f"{network.share_of_chain:.0%} of the rate of its bare matrix products")
    if peak := peaks.get(network.precision):
        words.append(f"{network.tflops / peak:.0%} of the largest product rate found here")
    return f" It runs at {' and '.join(words)}." if words else ""


def _faster_network(network: NetworkRates, peaks: Mapping[str, float]) -> str:
    usual, lowered = (peaks.get(one.value, 0.0) for one in (Precision.FLOAT32, Precision.BFLOAT16))
    if network.precision == Precision.FLOAT32 and usual and lowered > WORTH_WHILE * usual:
        return f"--precision bfloat16 multiplies up to {lowered / usual:.1f} times as fast here."
    others = "a smaller --overlap, which needs fewer windows, or a smaller network"
    return f"A graphics card, {others}." if network.device == "cpu" else f"{others[0].upper()}{others[1:]}."


def _faster_reading(scene: SceneRates, decoding: Sequence[DecodeRate]) -> str:
    rates = {what: max(rate.mb_s for rate in decoding if rate.what == what) for what in [one.what for one in decoding]}
    if not rates:
        return "A faster disk, or more cores to decode with."
    told = ", ".join(f"{rate:,.0f} ({what})" for what, rate in sorted(rates.items(), key=lambda pair: -pair[1]))
    return (
        f"The run took {scene.mb_s_in:,.1f} MB of pixels a second; GDAL alone decodes {told}. A tiled GeoTIFF that is "
        "packed less, a faster disk, or more cores would help."
    )
