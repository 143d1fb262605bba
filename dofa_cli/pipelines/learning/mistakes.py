"""The worst mistakes of a head: where it was surest of a wrong answer, with a small picture."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.assess.measured import number as written
from dofa_cli.assess.report import Mistake
from dofa_cli.pipelines.learning.draft import Index
from dofa_cli.pipelines.learning.lessons import Lesson
from dofa_cli.raster.grid import Window
from dofa_cli.raster.reader import read_window

MOST = 12
OF_A_KIND = 2
"""Mistakes shown of the same two classes, and of the same block or scene."""
CROP = 64
"""Side of a picture in pixels of the scene."""
COLOURS_UM = (0.665, 0.56, 0.49)
"""Wavelengths of red, green and blue."""


def worst_mistakes(lesson: Lesson, at: Index, outputs: NDArray[np.float32]) -> tuple[Mistake, ...]:
    """Return the mistakes of largest confidence among samples ``at`` (n,), a few of each kind.

    ``outputs`` (n, K) are probabilities, or standardised numbers, whose largest errors are shown.
    """
    if lesson.several:
        return ()
    if lesson.classes is None:
        return _of_numbers(lesson, at, outputs[:, 0])
    names, truth = lesson.classes.names, lesson.targets[at].astype(int)
    known = np.isfinite(outputs).all(axis=1)
    given = np.where(known, outputs.argmax(axis=1), truth)
    sure = np.where(given != truth, outputs.max(axis=1, where=np.isfinite(outputs), initial=0), -1)
    chosen = _varied(np.argsort(-sure, kind="stable")[: int((sure >= 0).sum())], (truth, given), lesson.sites.unit[at])
    return tuple(
        Mistake(
            _picture(lesson, int(at[n])),
            names[truth[n]],
            names[given[n]],
            f"{sure[n]:.0%} sure; {_where(lesson, int(at[n]))}",
        )
        for n in chosen
    )


def _varied(order: Index, pair: tuple[NDArray[Any], NDArray[Any]], unit: NDArray[Any]) -> list[int]:
    """Return the first samples of an order: few of each pair of classes and each unit of ground, one of both."""
    chosen: list[int] = []
    seen: Counter[Any] = Counter()
    for n in order.tolist():
        keys = (int(pair[0][n]), int(pair[1][n])), int(unit[n])
        if len(chosen) < MOST and all(seen[key] < OF_A_KIND for key in keys) and not seen[keys]:
            chosen.append(n)
            seen.update((*keys, keys))
    return chosen


def _of_numbers(lesson: Lesson, at: Index, outputs: NDArray[np.float32]) -> tuple[Mistake, ...]:
    assert lesson.target is not None
    truth, given = (values * lesson.target.std + lesson.target.mean for values in (lesson.targets[at], outputs))
    error = np.where(np.isfinite(given), np.abs(given - truth), -1)
    found: list[Mistake] = []
    seen: set[int] = set()
    for n in np.argsort(-error, kind="stable"):
        unit = int(lesson.sites.unit[at[n]])
        if error[n] >= 0 and unit not in seen and len(found) < MOST:
            seen.add(unit)
            pair = written(float(truth[n])), written(float(given[n]))
            found.append(Mistake(_picture(lesson, int(at[n])), *pair, _where(lesson, int(at[n]))))
    return tuple(found)


def _where(lesson: Lesson, sample: int) -> str:
    if lesson.chips is not None:
        return lesson.chips.paths[sample][0].rsplit("/", 1)[-1]
    points = lesson.points
    return f"{lesson.places[points.scene[sample]].name}, row {points.row[sample]}, column {points.col[sample]}"


def _picture(lesson: Lesson, sample: int) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of a chip, or of the scene around a pixel."""
    if lesson.chips is not None:
        return painted(lesson.chips.batch([sample])[0].numpy(), lesson.chips.wavelengths_um)
    points, half = lesson.points, CROP // 2
    prepared = lesson.places[points.scene[sample]].prepared
    around = Window(int(points.row[sample]) - half, int(points.col[sample]) - half, CROP, CROP)
    inside = around.intersect(Window(0, 0, prepared.scene.height, prepared.scene.width))
    block = read_window(prepared.scene, inside)
    picture = painted(np.where(block.valid, block.values, np.nan), prepared.wavelengths_um)
    row, col = points.row[sample] - inside.row, points.col[sample] - inside.col
    return marked(picture, int(row), int(col))


def painted(values: NDArray[Any], wavelengths_um: tuple[float, ...]) -> NDArray[np.uint8]:
    """Paint (bands, height, width) in the bands nearest to red, green and blue, each stretched to its own values.

    Images of one or two bands, and those that see no visible light, are grey.
    """
    near = [min(range(len(values)), key=lambda band: abs(wavelengths_um[band] - um)) for um in COLOURS_UM]
    chosen = near if len(set(near)) == len(near) else [0, 0, 0]
    layers = []
    for band in chosen:
        layer = values[band].astype(np.float64)
        finite = layer[np.isfinite(layer)]
        low, high = np.percentile(finite, (2, 98)) if finite.size else (0.0, 1.0)
        layers.append(np.nan_to_num((layer - low) / max(high - low, 1e-9)).clip(0, 1))
    return (255 * np.stack(layers, axis=-1)).round().astype(np.uint8)


def marked(picture: NDArray[np.uint8], row: int, col: int, reach: int = 3) -> NDArray[np.uint8]:
    """Draw a yellow frame around a pixel of a picture."""
    framed = picture.copy()
    top, bottom = max(row - reach, 0), min(row + reach, len(framed) - 1)
    left, right = max(col - reach, 0), min(col + reach, framed.shape[1] - 1)
    for rows, cols in ((top, slice(left, right + 1)), (bottom, slice(left, right + 1))):
        framed[rows, cols] = (255, 220, 0)
    framed[top : bottom + 1, [left, right]] = (255, 220, 0)
    return framed
