"""Open every scene below a folder without a flag and say which instrument was found, by what evidence, with what bands.

Usage: python benchmarks/recognise_scenes.py FOLDER [--json FILE]

FOLDER may hold a MANIFEST.csv with columns path, sensor, level; rows whose sensor is "label" are no scenes, and what
the others say is printed beside what was found. Single-band files of one folder are taken as one scene.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import rasterio

from dofa_cli.errors import DofaError
from dofa_cli.pipelines.scenes.prepare import SceneOptions, describe, prepare_scene
from dofa_cli.pipelines.suggest import suggest

ENDINGS = (".tif", ".tiff", ".jp2", ".nc")
FAMILY = "dofa_v1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row(options.folder, paths, said) for paths, said in scenes(options.folder)]
    for _, alike in groupby(rows, key=lambda entry: (Path(str(entry["scene"])).parent, entry["found"], entry["used"])):
        first, *others = alike
        more = f"  and {len(others)} like it" if others else ""
        print(f"{first['scene']}{more}\n    said      {first['said']}\n    found     {first['found']}")
        print(f"    evidence  {first['evidence']}\n    used      {first['used']}")
    print(f"\n{sum(entry['opened'] for entry in rows)} of {len(rows)} scenes open without a flag")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def scenes(folder: Path) -> Iterator[tuple[list[Path], str]]:
    """Yield the files of each scene and what the manifest says of them."""
    told = manifest(folder)
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS]
    used = [path for path in files if told.get(path.relative_to(folder).as_posix(), ("", ""))[0] != "label"]
    for _, group in groupby(used, key=lambda path: (path.parent, None if is_single(path) else path)):
        paths = list(group)
        yield paths, " ".join(told.get(paths[0].relative_to(folder).as_posix(), ("not in the manifest", "")))


def manifest(folder: Path) -> dict[str, tuple[str, str]]:
    path = folder / "MANIFEST.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {entry["path"]: (entry["sensor"], entry["level"]) for entry in csv.DictReader(file)}


def is_single(path: Path) -> bool:
    try:
        with rasterio.open(path) as file:
            return bool(file.count == 1)
    except rasterio.RasterioIOError:
        return False


def row(folder: Path, paths: list[Path], said: str) -> dict[str, object]:
    """Describe one scene: what was found of it, and whether a run would start without a flag."""
    name = paths[0].relative_to(folder).as_posix() + (f" (+{len(paths) - 1})" if len(paths) > 1 else "")
    texts = [str(path) for path in paths]
    entry: dict[str, object] = {
        "scene": name,
        "said": said,
        "found": "-",
        "evidence": "-",
        "used": "-",
        "opened": False,
    }
    try:
        told = suggest(texts)
        first = told.found[0] if told.found else None
        entry["evidence"] = f"{first.sensor} {first.score}: {'; '.join(first.evidence)}" if first else "none"
        options = SceneOptions()
        prepared = prepare_scene(describe(texts, options), options, FAMILY)
    except DofaError as error:
        return entry | {"used": f"asks: {error}"}
    bands = [norm.band for norm in prepared.norms]
    shown = ",".join(bands) if len(bands) <= 13 else f"{len(bands)} bands {bands[0]} to {bands[-1]}"
    return entry | {
        "found": f"{prepared.sensor.id}, product {prepared.product.id} ({prepared.product_how})",
        "used": shown,
        "opened": True,
    }


if __name__ == "__main__":
    main()
