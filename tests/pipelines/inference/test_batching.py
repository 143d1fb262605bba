"""Where memory runs out the batch is halved and the run goes on; any other error is passed on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import OutOfMemory
from dofa_cli.pipelines.embed import embed
from dofa_cli.pipelines.inference.batching import HALVED, Batcher, is_out_of_memory, tile_memory
from dofa_cli.pipelines.inference.encoder import Encoder
from dofa_cli.pipelines.segment import segment
from tests.made import sentinel2_scene, tiny_weights
from tests.pipelines.head_cases import linear_head, recipe_for, saved

CPU = torch.device("cpu")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
]


class Device:
    """Squares numbers, in batches of at most ``most``, and remembers the batches that it was given."""

    def __init__(self, values: torch.Tensor, most: int, error: Exception = ERRORS[0]) -> None:
        self.values, self.most, self.error = values, most, error
        self.done: list[tuple[int, int, int]] = []

    def __call__(self, some: range, size: int) -> torch.Tensor:
        if size > self.most:
            raise self.error
        self.done.append((some.start, some.stop, size))
        return self.values[some.start : some.stop] ** 2


@given(st.integers(1, 40), st.integers(1, 33), st.integers(1, 40))
def test_every_window_runs_once_whatever_the_device_holds(count, size, most):
    values = torch.arange(float(count))
    device = Device(values, most)
    batcher = Batcher(size, CPU)
    torch.testing.assert_close(batcher.run(count, device), values**2, rtol=0, atol=0)
    assert [n for start, stop, _ in device.done for n in range(start, stop)] == list(range(count))
    assert {used for *_, used in device.done} == {batcher.size}
    assert batcher.size <= most
    assert batcher.was_halved == (size > most)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_halved_batch_is_said_and_stays(error):
    said: list[str] = []
    batcher = Batcher(8, CPU, said.append)
    device = Device(torch.arange(10.0), 4, error)
    batcher.run(10, device)
    batcher.run(10, device)
    assert len(said) == 1
    assert "4 windows a forward" in said[0]
    assert [used for *_, used in device.done] == [4] * 6
    assert (batcher.asked, batcher.size) == (8, 4)


def test_what_ran_before_memory_ran_out_is_not_run_again():
    class Shrinking(Device):
        def __call__(self, some, size):
            self.most = 8 if some.start < 8 else 4
            return super().__call__(some, size)

    device = Shrinking(torch.arange(20.0), 8)
    torch.testing.assert_close(Batcher(8, CPU).run(20, device), torch.arange(20.0) ** 2)
    assert [start for start, *_ in device.done] == [0, 8, 12, 16]


def test_too_little_for_one_window_says_what_to_do():
    with pytest.raises(OutOfMemory, match="--window"):
        Batcher(4, CPU).run(3, Device(torch.arange(3.0), 0))


def test_another_error_is_passed_on():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Batcher(4, CPU).run(3, Device(torch.arange(3.0), 0, RuntimeError("shapes cannot be multiplied")))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_memory_that_a_tile_lacks_is_an_error_of_ours():
    with pytest.raises(OutOfMemory, match="--shard"), tile_memory(CPU):
        raise MemoryError
    with pytest.raises(ValueError, match="other"), tile_memory(CPU):
        raise ValueError("other")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    weights = tiny_weights(folder / "tiny.safetensors")
    scene = sentinel2_scene(folder / "scene.tif")
    saved(linear_head(recipe_for(scene, product="l1c"), weights), folder / "crops.pt")
    return folder


@pytest.fixture
def small_device(monkeypatch):
    """Let the encoder run out of memory above two windows."""
    for name in ("tokens", "vectors"):
        run = getattr(Encoder, name)

        def limited(self, pixels, *more, run=run):
            if len(pixels) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return run(self, pixels, *more)

        monkeypatch.setattr(Encoder, name, limited)


def embedded(here, output, **options):
    said: list[str] = []
    given = {"sensor": "sentinel2", "weights": str(here / "tiny.safetensors"), "say": said.append}
    return embed(here / "scene.tif", output, **(given | options)), said


def test_a_run_goes_on_in_smaller_batches_and_reports_it(here, tmp_path, small_device):
    report, said = embedded(here, tmp_path / "out.tif", batch_size=8, shard=2)
    assert HALVED in report.warnings
    assert len([line for line in said if "windows a forward" in line]) == 2  # to four, and to two
    usual, _ = embedded(here, tmp_path / "two.tif", batch_size=2)
    assert HALVED not in usual.warnings
    with rasterio.open(report.output) as file, rasterio.open(usual.output) as other:
        np.testing.assert_array_equal(file.read(), other.read())


def test_vectors_and_maps_go_on_too(here, tmp_path, small_device):
    report, _ = embedded(here, tmp_path / "out.parquet", batch_size=8, level="window")
    assert HALVED in report.warnings
    weights, head = str(here / "tiny.safetensors"), here / "crops.pt"
    mapped = segment(here / "scene.tif", tmp_path / "map.tif", head=head, weights=weights, batch_size=4)
    assert HALVED in json.loads(mapped.to_json())["warnings"]


def test_a_limit_of_memory_changes_nothing_but_the_batch(here, tmp_path):
    usual, _ = embedded(here, tmp_path / "usual.tif")
    tight, _ = embedded(here, tmp_path / "tight.tif", memory_limit=usual.memory_bytes - 1)
    assert tight.memory_bytes < usual.memory_bytes
    with rasterio.open(usual.output) as file, rasterio.open(tight.output) as other:
        np.testing.assert_allclose(file.read(), other.read(), rtol=1e-5, atol=1e-5)
