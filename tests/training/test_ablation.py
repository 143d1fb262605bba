"""One plain embedding a list of wavelengths, in place of generated weights."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from dofa_cli.errors import OptionError
from dofa_cli.model.masked import load_published, published_state, random_masked
from dofa_cli.training.ablation import FixedMaskedDofa
from dofa_cli.training.config import Training
from dofa_cli.training.engine import OneProcess
from dofa_cli.training.loop import new_learner, steps
from dofa_cli.training.objective import Objective
from dofa_cli.training.stream import BatchStream
from tests.training.conftest import CONFIG, DECODER, RGB

RADAR = (3.75, 3.75)


@pytest.fixture
def fixed() -> FixedMaskedDofa:
    return random_masked(CONFIG, DECODER, make=partial(FixedMaskedDofa, lists=(RGB, RADAR)))


def test_nothing_is_generated_any_more(fixed):
    names = published_state(fixed)
    assert not [name for name in names if "weight_generator" in name]
    assert len([name for name in names if name.startswith("fixed.")]) == 8


def test_it_learns_from_several_sensors(fixed, source_of, schedule_of, rules):
    learner = new_learner(Objective(fixed, -2), OneProcess("cpu", "float32"), None, Training(precision="float32"), 0)
    stream = BatchStream((source_of(), source_of("radar", RADAR)), schedule_of(30, 8, rgb=1.0, radar=1.0), rules, 0)
    found = list(steps(learner, stream, 0))
    for name in ("rgb", "radar"):
        own = [step.reconstruction for step in found if step.sources == (name,)]
        assert own[-1] < own[0]


def test_each_list_has_a_kernel_of_its_own(fixed):
    (kernel, bias), (radar, _) = (fixed.kernel(torch.tensor(waves)) for waves in (RGB, RADAR))
    assert (kernel.shape, bias.shape, radar.shape) == ((24, 3, 4, 4), (24,), (24, 2, 4, 4))


def test_its_encoder_is_one_for_one_list(fixed):
    pixels = torch.randn(2, 3, 16, 16)
    everything = torch.arange(16).expand(2, -1)
    with torch.no_grad():
        tokens = fixed.folded(RGB)(pixels)
        expected = fixed.encode(pixels, torch.tensor(RGB), everything)
        found = fixed.encoder.norm(torch.cat([tokens.cls[:, None], tokens.patches], dim=1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_wavelengths_that_were_not_trained_are_refused(fixed):
    with pytest.raises(OptionError, match="no list of 2 wavelengths like 490_560"):
        fixed.kernel(torch.tensor((0.49, 0.56)))


def test_its_state_is_put_back_whole(fixed):
    other = random_masked(CONFIG, DECODER, seed=9, make=partial(FixedMaskedDofa, lists=(RGB, RADAR)))
    assert load_published(other, published_state(fixed)) == ()
    assert torch.equal(other.kernel(torch.tensor(RGB))[0], fixed.kernel(torch.tensor(RGB))[0])
