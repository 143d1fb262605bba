"""Choose processor and precision, and switch on the fast products that keep float32's accuracy."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from typing import Any

import torch

from dofa_cli.errors import DeviceError

FLOAT32_ROUNDING = 2e-5
"""Largest relative error of a product of 768 terms that still counts as float32."""
KEPT_BLOCK = 256 * 2**20
KEPT_BYTES = 512 * 2**20
"""Blocks up to the first size are kept for reuse, up to the second in all: more than a forward's, less than a
tile's."""
CPU_BATCH = 4
GPU_BATCH = 64


class Precision(StrEnum):
    """Arithmetic of the transformer; pixels, softmax, norms and blending stay in float32.

    With ``int8`` the products of the linear layers are of 8-bit numbers, attention is computed in bfloat16.
    """

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype (not for ``auto``), of ``int8`` that of what is not 8-bit."""
        names = {Precision.FLOAT32: torch.float32, Precision.FLOAT16: torch.float16}
        return names.get(self, torch.bfloat16)


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; :class:`DeviceError` if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise DeviceError(f"No device '{name}'. Use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"Device '{name}' is not here: PyTorch sees {torch.cuda.device_count()} CUDA devices.")
    return device


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """Resolve ``auto``: bfloat16 on a GPU that has it, float32 elsewhere.

    Raises :class:`DeviceError` for float16 on a CPU and int8 on a GPU.
    """
    if precision is Precision.FLOAT16 and device.type == "cpu":
        raise DeviceError(
            "float16 on a CPU is slower than float32 and less exact. Use --precision bfloat16 or float32."
        )
    if precision is Precision.INT8 and device.type != "cpu":
        raise DeviceError(f"int8 is computed on CPUs, not on {device}. Use --precision bfloat16, or --device cpu.")
    if precision is not Precision.AUTO:
        return precision
    gains = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return Precision.BFLOAT16 if gains else Precision.FLOAT32


def choose_batch(device: torch.device) -> int:
    """Windows a forward: what was quickest in measurement (see ``benchmarks/``)."""
    return GPU_BATCH if device.type == "cuda" else CPU_BATCH


@contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run the body without gradients, in ``precision``, with the quickest products of that accuracy."""
    with torch.inference_mode(), products(device, precision):
        yield


@contextmanager
def products(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run the body, backward passes too, in ``precision`` with the quickest products of that accuracy."""
    lowered = precision is not Precision.FLOAT32
    with (
        torch.autocast(device.type, precision.dtype if lowered else torch.bfloat16, enabled=lowered),
        _onednn_products(device.type == "cpu" and not lowered and onednn_keeps_float32()),
    ):
        yield


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks for the next forward instead of giving them back to the kernel.

    A forward allocates the same tens of megabytes again and again, and fresh pages cost a CPU up to a quarter of its
    time. Returns whether the C library took the settings (only glibc does).
    """
    settings = {-3: KEPT_BLOCK, -1: KEPT_BYTES}  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(option, size) for option, size in settings.items())


@cache
def onednn_keeps_float32() -> bool:
    """Whether oneDNN's products, asked for by the permission to use bfloat16, still come out in float32.

    PyTorch otherwise multiplies float32 matrices through MKL, which runs at about half the rate on AMD processors. A
    processor with AMX does use the permission and rounds; so the products are tried and compared with float64.
    """
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(shape, generator=generator) for shape in ((788, 768), (768, 768)))
    exact = x.double() @ w.double()
    with _onednn_products(True):
        found = torch.nn.functional.linear(x, w.T)
        batched = torch.bmm(x[None], w[None])[0]
    error = max(float((y - exact).abs().max()) for y in (found, batched))
    return error <= FLOAT32_ROUNDING * float(exact.abs().max())


def onednn_is_on() -> bool:
    """Whether float32 products run through oneDNN now (see :func:`onednn_keeps_float32`)."""
    return _matmul_settings() is not None and _matmul_settings().fp32_precision == "bf16"


@contextmanager
def _onednn_products(enabled: bool) -> Iterator[None]:
    settings = _matmul_settings()
    if not enabled or settings is None:
        yield
        return
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _matmul_settings() -> Any:
    """Return PyTorch's settings of oneDNN products, or ``None`` in versions that have none."""
    return getattr(torch.backends.mkldnn, "matmul", None)
