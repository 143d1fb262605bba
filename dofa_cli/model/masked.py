"""Masked pretraining's network: the encoder on visible patches, a light decoder, predictions for hidden ones.

After He et al., arXiv 2111.06377, with DOFA's wavelength-conditioned input and output layers (arXiv 2403.15356).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.errors import WrongWeights
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.decoder import DynamicPrediction
from dofa_cli.model.patch_embed import unfold_patches, wavelength_tensor
from dofa_cli.model.positions import resample_positions
from dofa_cli.model.vit import NORM_EPS, Block, Dofa, initialise

TOKEN_STD = 0.02
GENERATOR_BIAS = 0.01
PENULTIMATE = -2
"""The block whose output is compared with a teacher, as published: the last but one."""


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of the decoder; the defaults are the published ones.

    ``published_rows`` keeps the published mismatch between generated rows (band, row, col) and targets
    (row, col, band), which files of the published decoder depend on. Without it a band's pixels are predicted with the
    weights that its own wavelength generated.
    """

    width: int = 512
    depth: int = 8
    num_heads: int = 16
    published_rows: bool = False

    def __post_init__(self) -> None:
        """Refuse shapes that no decoder can have."""
        for name, value in asdict(self).items():
            if value < 1 and name != "published_rows":
                raise WrongWeights(f"The decoder's {name} must be above 0, not {value}.")
        if self.width % self.num_heads or self.width % 4:
            raise WrongWeights(
                f"The decoder's width {self.width} is no multiple of 4 and of its {self.num_heads} heads."
            )


@dataclass(frozen=True)
class Masking:
    """What the encoder sees of each sample: numbers of ``visible`` (N, K) and ``hidden`` (N, M) patches, row-major."""

    visible: Tensor
    hidden: Tensor

    @property
    def mask(self) -> Tensor:
        """Return (N, K + M), 1 for hidden patches."""
        count = self.visible.shape[1] + self.hidden.shape[1]
        return torch.zeros(len(self.hidden), count, device=self.hidden.device).scatter_(1, self.hidden, 1.0)


class MaskedDofa(nn.Module):
    """A DOFA encoder with the decoder of masked pretraining.

    ``projector`` maps the student's features to a teacher's, where there is one.
    """

    def __init__(self, encoder: Dofa, decoder: DecoderConfig, teacher_dim: int | None = None) -> None:
        super().__init__()
        config = encoder.config
        self.encoder = encoder
        self.decoder_config = decoder
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder.width))
        self.decoder_embed = nn.Linear(config.embed_dim, decoder.width)
        positions = grid_positions(config.native_cells, decoder.width)
        self.decoder_pos_embed = nn.Parameter(positions, requires_grad=False)
        shape = DofaConfig(1, config.patch_size, decoder.width, decoder.depth, decoder.num_heads, config.image_size)
        self.decoder_blocks = nn.ModuleList(Block(shape) for _ in range(decoder.depth))
        self.decoder_norm = nn.LayerNorm(decoder.width, eps=NORM_EPS)
        self.decoder_pred = DynamicPrediction(config.patch_size, decoder.width, pixel_major=not decoder.published_rows)
        self.projector = None if teacher_dim is None else nn.Linear(config.embed_dim, teacher_dim)
        for unused in (encoder.fc_norm, self.decoder_pred.weight_generator.fc_bias):
            unused.requires_grad_(False)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.encoder.config.patch_size

    def forward(self, pixels: Tensor, wavelengths_um: Sequence[float] | Tensor, masking: Masking) -> Tensor:
        """Predict the hidden patches of standardised pixels (N, bands, H, W): (N, M, p·p·bands), wavelengths in µm.

        Values are ordered as :func:`patchify` orders them.
        """
        waves = wavelength_tensor(wavelengths_um, pixels.device)
        visible = self.encode(pixels, waves, masking.visible)
        grid = (pixels.shape[2] // self.patch_size, pixels.shape[3] // self.patch_size)
        return self.predict(self.decode(visible, masking, grid), waves)

    def encode(self, pixels: Tensor, waves: Tensor, visible: Tensor) -> Tensor:
        """Encode the visible patches (N, K) of pixels: normed tokens (N, 1 + K, D), the class token first."""
        return torch.as_tensor(self.encoder.norm(self._run(self._tokens(pixels, waves, visible), len(self.blocks))))

    def decode(self, tokens: Tensor, masking: Masking, grid: tuple[int, int]) -> Tensor:
        """Decode encoded tokens (N, 1 + K, D) among mask tokens; return the hidden ones (N, M, d)."""
        x = self.decoder_embed(tokens)  # (N, 1 + K, d)
        n, _, dim = x.shape
        full = self.mask_token.to(x.dtype).expand(n, grid[0] * grid[1], dim)
        full = full.scatter(1, masking.visible[..., None].expand(-1, -1, dim), x[:, 1:])
        x = torch.cat([x[:, :1], full], dim=1) + resample_positions(self.decoder_pos_embed, grid)
        for block in self.decoder_blocks:
            x = block(x)
        return torch.as_tensor(self.decoder_norm(_rows(x[:, 1:], masking.hidden)))

    def predict(self, tokens: Tensor, waves: Tensor) -> Tensor:
        """Map decoded tokens (N, M, d) to pixels (N, M, p·p·bands) with the encoder's features of the wavelengths."""
        return torch.as_tensor(self.decoder_pred(tokens, self.encoder.patch_embed.wave_features(waves)))

    def feature(self, pixels: Tensor, wavelengths_um: Sequence[float] | Tensor, block: int = PENULTIMATE) -> Tensor:
        """Return the mean of all tokens, class token too, after one block of an unmasked forward: (N, D), un-normed.

        ``block`` counts as Python's indices do: -1 is the last.
        """
        waves = wavelength_tensor(wavelengths_um, pixels.device)
        return self._run(self._tokens(pixels, waves, None), range(len(self.blocks))[block] + 1).mean(dim=1)

    def kernel(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patch embedding's kernel (D, bands, p, p) and bias (D,)."""
        return self.encoder.patch_embed.kernel(waves)

    @property
    def blocks(self) -> nn.ModuleList:
        """The encoder's transformer blocks."""
        return self.encoder.blocks

    def _tokens(self, pixels: Tensor, waves: Tensor, visible: Tensor | None) -> Tensor:
        """Embed patches, all or the ``visible`` ones, add positions and put the class token first.

        A product of unfolded patches is what the published convolution computes, without its hidden three quarters.
        """
        kernel, bias = self.kernel(waves)
        n, p = len(pixels), self.patch_size
        grid = (pixels.shape[2] // p, pixels.shape[3] // p)
        positions = resample_positions(self.encoder.pos_embed, grid)
        patches = unfold_patches(pixels, p).view(n, grid[0] * grid[1], -1)  # (N, L, bands·p·p)
        place = positions[:, 1:].expand(n, -1, -1)
        if visible is not None:
            patches, place = _rows(patches, visible), _rows(place, visible)
        x = F.linear(patches, kernel.flatten(1), bias) + place
        cls = (self.encoder.cls_token + positions[:, :1]).expand(n, -1, -1)
        return torch.cat([cls.to(x.dtype), x], dim=1)

    def _run(self, x: Tensor, depth: int) -> Tensor:
        for block in self.blocks[:depth]:
            x = block(x)
        return x


def patchify(pixels: Tensor, patch: int) -> Tensor:
    """Cut pixels (N, bands, H, W) into patches (N, L, p·p·bands), each in the published order (row, col, band)."""
    n, bands, height, width = pixels.shape
    cut = pixels.reshape(n, bands, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, patch * patch * bands)


def unpatchify(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Lay patches (N, L, p·p·bands) out as pixels (N, bands, H, W), ``grid`` = (rows, cols) of patches."""
    n, rows, cols = len(patches), *grid
    cut = patches.reshape(n, rows, cols, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, rows * patch, cols * patch)


def hidden_patches(pixels: Tensor, patch: int, masking: Masking) -> Tensor:
    """Return the hidden patches of pixels (N, bands, H, W): (N, M, p·p·bands)."""
    return _rows(patchify(pixels, patch), masking.hidden)


def grid_positions(cells: int, dim: int) -> Tensor:
    """Return fixed positions (1, 1 + cells², dim) of a square grid; the class token's are 0.

    The first half of the channels encodes the column and the second the row, each as ``[sin | cos]`` with
    ω_i = 10000^(-i / (dim / 4)), as in arXiv 2111.06377's code.
    """
    quarter = dim // 4
    omega = 1.0 / 10000.0 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    phase = torch.outer(torch.arange(cells, dtype=torch.float64), omega)
    axis = torch.cat([phase.sin(), phase.cos()], dim=1)  # (cells, dim / 2)
    grid = torch.cat([axis.repeat(cells, 1), axis.repeat_interleave(cells, dim=0)], dim=1)
    return torch.cat([grid.new_zeros(1, 4 * quarter), grid]).float()[None]


def random_masked(
    config: DofaConfig,
    decoder: DecoderConfig,
    teacher_dim: int | None = None,
    seed: int = 0,
    make: Callable[[Dofa, DecoderConfig, int | None], MaskedDofa] = MaskedDofa,
) -> MaskedDofa:
    """Return an untrained network with the published initialisation and fixed positions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(Dofa(config), decoder, teacher_dim)
        initialise(model.encoder)
        model.encoder.pos_embed.copy_(grid_positions(config.native_cells, config.embed_dim))
        _initialise_decoder(model)
    return model


def published_state(model: MaskedDofa) -> dict[str, Tensor]:
    """Return the tensors by their names in the published full pretraining file.

    That file has no ``fc_norm``: pretraining does not train it.
    """
    state = {name.removeprefix("encoder."): tensor for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc_norm.")}


def load_published(model: MaskedDofa, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Fill a model from tensors by published names; return names of the model's that the file does not have.

    Raises :class:`WrongWeights` when the encoder is not whole or a shape differs. What the model has no place for, such
    as a teacher or a classification head, is passed over.
    """
    own = published_state(model)
    held = {name: tensor for name, tensor in state.items() if name in own}
    for name, tensor in held.items():
        if tensor.shape != own[name].shape:
            raise WrongWeights(
                f"{name} has shape {tuple(tensor.shape)} in the file, the run wants {tuple(own[name].shape)}."
            )
    missing = tuple(name for name in own if name not in held)
    encoder = {name.removeprefix("encoder.") for name in model.state_dict() if name.startswith("encoder.")}
    if lacking := sorted(name for name in missing if name in encoder and not name.startswith("norm.")):
        raise WrongWeights(f"The file does not hold a whole encoder: it lacks {', '.join(lacking[:4])}.")
    model.load_state_dict({_own_name(name, encoder): tensor for name, tensor in held.items()}, strict=False)
    return missing


def _own_name(name: str, encoder: set[str]) -> str:
    return f"encoder.{name}" if name in encoder else name


def _initialise_decoder(model: MaskedDofa) -> None:
    """Initialise in place all but the encoder: xavier for linear layers, tokens std 0.02, generated biases 0.01."""
    for name, parameter in model.named_parameters():
        if name.startswith("encoder.") or name == "decoder_pos_embed":
            continue
        if "token" in name:
            nn.init.normal_(parameter, std=TOKEN_STD)
        elif parameter.dim() == 2:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            generated = name.startswith("decoder_pred.") and "norm" not in name and "in_proj" not in name
            nn.init.constant_(parameter, GENERATOR_BIAS if generated else 0.0)


def _rows(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Pick rows (N, K) of each sample of tokens (N, L, D): (N, K, D)."""
    n, length, dim = tokens.shape
    flat = numbers + torch.arange(n, device=numbers.device)[:, None] * length
    return tokens.reshape(n * length, dim)[flat.flatten()].view(n, -1, dim)
