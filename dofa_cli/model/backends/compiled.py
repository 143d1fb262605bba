"""The network compiled ahead of time by PyTorch's inductor, where there is a C++ compiler: minutes once, then kept."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from dofa_cli.errors import DeviceError
from dofa_cli.model.backends.backend import BackendName, Keep
from dofa_cli.model.device import Precision
from dofa_cli.model.vit import FoldedDofa

SHAPES = 2
"""Shapes of batches that are held ready, the longest unused dropped."""
SHOWN = 200
"""Characters of the compiler's complaint that a user is shown."""
MISSING = "--backend compiled needs a C++ compiler, and there is no {name} here. Install it, or use --backend torch."


class _Patches(nn.Module):
    """A network whose one result is un-normed patch tokens, in a precision."""

    def __init__(self, folded: FoldedDofa, precision: Precision) -> None:
        super().__init__()
        self.folded, self.lowered = folded, precision is not Precision.FLOAT32

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.lowered):
            return torch.as_tensor(self.folded(pixels).patches.float())


class CompiledBackend:
    """A network compiled for each shape of batch that comes, and kept by ``keep`` under a name made of ``key``.

    ``folded`` is a plain float32 network. Raises :class:`DeviceError` where there is no compiler.
    """

    name = BackendName.COMPILED

    def __init__(self, folded: FoldedDofa, precision: Precision, *, key: str, keep: Keep) -> None:
        if not has_compiler():
            raise DeviceError(MISSING.format(name=compiler()))
        self.module = _Patches(folded, precision).eval()
        self.precision, self.key, self.keep = precision, key, keep
        self.lock = Lock()
        self.ready: OrderedDict[tuple[int, ...], Callable[[Tensor], Tensor]] = OrderedDict()

    def patches(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, bands, s, s) to un-normed patch tokens (N, L, D) in float32."""
        with self.lock, torch.inference_mode():
            return torch.as_tensor(self._runner(pixels)(pixels.contiguous())).clone()

    def _runner(self, pixels: Tensor) -> Callable[[Tensor], Tensor]:
        shape = tuple(pixels.shape)
        if shape not in self.ready:
            self.ready[shape] = self._opened(shape)
        self.ready.move_to_end(shape)
        while len(self.ready) > SHAPES:
            self.ready.popitem(last=False)
        return self.ready[shape]

    def _opened(self, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        what = f"{self.key}{shape}{self.precision}{torch.__version__}{processor()}"
        name = f"{hashlib.sha256(what.encode()).hexdigest()}.pt2"
        try:
            path = self.keep(name, lambda path: compile_to(path, self.module, torch.zeros(shape)))
            opened: Callable[[Tensor], Tensor] = torch._inductor.aoti_load_package(str(path))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:SHOWN]
            raise DeviceError(f"PyTorch could not compile the network ({reason}). Use --backend torch.") from None
        return opened


def compile_to(path: Path, module: nn.Module, pixels: Tensor) -> None:
    """Compile a module for pixels of one shape, its weights frozen, into a package at ``path``."""
    import torch._inductor

    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about PyTorch's own code
        program = torch.export.export(module, (pixels,))
        settings: dict[str, Any] = {"freezing": True}
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)


def compiler() -> str:
    """Return the name of the C++ compiler that PyTorch would call."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def has_compiler() -> bool:
    """Whether the C++ compiler is there."""
    return shutil.which(compiler()) is not None


def processor() -> str:
    """Return what compiled code depends on of the processor."""
    return f"{platform.machine()}{torch.backends.cpu.get_cpu_capability()}{torch.get_num_threads()}"
