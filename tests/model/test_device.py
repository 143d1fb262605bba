"""Choice of processor and precision, and the arithmetic that follows."""

from __future__ import annotations

import pytest
import torch

from dofa_cli.errors import DeviceError
from dofa_cli.model import device
from dofa_cli.model.device import Precision, arithmetic, choose_batch, choose_device, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that this machine has so many graphics cards."""

    def pretend(count: int, bfloat16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)

    return pretend


class TestDevice:
    @pytest.mark.parametrize(("count", "kind"), [(0, "cpu"), (1, "cuda")])
    def test_auto_takes_a_graphics_card_where_there_is_one(self, gpus, count, kind):
        gpus(count)
        assert choose_device("auto").type == kind

    @pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
    def test_devices_that_are_here_are_taken(self, gpus, name):
        gpus(2)
        assert choose_device(name) == torch.device(name)

    @pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
    def test_cards_that_are_not_here_are_refused_with_their_number(self, gpus, name, count):
        gpus(count)
        with pytest.raises(DeviceError, match=f"'{name}' is not here: PyTorch sees {count} CUDA"):
            choose_device(name)

    @pytest.mark.parametrize("name", ["", "gpu", "mps", "meta", "cuda:x", "cuda:-1"])
    def test_other_names_are_refused_with_those_that_work(self, gpus, name):
        gpus(1)
        with pytest.raises(DeviceError, match=f"No device '{name}'. Use auto, cpu, cuda or cuda:N"):
            choose_device(name)


class TestPrecision:
    @pytest.mark.parametrize(
        ("where", "bfloat16", "expected"),
        [(CPU, True, Precision.FLOAT32), (GPU, True, Precision.BFLOAT16), (GPU, False, Precision.FLOAT32)],
    )
    def test_auto_is_bfloat16_where_a_card_has_it(self, gpus, where, bfloat16, expected):
        gpus(1, bfloat16)
        assert choose_precision(Precision.AUTO, where) is expected

    @pytest.mark.parametrize("wanted", [Precision.FLOAT32, Precision.BFLOAT16])
    def test_what_is_asked_for_is_given(self, wanted):
        assert choose_precision(wanted, CPU) is wanted

    def test_float16_on_a_cpu_is_refused_with_what_to_use(self):
        with pytest.raises(DeviceError, match="--precision bfloat16 or float32"):
            choose_precision(Precision.FLOAT16, CPU)

    def test_each_precision_has_its_dtype(self):
        dtypes = [p.dtype for p in (Precision.FLOAT32, Precision.BFLOAT16, Precision.FLOAT16)]
        assert dtypes == [torch.float32, torch.bfloat16, torch.float16]


def test_cards_get_larger_batches():
    assert choose_batch(GPU) > choose_batch(CPU) >= 1


class TestArithmetic:
    x = torch.randn(64, 768, generator=torch.Generator().manual_seed(0))
    w = torch.randn(768, 768, generator=torch.Generator().manual_seed(1))

    def error(self, precision: Precision) -> float:
        with arithmetic(CPU, precision):
            found = torch.nn.functional.linear(self.x, self.w)
        exact = self.x.double() @ self.w.double().T
        return float((found.double() - exact).abs().max() / exact.abs().max())

    def test_float32_keeps_its_accuracy(self):
        assert self.error(Precision.FLOAT32) < 1e-6

    def test_bfloat16_is_coarser(self):
        assert 1e-4 < self.error(Precision.BFLOAT16) < 0.02

    @pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
    def test_there_are_no_gradients(self, precision):
        with arithmetic(CPU, precision):
            assert torch.is_inference_mode_enabled()
        assert not torch.is_inference_mode_enabled()

    def test_settings_are_put_back_even_after_an_error(self):
        before = device.onednn_is_on()
        with pytest.raises(ZeroDivisionError), arithmetic(CPU, Precision.FLOAT32):
            raise ZeroDivisionError
        assert device.onednn_is_on() is before
        assert not torch.is_autocast_enabled("cpu")

    @pytest.mark.parametrize("keeps", [True, False])
    def test_faster_products_are_switched_on_only_where_they_keep_float32(self, monkeypatch, keeps):
        if device._matmul_settings() is None:
            pytest.skip("this PyTorch has no such setting")
        monkeypatch.setattr(device, "onednn_keeps_float32", lambda: keeps)
        with arithmetic(CPU, Precision.FLOAT32):
            assert device.onednn_is_on() is keeps

    def test_a_pytorch_without_that_setting_works_too(self, monkeypatch):
        monkeypatch.setattr(device, "_matmul_settings", lambda: None)
        assert not device.onednn_is_on()
        assert self.error(Precision.FLOAT32) < 1e-6
