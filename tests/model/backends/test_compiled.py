"""Compiled code computes what PyTorch computes, and is kept."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.errors import DeviceError
from dofa_cli.model.backends import compiled as module
from dofa_cli.model.backends.compiled import CompiledBackend, has_compiler
from dofa_cli.model.device import Precision
from tests.model.backends.networks import Shelf, cosine, folded, network, pixels

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")


def backend(model, shelf, precision=Precision.BFLOAT16):
    return CompiledBackend(folded(model), precision, key="tiny", keep=shelf)


@pytest.mark.slow
@needs_compiler
def test_tokens_point_where_float32_points_and_a_second_start_does_not_compile(tmp_path, monkeypatch):
    model, x, shelf = network(), pixels(2), Shelf(tmp_path)
    with torch.no_grad():
        wanted = folded(model)(x).patches
    made = backend(model, shelf)
    first = made.patches(x)
    assert first.dtype is torch.float32
    assert cosine(first, wanted) > 0.999
    assert torch.equal(made.patches(torch.cat([x[:1], pixels(1, seed=5)]))[:1], first[:1])
    monkeypatch.setattr(module, "compile_to", lambda *_: pytest.fail("compiled again"))
    assert torch.equal(backend(model, shelf).patches(x), first)
    assert shelf.made == 1


@needs_compiler
def test_a_compiler_that_fails_is_one_line(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("C++ compile error\n in line 3")

    monkeypatch.setattr(module, "compile_to", fail)
    with pytest.raises(DeviceError, match=r"could not compile the network \(C\+\+ compile error in line 3\)"):
        backend(network(), Shelf(tmp_path)).patches(pixels())


def test_a_machine_without_a_compiler_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not has_compiler()
    with pytest.raises(DeviceError, match=r"no-such-compiler.*--backend torch"):
        backend(network(), Shelf(tmp_path))
