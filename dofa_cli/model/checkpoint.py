"""Read DOFA weights in every published form, and write this program's own safetensors."""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from dofa_cli.errors import DamagedWeights, UnsafeWeights, WrongWeights
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.vit import Dofa

StateDict = dict[str, Tensor]

IGNORED = ("mask_token", "projector.", "head.", "decoder", "teacher")
"""Starts of names that published files hold beside the encoder: pretraining's decoder, teacher and projector, a
classification head."""
OPTIONAL = ("norm.", "fc_norm.")
"""Norms that some files lack; they then stay plain LayerNorms, as in the published code."""
NEEDED = {"cls_token", "pos_embed", "patch_embed.weight_generator.fc_weight.weight", "blocks.0.norm1.weight"}
"""Names that any DOFA encoder has, and from whose shapes the architecture is inferred."""
CONFIG_KEY = "dofa_config"
WRAPPERS = ("average", "model", "state_dict")
"""Keys under which files hold their tensors; a run of our own prefers its moving average."""


@dataclass(frozen=True)
class Checkpoint:
    """An encoder read from a file.

    ``token_norm`` and ``pooled_norm`` say whether the file held trained values for them; ``declared`` whether the
    file names its own architecture, which settles the kernel layout too.
    """

    model: Dofa
    token_norm: bool
    pooled_norm: bool
    declared: bool

    @property
    def layout_is_ambiguous(self) -> bool:
        """Whether the file has published version-1 shapes and nothing in it tells old kernel layout from new."""
        return not self.declared and self.model.config.version == 1


def load_checkpoint(path: Path) -> Checkpoint:
    """Read an encoder in float32 on the CPU, ready for inference.

    Raises :class:`DamagedWeights`, :class:`UnsafeWeights` or :class:`WrongWeights`, each naming file and cause.
    """
    state, declared = read_state(path)
    state, version = to_own_names(state)
    _require_names(state, NEEDED, path)
    config = declared or DofaConfig.from_shapes({name: tuple(t.shape) for name, t in state.items()}, version)
    with torch.device("meta"):
        model = Dofa(config)
    _check(state, model, path)
    held = {name.split(".")[0] for name in state}
    _fill(model, state)
    return Checkpoint(model.eval().requires_grad_(False), "norm" in held, "fc_norm" in held, declared is not None)


def read_state(path: Path) -> tuple[StateDict, DofaConfig | None]:
    """Read the tensors of a file by their published names, and the architecture where the file declares it."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _read_torch(path)
    declared = content.get(CONFIG_KEY) if isinstance(content, Mapping) else None
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise WrongWeights(f"{path} holds no DOFA state dict: tensors by name are expected.")
    return dict(content), DofaConfig.from_json(declared) if isinstance(declared, str) else None


def to_own_names(state: StateDict) -> tuple[StateDict, int]:
    """Rename published tensors to this program's names and drop what an encoder does not use; also the version.

    Version 2 keeps its transformer under ``model.``; its outer ``norm.*`` is not used by the published forward.
    """
    if any(name.startswith("model.") for name in state):
        state = {name: t for name, t in state.items() if not name.startswith("norm.")}
        return {name.removeprefix("model."): t for name, t in state.items()}, 2
    return {name: tensor for name, tensor in state.items() if not name.startswith(IGNORED)}, 1


def save_checkpoint(model: Dofa, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write an encoder under its published names, with its architecture in the metadata."""
    rename = _version_2_name if model.config.version == 2 else str
    state = {rename(name): t.detach().to("cpu", dtype).contiguous() for name, t in model.state_dict().items()}
    with path.open("wb") as file:  # safetensors' own writer would leave a file that only its owner can read
        file.write(serialise(state, metadata={CONFIG_KEY: model.config.to_json()}))


def _version_2_name(name: str) -> str:
    return name if name.startswith("patch_embed.") else f"model.{name}"


def _read_safetensors(path: Path) -> tuple[StateDict, DofaConfig | None]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise DamagedWeights(f"{path} is damaged or not a safetensors file ({error}). Fetch it again.") from None
    declared = metadata.get(CONFIG_KEY)
    return state, DofaConfig.from_json(declared) if declared else None


def _read_torch(path: Path) -> Any:
    """Unpickle tensors only. Full pretraining files hold their arguments in a Namespace: that one class may pass."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol; what matters ends in an error below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or _is_pickle(path):
            raise UnsafeWeights(
                f"{path} holds more than tensors and would run code when loaded; it was not loaded. "
                "Convert it to safetensors with a program that you trust."
            ) from None
        raise DamagedWeights(f"{path} is not a PyTorch file or is damaged. Fetch it again.") from None
    except Exception as error:  # noqa: BLE001 - on bytes that are no pickle the unpickler raises anything
        reason = str(error).splitlines()[0] if str(error) else "unexpected end"
        raise DamagedWeights(f"{path} is truncated or damaged ({reason}). Fetch it again.") from None


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return zipfile.is_zipfile(path) or file.read(1) == pickle.PROTO


def _require_names(state: StateDict, names: set[str], path: Path) -> None:
    if missing := sorted(names - state.keys()):
        raise WrongWeights(f"{path} is not a DOFA encoder: it lacks {_some(missing)}.")


def _check(state: StateDict, model: Dofa, path: Path) -> None:
    """Compare names and shapes with the model's."""
    wanted = model.state_dict()
    _require_names(state, {name for name in wanted if not name.startswith(OPTIONAL)}, path)
    if unexpected := sorted(state.keys() - wanted.keys()):
        raise WrongWeights(f"{path} holds tensors that DOFA does not have: {_some(unexpected)}.")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise WrongWeights(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the architecture wants {tuple(wanted[name].shape)}."
            )


def _fill(model: Dofa, state: StateDict) -> None:
    """Give the meta-device model the file's tensors, and plain norms where the file has none."""
    dim = model.config.embed_dim
    plain = {f"{norm}{part}": fill(dim) for norm in OPTIONAL for part, fill in _PLAIN_NORM.items()}
    model.load_state_dict(plain | {name: t.float() for name, t in state.items()}, assign=True)


_PLAIN_NORM = {"weight": torch.ones, "bias": torch.zeros}


def _some(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
