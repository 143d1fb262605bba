"""The network that a pretraining run trains: made anew or from weights, with its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from dofa_cli.errors import DamagedWeights, OptionError
from dofa_cli.model.checkpoint import read_state as read_tensors
from dofa_cli.model.checkpoint import to_own_names
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.masked import MaskedDofa, load_published, published_state, random_masked
from dofa_cli.pipelines.inference.encoder import open_weights
from dofa_cli.pipelines.inference.run import Say
from dofa_cli.training import state as run_state
from dofa_cli.training import teachers
from dofa_cli.training.ablation import FixedMaskedDofa
from dofa_cli.training.config import RunConfig
from dofa_cli.training.transplant import fit_generator, init_from_teacher, is_vision_transformer
from dofa_cli.weights import store

BESIDE_ENCODER = ("mask_token", "decoder", "projector.")
FIXED = "fixed-embedding"


@dataclass(frozen=True)
class Start:
    """What a run begins with: ``config`` is ``None`` for a plain vision transformer, whose tensors ``state`` holds."""

    config: DofaConfig | None
    state: Mapping[str, Tensor]


def start_of(name: str, *, trusted: bool) -> Start:
    """Read weights to begin with: a DOFA encoder, a full pretraining file, a run's state, or a vision transformer.

    Raises what :func:`~dofa_cli.pipelines.inference.encoder.open_weights` raises.
    """
    path = store.find(name)
    if path.suffix == ".pt" and (content := _own_state(path)):
        return Start(DofaConfig.from_json(content["dofa_config"]), content["average"] or content["model"])
    tensors, _ = read_tensors(path)
    if is_vision_transformer(tensors):
        return Start(None, tensors)
    config = open_weights(name, trusted=trusted).config
    beside = {name: tensor for name, tensor in tensors.items() if name.startswith(BESIDE_ENCODER)}
    return Start(config, to_own_names(tensors)[0] | beside)


def shape_of(config: RunConfig, start: Start | None) -> DofaConfig:
    """Return the architecture that a run trains; :class:`OptionError` for settings that contradict its weights."""
    if start is None or start.config is None:
        return config.network.shape
    if config.network.size or config.network.patch:
        raise OptionError(f"--init {config.init} brings its own size and patch: leave --size and --patch out.")
    crop, patch = config.network.crop, start.config.patch_size
    if crop and crop % patch:
        raise OptionError(f"--crop {crop} is no multiple of the patch of {patch} pixels that --init brings.")
    return start.config


def build(
    config: RunConfig,
    shape: DofaConfig,
    start: Start | None,
    teacher_dim: int | None,
    *,
    lists: Sequence[tuple[float, ...]],
    say: Say = lambda _: None,
) -> MaskedDofa:
    """Make the network of a run; ``lists`` are all wavelength lists (µm) that it will see."""
    if FIXED in config.ablation:
        fixed = partial(FixedMaskedDofa, lists=tuple(dict.fromkeys(lists)))
        return random_masked(shape, config.decoder.shape(shape), teacher_dim, config.seed, fixed)
    model = random_masked(shape, config.decoder.shape(shape), teacher_dim, config.seed)
    if start is not None:
        _begin(model, start, say)
    return model


def freeze(model: MaskedDofa, patterns: Sequence[str]) -> int:
    """Keep parameters whose published names match any of ``patterns`` as they are; return how many values that is.

    Raises :class:`OptionError` for a pattern that matches none.
    """
    named = {name.removeprefix("encoder."): one for name, one in model.named_parameters() if one.requires_grad}
    for pattern in patterns:
        hit = [parameter for name, parameter in named.items() if fnmatchcase(name, pattern)]
        if not hit:
            examples = "blocks.*, patch_embed.*, blocks.0.*, decoder_*"
            raise OptionError(f"--freeze '{pattern}' matches no parameter. Try for instance {examples}.")
        for parameter in hit:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in named.values()):
        raise OptionError(f"--freeze {' '.join(patterns)} leaves nothing to train.")
    return sum(parameter.numel() for parameter in named.values() if not parameter.requires_grad)


def pick_teacher(name: str, side: int | None, *, trust_program: bool, trust_weights: bool) -> teachers.FrozenTeacher:
    """Return the teacher called by a name, or stored in a file: a program, or DOFA weights.

    Raises what :mod:`dofa_cli.training.teachers` and :func:`~dofa_cli.pipelines.inference.encoder.open_weights` raise.
    """
    if name == teachers.EFFICIENTNET:
        return teachers.efficientnet(side)
    if name.startswith(teachers.TIMM):
        return teachers.timm_network(name, side)
    path = Path(name).expanduser()
    if path.is_file() and teachers.is_program(path):
        return teachers.program(path, trusted=trust_program, side=side)
    open_weights(name, trusted=trust_weights)
    return teachers.dofa_teacher(store.find(name), side)


def _own_state(path: Path) -> dict[str, Any] | None:
    try:
        return run_state.read_state(path)
    except DamagedWeights:  # said again, in other words, by whoever reads it as weights
        return None


def _begin(model: MaskedDofa, start: Start, say: Say) -> None:
    """Fill a model with what it begins with; parts beside the encoder only where their shapes are the same."""
    if start.config is None:
        init_from_teacher(model, start.state)
        left = fit_generator(model.encoder.patch_embed, start.state)
        say(f"The weight generator reproduces the transformer's patch embedding but for {left:.2%} of its square.")
        return
    own = published_state(model)
    state = dict(start.state)
    for part, prefixes in (("decoder", BESIDE_ENCODER[:2]), ("projector", BESIDE_ENCODER[2:])):
        names = [name for name in state if name.startswith(prefixes)]
        if any(name not in own or own[name].shape != state[name].shape for name in names):
            say(f"The {part} of the weights has another shape than the run's and is made anew.")
            state = {name: tensor for name, tensor in state.items() if name not in names}
    load_published(model, state)
