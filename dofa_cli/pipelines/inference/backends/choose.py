"""Choose the backend that finishes a scene first, by measured rates and what it costs to begin."""

from __future__ import annotations

import platform

import torch

from dofa_cli.errors import DeviceError
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.backends.compiled import has_compiler
from dofa_cli.model.backends.openvino import MISSING, has_openvino
from dofa_cli.model.backends.quantised import can_quantise
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import Precision

MEASURED_GFLOP = 35.6
"""Products of a window of the network that the rates belong to: base, 224 pixels, 9 bands."""
WINDOWS_A_SECOND = {
    Precision.FLOAT32: {BackendName.TORCH: 10.7, BackendName.OPENVINO: 10.7, BackendName.COMPILED: 5.1},
    Precision.BFLOAT16: {BackendName.TORCH: 20.9, BackendName.OPENVINO: 20.9, BackendName.COMPILED: 20.0},
    Precision.INT8: {BackendName.TORCH: 22.0, BackendName.OPENVINO: 33.0},
}
"""Rates of each backend at batches of four, on two cores of a processor with AVX-512 and VNNI."""
START_SECONDS = {BackendName.TORCH: 0.0, BackendName.OPENVINO: 1.0, BackendName.COMPILED: 25.0}
"""What each backend takes before its first window, beyond PyTorch itself."""
X86 = ("x86_64", "AMD64")


def choose_backend(
    wanted: BackendName, device: torch.device, precision: Precision, *, windows: int, gflop: float
) -> BackendName:
    """Return the backend that was asked for, or with ``auto`` the one that finishes first.

    A scene has ``windows`` of so many ``gflop`` (:func:`window_gflop`). What is kept of earlier runs plays no part, so
    that an interrupted run goes on as it began. Raises :class:`DeviceError` for a backend that is not here or does not
    suit device or precision.
    """
    here = available(device, precision)
    if wanted is not BackendName.AUTO:
        check_backend(wanted, device, precision)
        return wanted
    if not here:
        raise DeviceError(
            "--precision int8 needs OpenVINO here: pip install 'dofa[openvino]'. Or use --precision bfloat16."
        )
    if device.type != "cpu" or platform.machine() not in X86:
        return here[0]  # rates of the others were not measured there
    work = windows * gflop / MEASURED_GFLOP
    rates = WINDOWS_A_SECOND[precision]
    return min(here, key=lambda name: START_SECONDS[name] + work / rates[name])


def available(device: torch.device, precision: Precision) -> list[BackendName]:
    """Return the backends that are installed and suit device and precision, the plainest first."""
    if device.type != "cpu":
        return [BackendName.TORCH]
    here = {
        BackendName.TORCH: precision is not Precision.INT8 or can_quantise(),
        BackendName.OPENVINO: has_openvino(),
        BackendName.COMPILED: precision is not Precision.INT8 and has_compiler(),
    }
    return [name for name, there in here.items() if there]


def check_backend(wanted: BackendName, device: torch.device, precision: Precision) -> None:
    """Raise :class:`DeviceError` unless a backend is here and suits device and precision."""
    if wanted in available(device, precision):
        return
    if device.type != "cpu":
        raise DeviceError(f"--backend {wanted} is for CPUs, not for {device}. Leave it out, or use --device cpu.")
    if wanted is BackendName.OPENVINO:
        raise DeviceError(MISSING)
    if precision is Precision.INT8:
        raise DeviceError(f"--backend {wanted} does not compute in int8 here. Use --backend auto or openvino.")
    raise DeviceError(f"--backend {wanted} needs a C++ compiler, and there is none here. Use --backend torch.")


def window_gflop(config: DofaConfig, cells: int) -> float:
    """Return the products of one window of ``cells`` patches, in 10⁹ operations, without the patch embedding."""
    tokens, dim = cells + 1, config.embed_dim
    return config.depth * (24 * tokens * dim**2 + 4 * tokens**2 * dim) / 1e9
