"""The backend that finishes first is chosen, the same whatever ran before."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.errors import DeviceError
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.config import DofaConfig
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.backends import choose
from dofa_cli.pipelines.inference.backends.choose import available, choose_backend, window_gflop

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
AUTO, TORCH, COMPILED, OPENVINO = BackendName
BASE = DofaConfig(1, 16, 768, 12, 12, 224)
EVERYTHING = {"openvino": True, "compiler": True, "int8": True}


@pytest.fixture
def machine(monkeypatch):
    """A machine with some of the packages."""

    def has(processor="x86_64", **here):
        here = EVERYTHING | here
        monkeypatch.setattr(choose, "has_openvino", lambda: here["openvino"])
        monkeypatch.setattr(choose, "has_compiler", lambda: here["compiler"])
        monkeypatch.setattr(choose, "can_quantise", lambda: here["int8"])
        monkeypatch.setattr(choose.platform, "machine", lambda: processor)

    has()
    return has


def chosen(precision, windows, wanted=AUTO, device=CPU):
    return choose_backend(wanted, device, precision, windows=windows, gflop=window_gflop(BASE, 196))


def test_the_work_of_a_window_is_that_of_its_products():
    assert window_gflop(BASE, 196) == pytest.approx(35.0, rel=0.02)


@pytest.mark.parametrize(
    ("precision", "windows", "here", "expected"),
    [
        (Precision.FLOAT32, 10**6, {}, TORCH),
        (Precision.BFLOAT16, 10, {}, TORCH),
        (Precision.BFLOAT16, 10**6, {}, TORCH),
        (Precision.BFLOAT16, 10**6, {"openvino": False}, TORCH),
        (Precision.INT8, 10, {}, TORCH),
        (Precision.INT8, 1000, {}, OPENVINO),
        (Precision.INT8, 10**6, {"openvino": False}, TORCH),
        (Precision.INT8, 10, {"int8": False}, OPENVINO),
    ],
)
def test_auto_begins_what_earns_its_start_back(machine, precision, windows, here, expected):
    machine(**here)
    assert chosen(precision, windows) is expected


def test_processors_that_were_not_measured_stay_with_pytorch(machine):
    machine("arm64")
    assert chosen(Precision.BFLOAT16, 10**6) is TORCH


def test_graphics_cards_have_one_backend(machine):
    assert available(CARD, Precision.BFLOAT16) == [TORCH]
    assert chosen(Precision.BFLOAT16, 10**6, device=CARD) is TORCH


@pytest.mark.parametrize("wanted", [TORCH, COMPILED, OPENVINO])
def test_what_is_asked_for_is_taken_however_small_the_scene(machine, wanted):
    assert chosen(Precision.BFLOAT16, 1, wanted) is wanted


@pytest.mark.parametrize(
    ("wanted", "precision", "device", "here", "said"),
    [
        (OPENVINO, Precision.BFLOAT16, CPU, {"openvino": False}, r"pip install 'dofa\[openvino\]'"),
        (OPENVINO, Precision.BFLOAT16, CARD, {}, "for CPUs, not for cuda:0"),
        (COMPILED, Precision.BFLOAT16, CPU, {"compiler": False}, "C\\+\\+ compiler"),
        (COMPILED, Precision.INT8, CPU, {}, "does not compute in int8"),
        (AUTO, Precision.INT8, CPU, {"openvino": False, "int8": False}, "int8 needs OpenVINO"),
    ],
)
def test_what_is_not_here_is_one_line_with_the_next_step(machine, wanted, precision, device, here, said):
    machine(**here)
    with pytest.raises(DeviceError, match=said):
        chosen(precision, 100, wanted, device)
