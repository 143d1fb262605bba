"""Areas of classes, against the worked example of Olofsson et al. 2014 (section 5) and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from dofa_cli.assess.areas import MARGIN, adjusted_areas, estimates
from dofa_cli.assess.confusion import Confusion
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels

NAMES = ["deforestation", "forest gain", "stable forest", "stable non-forest"]
TABLE = ClassTable.of(range(4), dict(enumerate(NAMES)))
MAP_BY_REFERENCE = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]], float)
PIXELS, PIXEL_HA = np.array([200_000, 150_000, 3_200_000, 6_450_000]), 0.09


@pytest.fixture
def published():
    return adjusted_areas(MAP_BY_REFERENCE.T, PIXELS * PIXEL_HA, TABLE)


def test_areas_and_their_errors_are_the_published_ones(published):
    assert [round(row.adjusted_ha.value) for row in published.rows] == [21158, 11686, 285770, 581386]
    margins = [MARGIN * row.adjusted_ha.error for row in published.rows]
    assert margins == pytest.approx([6158, 3756, 15510, 16282], abs=1)


def test_accuracies_and_their_errors_are_the_published_ones(published):
    assert round(published.overall.value, 2) == 0.95
    assert round(MARGIN * published.overall.error, 2) == 0.02
    assert [round(row.users.value, 2) for row in published.rows] == [0.88, 0.73, 0.93, 0.96]
    assert [round(MARGIN * row.users.error, 2) for row in published.rows] == [0.07, 0.10, 0.04, 0.02]
    assert [round(row.producers.value, 2) for row in published.rows] == [0.75, 0.85, 0.93, 0.96]
    assert round(MARGIN * published.rows[0].producers.error, 2) == 0.21


def test_all_areas_together_are_the_map(published):
    assert sum(row.adjusted_ha.value for row in published.rows) == pytest.approx(PIXELS.sum() * PIXEL_HA)


def test_intervals_hold_the_true_area_as_often_as_they_say():
    random = np.random.default_rng(0)
    truth = random.choice(3, 200_000, p=[0.1, 0.3, 0.6])
    mapped = np.where(random.random(len(truth)) < 0.8, truth, random.integers(0, 3, len(truth)))
    strata = np.bincount(mapped, minlength=3).astype(float)
    places = [np.flatnonzero(mapped == one) for one in range(3)]
    table, true_ha, held = ClassTable.of(range(3)), np.bincount(truth), []
    for _ in range(200):
        drawn = np.concatenate([random.choice(place, 80, replace=False) for place in places])
        counted = Confusion(3)
        counted.add(truth[drawn], mapped[drawn])
        rows = adjusted_areas(counted.counts, strata, table).rows
        held.append(
            [row.adjusted_ha.low <= area <= row.adjusted_ha.high for row, area in zip(rows, true_ha, strict=True)]
        )
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_blocks_that_are_alike_inside_widen_the_intervals():
    random = np.random.default_rng(0)
    counted = Confusion(2)
    for block in range(15):
        reference = random.integers(0, 2, 200)
        good = random.random() < 0.7
        counted.add(reference, reference if good else 1 - reference, blocks=block)
    table, mapped = ClassTable.of([1, 2]), np.array([600.0, 400.0])
    single = adjusted_areas(counted.counts, mapped, table)
    blocks = adjusted_areas(counted.counts, mapped, table, by_block=counted.by_block)
    assert blocks.overall.value == single.overall.value
    assert blocks.overall.error > 5 * single.overall.error
    assert blocks.overall.low <= blocks.overall.value <= blocks.overall.high
    assert "15 blocks" in blocks.uncertainty


def test_intervals_of_independent_samples_are_those_of_the_paper():
    random, table, mapped = np.random.default_rng(0), ClassTable.of([1, 2]), np.array([600.0, 400.0])
    reference = random.integers(0, 2, 900)
    predicted = np.where(random.random(900) < 0.8, reference, 1 - reference)
    counted = Confusion(2)
    counted.add(reference, predicted, blocks=np.arange(900))
    single = adjusted_areas(counted.counts, mapped, table)
    drawn = adjusted_areas(counted.counts, mapped, table, by_block=counted.by_block)
    for one, other in zip(single.rows, drawn.rows, strict=True):
        assert other.adjusted_ha.error == pytest.approx(one.adjusted_ha.error, rel=0.15)
        assert other.users.error == pytest.approx(one.users.error, rel=0.15)
        assert other.producers.error == pytest.approx(one.producers.error, rel=0.15)
    assert drawn.overall.error == pytest.approx(single.overall.error, rel=0.15)


def test_a_class_of_the_map_with_too_few_samples_is_left_out_and_named():
    counts = np.array([[20.0, 1, 1], [3, 30, 0], [0, 0, 0]])
    found = adjusted_areas(counts, np.array([100.0, 200, 50]), ClassTable.of([1, 2, 3], {3: "swamp"}))
    assert any("swamp" in note and "50.0 ha" in note for note in found.notes)
    assert sum(row.adjusted_ha.value for row in found.rows) == pytest.approx(300)
    assert np.isnan(found.rows[2].users.value)


def test_no_class_with_samples_is_an_error():
    with pytest.raises(TooFewLabels, match="two test samples"):
        adjusted_areas(np.eye(2), np.ones(2), ClassTable.of([1, 2]))


def test_a_perfect_map_keeps_its_areas():
    found = estimates(np.diag([5.0, 9.0]), np.array([30.0, 70.0]))
    assert found["area"] == pytest.approx([30, 70])
    assert found["overall"] == 1
