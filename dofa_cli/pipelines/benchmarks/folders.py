"""Data sets in folders: one folder a class, or images in one folder and their label rasters in another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dofa_cli.errors import LabelsUnreadable, SceneNotFound
from dofa_cli.pipelines.benchmarks.rows import Row
from dofa_cli.pipelines.learning.label_table import IMAGES, SPLITS, images_in

IMAGE_FOLDERS = ("img", "imgs", "image", "images", "img_dir")
LABEL_FOLDERS = ("label", "labels", "mask", "masks", "ann", "ann_dir", "gt")
LEAST_CLASSES = 2


def read_class_folders(data: Path) -> list[Row]:
    """List ``data/<class>/*`` or ``data/<part>/<class>/*``, also one folder further down.

    Files ``*train*.txt``, ``*val*.txt`` and ``*test*.txt`` beside the folders, with an image name a line, split them.
    Raises :class:`SceneNotFound` where there is no such folder.
    """
    _check(data)
    for top in (data, *_folders(data)):
        parts = {one: SPLITS[one.name.lower()] for one in _folders(top) if one.name.lower() in SPLITS}
        rows = [row for one, part in parts.items() for row in _classes(one, part)] if parts else list(_classes(top, ""))
        if len({row.label for row in rows}) >= LEAST_CLASSES:
            return _by_lists(rows, top) if not parts else rows
    raise SceneNotFound(f"{data} has no class folders: {data}/<class>/<image>, or {data}/train/<class>/<image>.")


def read_label_rasters(data: Path) -> list[Row]:
    """Pair images and label rasters of the same name in ``data/images`` and ``data/labels`` or the like.

    Parts are folders, ``data/train/img`` or ``data/img/train``, or lists as in :func:`read_class_folders`. Raises
    :class:`SceneNotFound` without such folders, :class:`LabelsUnreadable` where no name is in both.
    """
    _check(data)
    rows = list(_pairs(data, ""))
    for one in _folders(data):
        if one.name.lower() in SPLITS:
            rows += _pairs(one, SPLITS[one.name.lower()])
    if not rows:
        raise SceneNotFound(f"{data} has no folders of images and label rasters: {data}/images and {data}/labels.")
    return _by_lists(rows, data)


def _pairs(top: Path, part: str) -> Iterator[Row]:
    images, labels = _called(top, IMAGE_FOLDERS), _called(top, LABEL_FOLDERS)
    if images is None or labels is None:
        return
    inner = {one.name.lower() for one in _folders(images)} & set(SPLITS)
    places = [(images / name, labels / name, SPLITS[name]) for name in sorted(inner)] or [(images, labels, part)]
    for place, beside, its in places:
        found = {path.stem: path for path in images_in(beside)} if beside.is_dir() else {}
        rows = [Row(str(path), str(found[path.stem]), its) for path in images_in(place) if path.stem in found]
        if not rows:
            raise LabelsUnreadable(f"No label raster in {beside} has the name of an image in {place}.")
        yield from rows


def _called(top: Path, names: tuple[str, ...]) -> Path | None:
    return next((one for one in _folders(top) if one.name.lower() in names), None)


def _classes(top: Path, part: str) -> Iterator[Row]:
    for folder in _folders(top):
        for image in images_in(folder):
            yield Row(str(image), folder.name, part)


def _by_lists(rows: list[Row], top: Path) -> list[Row]:
    """Split rows by lists of names where there are any; images that none names are left out."""
    lists = {
        path: part
        for path in sorted((*top.glob("*.txt"), *top.parent.glob("*.txt"), *top.glob("dataset/*.txt")))
        for word, part in SPLITS.items()
        if word in path.stem.lower().replace("-", "_").split("_")
    }
    if not lists or any(row.split for row in rows):
        return rows
    parts = {
        _stem(line): part for path, part in lists.items() for line in path.read_text().splitlines() if line.strip()
    }
    named = [Row(row.image, row.label, parts[stem]) for row in rows if (stem := _stem(row.image)) in parts]
    return named or rows


def _stem(line: str) -> str:
    """Return the name of an image without folder and ending; names may hold dots."""
    path = Path(line.strip())
    return path.stem if path.suffix.lower() in IMAGES else path.name


def _folders(top: Path) -> list[Path]:
    return [one for one in sorted(top.iterdir()) if one.is_dir() and not one.name.startswith(".")]


def _check(data: Path) -> None:
    if not data.is_dir():
        raise SceneNotFound(f"No folder {data}. --data names the folder of the data set.")
