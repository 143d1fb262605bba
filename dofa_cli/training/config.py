"""What a pretraining run is: the format of its TOML file, validated, with the published values as defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dofa_cli.errors import OptionError
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.masked import PENULTIMATE, DecoderConfig

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
PartOf = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(gt=0)]

SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, depth and heads by name."""
DECODERS = {192: (128, 4, 4), 384: (256, 4, 8)}
"""Width, depth and heads of the decoder by the encoder's width; all others have the published one."""
_SIZE = re.compile(r"(\d+)[x×](\d+)(?:[x×](\d+))?(?:[x×](\d+))?")
HEAD_WIDTH = 64


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Table):
    """The encoder: ``size`` is a name of :data:`SIZES` or WIDTHxDEPTH[xHEADS[xPATCH]]; ``crop`` is in pixels.

    A run that starts from weights takes size and patch from them.
    """

    size: str | None = None
    patch: Positive | None = None
    crop: Positive | None = None

    @property
    def shape(self) -> DofaConfig:
        """The network's architecture; :class:`OptionError` for a size that is none, ``WrongWeights`` for a bad one."""
        size = self.size or "tiny"
        match = _SIZE.fullmatch(size)
        if size in SIZES:
            width, depth, heads = SIZES[size]
            patch = None
        elif match:
            width, depth = int(match[1]), int(match[2])
            heads = int(match[3]) if match[3] else max(1, width // HEAD_WIDTH)
            patch = int(match[4]) if match[4] else None
        else:
            raise OptionError(f"--size '{size}' is none of {', '.join(SIZES)}, nor like 192x12x3x8.")
        side = self.patch or patch or 16
        return DofaConfig(1, side, width, depth, heads, self.crop or 14 * side)


class Decoder(_Table):
    """The decoder; what is not given follows from the encoder's width. ``rows`` as in :class:`DecoderConfig`."""

    width: Positive | None = None
    depth: Positive | None = None
    heads: Positive | None = None
    rows: Literal["band", "published"] = "band"

    def shape(self, encoder: DofaConfig) -> DecoderConfig:
        """Return the decoder's shape for an encoder."""
        default = DecoderConfig()
        usual = DECODERS.get(encoder.embed_dim, (default.width, default.depth, default.num_heads))
        width, depth, heads = (
            own or other for own, other in zip((self.width, self.depth, self.heads), usual, strict=True)
        )
        return DecoderConfig(width, depth, heads, published_rows=self.rows == "published")


class Distill(_Table):
    """The teacher and how much it counts; ``share`` of each batch is shown to it, at ``side`` pixels if given.

    ``centre`` takes the mean feature of the images that measure the loss from each of the teacher's.
    """

    teacher: str = "efficientnet-lite0"
    weight: Weight = 1.0
    block: int = PENULTIMATE
    share: PartOf = 1.0
    side: Positive | None = None
    centre: bool = False

    @property
    def wanted(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher != "none"


class Data(_Table):
    """How crops are taken.

    ``min_scale`` is the smallest share of the usual crop's area that is enlarged to a whole crop, ``min_valid`` the
    share of valid pixels that a crop needs, ``drop_bands`` the largest share of bands left out of a batch at random,
    ``held_out`` the share of a source's images that only measure the loss. ``exclude`` are patterns of files whose
    content may not be trained on. Images are kept in memory up to ``memory_gb``.
    """

    min_scale: PartOf = 0.2
    min_valid: PartOf = 0.9
    turn: bool = True
    drop_bands: Share = 0.0
    held_out: Share = 0.05
    exclude: tuple[str, ...] = ()
    memory_gb: Weight = 2.0


class SourceConfig(_Table):
    """Images of one sensor: ``path`` is a pattern of files, or of folders that hold one scene each.

    ``zoom`` enlarges pixels, ``shrink`` lets crops cover up to as many times the side, reduced. ``batch`` replaces the
    stage's, ``most_bands`` draws as many bands at random, ``masked`` and ``taught`` replace the run's shares.
    """

    path: str
    sensor: str | None = None
    wavelengths: str | None = None
    name: str = ""
    weight: Weight = 1.0
    bands: str | None = None
    product: str | None = None
    scale: float | None = None
    offset: float | None = None
    normalize: Literal["sensor", "scene"] = "sensor"
    zoom: Positive = 1
    shrink: Annotated[float, Field(ge=1)] = 1.0
    batch: Positive | None = None
    most_bands: Positive | None = None
    masked: PartOf | None = None
    taught: PartOf | None = None
    mask_clouds: bool = False

    @model_validator(mode="after")
    def _is_one_sensor(self) -> Self:
        if (self.sensor is None) == (self.wavelengths is None):
            raise ValueError("give either sensor or wavelengths")
        return self


class Training(_Table):
    """Optimisation; ``lr`` is the peak learning rate, ``warmup`` counts steps, ``clip`` bounds the gradient's norm.

    ``masked`` is the share of a batch whose patches are hidden and predicted; ``targets`` says what of a hidden patch
    is standardised together: the whole patch, as published, or each band.
    """

    steps: Positive = 10_000
    batch: Positive = 256
    accumulate: Positive = 1
    lr: Weight | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    masked: PartOf = 1.0
    targets: Literal["patch", "band"] = "patch"
    clip: Weight | None = 3.0
    ema: Share = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    evaluate_every: Positive = 500


class StageConfig(_Table):
    """One stage of a staged schedule: what it changes of ``[training]``, and ``weights`` of sources by name."""

    name: str = ""
    steps: Positive
    batch: Positive | None = None
    lr: Weight | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    distill_weight: Annotated[float, Field(ge=0)] | None = None
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}


class RunConfig(_Table):
    """All that decides what a run computes."""

    seed: Annotated[int, Field(ge=0)] = 0
    network: Network = Network()
    decoder: Decoder = Decoder()
    training: Training = Training()
    distill: Distill = Distill()
    data: Data = Data()
    init: str | None = None
    freeze: tuple[str, ...] = ()
    ablation: tuple[str, ...] = ()
    source: tuple[SourceConfig, ...] = ()
    stage: tuple[StageConfig, ...] = ()

    @cached_property
    def named_sources(self) -> tuple[SourceConfig, ...]:
        """All sources, each with a name of its own; :class:`OptionError` when two are given the same."""
        named: dict[str, SourceConfig] = {}
        for source in self.source:
            name = source.name or _free_name(source.sensor or "custom", named)
            if name in named:
                raise OptionError(f"Two sources are called '{name}'.")
            named[name] = source.model_copy(update={"name": name})
        return tuple(named.values())

    @cached_property
    def sources(self) -> tuple[SourceConfig, ...]:
        """Sources to train on: without those that an ablation takes away; :class:`OptionError` when none is left."""
        without = {name.partition("=")[2] for name in self.ablation if name.startswith("without=")}
        known = {name for one in self.named_sources for name in (one.name, one.sensor) if name}
        if unknown := without - known:
            raise OptionError(
                f"--ablation without={min(unknown)}: no such source. There are {', '.join(sorted(known))}."
            )
        kept = tuple(one for one in self.named_sources if not {one.name, one.sensor} & without)
        if not kept:
            raise OptionError("No images to train on. Give --source SENSOR=PATTERN, or [[source]] in --config.")
        return kept

    @property
    def distils(self) -> bool:
        """Whether a teacher takes part."""
        return self.distill.wanted and "no-distillation" not in self.ablation


def _free_name(wanted: str, taken: Mapping[str, Any]) -> str:
    stem = Path(wanted).stem
    names = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
