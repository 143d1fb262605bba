"""The HTML page: whole, safe and without the network."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from dofa_cli.assess.areas import adjusted_areas
from dofa_cli.assess.compare import Comparison, duels, side_by_side
from dofa_cli.assess.page import page
from dofa_cli.assess.regression import assess_numbers
from dofa_cli.assess.report import Assessment
from dofa_cli.assess.several import assess_several
from dofa_cli.assess.single import assess

VOID = {"meta", "img", "br"}
LOADING = {"src", "href", "data", "action", "poster", "srcset"}


class Page(HTMLParser):
    """Reads a page and checks that every element that opens is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in LOADING]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_loads_nothing(assessment):
    html = page([assessment])
    read = Page(html)
    assert read.links
    assert all(link.startswith("data:image/png;base64,") for link in read.links)
    assert all(b64decode(link.split(",")[1]).startswith(b"\x89PNG") for link in read.links)
    assert not {"script", "link", "iframe"} & set(read.tags)
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html


def test_names_that_look_like_html_are_text(assessment):
    html = page([assessment])
    assert "<script" not in html
    assert "<script>alert('x')</script>" in Page(html).text
    assert "a<b>.gpkg" in Page(html).text


def test_the_page_tells_scores_split_folds_mistakes_and_command(assessment):
    text = Page(page([assessment])).text
    measured = assessment.measured
    for told in (
        f"{measured.values['overall_accuracy']:.3f}",
        measured.uncertainty,
        "Blocks of 640 m",
        "a.tif",
        "field, taken for wood & water",
        "row 4, col 5",
        "3 polygons without a class",
        "dofa train land.pt",
        "dofa 1.0",
        "linear",
    ):
        assert told in text


def test_areas_are_shown_with_their_ends(assessment, classes):
    areas = adjusted_areas(assessment.measured.confusion, np.array([1000.0, 2000.0, 30.0]), classes)
    text = Page(page([replace(assessment, areas=areas)])).text
    assert "2,000" in text
    assert "Olofsson" in text


def test_several_heads_stand_side_by_side(assessment, classes, samples):
    reference, predicted, blocks = samples
    better = assess(reference, reference, classes, blocks=blocks)
    both = [assessment, replace(assessment, name="best.pt", measured=better)]
    table = side_by_side({one.name: one.measured for one in both})
    compared = Comparison(table, duels(reference, {"land.pt": predicted, "best.pt": reference}, blocks=blocks))
    html = page(both, compared)
    assert 'class="best">1.000' in html
    assert "land.pt against best.pt" in Page(html).text


@pytest.mark.parametrize("task", ["regress", "classify"])
def test_numbers_and_several_labels_have_pages(task, classes):
    random = np.random.default_rng(0)
    measured = (
        assess_numbers(random.random(40), random.random(40), unit="<m>")
        if task == "regress"
        else assess_several(random.random((40, 3)) < 0.5, random.random((40, 3)), classes)
    )
    read = Page(page([Assessment("x", task, measured)]))
    assert len(read.links) == 1
    assert "40 test samples" in read.text


def test_scores_that_are_not_defined_are_dashes(classes):
    text = Page(page([Assessment("x", "segment", assess(np.zeros(9, int), np.zeros(9, int), classes))])).text
    assert "–" in text
    assert "nan" not in text
