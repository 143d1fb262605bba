"""Training on whole images."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.errors import DamagedHead, OptionError
from dofa_cli.heads.build import encoder_of, is_dense, token_head
from dofa_cli.heads.chips import fit_chips
from dofa_cli.heads.goal import NUMBER, Goal, Kind
from dofa_cli.heads.head import Head, Method, Task
from dofa_cli.heads.loop import Backbone
from tests.heads.cases import WAVES, Listed, head_of, number_head, tiny

BY_HEART = {"epochs": 30, "batch": 6, "lr": 1e-2, "encoder_lr": 1e-3, "dropout": 0.0}


def images(number: int = 12) -> Listed:
    """Images with broad stripes along rows or columns, or none: classes that turning mixes up, but for the last."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(number) % 3
    pixels = 0.3 * torch.randn(number, 3, 32, 32, generator=generator)
    pixels += (targets.view(-1, 1, 1, 1) - 1.0) * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    return Listed(pixels, targets)


def scores(head: Head, pixels: torch.Tensor) -> torch.Tensor:
    """Return logits as `dofa classify` makes them."""
    dofa = encoder_of(head, tiny())
    return token_head(head).logits(dofa.pool(dofa.fold(WAVES)(pixels).patches))


@pytest.mark.parametrize("method", [Method.FINETUNE, Method.LORA])
@pytest.mark.parametrize("kind", ["classes", "several", "number"])
def test_images_are_learnt_by_heart(method, kind):
    data = images()
    made, goal = head_of, Goal(Kind(kind), 3)
    if kind == "several":
        data = Listed(data.pixels, torch.nn.functional.one_hot(data.targets, 3).float())
    if kind == "number":
        data, made, goal = Listed(data.pixels, data.targets - 1.0), number_head, NUMBER
    fitted = fit_chips(method, Backbone(tiny(), WAVES, "cpu"), data, goal=goal, validation=data, settings=BY_HEART)
    head = made(method, fitted.tensors, fitted.settings)
    if made is head_of:
        head = head_of(method, fitted.tensors, fitted.settings, several=kind == "several", task=Task.CLASSIFY)
    found = scores(head, data.pixels)
    right = {
        "classes": lambda: found.argmax(dim=1) == data.targets,
        "several": lambda: (found > 0) == (data.targets > 0),
        "number": lambda: (found[:, 0] - data.targets).abs() < 0.4,
    }[kind]()
    assert bool(right.all())
    assert not is_dense(head)
    assert token_head(head).probabilities(found).shape == found.shape


def test_the_same_seed_gives_the_same_head():
    settings = BY_HEART | {"epochs": 2, "dropout": 0.2}
    runs = [
        fit_chips(
            Method.LORA, Backbone(tiny(), WAVES, "cpu"), images(), goal=Goal(Kind.CLASSES, 3), settings=settings
        ).tensors
        for _ in range(2)
    ]
    assert all(tensor.equal(runs[1][name]) for name, tensor in runs[0].items())


def test_other_methods_do_not_train_on_images():
    for method in (Method.LINEAR, Method.UPERNET):
        with pytest.raises(OptionError, match=f"Method {method} does not train on images"):
            fit_chips(method, Backbone(tiny(), WAVES, "cpu"), images(), goal=Goal(Kind.CLASSES, 3))


def test_tensors_that_do_not_fit_are_damage():
    for tensors in ({"weight": torch.ones(2, 24), "bias": torch.zeros(2)}, {"weight": torch.ones(3, 24)}):
        with pytest.raises(DamagedHead, match="do not fit a finetune head of 3 classes"):
            token_head(head_of(Method.FINETUNE, tensors))
    changed = {"weight": torch.ones(3, 24), "bias": torch.zeros(3), "encoder.blocks.7.norm1.weight": torch.ones(24)}
    with pytest.raises(DamagedHead, match=r"blocks\.7"):
        encoder_of(head_of(Method.FINETUNE, changed), tiny())
