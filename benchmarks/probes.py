"""Probe frozen encoders with linear classifiers and 5 nearest neighbours; one table, the same splits for all rows.

Usage: python benchmarks/probes.py DATA [--weights NAME=FILE ...] [--sets SET ...] [--json FILE]

FILE is an encoder, or last.pt of a run of fixed embeddings. Zoom and strength of the linear probe are chosen on the
validation split, then the probe is fitted to training and validation together. Intervals are 95 %: of chips Wilson's,
of pixels from 1000 draws of whole tiles or fields.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from probe_models import Colours, Features, Teacher, trained, untrained
from probe_sets import CDL, EUROSAT, UC_MERCED, Item, cdl_classes, probe_set
from scipy.ndimage import label as connected
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from dofa_cli.model.config import DofaConfig
from dofa_cli.pipelines.pretraining.drawable import Candidate, with_rules
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.scenes.standardise import Standardiser
from dofa_cli.raster.scene import Pixels, read_headers

INDIAN_PINES = "indian-pines"
CHIPS = (EUROSAT, UC_MERCED)
SETS = (EUROSAT, UC_MERCED, CDL, INDIAN_PINES)
OPTIONS = {
    EUROSAT: SceneOptions(sensor="sentinel2", product="tci-l1c", bands="B4,B3,B2"),
    UC_MERCED: SceneOptions(sensor="aerial-rgb"),
    CDL: SceneOptions(sensor="landsat8"),
    INDIAN_PINES: SceneOptions(sensor="aviris"),
}
FAMILY = "dofa_v1"
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
PIXELS = 24_000
"""Training pixels of a tile set, drawn evenly over classes as far as they go."""
NEIGHBOURS = 5
DRAWS = 1000
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Score:
    """One cell of the table: ``value`` on the test split with its interval; ``validation`` chose zoom and strength."""

    set: str
    row: str
    probe: str
    value: float
    low: float
    high: float
    validation: float
    zoom: float
    mean_iou: float | None
    seconds: float


@dataclass(frozen=True)
class Samples:
    """Features (n, D) and class numbers (n,) of one split; ``groups`` are the tiles or fields that samples lie in."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __add__(self, other: Samples) -> Samples:
        """Join two splits."""
        return Samples(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))


Splits = dict[str, Samples]
Make = Callable[[Features, float], Splits]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--only", action="store_true", help="leave random weights, colours and teacher out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scores = []
    for name in options.sets:
        make = MAKERS[name](name, options.data)
        for row in rows(options.weights, only=options.only):
            zooms = row.chip_zooms if name in CHIPS else row.pixel_zooms
            for score in probed(name, row, make, zooms):
                scores.append(score)
                print(line(score), flush=True)
        if name == CDL and not options.only:
            scores.append(forest(name, make))
            print(line(scores[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(score) for score in scores], indent=1) + "\n")


def rows(weights: Sequence[str], *, only: bool) -> list[Features]:
    """Return what is compared: weights, the same network at random, band statistics, and the teacher."""
    named = [one.partition("=") for one in weights]
    found: list[Features] = [trained(name, Path(path)) for name, _, path in named]
    if only:
        return found
    config = found[0].model.config if found else DofaConfig(1, 8, 192, 12, 3, 64)  # type: ignore[attr-defined]
    return [*found, untrained("random weights", config), Colours(), Teacher()]


def probed(name: str, row: Features, make: Make, zooms: Sequence[float]) -> list[Score]:
    """Probe one row on one set: linear, and for chips nearest neighbours too; nothing without zooms."""
    started = time.perf_counter()
    by_zoom = {zoom: make(row, zoom) for zoom in zooms}
    probes = {"linear": linear, "5-NN": neighbours} if name in CHIPS else {"linear": linear}
    if not by_zoom:
        return []
    seconds = time.perf_counter() - started
    return [best(name, row.name, probe, by_zoom, fit, seconds) for probe, fit in probes.items()]


Fit = Callable[[Samples, Samples], tuple[float, Callable[[Samples], "Predict"]]]
Predict = Callable[[NDArray[np.float32]], NDArray[np.int64]]


def best(name: str, row: str, probe: str, by_zoom: dict[float, Splits], fit: Fit, seconds: float) -> Score:
    """Choose the zoom on validation, fit to training and validation, and score the test split."""
    tried = {zoom: fit(splits["train"], splits["validation"]) for zoom, splits in by_zoom.items()}
    zoom = max(tried, key=lambda one: tried[one][0])
    splits = by_zoom[zoom]
    predict = tried[zoom][1](splits["train"] + splits["validation"])
    return scored(name, row, probe, splits["test"], predict, tried[zoom][0], zoom, seconds)


def scored(
    name: str, row: str, probe: str, test: Samples, predict: Predict, validation: float, zoom: float, seconds: float
) -> Score:
    found = predict(test.x)
    low, high = interval(found == test.y, test.groups)
    iou = float(jaccard_score(test.y, found, average="macro")) if name not in CHIPS else None
    return Score(name, row, probe, float((found == test.y).mean()), low, high, validation, zoom, iou, seconds)


def linear(train: Samples, validation: Samples) -> tuple[float, Callable[[Samples], Predict]]:
    """Fit logistic regressions to standardised features; the strength is the best on validation."""

    def fitted(samples: Samples, strength: float) -> Predict:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return model.fit(samples.x, samples.y).predict

    found = {one: float((fitted(train, one)(validation.x) == validation.y).mean()) for one in STRENGTHS}
    strength = max(found, key=lambda one: found[one])
    return found[strength], lambda samples: fitted(samples, strength)


def neighbours(train: Samples, validation: Samples) -> tuple[float, Callable[[Samples], Predict]]:
    """Let the 5 nearest vote, by the angle between features less the mean of the training split."""

    def fitted(samples: Samples) -> Predict:
        mean = samples.x.mean(axis=0)
        model = KNeighborsClassifier(NEIGHBOURS).fit(normalize(samples.x - mean), samples.y)
        return lambda x: model.predict(normalize(x - mean))

    return float((fitted(train)(validation.x) == validation.y).mean()), fitted


def forest(name: str, make: Make) -> Score:
    """Fit a random forest to single pixels' values."""
    started = time.perf_counter()
    splits = make(Colours(), 1)
    model = RandomForestClassifier(200, n_jobs=2, random_state=0, min_samples_leaf=2)
    validation = float(
        (
            model.fit(splits["train"].x, splits["train"].y).predict(splits["validation"].x) == splits["validation"].y
        ).mean()
    )
    both = splits["train"] + splits["validation"]
    predict = model.fit(both.x, both.y).predict
    return scored(
        name, "pixel values", "random forest", splits["test"], predict, validation, 1, time.perf_counter() - started
    )


def chips(name: str, data: Path) -> Make:
    """Open a set of chips; the rule of its values is that of its training images."""
    items = probe_set(name, data)
    images, waves = standardised(items, OPTIONS[name])
    classes = {one: number for number, one in enumerate(sorted({item.label for item in items}))}
    y = np.array([classes[item.label] for item in items])
    splits = np.array([item.split for item in items])

    def make(row: Features, zoom: float) -> Splits:
        x = row.vectors(images, waves, zoom)
        chosen = {split: splits == split for split in ("train", "validation", "test")}
        return {split: Samples(x[of], y[of], np.flatnonzero(of)) for split, of in chosen.items()}

    return make


def standardised(items: Sequence[Item], options: SceneOptions) -> tuple[list[torch.Tensor], tuple[float, ...]]:
    """Read all images, standardised by the rule that the training images settle; and their wavelengths in µm."""
    candidates = [
        Candidate((str(item.image),), tuple(read_headers((str(item.image),))))
        for item in items
        if item.split == "train"
    ]
    norms = next(iter(with_rules(candidates, options, FAMILY))).norms
    standardise = Standardiser(norms, CPU)
    images = []
    for item in items:
        with rasterio.open(item.image) as file:
            values = file.read()
        images.append(standardise(Pixels(values, np.ones(values.shape[1:], bool))))
    return images, tuple(norm.wavelength_um for norm in norms)


def tiles(name: str, data: Path) -> Make:
    """Open the tiles of a set with a class a pixel."""
    items = probe_set(name, data)
    images, waves = standardised(items, OPTIONS[name])
    of_code = cdl_classes(data)
    labels = []
    for item in items:
        with rasterio.open(item.label) as file:
            labels.append(of_code[file.read(1)])

    def make(row: Features, zoom: float) -> Splits:
        generator = np.random.default_rng(0)
        parts: dict[str, list[Samples]] = {"train": [], "validation": [], "test": []}
        for number, (item, image, y) in enumerate(zip(items, images, labels, strict=True)):
            share = PIXELS // len([one for one in items if one.split == item.split])
            at = generator.choice(y.size, min(share, y.size), replace=False)
            x = row.pixels(image, waves, zoom).reshape(y.size, -1)[at]
            parts[item.split].append(Samples(x, y.ravel()[at], np.full(len(at), number)))
        return {split: _joined(found) for split, found in parts.items()}

    return make


def _joined(parts: Sequence[Samples]) -> Samples:
    return Samples(*(np.concatenate([vars(part)[name] for part in parts]) for name in ("x", "y", "groups")))


def indian_pines(name: str, data: Path) -> Make:
    """Open Indian Pines; of each class, every third field of the training split is for validation."""
    folder = data / "aviris" / "indian_pines"
    path = str(folder / "indian_pines_200b.tif")
    prepared = prepare_scene(describe((path,), OPTIONS[name]), OPTIONS[name], FAMILY)
    values = np.asarray(prepared.scene.pixels)
    image = Standardiser(prepared.norms, CPU)(Pixels(values, np.ones(values.shape[1:], bool))).clone()
    with rasterio.open(folder / "indian_pines_gt.tif") as file:
        truth = file.read(1).astype(np.int64)
    with rasterio.open(folder / "indian_pines_split.tif") as file:
        split = file.read(1)
    field = np.zeros(truth.shape, np.int64)
    held = np.zeros(truth.shape, bool)
    for one in np.unique(truth[split == 1]):
        for part in (1, 2):
            found, count = connected((truth == one) & (split == part))
            field[found > 0] = found[found > 0] + field.max()
            if part == 1:
                held |= _held(found, count)
    where = {
        "train": (split == 1) & ~held,
        "validation": held,
        "test": (split == 2) & np.isin(truth, truth[split == 1]),
    }

    def make(row: Features, zoom: float) -> Splits:
        x = row.pixels(image, prepared.wavelengths_um, zoom)
        return {one: Samples(x[at], truth[at], field[at]) for one, at in where.items()}

    return make


def _held(found: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Choose the pixels for validation: every third field, or of a class with one field its lower third."""
    if count > 1:
        return np.isin(found, np.arange(2, count + 1, 3))
    rows = np.nonzero(found)[0]
    return (found > 0) & (np.arange(len(found))[:, None] > np.quantile(rows, 2 / 3))


def interval(right: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Return the 95 % interval of a share, drawing whole groups; Wilson's where each sample is a group."""
    names, of = np.unique(groups, return_inverse=True)
    if len(names) == len(right):
        n, p, z = len(right), right.mean(), 1.96
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return float((middle - half) / (1 + z**2 / n)), float((middle + half) / (1 + z**2 / n))
    hits, sizes = np.bincount(of, right), np.bincount(of)
    drawn = np.random.default_rng(0).integers(0, len(names), (DRAWS, len(names)))
    shares = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return float(np.quantile(shares, 0.025)), float(np.quantile(shares, 0.975))


def line(score: Score) -> str:
    iou = f"  mIoU {score.mean_iou:.3f}" if score.mean_iou is not None else ""
    return (
        f"{score.set:13} {score.row:32} {score.probe:14} {score.value:.3f} ({score.low:.3f}-{score.high:.3f})"
        f"  zoom {score.zoom:g}  validation {score.validation:.3f}{iou}  {score.seconds:.0f} s"
    )


MAKERS: dict[str, Callable[[str, Path], Make]] = {
    EUROSAT: chips,
    UC_MERCED: chips,
    CDL: tiles,
    INDIAN_PINES: indian_pines,
}

if __name__ == "__main__":
    main()
