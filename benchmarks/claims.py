"""The paper's claims at a small scale: train short runs that differ in one thing, probe them, print one table.

Usage: python benchmarks/claims.py DATA FOLDER [--steps 200] [--seeds 2] [--json FILE]

Every run has the settings of benchmarks/dofa_tiny/config.toml but for the number of steps and what its row names; no
bands are left out, since one embedding a sensor could not do without any. Runs
that are in FOLDER already are not repeated. Probes are the linear ones of probes.py, all on images
of 64 cells or 16 of twice the side; values are means over seeds, in brackets the standard deviation of single runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from probe_models import trained
from probe_sets import CDL, EUROSAT
from probes import MAKERS, linear, scored

HERE = Path(__file__).resolve().parent
ABLATION, FIXED = "--ablation", "fixed-embedding"
LANDSAT = ("landsat8", "landsat7", "landsat5")


@dataclass(frozen=True)
class Row:
    """One line of the table: options of the run, how many times the usual steps it takes, and its probes' zoom."""

    name: str
    flags: tuple[str, ...] = ()
    times: int = 1
    zoom: int = 1

    @property
    def is_fixed(self) -> bool:
        """Whether each sensor has an embedding of its own, so that there is no encoder for other commands."""
        return FIXED in self.flags

    def folder(self, seed: int) -> str:
        """Return the name of the run's folder."""
        return "_".join([*(flag.strip("-").replace("=", "-") for flag in self.flags if flag != ABLATION), str(seed)])


ROWS = (
    Row("dynamic embedding, teacher"),
    Row("one embedding per sensor", (ABLATION, FIXED)),
    Row("no teacher", (ABLATION, "no-distillation")),
    Row("never saw Landsat", tuple(part for one in LANDSAT for part in (ABLATION, f"without={one}"))),
    Row("patches of 16, as long", ("--patch", "16"), times=3, zoom=2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    makers = {name: MAKERS[name](name, options.data) for name in (EUROSAT, CDL)}
    table = []
    for seed in range(options.seeds):
        for row in ROWS:
            run = options.folder / row.folder(seed)
            train(options.data, run, row, options.steps * row.times, seed)
            weights = run / ("last.pt" if row.is_fixed else "encoder.safetensors")
            for name, make in makers.items():
                splits = make(trained(row.name, weights), row.zoom)
                validation, fit = linear(splits["train"], splits["validation"])
                predict = fit(splits["train"] + splits["validation"])
                score = scored(name, row.name, "linear", splits["test"], predict, validation, row.zoom, 0)
                table.append(
                    {
                        "set": name,
                        "row": row.name,
                        "seed": seed,
                        "steps": options.steps * row.times,
                        "accuracy": score.value,
                    }
                )
                print(f"{name:13} {row.name:28} seed {seed}  {score.value:.3f}", flush=True)
    for name in makers:
        for row in ROWS:
            found = [one["accuracy"] for one in table if (one["set"], one["row"]) == (name, row.name)]
            print(summary(name, row.name, found))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")


def train(data: Path, run: Path, row: Row, steps: int, seed: int) -> None:
    """Train one run, unless it is finished."""
    script = str(HERE / "dofa_tiny" / "train.py")
    settings = ["--steps", str(steps), "--warmup", str(steps // 10), "--seed", str(seed), "--ema", "0", "--all-bands"]
    subprocess.run([sys.executable, script, str(data), str(run), *settings, *row.flags], check=True)


def summary(name: str, row: str, values: Sequence[float]) -> str:
    spread = f" ({stdev(values):.3f})" if len(values) > 1 else ""
    return f"| {name} | {row} | {mean(values):.3f}{spread} |"


if __name__ == "__main__":
    main()
