"""Where a step is computed: one process, or several with one device each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dofa_cli.errors import OptionError
from dofa_cli.model.device import Precision, choose_device, keep_freed_memory


class Engine(Protocol):
    """A device, and how a module is trained there; ``rank`` is 0 in the process that writes files."""

    device: torch.device
    precision: Precision
    rank: int
    world: int

    def set_up(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return the module and optimiser to train with."""

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Compute what stands inside in the engine's precision."""

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""

    def accumulating(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Delay what processes exchange until the ``last`` part of a step."""

    def mean(self, values: Sequence[float]) -> list[float]:
        """Average numbers over all processes."""


def training_precision(wanted: str, device: torch.device) -> Precision:
    """Resolve ``auto``: bfloat16 where the device multiplies in it, else float32."""
    if wanted != "auto":
        return Precision(wanted)
    quick = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
    return Precision.BFLOAT16 if quick else Precision.FLOAT32


def _cpu_has_bfloat16() -> bool:
    capability: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16") or capability.get("bf16"))


class OneProcess:
    """Training in this process, on one device."""

    rank = 0
    world = 1

    def __init__(self, device: str, precision: str) -> None:
        self.device = choose_device(device)
        self.precision = training_precision(precision, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()

    def set_up(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return both as they are; the module is on the device already."""
        return module, optimiser

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Autocast to bfloat16, or nothing."""
        lowered = self.precision is Precision.BFLOAT16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=lowered)

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def accumulating(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:  # noqa: ARG002 - the protocol's
        """Do nothing: there is nobody to exchange with."""
        return nullcontext()

    def mean(self, values: Sequence[float]) -> list[float]:
        """Return the numbers as they are."""
        return list(values)


class ManyProcesses:
    """Training on several devices, one process each, through lightning-fabric's DistributedDataParallel.

    ``uneven`` says that a batch may leave parameters without gradients.
    """

    def __init__(self, device: str, precision: str, devices: int, *, uneven: bool) -> None:
        fabric, strategies = _lightning()
        here = choose_device(device)
        self.precision = training_precision(precision, here)
        self.fabric: Any = fabric(
            accelerator=here.type,
            devices=devices,
            strategy=strategies(find_unused_parameters=uneven),
            precision="bf16-mixed" if self.precision is Precision.BFLOAT16 else "32-true",
        )
        self.fabric.launch()
        self.device: torch.device = self.fabric.device
        self.rank: int = self.fabric.global_rank
        self.world: int = self.fabric.world_size

    def set_up(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return both wrapped."""
        wrapped, stepper = self.fabric.setup(module, optimiser)
        return wrapped, stepper

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Autocast as fabric does inside the module's forward."""
        context: AbstractContextManager[Any] = self.fabric.autocast()
        return context

    def backward(self, loss: Tensor) -> None:
        """Compute gradients and average them over processes."""
        self.fabric.backward(loss)

    def accumulating(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Average gradients after the last part alone."""
        context: AbstractContextManager[Any] = self.fabric.no_backward_sync(module, enabled=not last)
        return context

    def mean(self, values: Sequence[float]) -> list[float]:
        """Average numbers over all processes."""
        found: Tensor = self.fabric.all_reduce(torch.tensor(values, device=self.device), reduce_op="mean")
        return [float(value) for value in found]


def open_engine(device: str, precision: str, devices: int, *, uneven: bool = False) -> Engine:
    """Return one process or several; :class:`OptionError` names the extra that several need."""
    return OneProcess(device, precision) if devices == 1 else ManyProcesses(device, precision, devices, uneven=uneven)


def _lightning() -> tuple[Any, Any]:
    try:
        fabric = import_module("lightning_fabric")
    except ImportError:
        raise OptionError("--devices above 1 needs lightning-fabric: pip install 'dofa[train]'.") from None
    return fabric.Fabric, import_module("lightning_fabric.strategies").DDPStrategy
