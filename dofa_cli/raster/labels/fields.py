"""Which column of a vector file holds the classes, and what its values mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dofa_cli.classes import LARGEST
from dofa_cli.errors import LabelError, UnknownField
from dofa_cli.raster.labels.legend import MOST_CLASSES, listed, too_many

if TYPE_CHECKING:
    import pandas as pd

_ROW_NUMBERS = {"fid", "id", "gid", "objectid", "ogc_fid", "index", "uuid", "globalid"}
_EXAMPLES = 12


@dataclass(frozen=True)
class Coded:
    """The values of a column, one a feature, as whole numbers where ``known``.

    ``names`` holds names by value; ``is_text`` says that the column holds names, numbered from 1 in their order.
    """

    values: NDArray[np.int64]
    known: NDArray[np.bool_]
    names: dict[int, str] = field(default_factory=dict)
    is_text: bool = False


def choose_field(table: pd.DataFrame, given: str | None, path: str, *, numeric: bool) -> tuple[str, tuple[str, ...]]:
    """Return the column that holds classes (or numbers), with a note where the user did not name it.

    Raises :class:`UnknownField` with the columns there are.
    """
    columns = [str(column) for column in table.columns]
    if given is not None:
        if given in columns:
            return given, ()
        raise UnknownField(f"{path} has no field '{given}'.{_meant(given, columns)}")
    found = _plausible(table, columns, numeric=numeric)
    if len(found) == 1:
        return found[0], (f"Labels are taken from the field '{found[0]}' of {path}; --class-field names another.",)
    if not columns:
        raise UnknownField(f"{path} has no fields to take labels from.")
    raise UnknownField(
        f"{path} does not say which field holds the labels. Name it with --class-field: {listed(columns)}."
    )


def coded(table: pd.DataFrame, name: str, path: str) -> Coded:
    """Read a column as class values: whole numbers as they are, text in alphabetical order from 1.

    Raises :class:`LabelError` for numbers with fractions and for too many different values.
    """
    from pandas.api.types import is_numeric_dtype

    column = table[name]
    known = column.notna().to_numpy()
    if not is_numeric_dtype(column.dtype):
        return _of_text(column, known, path)
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    broken = numbers[known & (numbers != np.round(numbers))]
    if broken.size:
        raise LabelError(
            f"Field '{name}' of {path} holds {broken[0]:g}; classes are names or whole numbers. "
            f"For numbers use --task regress."
        )
    values = np.where(known, numbers, 0).astype(np.int64)
    distinct = np.unique(values[known])
    if len(distinct) > MOST_CLASSES:
        raise too_many(path, f"Is '{name}' the field of the classes? For numbers use --task regress.")
    if distinct.size and not 0 <= distinct[0] <= distinct[-1] <= LARGEST:
        return _numbered([str(value) if ok else "" for value, ok in zip(values, known, strict=True)], distinct.tolist())
    return Coded(values, known, _sibling_names(table, name, values, known))


def numbers(table: pd.DataFrame, name: str, path: str) -> NDArray[np.float32]:
    """Read a column as numbers, NaN where there is none; :class:`LabelError` where it holds anything else."""
    import pandas as pd

    column = table[name]
    found = pd.to_numeric(column, errors="coerce")
    broken = column[found.isna() & column.notna()]
    if len(broken):
        raise LabelError(f"Field '{name}' of {path} holds '{broken.iloc[0]}', which is no number.")
    return np.asarray(found.to_numpy(np.float64, na_value=np.nan)).astype(np.float32)


def _meant(given: str, columns: Sequence[str]) -> str:
    plain = {column.casefold(): column for column in columns}
    close = get_close_matches(given.casefold(), plain, 1, 0.5)
    meant = f" Did you mean '{plain[close[0]]}'?" if close else ""
    return f"{meant} Its fields: {listed(columns)}." if columns else " It has no fields."


def _plausible(table: pd.DataFrame, columns: Sequence[str], *, numeric: bool) -> list[str]:
    """Return columns that may hold labels; of several, those whose values repeat, as classes do."""
    from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype

    def fits(column: pd.Series[Any]) -> bool:
        if column.notna().sum() == 0 or is_bool_dtype(column.dtype):
            return False
        if numeric:
            return is_numeric_dtype(column.dtype)
        return any(is_kind(column.dtype) for is_kind in (is_integer_dtype, is_object_dtype, is_string_dtype))

    found = [name for name in columns if not _is_row_number(name) and fits(table[name])]
    if len(found) <= 1 or numeric:
        return found
    return [name for name in found if table[name].nunique() < table[name].notna().sum()]


def _is_row_number(name: str) -> bool:
    return name.casefold() in _ROW_NUMBERS or name.casefold().endswith(("_id", "_fid"))


def _of_text(column: pd.Series[Any], known: NDArray[np.bool_], path: str) -> Coded:
    words = [str(value).strip() if ok else "" for value, ok in zip(column, known, strict=True)]
    distinct = sorted({word for word in words if word})
    if len(distinct) > MOST_CLASSES:
        raise too_many(path, f"Is '{column.name}' the field of the classes? It holds for instance '{distinct[0]}'.")
    return _numbered(words, distinct)


def _numbered(words: Sequence[str], ordered: Sequence[Any]) -> Coded:
    """Give distinct names numbers from 1 in their order; an empty word is no label."""
    names = [str(name) for name in ordered]
    number = {name: at for at, name in enumerate(names, start=1)}
    values = np.array([number.get(word, 0) for word in words], np.int64)
    return Coded(values, values > 0, dict(enumerate(names, start=1)), is_text=True)


def _sibling_names(
    table: pd.DataFrame, name: str, values: NDArray[np.int64], known: NDArray[np.bool_]
) -> dict[int, str]:
    """Return names from a column called ``<name>_name``, where it gives each value one name."""
    for sibling in (f"{name}_name", f"{name}name"):
        if sibling not in table.columns:
            continue
        pairs = {
            (int(value), str(word))
            for value, word, ok in zip(values, table[sibling], known, strict=True)
            if ok and word
        }
        if len({value for value, _ in pairs}) == len(pairs):
            return dict(pairs)
    return {}
