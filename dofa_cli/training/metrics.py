"""What is written while a run goes on: one JSON line a step, and a picture of the losses."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dofa_cli.classes import distinct_colours
from dofa_cli.raster.writer import explained, working_file
from dofa_cli.training.loop import Step

SMOOTHED = 50
"""Points of a loss curve, each the mean of the steps around it."""


class Metrics:
    """The file ``metrics.jsonl``, continued from step ``first`` on; lines of later steps were of a run that was cut."""

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] < first]
        with working_file(path) as working:
            working.write_text("".join(_line(one) for one in kept), encoding="utf-8")

    def step(self, step: Step) -> None:
        """Add what one step did."""
        self._add(step.line())

    def measured(self, step: int, losses: Mapping[str, float]) -> None:
        """Add losses of images that are not trained on, by source, measured after a step."""
        self._add({"step": step, "measured": {name: float(f"{loss:.7g}") for name, loss in losses.items()}})

    def _add(self, content: Mapping[str, Any]) -> None:
        with explained(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(content))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file, none where there is no file; a last line that is cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def plot_losses(lines: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Draw reconstruction loss over steps, a smoothed line a source and a dot for each measurement."""
    from matplotlib.figure import Figure

    trained: dict[str, list[tuple[int, float]]] = defaultdict(list)
    measured: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in lines:
        for name, loss in line.get("measured", {}).items():
            measured[name].append((line["step"], loss))
        if "sources" in line:
            for name in set(line["sources"]):
                trained[name].append((line["step"], line["reconstruction"]))
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    colours = distinct_colours(len(trained))
    for name, (red, green, blue) in zip(sorted(trained), colours, strict=True):
        colour = (red / 255, green / 255, blue / 255)
        axes.plot(*_smooth(trained[name]), color=colour, label=name)
        if name in measured:
            axes.plot(*zip(*measured[name], strict=True), "o", color=colour, markersize=4)
    axes.set(xlabel="step", ylabel="reconstruction loss", title="Lines: training. Dots: images measured, same masks.")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    with working_file(path) as working:
        figure.savefig(working, dpi=120)


def _smooth(points: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
    """Return steps and losses averaged over runs of neighbouring points."""
    parts = np.array_split(np.array(points), min(len(points), SMOOTHED))
    means = np.array([part.mean(axis=0) for part in parts])
    return means[:, 0].tolist(), means[:, 1].tolist()


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content) + "\n"
