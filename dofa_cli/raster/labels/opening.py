"""Labels opened: by what a file is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dofa_cli.classes import ClassTable
from dofa_cli.errors import LabelsUnreadable, NoBands, NotARaster, SceneError
from dofa_cli.raster.labels.block import LabelOptions, Labels
from dofa_cli.raster.labels.vectors import is_vector
from dofa_cli.raster.source import Grid


def open_labels(
    path: str | Path,
    grid: Grid,
    *,
    field: str | None = None,
    ignore: Sequence[int | str] = (),
    nodata: int | None = None,
    numeric: bool = False,
    classes: ClassTable | None = None,
    buffer_m: float | None = None,
) -> Labels:
    """Open labels for a scene on ``grid``: a vector file (or ``file:layer``) or a raster, in any coordinate system.

    ``field`` is the column of a vector file's classes; without it the only plausible one is taken. Text becomes names
    in alphabetical order with values from 1; whole numbers stay. A pixel takes the label of the polygon over its
    centre; points label the pixel they lie in, or all within ``buffer_m`` metres. Pixels claimed by polygons of two
    classes are unlabelled. A raster is brought onto ``grid`` by its nearest pixels.

    ``ignore`` are class values or names that count as unlabelled, ``nodata`` one more value of a raster. ``numeric``
    reads numbers instead of classes. ``classes`` are those of a head: labels are mapped to them by name, else by value.

    Raises :class:`LabelsUnreadable`, :class:`UnknownField`, :class:`LabelsMiss`, :class:`TooFewLabels` or
    :class:`LabelError`.
    """
    options = LabelOptions(field, tuple(ignore), nodata, numeric, classes, buffer_m)
    name = str(path)
    if is_vector(name):
        from dofa_cli.raster.labels.drawn import open_drawn_labels

        return open_drawn_labels(name, grid, options)
    from dofa_cli.raster.labels.rasters import open_raster_labels

    try:
        return open_raster_labels(name, grid, options)
    except (NotARaster, NoBands) as error:
        raise LabelsUnreadable(f"{name} is neither a vector nor a raster file of labels.") from error
    except SceneError as error:
        raise LabelsUnreadable(f"Labels: {error}") from None
