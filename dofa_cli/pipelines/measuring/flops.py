"""The matrix products of one forward, and how many operations they are."""

from __future__ import annotations

from dataclasses import dataclass

from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import MLP_RATIO


@dataclass(frozen=True)
class Product:
    """A product (rows, inner) · (inner, cols), ``times`` over, each for ``batch`` pairs of matrices.

    A batch of 1 is a linear layer's: its second matrix is a weight.
    """

    name: str
    batch: int
    rows: int
    inner: int
    cols: int
    times: int = 1

    @property
    def flops(self) -> int:
        """Operations of all of them: a multiplication and an addition a term."""
        return 2 * self.batch * self.rows * self.inner * self.cols * self.times

    @property
    def shape(self) -> str:
        """The sizes for people."""
        sizes = f"{self.rows} x {self.inner} x {self.cols}"
        return sizes if self.batch == 1 else f"{self.batch} of {sizes}"


def forward_products(config: DofaConfig, bands: int, side: int, windows: int) -> tuple[Product, ...]:
    """Return the products of one forward of ``windows`` windows of ``side`` pixels: linear layers and attention.

    The patch embedding is one product of the unfolded patches, its kernel made before. Norms, softmax, GELU and sums
    are left out: together they are less than one operation in a hundred.
    """
    dim, heads, depth = config.embed_dim, config.num_heads, config.depth
    patches = (side // config.patch_size) ** 2
    tokens = patches + 1  # the class token
    rows, each = windows * tokens, dim // heads
    return (
        Product("patch embedding", 1, windows * patches, bands * config.patch_size**2, dim),
        Product("query, key, value", 1, rows, dim, 3 * dim, depth),
        Product("scores", windows * heads, tokens, each, tokens, depth),
        Product("attended values", windows * heads, tokens, tokens, each, depth),
        Product("projection", 1, rows, dim, dim, depth),
        Product("perceptron, first", 1, rows, dim, MLP_RATIO * dim, depth),
        Product("perceptron, second", 1, rows, MLP_RATIO * dim, dim, depth),
    )


def window_flops(config: DofaConfig, bands: int, side: int) -> int:
    """Return the operations of one window."""
    return sum(product.flops for product in forward_products(config, bands, side, 1))
