"""Metrics of proposals, on lists short enough to count by hand."""

import pytest

from napari_vessel.topology.metrics import (
    Bridge,
    BridgePrecision,
    BrushActions,
    Decision,
    GapRecall,
    PrecisionAtK,
    QueueActions,
    TrueGap,
    split_by_length,
    strokes,
)

GAPS = [TrueGap(2, True), TrueGap(4, False), TrueGap(4.5, True), TrueGap(40, False), TrueGap(90, True)]
BRIDGES = [Bridge(3, True, 0.9), Bridge(3, False, 0.8), Bridge(20, True, 0.7), Bridge(70, False, 0.1)]


class TestGapRecall:
    def test_of_all(self):
        assert GapRecall().compute(GAPS) == pytest.approx(3 / 5)

    def test_by_length_has_every_bin(self):
        by_length = GapRecall().by_length(GAPS)
        assert by_length == {"0-4": 0.5, "4-8": 1, "8-16": None, "16-30": None, "30-60": 0, ">60": 1}

    def test_of_none(self):
        assert GapRecall().compute([]) is None


class TestBridgePrecision:
    def test_of_all(self):
        assert BridgePrecision().compute(BRIDGES) == 0.5

    def test_by_length(self):
        assert BridgePrecision().by_length(BRIDGES, (10, 50)) == {"0-10": 0.5, "10-50": 1, ">50": 0}

    def test_of_none(self):
        assert BridgePrecision().compute([]) is None


class TestPrecisionAtK:
    @pytest.mark.parametrize(("k", "expected"), [(1, 1), (2, 1 / 2), (3, 2 / 3), (4, 1 / 2), (9, 1 / 2)])
    def test_takes_the_highest_scores(self, k, expected):
        for bridges in (BRIDGES, BRIDGES[::-1]):
            assert PrecisionAtK(k).compute(bridges) == pytest.approx(expected)

    def test_does_not_depend_on_the_order_of_equal_scores(self):
        tied = [Bridge(3, True, 0.9), Bridge(3, True, 0.5), Bridge(3, False, 0.5)]
        # One is sure, and each of the tied ones is the second in half of all orders.
        for bridges in (tied, tied[::-1]):
            assert PrecisionAtK(2).compute(bridges) == pytest.approx(0.75)

    def test_of_none_and_by_name(self):
        assert PrecisionAtK(5).compute([]) is None
        assert PrecisionAtK(5).name == "precision_at_5"


class TestActions:
    """Two accepted, one of them long and curved; one rejected; one repainted; one left open."""

    DECISIONS = (
        Decision(10, 10, "accept"),
        Decision(40, 30, "accept"),
        Decision(20, 20, "reject"),
        Decision(31, 20, "repaint"),
        Decision(5, 5, "unsure"),
    )

    def test_a_straight_path_is_one_stroke_and_a_curved_one_takes_more(self):
        assert strokes(200, 195) == 1
        assert strokes(14, 10) == 1
        assert strokes(31, 20) == 1 + 2
        assert strokes(40, 30) == 1 + 2

    def test_the_queue_takes_a_key_each_and_strokes_and_enter_for_a_repaint(self):
        assert QueueActions().compute(self.DECISIONS) == 5 + 3 + 1

    def test_the_brush_is_chosen_once_and_paints_what_is_closed(self):
        assert BrushActions().compute(self.DECISIONS) == 1 + (1 + 3 + 3)

    def test_of_nothing(self):
        assert QueueActions().compute([]) == 0
        assert BrushActions().compute([Decision(20, 20, "reject")]) == 0


def test_a_bin_holds_its_upper_end():
    parts = split_by_length([TrueGap(4, True), TrueGap(8, True), TrueGap(8.1, True)], (4, 8))
    assert {name: len(part) for name, part in parts.items()} == {"0-4": 1, "4-8": 1, ">8": 1}
