"""Ranges are learnt once, exactness is measured once, windows are drawn from all of a scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dofa_cli.errors import OptionError
from dofa_cli.model.backends.backend import BackendName
from dofa_cli.model.backends.quantised import can_quantise
from dofa_cli.model.checkpoint import Checkpoint
from dofa_cli.model.device import Precision
from dofa_cli.pipelines.inference.backends.accuracy import Accuracy, accuracy_of
from dofa_cli.pipelines.inference.backends.calibrate import ranges_for
from dofa_cli.pipelines.inference.backends.drawn import draw_windows, spread
from dofa_cli.pipelines.inference.backends.kept_files import models_folder
from dofa_cli.pipelines.inference.backends.opening import encoder_for
from dofa_cli.pipelines.inference.encoder import Encoder, Weights, fingerprint
from dofa_cli.pipelines.inference.plan import GridOptions
from dofa_cli.pipelines.inference.run import Level, ModelOptions, OutputDtype, Request, settle
from dofa_cli.pipelines.scenes.prepare import SceneOptions
from tests.made import TRAINED, reflectance, tiny_weights, write_raster
from tests.model.backends.networks import RGB, network, pixels

needs_products = pytest.mark.skipif(not can_quantise(), reason="this PyTorch has no 8-bit oneDNN products")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DOFA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def weights():
    return Weights("random", "0" * 64, Checkpoint(network(), token_norm=True, pooled_norm=True, declared=True))


def drawn(count):
    return pixels(count, seed=3)


def refuse(_):
    pytest.fail("windows were drawn again")


class TestRanges:
    def test_they_are_learnt_from_the_first_scene_and_kept(self, weights):
        first = ranges_for(weights, RGB, 32, drawn)
        assert ranges_for(weights, RGB, 32, refuse) == first

    def test_other_wavelengths_have_their_own(self, weights):
        first = ranges_for(weights, RGB, 32, drawn)
        assert ranges_for(weights, (0.842, 0.56, 0.49), 32, drawn) != first

    def test_damaged_ones_are_learnt_again(self, weights):
        first = ranges_for(weights, RGB, 32, drawn)
        for path in models_folder().iterdir():
            path.write_bytes(b"nothing")
        assert ranges_for(weights, RGB, 32, drawn) == first

    def test_a_scene_of_nodata_teaches_nothing(self, weights):
        ranges_for(weights, RGB, 32, lambda _: torch.zeros(0, 3, 32, 32))
        assert not models_folder().exists()


class TestAccuracy:
    def test_float32_is_not_measured(self, weights):
        assert accuracy_of(Encoder(weights, RGB, device="cpu"), weights, refuse, 2) is None

    def test_it_is_the_cosine_to_float32_and_measured_once(self, weights):
        encoder = Encoder(weights, RGB, device="cpu", precision=Precision.BFLOAT16)
        found = accuracy_of(encoder, weights, drawn, 2)
        exact = Encoder(weights, RGB, device="cpu").tokens(drawn(2))
        cosines = torch.cosine_similarity(encoder.tokens(drawn(2)), exact, dim=-1)
        assert found.cosine == pytest.approx(float(cosines.mean()), abs=1e-6)
        assert found.least == pytest.approx(float(cosines.min()), abs=1e-6)
        assert 0.99 < found.least <= found.cosine < 1
        assert found.windows == 2
        assert accuracy_of(encoder, weights, refuse, 2) == found

    def test_a_damaged_record_is_measured_again(self, weights):
        encoder = Encoder(weights, RGB, device="cpu", precision=Precision.BFLOAT16)
        found = accuracy_of(encoder, weights, drawn, 2)
        for path in models_folder().iterdir():
            path.write_text(json.dumps({"other": 1}))
        assert accuracy_of(encoder, weights, drawn, 2) == found

    def test_a_user_is_warned_below_the_threshold_alone(self):
        assert Accuracy(0.995, 0.9, 0.98, 4).warning is None
        assert "0.9800" in Accuracy(0.98, 0.9, 0.98, 4).warning


class TestOpening:
    def options(self, **more):
        return ModelOptions(device="cpu", **more)

    @needs_products
    def test_int8_has_ranges_and_what_was_asked_for(self, weights):
        how = self.options(precision=Precision.INT8, backend=BackendName.TORCH)
        made = encoder_for(weights, RGB, how, side=32, windows=4, draw=drawn)
        assert (made.precision, made.backend.name) == (Precision.INT8, BackendName.TORCH)
        assert made.ranges == ranges_for(weights, RGB, 32, refuse)
        cosines = torch.cosine_similarity(
            made.tokens(pixels()), Encoder(weights, RGB, device="cpu").tokens(pixels()), dim=-1
        )
        assert float(cosines.min()) > 0.99

    def test_other_precisions_draw_no_window(self, weights):
        made = encoder_for(weights, RGB, self.options(), side=32, windows=4, draw=refuse)
        assert (made.precision, made.backend.name, made.ranges) == (Precision.FLOAT32, BackendName.TORCH, None)

    def test_int8_without_a_scene_says_what_to_use(self, weights):
        with pytest.raises(OptionError, match=r"int8 learns ranges.*bfloat16"):
            Encoder(weights, RGB, device="cpu", precision=Precision.INT8)

    def test_vectors_are_of_the_backends_tokens(self, weights):
        class Nothing:
            name = BackendName.TORCH

            def patches(self, x):
                return torch.zeros(len(x), 16, 48)

        made = Encoder(weights, RGB, device="cpu")
        made.backend = Nothing()
        wanted = made.model.pool(torch.zeros(2, 16, 48), torch.ones(2, 16))
        assert torch.equal(made.vectors(pixels(2), torch.ones(2, 16)), wanted)


class TestFingerprint:
    def test_it_tells_weights_and_wavelengths_apart(self):
        model, other = network(), network()
        with torch.no_grad():
            other.blocks[1].mlp.fc2.bias[3] += 1e-3
        found = {fingerprint(one.fold(list(um))) for one in (model, other) for um in (RGB, RGB[::-1])}
        assert len(found) == 4
        assert fingerprint(model.fold(RGB)) == fingerprint(network().fold(RGB))


class TestDrawing:
    def run_of(self, tmp_path, values):
        path = write_raster(tmp_path / "scene.tif", values, TRAINED, nodata=0)
        weights = tiny_weights(tmp_path / "tiny.safetensors")
        request = Request(
            (str(path),),
            tmp_path / "x.tif",
            Level.PATCH,
            OutputDtype.FLOAT32,
            None,
            SceneOptions(sensor="sentinel2"),
            ModelOptions(str(weights), device="cpu"),
            GridOptions(),
        )
        return settle(request, lambda _: None)

    def test_windows_are_those_that_the_network_sees(self, tmp_path):
        run = self.run_of(tmp_path, reflectance(9, 200, 200))
        seen = []

        class Collector:
            patch_size, dim, detail, device = 16, 1, 1, torch.device("cpu")

            def tokens(self, x):
                seen.extend(x.clone())
                return torch.zeros(len(x), 16, 1)

        for _ in run.stream(model=Collector(), batch=1).token_tiles(run.plan.tiles()):
            pass
        found = draw_windows(run.prepared, run.plan, 10**6)
        assert len(found) == len(seen) == run.plan.window_count
        for window in found:
            assert any(torch.equal(window, one) for one in seen)

    def test_windows_without_valid_pixels_are_passed_over(self, tmp_path):
        values = reflectance(9, 200, 200)
        values[:, :, :140] = 0
        run = self.run_of(tmp_path, values)
        assert 0 < len(draw_windows(run.prepared, run.plan, 10**6)) < run.plan.window_count

    def test_a_few_valid_pixels_are_searched_for(self, tmp_path):
        values = np.zeros((9, 400, 400), np.uint16)
        values[:, 200:230, 170:200] = 1500
        run = self.run_of(tmp_path, values)
        assert len(draw_windows(run.prepared, run.plan, 6)) > 0

    @pytest.mark.parametrize(("total", "count", "expected"), [(1, 4, [0]), (3, 32, [0, 1, 2]), (101, 3, [0, 50, 100])])
    def test_numbers_are_spread_evenly(self, total, count, expected):
        assert spread(total, count) == expected
