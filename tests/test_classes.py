"""Classes of a map: values, names, colours, and nodata outside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.classes import USUAL_COLOURS, ClassTable, distinct_colours, named_colours
from dofa_cli.errors import OptionError

VALUES = st.sets(st.integers(0, 65535), min_size=1, max_size=40)


@given(VALUES)
def test_indices_and_raster_values_undo_each_other(values):
    if {255, 65535} <= values:
        values.discard(65535)
    table = ClassTable.of(values)
    raster = np.array(table.values).astype(table.dtype)
    assert table.indices(raster).tolist() == list(range(len(table)))
    assert table.raster(table.indices(raster)).tolist() == list(table.values)


@given(VALUES)
def test_nodata_is_no_class_and_fits_the_type(values):
    if {255, 65535} <= values:
        values.discard(65535)
    table = ClassTable.of(values)
    assert table.nodata not in table.values
    assert max(*table.values, table.nodata) <= np.iinfo(table.dtype).max
    assert table.raster(np.array([-1])).tolist() == [table.nodata]


def test_other_values_are_unlabelled():
    table = ClassTable.of([3, 7])
    assert table.indices(np.array([0, 3, 5, 7, 255])).tolist() == [-1, 0, -1, 1, -1]


def test_names_in_alphabetical_order_with_values_from_1():
    table = ClassTable.named(["water", "forest", "water"])
    assert (table.values, table.names, table.nodata) == ((1, 2), ("forest", "water"), 255)


def test_plain_form_is_lossless():
    table = ClassTable.of([1, 300], {1: "one"}, {300: (1, 2, 3)})
    assert ClassTable.from_plain(table.to_plain()) == table


def test_usual_colours_for_usual_names_and_never_twice():
    forest, pine, odd = named_colours(["Deciduous forest", "pine forest", "xyz"])
    assert forest == USUAL_COLOURS["forest"]
    assert len({forest, pine, odd}) == 3
    assert named_colours(["wetland"]) == [USUAL_COLOURS["wetland"]]


def test_many_colours_are_distinct():
    assert len(set(distinct_colours(40))) == 40


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (((2, 1), ("a", "b"), ((0, 0, 0),) * 2, 255), "ascend"),
        (((1, 1), ("a", "b"), ((0, 0, 0),) * 2, 255), "ascend"),
        (((-1,), ("a",), ((0, 0, 0),), 255), "from 0 to 65535"),
        (((70000,), ("a",), ((0, 0, 0),), 255), "from 0 to 65535"),
        (((1,), ("a",), ((0, 0, 0),), 1), "Nodata 1"),
    ],
)
def test_tables_that_no_raster_can_hold_are_refused(arguments, reason):
    with pytest.raises(OptionError, match=reason):
        ClassTable(*arguments)


def test_no_value_left_for_nodata():
    with pytest.raises(OptionError, match="leave no value for nodata"):
        ClassTable.of([255, 65535])
