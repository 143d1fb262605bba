"""Networks held while many scenes follow each other."""

from __future__ import annotations

from dofa_cli.pipelines.inference.kept import MOST, kept, networks_kept


def test_nothing_is_held_outside():
    assert kept("a", object) is not kept("a", object)


def test_what_is_held_is_opened_once_and_let_go_at_the_end():
    with networks_kept():
        first = kept("a", object)
        with networks_kept():
            assert kept("a", object) is first
        assert kept("a", object) is first
    with networks_kept():
        assert kept("a", object) is not first


def test_the_longest_unused_is_let_go():
    with networks_kept():
        first = kept(0, object)
        for number in range(1, MOST):
            kept(number, object)
        assert kept(0, object) is first
        kept(MOST, object)
        assert kept(0, object) is first
        opened = []
        kept(1, lambda: opened.append(1))
        assert opened == [1]
