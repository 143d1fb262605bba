"""The network without dynamic weights: one plain patch embedding for each list of wavelengths (OFA-Net's design)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.errors import OptionError
from dofa_cli.model.masked import DecoderConfig, MaskedDofa
from dofa_cli.model.vit import Dofa, FoldedDofa, FoldedEmbed


class FixedLayers(nn.Module):
    """The first and last layer for one list of wavelengths: a kernel (D, bands, p, p), and a prediction of pixels."""

    def __init__(self, bands: int, patch: int, dim: int, decoder_dim: int) -> None:
        super().__init__()
        self.bands, self.patch = bands, patch
        self.embed = nn.Linear(bands * patch * patch, dim)
        self.predict = nn.Linear(decoder_dim, bands * patch * patch)


class FixedMaskedDofa(MaskedDofa):
    """A masked network that shares blocks and decoder between sensors, but no first and last layer.

    Sensors whose wavelengths are all the same share them too.
    """

    def __init__(
        self, encoder: Dofa, decoder: DecoderConfig, teacher_dim: int | None, lists: Sequence[tuple[float, ...]]
    ) -> None:
        super().__init__(encoder, decoder, teacher_dim)
        patch, dim = encoder.config.patch_size, encoder.config.embed_dim
        self.fixed = nn.ModuleDict({_key(waves): FixedLayers(len(waves), patch, dim, decoder.width) for waves in lists})
        del encoder.patch_embed, self.decoder_pred

    def kernel(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kernel (D, bands, p, p) and bias (D,) of a list of wavelengths in µm that was trained."""
        layers = self._layers(waves)
        return layers.embed.weight.view(-1, layers.bands, layers.patch, layers.patch), layers.embed.bias

    def predict(self, tokens: Tensor, waves: Tensor) -> Tensor:
        """Map decoded tokens (N, M, d) to pixels (N, M, p·p·bands)."""
        predict = self._layers(waves).predict
        return F.linear(tokens, predict.weight, predict.bias)

    def folded(self, wavelengths_um: Sequence[float]) -> FoldedDofa:
        """Return the encoder for one of its lists of wavelengths."""
        with torch.no_grad():
            kernel, bias = self.kernel(torch.tensor(wavelengths_um))
        return FoldedDofa(self.encoder, FoldedEmbed(kernel.detach().clone(), bias.detach().clone()))

    def _layers(self, waves: Tensor) -> FixedLayers:
        key = _key(waves.tolist())
        if key not in self.fixed:
            raise OptionError(
                f"A network of fixed embeddings knows no list of {len(waves)} wavelengths like {key} (nm)."
            )
        layers = self.fixed[key]
        assert isinstance(layers, FixedLayers)
        return layers


def _key(waves: Sequence[float]) -> str:
    return "_".join(str(round(1000 * wave)) for wave in waves)
