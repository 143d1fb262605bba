"""What a user gives to train with: scenes with labels on the ground, folders of classes, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dofa_cli.errors import LabelsUnreadable, OptionError
from dofa_cli.heads.head import Task
from dofa_cli.pipelines.chips.files import find_images
from dofa_cli.pipelines.inputs.named import Input, Key, keys_of
from dofa_cli.pipelines.inputs.options import check_options
from dofa_cli.pipelines.inputs.places import InputPlace, group_inputs
from dofa_cli.pipelines.learning.label_table import (
    IMAGE,
    TABLES,
    LabelKind,
    Labelled,
    LabelList,
    class_folders,
    rasters_beside,
    read_table,
)
from dofa_cli.pipelines.pretraining.drawable import Paths
from dofa_cli.pipelines.scenes.prepare import SceneOptions

TASK_OF = {
    LabelKind.RASTERS: Task.SEGMENT,
    LabelKind.NAMES: Task.CLASSIFY,
    LabelKind.SEVERAL: Task.CLASSIFY,
    LabelKind.NUMBERS: Task.REGRESS,
}


@dataclass(frozen=True)
class Inputs:
    """Images and labels: ``scenes`` as (files, labels) where pixels are labelled, else ``images`` labelled as a whole.

    ``listed`` is the table or folder that says so, if one does. Of several inputs a place, ``scenes`` are the first
    ones, ``places`` hold all that go with each, and ``keys`` tell which there are.
    """

    task: Task
    scenes: tuple[tuple[Paths, str], ...] = ()
    images: tuple[Labelled, ...] = ()
    listed: LabelList | None = None
    places: tuple[InputPlace, ...] = ()
    keys: tuple[Key, ...] = ()

    @property
    def rows(self) -> tuple[Labelled, ...]:
        """The lines of the list, one an image or scene."""
        return () if self.listed is None else self.listed.rows


def find_inputs(scene: Sequence[str], labels: str | None, column: str | None, task: Task | None) -> Inputs:
    """Tell what ``scene`` and ``labels`` are.

    Raises :class:`OptionError` for what does not go together, and the errors of
    :mod:`dofa_cli.pipelines.learning.label_table`.
    """
    table = labels if labels is not None else scene[0] if len(scene) == 1 else None
    if table is not None and is_table(table):
        if labels is not None and scene:
            raise OptionError(f"{labels} names its own images; leave --scene out, or give labels that are no table.")
        return _of_list(read_table(table, column, numbers=task is Task.REGRESS), task)
    if not scene:
        raise OptionError(
            "Name what to train on: --scene with --labels, --labels with a table, or a folder of classes."
        )
    if labels is None:
        folders = class_folders(scene[0]) if len(scene) == 1 else None
        if folders is None:
            raise OptionError("Give --labels: a vector file, a label raster, a folder of label rasters or a table.")
        return _of_list(folders, task)
    if not Path(labels.split(":")[0]).exists() and not Path(labels).exists():
        raise LabelsUnreadable(f"No labels at '{labels}'.")
    files = find_images(scene)
    if Path(labels).is_dir():
        return _of_list(rasters_beside([paths[0] for paths in files], labels), task)
    if task is Task.CLASSIFY:
        raise OptionError(
            "--task classify needs a class an image: a folder of class folders, or a table. Labels on "
            "the ground are for --task segment."
        )
    return Inputs(task or Task.SEGMENT, tuple((paths, labels) for paths in files))


def find_input_places(inputs: Sequence[Input], labels: str | None, task: Task | None, options: SceneOptions) -> Inputs:
    """Tell which places several inputs make, and where the labels of each are.

    Raises :class:`OptionError` for what is not labels on the ground, and what
    :func:`~dofa_cli.pipelines.inputs.places.group_inputs` raises.
    """
    check_options(inputs, options)
    if labels is None or is_table(labels) or task is Task.CLASSIFY:
        raise OptionError(
            f"Several inputs of a place ({inputs[0].name}, …) go with --labels on the ground: vector files, or label "
            "rasters."
        )
    if not Path(labels.split(":")[0]).exists() and not Path(labels).exists():
        raise LabelsUnreadable(f"No labels at '{labels}'.")
    keys = keys_of(inputs)
    places = group_inputs(inputs, options)
    firsts = [place.inputs[0].paths for place in places]
    if Path(labels).is_dir():
        found = _of_list(rasters_beside([paths[0] for paths in firsts], labels), task)
        images = {row.image for row in found.rows}
        return replace(found, places=tuple(p for p in places if p.inputs[0].paths[0] in images), keys=keys)
    return Inputs(task or Task.SEGMENT, tuple((paths, labels) for paths in firsts), places=places, keys=keys)


def is_table(path: str) -> bool:
    """Whether a file lists images: a CSV file, or a Parquet file with a column of images."""
    suffix = Path(path).suffix.lower()
    if suffix not in TABLES or not Path(path).is_file():
        return suffix == ".csv"
    if suffix == ".csv":
        return True
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return IMAGE in pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return True  # reading it says what is wrong


def _of_list(listed: LabelList, task: Task | None) -> Inputs:
    natural = TASK_OF[listed.kind]
    fitting = (Task.SEGMENT, Task.REGRESS) if listed.kind is LabelKind.RASTERS else (natural,)
    if task is not None and task not in fitting:
        raise OptionError(
            f"{listed.source} holds {listed.kind}, which are for --task {' or '.join(fitting)}, not {task}."
        )
    if listed.kind is LabelKind.RASTERS:
        pairs = tuple(((row.image,), str(row.label)) for row in listed.rows)
        return Inputs(task or natural, scenes=pairs, listed=listed)
    return Inputs(natural, images=listed.rows, listed=listed)
