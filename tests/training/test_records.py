"""What a run leaves behind: lines of metrics, curves and pictures."""

from __future__ import annotations

import json

import matplotlib.image as images
import numpy as np
import pytest
import torch

from dofa_cli.training.data import draw_batch, random_numbers
from dofa_cli.training.loop import Step
from dofa_cli.training.masking import generator_of, random_masking
from dofa_cli.training.metrics import Metrics, plot_losses, read_metrics
from dofa_cli.training.objective import Objective
from dofa_cli.training.pictures import draw_reconstructions, reconstruct


def step(number: int, source: str = "rgb", loss: float = 1.0) -> Step:
    return Step(number, "only", (source,), loss, loss, None, 1e-3, 0.5, 8, 0.1, 0.01, 0.04, 0.05)


class TestMetrics:
    def test_are_a_json_line_a_step(self, tmp_path):
        metrics = Metrics(tmp_path / "metrics.jsonl", 0)
        metrics.step(step(0))
        metrics.measured(0, {"rgb": 0.123456789})
        first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
        assert (first["step"], first["sources"], first["distillation"]) == (0, ["rgb"], None)
        assert second == {"step": 0, "measured": {"rgb": 0.1234568}}

    def test_go_on_where_the_state_stands(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        metrics = Metrics(path, 0)
        for number in range(5):
            metrics.step(step(number))
        Metrics(path, 3).step(step(3))
        assert [line["step"] for line in read_metrics(path)] == [0, 1, 2, 3]

    def test_a_line_that_was_cut_off_is_left_out(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"step": 0}\n{"step": 1, "lo')
        assert read_metrics(path) == [{"step": 0}]

    @pytest.mark.parametrize("count", [1, 7, 200])
    def test_become_curves(self, tmp_path, count):
        lines = [step(number, "rgb" if number % 3 else "radar", 1 / (1 + number)).line() for number in range(count)]
        plot_losses([*lines, {"step": 0, "measured": {"radar": 0.5}}], tmp_path / "loss.png")
        assert images.imread(tmp_path / "loss.png").std() > 0.01


class TestReconstructions:
    @pytest.fixture
    def case(self, source_of, rules, network_of):
        source = source_of()
        batch = draw_batch(source, source.images, 3, rules, random_numbers(0))
        return Objective(network_of(), -2), batch, random_masking(3, 16, 0.5, generator_of(0))

    def test_keep_what_is_visible(self, case):
        objective, batch, masking = case
        completed, hidden = reconstruct(objective, batch, masking)
        assert hidden.sum(dim=(1, 2, 3)).tolist() == [8 * 16] * 3
        seen = (hidden == 0).expand_as(completed)
        assert torch.equal(completed[seen], batch.pixels[seen])
        assert not torch.equal(completed, batch.pixels)

    def test_give_hidden_patches_their_own_mean_and_spread(self, case):
        """A network that predicts 0, the mean of a standardised patch, completes with patches of one value."""
        objective, batch, masking = case
        with torch.no_grad():
            objective.model.decoder_norm.weight.zero_()
            objective.model.decoder_norm.bias.zero_()
        completed, _ = reconstruct(objective, batch, masking)
        number = int(masking.hidden[0, 0])
        rows, cols = slice(4 * (number // 4), 4 * (number // 4) + 4), slice(4 * (number % 4), 4 * (number % 4) + 4)
        patch = batch.pixels[0, :, rows, cols]
        torch.testing.assert_close(completed[0, :, rows, cols], patch.mean().expand_as(patch))

    @pytest.mark.parametrize("waves", [(0.665, 0.56, 0.49), (3.75, 3.75), (0.6,)])
    def test_are_drawn_for_any_bands(self, source_of, rules, network_of, tmp_path, waves):
        source = source_of(waves=waves)
        batch = draw_batch(source, source.images, 2, rules, random_numbers(0))
        masking = random_masking(2, 16, 0.5, generator_of(0))
        scale = [100.0] * len(waves), [20.0] * len(waves)
        draw_reconstructions(tmp_path / "x.png", Objective(network_of(), -2), batch, masking, scale)
        picture = images.imread(tmp_path / "x.png")
        assert np.unique(picture[..., 0]).size > 20
