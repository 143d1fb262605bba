"""What a trained head is: its tensors, and all that is needed to apply it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from torch import Tensor

from dofa_cli.classes import ClassTable

FORMAT = 1
"""Version of the head file's format."""
FORMAT_OF_INPUTS = 2
"""Version of the files of heads of several inputs."""


class Task(StrEnum):
    """What a head gives: a class for each pixel, a class for each image, or a number for each of either."""

    SEGMENT = "segment"
    CLASSIFY = "classify"
    REGRESS = "regress"


class Method(StrEnum):
    """How a head is trained."""

    LINEAR = "linear"
    KNN = "knn"
    MLP = "mlp"
    UPERNET = "upernet"
    FINETUNE = "finetune"
    LORA = "lora"

    @property
    def is_token_head(self) -> bool:
        """Whether it maps single embeddings of a frozen encoder, so that stored embeddings are enough."""
        return self in (Method.LINEAR, Method.KNN, Method.MLP)


class Combine(StrEnum):
    """How the embeddings of several inputs become one: side by side, or their mean."""

    CONCAT = "concat"
    MEAN = "mean"


@dataclass(frozen=True)
class InputRecipe:
    """One of several inputs of a head, and how its pixels become tokens: the fields of :class:`Recipe`.

    ``date`` is the date or label that the user gave it, empty for none.
    """

    sensor: str
    date: str
    product: str
    bands: tuple[str, ...]
    wavelengths_um: tuple[float, ...]
    normalization: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The input as users write it: ``sentinel2:2024-05``."""
        return f"{self.sensor}:{self.date}" if self.date else self.sensor


@dataclass(frozen=True)
class Recipe:
    """How the pixels of a scene become what a head was trained on.

    ``normalization`` is one rule a band, as in the tags of embeddings; ``window``, ``overlap`` are in zoomed pixels.
    ``chip`` is the side that whole images are resampled to (``None`` for heads of scenes). ``level`` is ``patch`` where
    the head takes tokens, ``window`` where it takes pooled vectors.

    ``inputs`` is empty for a head of one input. With several, ``sensor`` to ``normalization`` are those of the first,
    and ``combine`` says how tokens are joined.
    """

    sensor: str
    product: str
    bands: tuple[str, ...]
    wavelengths_um: tuple[float, ...]
    normalization: tuple[dict[str, Any], ...]
    window: int
    overlap: int
    zoom: int
    level: str = "patch"
    chip: int | None = None
    token_norm: str = "trained"  # noqa: S105 - the name of a norm
    inputs: tuple[InputRecipe, ...] = ()
    combine: str = Combine.CONCAT

    def width(self, dim: int) -> int:
        """Return the length of what the head takes, where a token has ``dim`` values."""
        return dim * len(self.inputs) if self.inputs and self.combine == Combine.CONCAT else dim

    def of(self, one: InputRecipe) -> Recipe:
        """Return the recipe of one of the inputs alone."""
        own = {name: getattr(one, name) for name in ("sensor", "product", "bands", "wavelengths_um", "normalization")}
        return replace(self, **own, inputs=(), combine=Combine.CONCAT)


@dataclass(frozen=True)
class Target:
    """The number that a regression head predicts: the network's output · ``std`` + ``mean``, in ``unit``."""

    name: str
    mean: float
    std: float
    unit: str = ""
    nodata: float = float("nan")


@dataclass(frozen=True)
class Head:
    """A trained head.

    ``tensors`` are the method's parameters by name, ``settings`` its plain numbers (hidden width, k, taps, rank).
    ``classes`` is ``None`` for regression; ``several`` says that an image may be of several classes at once.
    ``weights`` and ``weights_sha256`` name the encoder, ``architecture`` is its configuration as JSON. ``metrics`` are
    those of the held-out labels, ``made`` says when and by what command.
    """

    task: Task
    method: Method
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    recipe: Recipe
    weights: str
    weights_sha256: str
    architecture: str
    classes: ClassTable | None = None
    several: bool = False
    target: Target | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
