"""Tables as columns: CSV, or JSON as a list of objects or an object of lists."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dofa_cli.errors import BadSensorFile
from dofa_cli.sensors.making.found import MOST_BANDS, check_count, listed, shown

MOST_ROWS = 200_000
Columns = Mapping[str, Sequence[object]]
"""Values of a table by the name of their column, all of one length."""


def rows_of(text: str, origin: str) -> dict[str, list[object]]:
    """Return the columns of a CSV file: commas, semicolons, tabs or blanks between values, ``#`` before comments.

    Decimal commas are read as points, unless commas separate values. Raises :class:`BadSensorFile`.
    """
    lines = [line for line in text.splitlines() if line.strip(" \t,;") and not line.lstrip().startswith("#")]
    if not lines:
        raise BadSensorFile(f"{origin} is empty.")
    if len(lines) > MOST_ROWS:
        raise BadSensorFile(f"{origin} has more than {MOST_ROWS} rows, so it is no description of bands.")
    delimiter = _delimiter(lines)
    try:
        head, *rows = csv.reader((line.strip(" ") for line in lines), delimiter=delimiter, skipinitialspace=True)
    except csv.Error as error:
        raise BadSensorFile(f"{origin} is not a table: {error}.") from None
    titles = [title.strip() for title in head]
    if twice := sorted({title for title in titles if title and titles.count(title) > 1}):
        raise BadSensorFile(f"{origin} has columns of the same name: {listed(twice)}.")
    if len(titles) > MOST_BANDS + 1:
        raise BadSensorFile(f"{origin} has {len(titles)} columns. Is it the right file?")
    if wrong := next((row for row in rows if len(row) > len(titles) and any(map(str.strip, row[len(titles) :]))), None):
        raise BadSensorFile(
            f"{origin}: row {shown(wrong[0])} has {len(wrong)} values, but there are {len(titles)} columns."
        )
    return {title: [_cell(row, at, delimiter) for row in rows] for at, title in enumerate(titles) if title}


def _delimiter(lines: Sequence[str]) -> str:
    """Return what separates values: the most frequent sign of the first line, or blanks where both lines have them."""
    best = max("\t;,", key=lines[0].count)
    if lines[0].count(best):
        return best
    words = [len(line.split()) for line in lines[:2]]
    return " " if words[0] > 1 and len(set(words)) == 1 else ","


def _cell(row: Sequence[str], at: int, delimiter: str) -> str:
    value = row[at].strip() if at < len(row) else ""
    return value.replace(",", ".") if delimiter != "," and re.fullmatch(r"[-+]?\d*,\d+", value) else value


def columns_of(content: Any, origin: str) -> Columns:
    """Return the columns of a list of objects, or of an object of lists; either may stand under ``bands``.

    What an object holds beside lists stands for every row. Raises :class:`BadSensorFile`.
    """
    if isinstance(content, dict) and isinstance(content.get("bands"), list | dict):
        content = content["bands"]
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        check_count(len(content))
        titles = dict.fromkeys(title for row in content for title in row)
        return {title: [row.get(title) for row in content] for title in titles}
    if isinstance(content, dict):
        lengths = {len(values) for values in content.values() if isinstance(values, list)}
        if len(lengths) == 1 and (count := lengths.pop()):
            check_count(count)
            return {key: value if isinstance(value, list) else [value] * count for key, value in content.items()}
    raise BadSensorFile(
        f"{origin} describes no bands: give a STAC item, a list of objects such as "
        '{"name": "red", "center_um": 0.66}, or an object of lists of one length.'
    )
