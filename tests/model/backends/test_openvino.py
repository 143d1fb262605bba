"""OpenVINO computes what PyTorch computes, and tells nobody."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from dofa_cli.errors import DeviceError
from dofa_cli.model.backends import openvino as module
from dofa_cli.model.backends.openvino import OpenVinoBackend, has_openvino, openvino_core
from dofa_cli.model.backends.ranges import measure_ranges
from dofa_cli.model.device import Precision
from tests.model.backends.networks import Shelf, cosine, folded, network, pixels

needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


def backend(model, precision, shelf, ranges=None):
    return OpenVinoBackend(folded(model), precision, key="tiny", keep=shelf, ranges=ranges)


def exact(model, x):
    with torch.no_grad():
        return folded(model)(x).patches


@needs_openvino
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("side", [32, 48])
def test_float32_tokens_are_pytorchs(shelf, version, side):
    model, x = network(version), pixels(side=side)
    wanted = exact(model, x)
    found = backend(model, Precision.FLOAT32, shelf).patches(x)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


@needs_openvino
@pytest.mark.parametrize("version", [1, 2])
def test_bfloat16_tokens_point_where_float32_points(shelf, version):
    model, x = network(version), pixels()
    assert cosine(backend(model, Precision.BFLOAT16, shelf).patches(x), exact(model, x)) > 0.999


@needs_openvino
@pytest.mark.parametrize("far", [1.0, 50.0])
def test_8_bit_tokens_point_where_float32_points_even_if_a_channel_reaches_far(shelf, far):
    model, x = network(far=far), pixels()
    ranges = measure_ranges(folded(model), [pixels(8, seed=3)])
    assert cosine(backend(model, Precision.INT8, shelf, ranges).patches(x), exact(model, x)) > 0.99


@needs_openvino
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16, Precision.INT8])
def test_a_window_does_not_depend_on_its_neighbours(shelf, precision):
    model, x = network(), pixels()
    ranges = measure_ranges(folded(model), [x]) if precision is Precision.INT8 else None
    made = backend(model, precision, shelf, ranges)
    first = made.patches(x)
    assert torch.equal(made.patches(torch.cat([x[:1], pixels(3, seed=5)]))[:1], first[:1])
    assert torch.equal(made.patches(x), first)


@needs_openvino
def test_results_are_the_callers_own(shelf):
    made = backend(network(), Precision.FLOAT32, shelf)
    first = made.patches(pixels())
    before = first.clone()
    made.patches(pixels(seed=7))
    assert torch.equal(first, before)


@needs_openvino
def test_a_second_start_compiles_8_bit_products_no_more(shelf, monkeypatch):
    model, x = network(), pixels()
    ranges = measure_ranges(folded(model), [x])
    first = backend(model, Precision.INT8, shelf, ranges).patches(x)
    monkeypatch.setattr(OpenVinoBackend, "_compiled", lambda *_: pytest.fail("compiled again"))
    assert torch.equal(backend(model, Precision.INT8, shelf, ranges).patches(x), first)
    assert shelf.made == 1


@needs_openvino
def test_a_kept_file_that_is_damaged_is_made_again(shelf):
    model, x = network(), pixels()
    ranges = measure_ranges(folded(model), [x])
    first = backend(model, Precision.INT8, shelf, ranges).patches(x)
    for path in shelf.folder.iterdir():
        path.write_bytes(b"nothing")
    assert torch.equal(backend(model, Precision.INT8, shelf, ranges).patches(x), first)


@needs_openvino
def test_few_shapes_are_held_ready(shelf):
    made = backend(network(), Precision.FLOAT32, shelf)
    for count in (1, 2, 3, 1):
        assert made.patches(pixels(count)).shape[0] == count
    assert len(made.ready) == module.SHAPES


@needs_openvino
def test_nothing_is_reported_and_no_address_is_looked_up():
    code = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name.startswith('socket.') else None)\n"
        "from dofa_cli.model.backends.openvino import openvino_core\n"
        "openvino_core()\n"
        "from openvino.tools import ovc\n"
        "ours = [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
        "print(ours, [name for name in seen if name != 'socket.__new__'])\n"
    )
    plain = {name: value for name, value in os.environ.items() if name != "CI"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)
    assert told.stdout.strip() == "[] []"


@needs_openvino
def test_a_graph_that_does_not_compile_is_one_line(shelf, monkeypatch):
    def fail(*_):
        raise RuntimeError("Check 'x'\n failed at y.cpp:1")

    made = backend(network(), Precision.FLOAT32, shelf)
    monkeypatch.setattr(made, "core", type("Core", (), {"compile_model": fail})())
    with pytest.raises(DeviceError, match=r"could not compile.*failed at y.*--backend torch"):
        made.patches(pixels())


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch, shelf):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    openvino_core.cache_clear()
    with pytest.raises(DeviceError, match=r"pip install 'dofa\[openvino\]'"):
        backend(network(), Precision.FLOAT32, shelf)
