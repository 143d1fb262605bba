"""Images and their labels as a list: a CSV or Parquet table, a folder of class folders, label rasters beside scenes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dofa_cli.errors import LabelsUnreadable, OptionError, TooFewLabels, UnknownField

IMAGES = {".tif", ".tiff", ".jp2", ".img", ".vrt", ".jpg", ".jpeg", ".png", ".bsq", ".dat", ".nc", ".h5", ".hdf5"}
"""Endings of files that are taken as images."""
TABLES = {".csv", ".parquet"}
SEPARATOR = "|"
"""Between the names of several labels of one image."""
IMAGE, LABEL, SENSOR, SPLIT, FOLD = "image", "label", "sensor", "split", "fold"
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What tables call a split, and what it is called here."""

Label = str | float | tuple[str, ...]


class LabelKind(StrEnum):
    """What the labels of a list are."""

    RASTERS = "label rasters"
    NAMES = "class names"
    SEVERAL = "several class names an image"
    NUMBERS = "numbers"


@dataclass(frozen=True)
class Labelled:
    """One image and its label: a path of a label raster, a class name, several names, or a number.

    ``split`` is ``train``, ``validation`` or ``test``, ``fold`` a number; both are ``None`` where the list has none.
    """

    image: str
    label: Label
    sensor: str | None = None
    split: str | None = None
    fold: int | None = None


@dataclass(frozen=True)
class LabelList:
    """All images of a training run; ``source`` is the file or folder that lists them."""

    rows: tuple[Labelled, ...]
    kind: LabelKind
    source: str
    notes: tuple[str, ...] = ()

    @property
    def sensor(self) -> str | None:
        """The sensor that the list names; :class:`OptionError` when it names several, for a head has one."""
        named = sorted({row.sensor for row in self.rows if row.sensor})
        if len(named) > 1:
            raise OptionError(f"{self.source} names {len(named)} sensors ({', '.join(named)}). Train a head for each.")
        return named[0] if named else None


def read_table(path: str | Path, column: str | None = None, *, numbers: bool = False) -> LabelList:
    """Read a table with columns ``image`` and ``label`` (or ``column``), and ``sensor``, ``split``, ``fold`` if any.

    Paths are relative to the table's folder. Labels are class names unless the column holds fractions or ``numbers``
    are wanted, label rasters where all name a file. Raises :class:`LabelsUnreadable`, :class:`UnknownField`,
    :class:`OptionError` for splits of unknown names, and :class:`TooFewLabels` for an empty table.
    """
    table = Path(path)
    columns = _columns(table)
    for wanted in (IMAGE, column or LABEL):
        _check_column(wanted, columns, table)
    images, labels = columns[IMAGE], columns[column or LABEL]
    kept = [at for at, label in enumerate(labels) if not _is_missing(label) and not _is_missing(images[at])]
    if not kept:
        raise TooFewLabels(f"{table} has no row with an image and a label.")
    found = [_inside(table.parent, str(images[at])) for at in kept]
    _check_images(found, table)
    kind, values = _told([labels[at] for at in kept], table.parent, numbers=numbers)
    rows = tuple(
        Labelled(image, value, _text(columns, SENSOR, at), _split(columns, at, table), _fold(columns, at, table))
        for at, image, value in zip(kept, found, values, strict=True)
    )
    left = len(labels) - len(kept)
    return LabelList(rows, kind, str(table), (f"{table.name}: {left} rows without a label left out.",) if left else ())


def class_folders(folder: str | Path) -> LabelList | None:
    """List the images of a folder whose subfolders are classes; ``None`` if it is no such folder."""
    top = Path(folder)
    if not top.is_dir():
        return None
    rows = [
        Labelled(str(image), place.name)
        for place in sorted(top.iterdir())
        if place.is_dir() and not place.name.startswith(".")
        for image in images_in(place)
    ]
    return LabelList(tuple(rows), LabelKind.NAMES, str(top)) if rows else None


def rasters_beside(scenes: Sequence[str], folder: str | Path) -> LabelList:
    """Pair scenes with the label rasters of the same stem in ``folder``.

    Raises :class:`LabelsUnreadable` when no scene has one; scenes without are left out and counted.
    """
    by_stem = {path.stem: path for path in images_in(Path(folder))}
    pairs = [(scene, by_stem.get(Path(scene).stem)) for scene in scenes]
    rows = tuple(Labelled(scene, str(label)) for scene, label in pairs if label is not None)
    if not rows:
        raise LabelsUnreadable(
            f"No label raster in {folder} has the name of a scene, for instance "
            f"'{Path(scenes[0]).stem}{next(iter(by_stem.values()), Path('x.tif')).suffix}'. "
            "A table of images and labels (CSV) pairs any names."
        )
    left = len(scenes) - len(rows)
    notes = (f"{left} scenes without a label raster in {folder} left out.",) if left else ()
    return LabelList(rows, LabelKind.RASTERS, str(folder), notes)


def images_in(folder: Path) -> list[Path]:
    """Return the images directly inside a folder, by name."""
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGES and path.is_file()]


def class_names(rows: Iterable[Labelled]) -> list[str]:
    """Return the class names of rows, one or several each, in alphabetical order."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update([row.label] if isinstance(row.label, str) else row.label if isinstance(row.label, tuple) else [])
    return sorted(counts)


def _columns(table: Path) -> Mapping[str, list[Any]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(table) if table.suffix.lower() == ".parquet" else pd.read_csv(table)
    except FileNotFoundError:
        raise LabelsUnreadable(f"No table '{table}'.") from None
    except (OSError, ValueError) as error:  # pandas' and pyarrow's errors of damaged tables are ValueErrors
        raise LabelsUnreadable(f"{table} cannot be read as a table: {str(error).splitlines()[0]}") from None
    return {str(name): frame[name].tolist() for name in frame.columns}


def _check_column(wanted: str, columns: Mapping[str, Any], table: Path) -> None:
    if wanted in columns:
        return
    near = difflib.get_close_matches(wanted, list(columns), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    remedy = " --class-field names another column of labels." if wanted == LABEL and not near else ""
    raise UnknownField(f"{table} has no column '{wanted}'; it has {', '.join(columns)}.{hint}{remedy}")


def _check_images(images: Sequence[str], table: Path) -> None:
    missing = [image for image in images if "://" not in image and not Path(image).exists()]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise LabelsUnreadable(f"{table} names images that are not there: {missing[0]}{more}.")


def _told(labels: Sequence[Any], folder: Path, *, numbers: bool) -> tuple[LabelKind, list[Label]]:
    """Decide what labels are, and return them in that form."""
    if numbers or any(isinstance(label, float) and not label.is_integer() for label in labels):
        return LabelKind.NUMBERS, [_number(label) for label in labels]
    if any(not isinstance(label, str | int | float) for label in labels):
        return LabelKind.SEVERAL, [tuple(str(one) for one in label) for label in labels]
    texts = [_name(label) for label in labels]
    if any(SEPARATOR in text for text in texts):
        return LabelKind.SEVERAL, [tuple(one.strip() for one in text.split(SEPARATOR) if one.strip()) for text in texts]
    paths = [Path(_inside(folder, text)) for text in texts]
    if paths[0].is_file() or all(path.suffix.lower() in IMAGES for path in paths):
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise LabelsUnreadable(f"{len(missing)} label rasters are not there, the first {missing[0]}.")
        return LabelKind.RASTERS, [str(path) for path in paths]
    return LabelKind.NAMES, list(texts)


def _number(label: Any) -> float:
    try:
        return float(label)
    except (TypeError, ValueError):
        raise OptionError(f"'{label}' is not a number, which --task regress needs.") from None


def _name(label: Any) -> str:
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()


def _split(columns: Mapping[str, list[Any]], at: int, table: Path) -> str | None:
    text = _text(columns, SPLIT, at)
    if text is None:
        return None
    if text.lower() not in SPLITS:
        raise OptionError(f"{table} has split '{text}' in row {at + 2}; use train, validation or test.")
    return SPLITS[text.lower()]


def _fold(columns: Mapping[str, list[Any]], at: int, table: Path) -> int | None:
    text = _text(columns, FOLD, at)
    if text is None:
        return None
    value = _name(columns[FOLD][at])
    if not value.isdigit():
        raise OptionError(f"{table} has fold '{text}' in row {at + 2}; use whole numbers from 0.")
    return int(value)


def _text(columns: Mapping[str, list[Any]], name: str, at: int) -> str | None:
    value = columns[name][at] if name in columns else None
    return None if _is_missing(value) else str(value).strip()


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 - NaN
    return value is None or (isinstance(value, str) and not value.strip())


def _inside(folder: Path, path: str) -> str:
    """Return a path of a table: absolute, an address, or relative to the table's folder."""
    return path if "://" in path or Path(path).is_absolute() else str(folder / path)
