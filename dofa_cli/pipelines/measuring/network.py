"""A network alone on pixels in memory, beside its bare matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from dofa_cli.errors import UnknownWeights
from dofa_cli.model.checkpoint import save_checkpoint
from dofa_cli.model.config import PUBLISHED, DofaConfig
from dofa_cli.model.device import Precision
from dofa_cli.model.vit import random_dofa
from dofa_cli.pipelines.inference.run import Run
from dofa_cli.pipelines.measuring.chain import Chain, chains
from dofa_cli.pipelines.measuring.flops import forward_products, window_flops
from dofa_cli.pipelines.measuring.timing import side_by_side

RANDOM = "random:"
SIZES = {
    "tiny": DofaConfig(version=1, patch_size=8, embed_dim=192, depth=12, num_heads=3, image_size=64),
    **{name.removeprefix("v1_").replace("_", "-"): config for name, config in PUBLISHED.items()},
}
"""Networks that can be had with random weights, by what follows :data:`RANDOM`."""


@dataclass(frozen=True)
class NetworkRates:
    """A network's rates in windows a second: its own, and that of its matrix products alone (``None``: not known).

    ``share_of_chain`` is the first over the second. ``gflop`` are 10⁹ operations a window by formula, ``tflops`` 10¹²
    operations a second.
    """

    weights: str
    dimensions: int
    depth: int
    bands: int
    window_px: int
    batch: int
    device: str
    precision: str
    backend: str
    gflop: float
    windows_s: float
    tflops: float
    chain_windows_s: float | None
    chain_tflops: float | None
    share_of_chain: float | None


def network_rates(run: Run, budget: float) -> NetworkRates:
    """Measure a settled run's network at the run's batch beside its products, for about ``budget`` seconds each."""
    encoder, config, bands = run.encoder, run.weights.config, len(run.prepared.norms)
    side = run.plan.window * run.plan.grid.patch
    pixels = torch.randn(run.batch, bands, side, side, device=encoder.device)
    bare: list[Chain] = []
    if encoder.precision in (Precision.FLOAT32, Precision.BFLOAT16, Precision.FLOAT16):
        bare = chains(forward_products(config, bands, side, run.batch), encoder.device, encoder.precision)
    own, *others = side_by_side([lambda: encoder.tokens(pixels), *bare], encoder.device, budget)
    seconds, chain = own.median, min((one.median for one in others), default=None)
    flops = window_flops(config, bands, side)
    return NetworkRates(
        weights=run.weights.name,
        dimensions=config.embed_dim,
        depth=config.depth,
        bands=bands,
        window_px=side,
        batch=run.batch,
        device=encoder.device.type,
        precision=encoder.precision.value,
        backend=encoder.backend.name.value,
        gflop=flops / 1e9,
        windows_s=run.batch / seconds,
        tflops=run.batch * flops / seconds / 1e12,
        chain_windows_s=None if chain is None else run.batch / chain,
        chain_tflops=None if chain is None else run.batch * flops / chain / 1e12,
        share_of_chain=None if chain is None else chain / seconds,
    )


def weights_at(name: str | None, folder: Path) -> str | None:
    """Return weights by name or path; ``random:SIZE`` becomes a file of random ones in ``folder``.

    Speed does not depend on values. Raises :class:`UnknownWeights` for a size that there is not.
    """
    if name is None or not name.startswith(RANDOM):
        return name
    size = name.removeprefix(RANDOM)
    if size not in SIZES:
        raise UnknownWeights(f"No random weights '{size}'. Sizes: {', '.join(SIZES)}.")
    path = folder / f"random-{size}.safetensors"
    save_checkpoint(random_dofa(SIZES[size]), path)
    return str(path)
