from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.heads.head import Combine
from dofa_cli.heads.joining import Joining, is_there

DIM = 3


def tokens(cells: int, missing: list[bool], seed: int) -> torch.Tensor:
    found = torch.randn(cells, DIM, generator=torch.Generator().manual_seed(seed))
    found[torch.tensor(missing)] = torch.nan
    return found


@st.composite
def inputs(draw):
    cells, count = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    gaps = st.lists(st.booleans(), min_size=cells, max_size=cells)
    parts = [tokens(cells, draw(gaps), number) for number in range(count)]
    return parts, torch.arange(count * DIM, dtype=torch.float32).view(count, DIM)


@given(inputs())
def test_side_by_side_each_input_has_its_place(made):
    parts, fill = made
    joined = Joining(Combine.CONCAT, fill)(parts)
    some = torch.stack([is_there(part) for part in parts]).any(dim=0)
    assert torch.equal(is_there(joined), some)
    for number, part in enumerate(parts):
        own = joined[:, number * DIM : (number + 1) * DIM]
        there = is_there(part)
        assert torch.equal(own[there], part[there])
        assert torch.equal(own[some & ~there], fill[number].expand(int((some & ~there).sum()), DIM))


@given(inputs())
def test_the_mean_is_over_those_that_are_there(made):
    parts, _ = made
    joined = Joining(Combine.MEAN)(parts)
    torch.testing.assert_close(joined, torch.stack(parts).nanmean(dim=0), equal_nan=True)


@given(inputs(), st.sampled_from(Combine))
def test_an_input_that_is_not_given_is_one_that_is_missing_everywhere(made, combine):
    parts, fill = made
    joining = Joining(combine, fill if combine is Combine.CONCAT else None)
    nothing = torch.full_like(parts[0], torch.nan)
    longer = Joining(combine, None if joining.fill is None else torch.cat([fill, fill[:1]]))
    assert torch.equal(longer([*parts, None]).nan_to_num(99.0), longer([*parts, nothing]).nan_to_num(99.0))


def test_a_single_input_comes_back_from_the_mean_bit_for_bit():
    part = tokens(4, [False, True, False, False], 1)
    found = Joining(Combine.MEAN)([None, part])
    assert torch.equal(found.nan_to_num(99.0), part.nan_to_num(99.0))
