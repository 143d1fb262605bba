"""An encoder opened for a scene or a set of images: backend chosen, ranges at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dofa_cli.model.device import Precision, choose_device, choose_precision
from dofa_cli.pipelines.inference.backends.calibrate import Draw, ranges_for
from dofa_cli.pipelines.inference.backends.choose import choose_backend, window_gflop
from dofa_cli.pipelines.inference.encoder import Encoder, Weights, open_encoder

if TYPE_CHECKING:
    from dofa_cli.pipelines.inference.run import ModelOptions


def encoder_for(
    weights: Weights, wavelengths_um: Sequence[float], options: ModelOptions, *, side: int, windows: int, draw: Draw
) -> Encoder:
    """Open an encoder for ``windows`` windows of ``side`` pixels; ``draw`` gives some of them.

    Raises :class:`~dofa_cli.errors.DeviceError` for a backend, device or precision that is not here.
    """
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    gflop = window_gflop(weights.config, (side // weights.config.patch_size) ** 2)
    backend = choose_backend(options.backend, device, precision, windows=windows, gflop=gflop)
    ranges = ranges_for(weights, wavelengths_um, side, draw) if precision is Precision.INT8 else None
    return open_encoder(
        weights,
        wavelengths_um,
        device=options.device,
        precision=precision,
        token_norm=options.token_norm,
        backend=backend,
        ranges=ranges,
    )
