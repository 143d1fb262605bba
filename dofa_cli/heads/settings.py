"""The numbers that training goes by, each with a default, checked by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from dofa_cli.errors import OptionError
from dofa_cli.heads.head import Method

TOKEN_SETTINGS: dict[Method, dict[str, Any]] = {
    Method.LINEAR: {"c": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]},
    Method.KNN: {"k": 5, "temperature": 0.07, "most": 20_000},
    Method.MLP: {
        "hidden": 256,
        "dropout": 0.2,
        "lr": 1e-3,
        "weight_decay": 1e-2,
        "epochs": 100,
        "patience": 10,
        "batch": 256,
    },
}
"""Settings of the methods that take single embeddings."""

LEAST_EPOCHS, MOST_EPOCHS, USUAL_STEPS = 20, 60, 800


@dataclass(frozen=True)
class Training:
    """How a network is trained on windows or whole images.

    ``epochs`` 0 means as many as a small set needs (:meth:`settled`). ``lr`` is the peak rate of the new layers,
    ``encoder_lr`` that of the encoder's last block (finetune) or of the adapters (lora); ``layer_decay`` is the ratio
    of the rates of a block and the next. The rate rises in a line over ``warmup`` (a share of all steps) and falls
    along half a cosine to 0. Training stops when validation has not improved for ``patience`` epochs. ``decoder`` is
    ``upernet`` or ``linear`` (windows only), ``channels`` its width (0: chosen by the encoder's), ``spectrum`` lets it
    see the pixels themselves too. ``auxiliary`` and ``dice`` weigh the auxiliary head and the overlap loss; ``turns``
    uses the eight symmetries of the square, ``jitter`` changes brightness and contrast by up to that share.

    Published (arXiv 2403.15356 and its code): frozen UPerNet with 512 channels, AdamW at 0.005, batch 64, 20 epochs,
    cosine, auxiliary 0.4, dropout 0.1; full fine-tuning on RESISC45 with AdamW at 6.25e-5, weight decay 0.05, batch
    256, 100 epochs, 20 of them warm-up; LoRA of rank 16 and α 16 on qkv and proj.
    """

    epochs: int = 0
    batch: int = 8
    lr: float = 3e-3
    encoder_lr: float = 5e-4
    layer_decay: float = 0.7
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 8
    dropout: float = 0.1
    decoder: str = "upernet"
    channels: int = 0
    spectrum: bool = False
    auxiliary: float = 0.4
    dice: float = 0.0
    turns: bool = True
    jitter: float = 0.0
    rank: int = 16
    alpha: float = 16.0

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for name, least in (("epochs", 0), ("channels", 0), ("batch", 1), ("patience", 1), ("rank", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"Setting {name} must be {least} or more, not {getattr(self, name)}.")
        for name in ("lr", "encoder_lr", "alpha"):
            if not getattr(self, name) > 0:
                raise OptionError(f"Setting {name} must be above 0, not {getattr(self, name)}.")
        for name in ("layer_decay", "warmup", "dropout", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"Setting {name} must lie from 0 to 1, not {getattr(self, name)}.")
        if self.decoder not in ("upernet", "linear"):
            raise OptionError(f"No decoder '{self.decoder}'. Use upernet or linear.")

    @classmethod
    def of(cls, method: Method, given: Mapping[str, Any]) -> Training:
        """Take a method's defaults and what is given; :class:`OptionError` for a setting that there is not."""
        defaults = asdict(cls()) | _OWN_DEFAULTS.get(method, {})
        return cls(**settled(method, defaults, given))

    def settled(self, samples: int) -> Training:
        """Settle the epochs for a number of samples: 800 steps, but 20 epochs at least and 60 at most."""
        steps = -(-samples // self.batch)
        wanted = min(MOST_EPOCHS, max(LEAST_EPOCHS, -(-USUAL_STEPS // max(1, steps))))
        return replace(self, epochs=self.epochs or wanted)

    def plain(self) -> dict[str, Any]:
        """Return all values by name."""
        return asdict(self)


_OWN_DEFAULTS: dict[Method, dict[str, Any]] = {Method.LORA: {"encoder_lr": 1e-3}}


def settled(method: Method, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Join ``given`` to ``defaults``; :class:`OptionError` for unknown names and values of another type."""
    for name, value in given.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, 1)
            guess = f" Did you mean '{close[0]}'?" if close else f" There are {', '.join(defaults)}."
            raise OptionError(f"Method {method} has no setting '{name}'.{guess}")
        if not _alike(value, defaults[name]):
            raise OptionError(f"Setting {name} must be like {defaults[name]!r}, not {value!r}.")
    return {**defaults, **given}


def setting_names(method: Method) -> tuple[str, ...]:
    """List the settings of a method."""
    return tuple(TOKEN_SETTINGS[method]) if method.is_token_head else tuple(field.name for field in fields(Training))


def token_settings(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settle a token method's settings; linear's ``c`` may be one number."""
    if method is Method.LINEAR and isinstance(given.get("c"), int | float):
        given = {**given, "c": [float(given["c"])]}
    return settled(method, TOKEN_SETTINGS[method], given)


def _alike(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list):
        return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, int | float) for one in value)
    return isinstance(value, type(default))
