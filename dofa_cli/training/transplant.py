"""Start from a vision transformer: take its blocks over, and teach the generator to write its patch embedding.

As published: the student begins as the teacher, and its weight generator is fitted first to produce, for the
wavelengths of red, green and blue, the kernel that the transformer learned for photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dofa_cli.errors import WrongWeights
from dofa_cli.model.masked import MaskedDofa
from dofa_cli.model.patch_embed import DynamicPatchEmbed, wavelength_tensor
from dofa_cli.training.proxies import RED_GREEN_BLUE

PROJECTION = "patch_embed.proj."
FIT_STEPS = 1000
FIT_RATE = 1e-3


def is_vision_transformer(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are those of a plain vision transformer under timm's names."""
    return f"{PROJECTION}weight" in state and "blocks.0.norm1.weight" in state


def init_from_teacher(model: MaskedDofa, state: Mapping[str, Tensor]) -> None:
    """Take class token, positions, blocks and final norm of a vision transformer over; all shapes must agree.

    Raises :class:`WrongWeights` naming the tensor that does not fit.
    """
    own = model.encoder.state_dict()
    wanted = [name for name in own if name.startswith(("blocks.", "cls_token", "pos_embed", "norm."))]
    for name in wanted:
        if name not in state or state[name].shape != own[name].shape:
            found = tuple(state[name].shape) if name in state else "missing"
            raise WrongWeights(
                f"The transformer does not fit: {name} is {found}, the run wants {tuple(own[name].shape)}."
            )
    model.encoder.load_state_dict({name: state[name] for name in wanted}, strict=False)


def fit_generator(
    embed: DynamicPatchEmbed,
    state: Mapping[str, Tensor],
    steps: int = FIT_STEPS,
    on_step: Callable[[int, float], object] = lambda *_: None,
) -> float:
    """Fit the weight generator to the patch embedding of a vision transformer for red, green and blue.

    Minimises the mean squared error of kernel and bias, relative to their mean square; returns what is left of it.
    Raises :class:`WrongWeights` when width or patch size differ.
    """
    kernel, bias = state[f"{PROJECTION}weight"].float(), state[f"{PROJECTION}bias"].float()
    wanted = (embed.embed_dim, len(RED_GREEN_BLUE), embed.patch_size, embed.patch_size)
    if tuple(kernel.shape) != wanted:
        raise WrongWeights(f"The transformer's patch embedding is {tuple(kernel.shape)}, the run wants {wanted}.")
    waves = wavelength_tensor(RED_GREEN_BLUE)
    optimiser = torch.optim.AdamW(embed.parameters(), lr=FIT_RATE, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    error = torch.tensor(float("inf"))
    for step in range(steps):
        found_kernel, found_bias = embed.kernel(waves)
        error = _relative(found_kernel, kernel) + _relative(found_bias, bias)
        optimiser.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
        on_step(step, float(error.detach()))
    return float(error.detach())


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    return (found - wanted).square().mean() / wanted.square().mean().clamp(min=1e-12)
