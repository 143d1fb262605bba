"""The shared vision transformer, and DOFA as a whole: pixels and wavelengths in, tokens out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import onednn_is_on
from dofa_cli.model.patch_embed import DynamicPatchEmbed, embed_patches, wavelength_tensor
from dofa_cli.model.positions import resample_positions

NORM_EPS = 1e-6
LAYER_SCALE_INIT = 1e-5
MLP_RATIO = 4
MOST_PLAIN_TOKENS = 1100
"""Longest sequence for which a CPU computes attention's scores whole (58 MB a window with 12 heads)."""


@dataclass(frozen=True)
class Tokens:
    """What one forward returns.

    ``patches`` (N, L, D) are un-normed patch tokens in row-major order, ``cls`` (N, D) the class token, ``grid`` the
    patch rows and columns with rows·cols = L, and ``taps`` the patch tokens after chosen blocks.
    """

    patches: Tensor
    cls: Tensor
    grid: tuple[int, int]
    taps: tuple[Tensor, ...] = ()


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        n, t, d = x.shape
        qkv = self.qkv(x).view(n, t, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # (N, heads, T, d / heads)
        return torch.as_tensor(self.proj(attend(q, k, v).transpose(1, 2).reshape(n, t, d)))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over (N, heads, T, h).

    PyTorch's fused kernel is the fastest path but one: on a CPU it knows neither bfloat16's nor oneDNN's products, and
    two plain products are up to twice as quick, as long as the scores stay small.
    """
    if q.device.type == "cpu" and q.shape[-2] <= MOST_PLAIN_TOKENS and (q.dtype == torch.bfloat16 or onednn_is_on()):
        return _attend_plainly(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as two batched products, all in the type of its input (softmax still sums in float32)."""
    shape, scale = q.shape, q.shape[-1] ** -0.5
    with torch.autocast(q.device.type, enabled=False):
        q, k, v = (part.flatten(0, 1) for part in (q * scale, k, v))
        scores = torch.bmm(q, k.transpose(1, 2))
        return torch.bmm(scores.softmax(dim=-1), v).view(shape)


class Mlp(nn.Module):
    """The two-layer perceptron of a block, with exact GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        return torch.as_tensor(self.fc2(F.gelu(self.fc1(x))))


class LayerScale(nn.Module):
    """A learned gain per channel on a residual branch (version 2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), LAYER_SCALE_INIT))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (…, D) by channel."""
        return torch.mul(x, self.gamma)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: DofaConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, config.num_heads)
        self.ls1 = LayerScale(dim) if config.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim)
        self.ls2 = LayerScale(dim) if config.layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return torch.as_tensor(x + self.ls2(self.mlp(self.norm2(x))))


class Dofa(nn.Module):
    """The DOFA encoder.

    ``norm`` is the final norm of patch tokens, ``fc_norm`` the norm of the pooled vector. Where a checkpoint lacks
    one, it stays a plain LayerNorm (γ = 1, β = 0), as published code leaves it.
    """

    def __init__(self, config: DofaConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.patch_embed = DynamicPatchEmbed(config.patch_size, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.native_cells**2, dim), requires_grad=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.fc_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, pixels: Tensor, wavelengths_um: Sequence[float] | Tensor, taps: Sequence[int] = ()) -> Tokens:
        """Encode pixels (N, bands, H, W), standardised, H and W multiples of the patch size; wavelengths in µm.

        ``taps`` are 0-based block numbers whose patch tokens are wanted too.
        """
        patches = self.patch_embed(pixels, wavelength_tensor(wavelengths_um, pixels.device))
        return self.encode(patches, taps)

    def encode(self, patches: Tensor, taps: Sequence[int] = ()) -> Tokens:
        """Run the transformer over embedded patches (N, D, rows, cols)."""
        grid = (patches.shape[2], patches.shape[3])
        x = self.with_positions(patches.flatten(2).transpose(1, 2), grid)
        tapped = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in taps:
                tapped.append(x[:, 1:])
        return Tokens(x[:, 1:], x[:, 0], grid, tuple(tapped))

    def with_positions(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add positions to patches (N, L, D) and put the class token first: (N, 1 + L, D)."""
        positions = resample_positions(self.pos_embed, grid)
        cls = (self.cls_token + positions[:, :1]).expand(len(patches), -1, -1)
        return torch.cat([cls.to(patches.dtype), patches + positions[:, 1:]], dim=1)

    def pool(self, patches: Tensor, weight: Tensor | None = None) -> Tensor:
        """Pool patch tokens (N, L, D) to vectors (N, D), each cell weighted by ``weight`` (N, L).

        Version 1 norms the mean of un-normed tokens with ``fc_norm`` (the published ``forward_features``); version 2
        has no pooled norm, so the mean is taken of normed tokens.
        """
        if self.config.version == 2:
            return weighted_mean(self.norm(patches), weight)
        return torch.as_tensor(self.fc_norm(weighted_mean(patches, weight)))

    def fold(self, wavelengths_um: Sequence[float] | Tensor) -> FoldedDofa:
        """Return this encoder with kernel and bias for one wavelength list (µm) as constants."""
        with torch.no_grad():
            kernel, bias = self.patch_embed.kernel(wavelength_tensor(wavelengths_um, self.cls_token.device))
        return FoldedDofa(self, FoldedEmbed(kernel, bias))


class FoldedEmbed(nn.Module):
    """A patch embedding whose kernel (D, bands, p, p) and bias (D,) are constants."""

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels (N, bands, H, W) as patches (N, D, H / p, W / p)."""
        return embed_patches(pixels, self.get_buffer("kernel"), self.get_buffer("bias"))


class FoldedDofa(nn.Module):
    """A DOFA encoder for one wavelength list, sharing the transformer of the model it was folded from."""

    def __init__(self, model: Dofa, embed: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.embed = embed

    def forward(self, pixels: Tensor, taps: Sequence[int] = ()) -> Tokens:
        """Encode standardised pixels (N, bands, H, W)."""
        return self.model.encode(self.embed(pixels), taps)


def weighted_mean(tokens: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of (N, L, D) over L, weighted by (N, L); rows whose weights are all zero give NaN."""
    if weight is None:
        return tokens.mean(dim=1)
    return (tokens * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True)


def random_dofa(config: DofaConfig, seed: int = 0) -> Dofa:
    """Return an untrained encoder with the published initialisation (its features mean nothing)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        model = Dofa(config)
        initialise(model)
    return model


def initialise(model: Dofa) -> None:
    """Initialise in place: xavier for linear layers, bias 0.01 in the generator, tokens and positions std 0.02."""
    for name, parameter in model.named_parameters():
        generator = name.startswith("patch_embed.")
        if "token" in name or name == "pos_embed":
            nn.init.normal_(parameter, std=0.02)
        elif parameter.dim() == 2:
            nn.init.xavier_uniform_(parameter)
        elif generator and name.endswith("bias") and "norm" not in name and "in_proj" not in name:
            nn.init.constant_(parameter, 0.01)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
