"""One training step's forward: what is predicted, what it is compared with, and how the losses add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from torch import Tensor, nn

from dofa_cli.model.masked import MaskedDofa, Masking, hidden_patches
from dofa_cli.training.data import Batch
from dofa_cli.training.losses import distillation, masked_error, normalised


class Example(TypedDict):
    """A batch as plain tensors and numbers, which pass through wrappers for many devices.

    ``counted`` (N, M) tells hidden patches without invalid pixels; ``taught`` (n, D) are a teacher's features of
    ``proxy`` (n, 3, s, s).
    """

    pixels: Tensor
    wavelengths_um: tuple[float, ...]
    visible: Tensor
    hidden: Tensor
    counted: NotRequired[Tensor]
    proxy: NotRequired[Tensor]
    proxy_um: NotRequired[tuple[float, ...]]
    taught: NotRequired[Tensor]


@dataclass(frozen=True)
class Losses:
    """Scalars: ``total`` is what is minimised; ``distillation`` is ``None`` without a teacher."""

    total: Tensor
    reconstruction: Tensor
    distillation: Tensor | None


class Objective(nn.Module):
    """The network with its losses.

    ``block`` is the one whose output is compared with a teacher's; with ``by_band`` each band of a hidden patch is
    standardised by itself, otherwise all together as published.
    """

    def __init__(self, model: MaskedDofa, block: int, *, by_band: bool = False) -> None:
        super().__init__()
        self.model = model
        self.block = block
        self.by_band = by_band

    def forward(self, example: Example) -> dict[str, Tensor]:
        """Return the losses ``reconstruction`` and, where a teacher took part, ``distillation``."""
        pixels, masking = example["pixels"], Masking(example["visible"], example["hidden"])
        predicted = self.model(pixels, example["wavelengths_um"], masking)
        target = normalised(hidden_patches(pixels, self.model.patch_size, masking), self.groups(pixels))
        losses = {"reconstruction": masked_error(predicted, target, example.get("counted"))}
        if "taught" in example and self.model.projector is not None:
            feature = self.model.feature(example["proxy"], example["proxy_um"], self.block)
            losses["distillation"] = distillation(self.model.projector(feature), example["taught"])
        return losses

    def groups(self, pixels: Tensor) -> int:
        """Return how many groups of values of a patch of pixels (N, bands, H, W) are standardised by themselves."""
        return pixels.shape[1] if self.by_band else 1

    def of(self, model: MaskedDofa) -> Objective:
        """Return the same losses of another network."""
        return Objective(model, self.block, by_band=self.by_band)


def example_of(batch: Batch, masking: Masking, taught: Tensor | None) -> Example:
    """Put a batch, its masking and a teacher's features of its proxies together."""
    example: Example = {
        "pixels": batch.pixels,
        "wavelengths_um": batch.wavelengths_um,
        "visible": masking.visible,
        "hidden": masking.hidden,
    }
    if batch.valid is not None:
        example["counted"] = batch.valid.gather(1, example["hidden"])
    if taught is not None:
        example |= {"proxy": batch.proxy, "proxy_um": batch.proxy_um, "taught": taught}
    return example


def summed(found: dict[str, Tensor], weight: float) -> Losses:
    """Add the losses up: reconstruction + ``weight`` · distillation."""
    reconstruction, taught = found["reconstruction"], found.get("distillation")
    total = reconstruction if taught is None else reconstruction + weight * taught
    return Losses(total, reconstruction, taught)
