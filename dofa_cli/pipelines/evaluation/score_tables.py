"""Scores as rows of text, for the command line."""

from __future__ import annotations

from dofa_cli.assess.measured import METRICS, Measured, number
from dofa_cli.assess.report import Assessment

Rows = tuple[list[str], list[list[str]]]
"""A table's head and lines."""


def score_rows(measured: Measured) -> Rows:
    """Return scores with their intervals."""
    lines = [[METRICS[name].title, measured.written(name)] for name in measured.values]
    return ["score", "value (95 % interval)"], lines


def class_rows(one: Assessment) -> Rows:
    """Return scores by class, and areas in hectares where they are known; no lines without classes."""
    rows = one.measured.rows
    names = list(rows[0].values) if rows else []
    head = ["class", "labels", *(METRICS[name].title.split(" (")[0] for name in names)]
    lines = [[row.name, f"{row.reference:,.0f}", *(number(row.values[name]) for name in names)] for row in rows]
    if one.areas is not None:
        head += ["mapped ha", "corrected ha (95 % interval)"]
        for line, area in zip(lines, one.areas.rows, strict=True):
            found = area.adjusted_ha
            line += [f"{area.mapped_ha:,.1f}", f"{found.value:,.1f} ({found.low:,.1f} to {found.high:,.1f})"]
    return head, lines
