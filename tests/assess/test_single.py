"""A map against its reference: scores, intervals and what the reader must know."""

from __future__ import annotations

import numpy as np
import pytest

from dofa_cli.assess.confusion import Confusion
from dofa_cli.assess.single import assess, assess_counts
from dofa_cli.classes import ClassTable
from dofa_cli.errors import TooFewLabels


def test_pieces_with_blocks_give_what_the_whole_gives(classes, samples):
    reference, predicted, blocks = samples
    counted = Confusion(3)
    for part in np.array_split(np.arange(600), 4):
        counted.add(reference[part], predicted[part], blocks=blocks[part])
    whole, pieces = assess(reference, predicted, classes, blocks=blocks), assess_counts(counted, classes)
    assert whole.values == pieces.values
    assert whole.intervals == pieces.intervals
    assert whole.rows == pieces.rows
    assert whole.samples == 600


def test_rows_carry_names_colours_counts_and_scores(classes, samples):
    reference, predicted, _ = samples
    row = assess(reference, predicted, classes).rows[2]
    assert (row.name, row.colour) == ("wood & water", classes.colours[2])
    assert (row.reference, row.predicted) == ((reference == 2).sum(), (predicted == 2).sum())
    assert row.values["recall"] == pytest.approx((predicted[reference == 2] == 2).mean())
    assert row.intervals["recall"].low < row.values["recall"] < row.intervals["recall"].high


def test_a_class_that_is_missing_rare_or_never_predicted_is_named():
    table = ClassTable.of(range(5), dict(enumerate(["a", "rare", "missing", "unseen", "absent"])))
    reference = np.repeat([0, 1, 3], [90, 5, 40])
    predicted = np.repeat([0, 1, 2], [90, 5, 40])
    notes = assess(reference, predicted, table).notes
    told = {note.rsplit(": ", 1)[1] for note in notes}
    assert told == {"missing.", "absent.", "unseen.", "rare."}
    assert any(note.startswith("Fewer than 30") and note.endswith("rare.") for note in notes)


def test_one_class_alone_is_said_to_tell_little(classes):
    measured = assess(np.zeros(99, int), np.zeros(99, int), classes)
    assert any("one class" in note for note in measured.notes)
    assert np.isnan(measured.values["kappa"])
    assert "kappa" not in measured.intervals


def test_labels_without_a_prediction_are_counted(classes):
    measured = assess(np.array([0, 0, 1, -1]), np.array([0, -1, 1, 2]), classes)
    assert measured.samples == 2
    assert any(note.startswith("1 test labels lie where") for note in measured.notes)


def test_no_labels_at_all_are_an_error(classes):
    with pytest.raises(TooFewLabels, match="valid pixels"):
        assess(np.array([-1, 0]), np.array([0, -1]), classes)


def test_the_headline_tells_accuracy_and_mean_iou(classes):
    measured = assess(np.array([0, 1] * 50), np.array([0, 1] * 50), classes)
    assert measured.headline() == "overall accuracy 1.000, mean IoU 1.000"
    doubtful = assess(np.array([0, 1, 0, 1]), np.array([0, 1, 0, 0]), classes, blocks=np.array([1, 1, 2, 2]))
    assert doubtful.headline().startswith("overall accuracy 0.750 (0.500 to 1.000), mean IoU 0.583 (")
    assert measured.with_value("boundary_f1", 0.5).values["boundary_f1"] == 0.5
