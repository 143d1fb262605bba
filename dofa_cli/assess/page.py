"""The report as one HTML page that needs no other file: it can be mailed, printed and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dofa_cli.assess import figures
from dofa_cli.assess.areas import Areas, Estimate
from dofa_cli.assess.compare import Comparison
from dofa_cli.assess.intervals import Interval
from dofa_cli.assess.markup import bullets, cell, document, image, pairs, swatch, table, tag
from dofa_cli.assess.measured import METRICS, Measured, number
from dofa_cli.assess.report import Assessment, Folds, Split

MOST_MAPS = 12
"""Maps of folds that are shown."""
MOST_MISTAKES = 24
_PLAIN = {
    "overall_accuracy": "share of samples with the right class",
    "mean_iou": "mean over classes of intersection over union",
    "mean_f1": "mean over classes of F1",
    "balanced_accuracy": "mean over classes of recall",
    "kappa": "agreement beyond chance",
    "boundary_f1": "borders that lie right, within some pixels",
    "bias": "mean of predicted − reference",
    "r2": "share of the variance explained",
    "rmse": "root of the mean squared error",
    "mae": "mean absolute error",
}


def page(assessments: Sequence[Assessment], comparison: Comparison | None = None, title: str = "") -> str:
    """Return the page of one or several heads, with a table side by side where a comparison is given."""
    named = title or (assessments[0].name if len(assessments) == 1 else "Comparison of heads")
    return document(f"Accuracy: {named}", _body(assessments, comparison, named))


def _body(assessments: Sequence[Assessment], comparison: Comparison | None, title: str) -> Iterator[str]:
    yield tag("h1", title)
    if comparison is not None:
        yield from _side_by_side(comparison)
    for one in assessments:
        if len(assessments) > 1:
            yield tag("h1", one.name)
        yield from _assessment(one)


def _side_by_side(comparison: Comparison) -> Iterator[str]:
    held = comparison.table
    rows = (
        [cell(text, css="best" if (row, column) in held.best else "") for column, text in enumerate(line)]
        for row, line in enumerate(held.rows)
    )
    yield tag("h2", "Side by side")
    yield table(held.columns, rows)
    if comparison.duels:
        yield bullets([duel.sentence() for duel in comparison.duels])
        told = (
            "McNemar's test takes samples to be independent; where they lie side by side, trust the intervals instead."
        )
        yield tag("p", told, "soft")


def _assessment(one: Assessment) -> Iterator[str]:
    measured = one.measured
    yield tag("p", f"{_TASKS.get(one.task, one.task)}; {measured.samples:,} test samples.", "soft")
    yield from _headline(measured)
    yield bullets(one.all_notes, "notes")
    if measured.rows:
        yield from _classes(measured)
    if measured.confusion is not None:
        yield from _confusion(measured)
    if measured.pairs is not None:
        yield tag("h2", "Predicted against reference")
        yield image(figures.scatter_figure(measured), "Predicted over reference numbers, with the line of equality")
    if one.areas is not None:
        yield from _areas(one.areas)
    yield from _splits(one.split, one.folds, [row.name for row in measured.rows])
    yield from _mistakes(one)
    yield from _made(one)


_TASKS = {"segment": "Map of classes", "classify": "Classes of images", "regress": "Numbers"}


def _headline(measured: Measured) -> Iterator[str]:
    yield '<div class="scores">'
    for name, value in measured.values.items():
        unit = f" {measured.unit}" if measured.unit and name != "r2" else ""
        ends = measured.intervals.get(name)
        told = [tag("span", METRICS[name].title), tag("b", number(value) + unit)]
        told += [tag("span", f"95 %: {_ends(ends)}")] if ends else []
        told += [tag("span", _PLAIN[name])] if name in _PLAIN else []
        yield f'<div class="score">{"".join(told)}</div>'
    yield "</div>"
    yield tag("p", measured.uncertainty, "soft")


def _classes(measured: Measured) -> Iterator[str]:
    scores = list(measured.rows[0].values)
    titles = ("class", "reference", "predicted", *(METRICS[name].title for name in scores))
    rows = (
        [
            swatch(row.colour, row.name),
            *(cell(_count(many)) for many in (row.reference, row.predicted)),
            *(cell(number(row.values[name]), _ends(row.intervals.get(name))) for name in scores),
        ]
        for row in measured.rows
    )
    yield tag("h2", "Classes")
    yield table(titles, rows)
    yield image(figures.f1_figure(measured.rows), "F1 of each class with its 95 % interval")


def _confusion(measured: Measured) -> Iterator[str]:
    assert measured.confusion is not None
    names = [row.name for row in measured.rows]
    yield tag("h2", "What is taken for what")
    yield tag("p", "Rows are the reference, columns the prediction; colours are shares of the row.", "soft")
    yield image(figures.confusion_figure(measured.confusion, names), "Confusion matrix")


def _areas(areas: Areas) -> Iterator[str]:
    titles = ("class", "on the map, ha", "estimated, ha", "user's accuracy", "producer's accuracy", "samples")
    rows = (
        [
            cell(row.name),
            cell(_hectares(row.mapped_ha)),
            cell(_hectares(row.adjusted_ha.value), _between(row.adjusted_ha, hectares=True)),
            *(cell(number(one.value), _between(one)) for one in (row.users, row.producers)),
            cell(_count(row.samples)),
        ]
        for row in areas.rows
    )
    yield tag("h2", "Areas")
    ends = _between(areas.overall)
    yield tag("p", f"Overall accuracy by area: {number(areas.overall.value)}" + (f" ({ends})" if ends else "") + ".")
    yield table(titles, rows)
    yield tag("p", f"{areas.uncertainty} Method: Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015.", "soft")


def _splits(split: Split | None, folds: Folds | None, names: Sequence[str]) -> Iterator[str]:
    if split is not None:
        yield tag("h2", "How the labels were split")
        yield tag("p", split.description)
        if split.counts:
            yield _split_table(split, names)
    if folds is not None:
        yield from _folds(folds)


def _split_table(split: Split, names: Sequence[str]) -> str:
    columns = list(split.counts.values())
    by_class = len(names) > 0 and all(len(counts) == len(names) for counts in columns)
    lines = list(zip(names, *columns, strict=True)) if by_class else []
    lines.append(("all", *(sum(counts) for counts in columns)))
    rows = ([cell(str(line[0])), *(cell(f"{int(many):,}") for many in line[1:])] for line in lines)
    return table(("class" if by_class else "samples", *split.counts), rows)


def _folds(folds: Folds) -> Iterator[str]:
    if folds.scores:
        names = list(next(iter(folds.scores.values())))
        titles = ("fold", *(METRICS[name].title if name in METRICS else name for name in names))
        rows = (
            [cell(str(fold)), *(cell(_fold_score(name, values.get(name, np.nan))) for name in names)]
            for fold, values in folds.scores.items()
        )
        yield tag("h3", "Folds")
        yield table(titles, rows)
    for name, fold_map in list(folds.maps.items())[:MOST_MAPS]:
        yield tag("h3", name)
        yield image(figures.fold_figure(fold_map, folds.roles), f"Map of the folds of {name}")
    if len(folds.maps) > MOST_MAPS:
        yield tag("p", f"{len(folds.maps) - MOST_MAPS} more scenes are not shown.", "soft")


def _mistakes(one: Assessment) -> Iterator[str]:
    if not one.mistakes:
        return
    yield tag("h2", "Worst mistakes")
    yield tag("p", "Samples whose wrong class was given with most confidence.", "soft")
    yield '<div class="mistakes">'
    for mistake in one.mistakes[:MOST_MISTAKES]:
        told = f"{mistake.reference}, taken for {mistake.predicted}"
        caption = f"<figcaption>{tag('b', told)}<br>{tag('span', mistake.caption)}</figcaption>"
        yield f"<figure>{image(figures.png(mistake.image), told)}{caption}</figure>"
    yield "</div>"


def _made(one: Assessment) -> Iterator[str]:
    if one.left_out:
        yield tag("h2", "What was left out")
        yield bullets(one.left_out)
    if one.facts or one.command or one.versions:
        yield tag("h2", "How this was made")
    if one.facts:
        yield pairs(one.facts.items())
    if one.command:
        yield tag("pre", one.command)
    if one.versions:
        yield tag("p", ", ".join(f"{name} {version}" for name, version in one.versions.items()), "soft")


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f"{number(interval.low)} to {number(interval.high)}"


def _between(estimate: Estimate, *, hectares: bool = False) -> str:
    """Return the ends of an estimate, within what is possible: shares from 0 to 1, areas from 0."""
    if not np.isfinite([estimate.low, estimate.high]).all():
        return ""
    low, high = max(estimate.low, 0.0), estimate.high if hectares else min(estimate.high, 1.0)
    told = _hectares if hectares else number
    return f"{told(low)} to {told(high)}"


def _hectares(area: float) -> str:
    return "–" if not np.isfinite(area) else f"{area:,.2f}" if area < 100 else f"{area:,.0f}"


def _count(many: float) -> str:
    return f"{many:,.0f}" if float(many).is_integer() else f"{many:,.1f}"


def _fold_score(name: str, value: float) -> str:
    return number(value) if name in METRICS else _count(value)
