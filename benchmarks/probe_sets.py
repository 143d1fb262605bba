"""The labelled sets that encoders are probed on, and their splits: one rule, used by training and by every table.

Chips and tiles are split by the content of their files: of each class, ordered by SHA-256, the first fifth is ``test``,
the second ``validation``, the rest ``train``. No seed is involved, and a copy of an image stays in its split.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "validation", "test"]
PARTS = 5
EUROSAT, UC_MERCED, CDL = "eurosat-rgb", "uc-merced", "landsat-cdl"


@dataclass(frozen=True)
class Item:
    """One labelled image: ``label`` is a class name, or the path of a label raster; ``stratum`` balances the splits."""

    image: Path
    label: str
    stratum: str
    split: Split


def probe_set(name: str, data: Path) -> list[Item]:
    """Return the items of one of the sets below a folder of data."""
    return {EUROSAT: eurosat, UC_MERCED: uc_merced, CDL: landsat_cdl}[name](data)


def eurosat(data: Path) -> list[Item]:
    """EuroSAT, red, green and blue, 64 pixels, 10 classes of land use."""
    rows = _rows(data / "sentinel2_rgb" / "eurosat" / "index.csv")
    return split((data / row["path"], row["class"], row["class"]) for row in rows)


def uc_merced(data: Path) -> list[Item]:
    """UC Merced, aerial red, green and blue, 256 pixels of 0.3 m, 21 classes of land use."""
    rows = _rows(data / "aerial_rgb" / "ucmerced" / "index.csv")
    return split((data / row["path"], row["class"], row["class"]) for row in rows)


def landsat_cdl(data: Path) -> list[Item]:
    """Landsat 8 surface reflectance, 128 pixels of 30 m, with a crop code for each pixel; whole tiles in a split."""
    rows = _rows(data / "landsat8" / "agnet_cdl" / "index.csv")
    return split((data / row["image"], str(data / row["label"]), row["dominant_class"]) for row in rows)


def cdl_classes(data: Path) -> NDArray[np.int64]:
    """Return a table from crop codes (0 to 255) to class numbers, those of remap.json in alphabetical order."""
    remap, names = _remap(data), cdl_names(data)
    return np.array([names.index(remap["cdl_to_class"].get(str(code), remap["default"])) for code in range(256)])


def cdl_names(data: Path) -> list[str]:
    """Return the names of the classes that :func:`cdl_classes` numbers."""
    remap = _remap(data)
    return sorted({*remap["cdl_to_class"].values(), remap["default"]})


def _remap(data: Path) -> dict[str, Any]:
    remap: dict[str, Any] = json.loads((data / "landsat8" / "agnet_cdl" / "remap.json").read_text())
    return remap


def split(found: Iterable[tuple[Path, str, str]]) -> list[Item]:
    """Split (image, label, stratum) by the content of the images, within each stratum."""
    strata: dict[str, list[tuple[str, Path, str]]] = defaultdict(list)
    for image, label, stratum in found:
        strata[stratum].append((checksum(image), image, label))
    return [
        Item(image, label, stratum, _split(rank, len(members)))
        for stratum, members in strata.items()
        for rank, (_, image, label) in enumerate(sorted(members))
    ]


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept_from_training(data: Path) -> list[Path]:
    """Return all images of a probe's validation or test split."""
    sets = (probe_set(name, data) for name in (EUROSAT, UC_MERCED, CDL))
    return sorted(item.image for items in sets for item in items if item.split != "train")


def _split(rank: int, count: int) -> Split:
    part = rank * PARTS // count
    return "test" if part == 0 else "validation" if part == 1 else "train"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
