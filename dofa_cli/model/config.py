"""The shape of a DOFA network, and the published ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from dofa_cli.errors import WrongWeights


@dataclass(frozen=True)
class DofaConfig:
    """Architecture of one DOFA encoder.

    ``version`` 1 is the paper's model, 2 the later one with LayerScale. ``image_size`` is the native input side in
    pixels, the one that the position embedding was trained for.
    """

    version: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    image_size: int = 224

    def __post_init__(self) -> None:
        """Refuse shapes that no DOFA can have."""
        for name, value in asdict(self).items():
            if type(value) is not int or value < 1:
                raise WrongWeights(f"DOFA's {name} must be a whole number above 0, not {value!r}.")
        if self.version not in (1, 2):
            raise WrongWeights(f"DOFA version {self.version} is unknown; this program reads versions 1 and 2.")
        if self.embed_dim % self.num_heads:
            raise WrongWeights(f"{self.embed_dim} dimensions do not divide into {self.num_heads} heads.")
        if self.image_size % self.patch_size:
            raise WrongWeights(f"Image size {self.image_size} is not a multiple of patch size {self.patch_size}.")

    @property
    def family(self) -> str:
        """Weights family that sensors key their wavelengths and statistics by: ``dofa_v1`` or ``dofa_v2``."""
        return f"dofa_v{self.version}"

    @property
    def native_cells(self) -> int:
        """Patches along one side of the native input."""
        return self.image_size // self.patch_size

    @property
    def layer_scale(self) -> bool:
        """Whether the blocks scale their branches (version 2)."""
        return self.version == 2

    def to_json(self) -> str:
        """Return the JSON kept under ``dofa_config`` in a safetensors file's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read :meth:`to_json`'s text; :class:`WrongWeights` names what does not fit."""
        try:
            fields: Any = json.loads(text)
            return cls(**fields)
        except (json.JSONDecodeError, TypeError) as error:
            raise WrongWeights(f"The file's dofa_config cannot be read: {error}.") from None

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]], version: int) -> Self:
        """Infer the architecture from state-dict ``shapes`` in this program's own names.

        Heads are not visible in shapes, so the width must be a published one.
        """
        width = math.prod(shapes["cls_token"])
        if width not in PUBLISHED_HEADS:
            known = ", ".join(map(str, PUBLISHED_HEADS))
            raise WrongWeights(
                f"Width {width} is not a published one ({known}) and the file has no dofa_config in its metadata."
            )
        patch = round((math.prod(shapes["patch_embed.weight_generator.fc_weight.weight"][:1]) // width) ** 0.5)
        cells = round(max(0, math.prod(shapes["pos_embed"]) // width - 1) ** 0.5)
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blocks."))
        return cls(version, patch, width, depth, PUBLISHED_HEADS[width], patch * cells)


PUBLISHED_HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16}
"""Attention heads by embedding width, for the published sizes."""

PUBLISHED = {
    "v1_small": DofaConfig(1, 16, 384, 12, 6),
    "v1_base": DofaConfig(1, 16, 768, 12, 12),
    "v1_large": DofaConfig(1, 16, 1024, 24, 16),
    "v1_huge": DofaConfig(1, 14, 1280, 32, 16),
    "v2_base": DofaConfig(2, 14, 768, 12, 12),
    "v2_large": DofaConfig(2, 14, 1024, 24, 16),
}
"""The published sizes."""
