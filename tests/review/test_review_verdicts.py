from __future__ import annotations

import numpy as np
import pytest

from napari_vessel.completion.drawing import draw_gap
from napari_vessel.completion.gap import Gap
from napari_vessel.errors import VesselError
from napari_vessel.images import MaskClass
from napari_vessel.review import EditKind, ReviewSession, Verdict


def drawn(gap: Gap, shape) -> np.ndarray:
    (y, x), patch = draw_gap(gap, shape)
    whole = np.zeros(shape, bool)
    whole[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return whole


def test_accepting_draws_the_gap_and_nothing_else(session, broken):
    edit = session.decide("a", Verdict.ACCEPTED, seconds=2.5)
    assert edit is not None
    assert edit.kind is EditKind.VERDICT
    assert np.array_equal(session.labels > 0, (broken > 0) | drawn(session.gaps[0], broken.shape))
    record = session.verdicts["a"]
    assert (record.verdict, record.annotator, record.seconds, record.score) == (Verdict.ACCEPTED, "ann", 2.5, 0.95)
    assert record.when.endswith("+00:00")
    assert session.undo_text == "accepted gap 1"


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.UNSURE, Verdict.SKIPPED, Verdict.REPAINTED])
def test_other_verdicts_draw_nothing(session, broken, verdict):
    session.decide("b", verdict)
    assert np.array_equal(session.labels, broken)
    assert session.state_of("b") == verdict.value
    assert [gap.id for gap in session.open_gaps] == ["a", "c", "d"]
    assert [gap.id for gap in session.gaps] == ["a", "b", "c", "d"]


def test_the_verdict_and_its_drawing_are_undone_together(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    session.undo()
    assert np.array_equal(session.labels, broken)
    assert session.state_of("a") == "open"
    assert "a" not in session.verdicts


def test_the_drawing_has_the_class_of_its_ends():
    labels = np.zeros((20, 40), np.uint8)
    labels[9:12, 2:15] = 1
    labels[9:12, 22:38] = 2
    labels[9:12, 12:15] = 2  # the left end is a vein too, close to the gap
    session = ReviewSession(labels, (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein")))
    from napari_vessel.completion.gap import Effect, GapEnd, GapKind

    path = np.stack([np.full(9, 10.0), np.arange(14, 23)], 1).astype(np.float32)
    ends = (GapEnd(1, (10, 14), None, 1.5, True), GapEnd(2, (10, 22), None, 1.5, True))
    gap = Gap("x", GapKind.BRIDGE, ends, path, np.full(9, 3, np.float32), 0.5, (), Effect(2, 1, 8, 10, 0))
    session.set_gaps([gap])
    session.decide("x", Verdict.ACCEPTED)
    assert set(np.unique(session.labels[10, 15:22])) == {2}
    assert (session.labels[9:12, 2:12] == 1).all()


def test_drawing_keeps_the_class_of_pixels_that_are_vessel_already(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    assert (session.labels[broken > 0] == 1).all()


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.UNSURE, Verdict.SKIPPED, Verdict.REPAINTED])
def test_deciding_again_takes_the_drawing_back_in_the_same_edit(session, broken, verdict):
    session.decide("a", Verdict.ACCEPTED)
    accepted = session.labels.copy()
    session.decide("a", verdict)
    assert np.array_equal(session.labels, broken)
    session.undo()
    assert np.array_equal(session.labels, accepted)
    assert session.state_of("a") == "accepted"


def test_taking_back_spares_what_was_painted_over_the_drawing(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    session.stroke(np.zeros((1, 1), np.uint8), (11, 27))
    session.stroke(np.ones((1, 1), np.uint8), (11, 27))  # erased and painted again: the annotator's own now
    session.decide("a", Verdict.REJECTED)
    expected = broken.copy()
    expected[11, 27] = 1
    assert np.array_equal(session.labels, expected)


def test_taking_back_an_older_drawing_spares_a_newer_one(session, make_gap, broken):
    other = make_gap(12, 24, 31, 0.5, merges=False, name="e")
    session.set_gaps([*session.gaps, other])
    session.decide("a", Verdict.ACCEPTED)
    session.decide("e", Verdict.ACCEPTED)
    overlap = drawn(session.gaps[0], broken.shape) & drawn(other, broken.shape)
    session.decide("e", Verdict.REJECTED)
    assert (session.labels[overlap] == 1).all()  # those were drawn by the first
    session.decide("a", Verdict.REJECTED)
    assert np.array_equal(session.labels, broken)


def test_accepting_after_a_rejection_draws(session, broken):
    session.decide("a", Verdict.REJECTED)
    session.decide("a", Verdict.ACCEPTED)
    assert session.remaining()["b0"] == 6
    session.decide("a", Verdict.UNSURE)
    session.decide("a", Verdict.ACCEPTED)
    session.decide("a", Verdict.REJECTED)
    assert np.array_equal(session.labels, broken)


def test_taking_back_works_after_undo_and_redo(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    session.decide("a", Verdict.REJECTED)
    session.undo()
    session.decide("a", Verdict.UNSURE)
    assert np.array_equal(session.labels, broken)


def test_the_same_verdict_again_is_no_edit(session):
    session.decide("a", Verdict.REJECTED)
    assert session.decide("a", Verdict.REJECTED) is None
    session.decide("b", Verdict.ACCEPTED)
    assert session.decide("b", Verdict.ACCEPTED) is None
    assert session.history_position == 2


def test_accepting_again_mends_a_drawing_that_was_erased(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    whole = session.labels.copy()
    session.stroke(np.zeros((1, 2), np.uint8), (11, 27))
    session.decide("a", Verdict.ACCEPTED)
    assert np.array_equal(session.labels, whole)
    session.decide("a", Verdict.REJECTED)
    assert np.array_equal(session.labels, broken)


def test_a_decided_gap_can_be_opened_again(session, broken):
    assert session.reopen("a") is None
    session.decide("a", Verdict.ACCEPTED)
    session.reopen("a")
    assert session.state_of("a") == "open"
    assert np.array_equal(session.labels, broken)
    session.undo()
    assert session.state_of("a") == "accepted"


def test_a_gap_that_is_not_there(session):
    with pytest.raises(VesselError, match="no gap nowhere"):
        session.decide("nowhere", Verdict.ACCEPTED)


def test_accept_above_is_one_edit_best_first(session, broken):
    assert [gap.id for gap in session.bulk_gaps(0.7)] == ["a", "b", "c"]
    assert not session.can_undo
    edit = session.accept_above(0.7)
    assert edit is not None
    assert edit.kind is EditKind.BULK
    assert [change.gap.id for change in edit.verdicts] == ["a", "b", "c"]
    assert session.remaining() == {"open": 1, "cuts": 0, "fragments": 3, "b0": 4}
    assert session.undo_text == "accepted 3 gaps above 0.70"
    session.undo()
    assert np.array_equal(session.labels, broken)
    assert len(session.open_gaps) == 4


def test_what_changed_since_the_preview_counts(session):
    assert [gap.id for gap in session.bulk_gaps(0.7)] == ["a", "b", "c"]
    session.delete_component(11, 10)
    assert [gap.id for gap in session.bulk_gaps(0.7)] == ["b", "c"]
    session.undo()
    session.set_gaps([gap for gap in session.gaps if gap.id != "b"])
    assert [gap.id for gap in session.bulk_gaps(0.7)] == ["a", "c"]
    session.accept_above(0.7)
    assert [session.state_of(g) for g in "ac"] == ["accepted", "accepted"]


def test_a_new_mask_is_not_known_to_be_all_vessels(session, broken):
    session.flags = {"all_vessels", "ungradable"}
    session.decide("a", Verdict.ACCEPTED)
    assert "all_vessels" in session.flags, "a gap that is closed changes nothing of what was said"
    session.set_segmentation(np.roll(broken, 5, axis=0), "another model")
    assert session.flags == {"ungradable"}
    session.flags = {"all_vessels"}
    session.undo()
    assert session.flags == frozenset(), "the mask before is another one, too"


def test_accept_above_with_nothing_to_accept_is_no_edit(session):
    assert session.accept_above(0.99) is None
    assert not session.can_undo


def test_accept_above_skips_what_a_better_one_made_redundant(session, make_gap):
    rival = make_gap(12, 24, 31, 0.8, name="rival")
    session.set_gaps([*session.gaps, rival])
    session.accept_above(0.7)
    assert session.state_of("rival") == "open"
    assert session.state_of("a") == "accepted"


def test_accept_above_skips_what_earlier_strokes_made_redundant(session):
    session.stroke(np.ones((3, 8), np.uint8), (10, 24))
    session.stroke(np.zeros((1, 2), np.uint8), (10, 27))  # something is left to draw, though the ends are joined
    session.accept_above(0.7)
    assert [session.state_of(g) for g in "abc"] == ["open", "accepted", "accepted"]


def test_accept_above_keeps_gaps_that_close_a_loop(session, make_gap):
    loop = make_gap(12, 24, 31, 0.8, merges=False, name="loop")
    session.set_gaps([*session.gaps, loop])
    session.decide("a", Verdict.ACCEPTED)
    session.stroke(np.zeros((1, 4), np.uint8), (12, 26))
    session.accept_above(0.7)
    assert session.state_of("loop") == "accepted"


def test_accept_above_leaves_gaps_whose_vessel_is_gone(session):
    session.delete_component(11, 10)
    session.accept_above(0.7)
    assert [session.state_of(g) for g in "abc"] == ["open", "accepted", "accepted"]


def test_one_of_a_bulk_can_be_taken_back_alone(session, broken):
    session.accept_above(0.7)
    session.decide("b", Verdict.REJECTED)
    expected = (broken > 0) | drawn(session.gaps[0], broken.shape) | drawn(session.gaps[2], broken.shape)
    assert np.array_equal(session.labels > 0, expected)


def test_new_proposals_replace_the_open_ones_and_keep_the_decided(session, make_gap):
    session.decide("b", Verdict.REJECTED)
    fresh = make_gap(31, 24, 31, 0.7, name="new")
    heard = []
    session.gaps_changed.connect(lambda: heard.append(1))
    session.set_gaps([fresh])
    assert [gap.id for gap in session.gaps] == ["b", "new"]
    assert [gap.id for gap in session.open_gaps] == ["new"]
    assert [gap.id for gap in session.rejected_gaps] == ["b"]
    assert heard == [1]


def test_undoing_a_verdict_brings_its_gap_back_even_if_no_search_finds_it_again(session):
    session.decide("b", Verdict.REJECTED)
    session.set_gaps([])
    session.undo()
    assert [gap.id for gap in session.open_gaps] == ["b"]
    session.set_gaps([])
    session.redo()
    assert session.state_of("b") == "rejected"


def test_the_effect_of_open_gaps_follows_the_mask(session):
    session.decide("a", Verdict.ACCEPTED)
    by_id = {gap.id: gap for gap in session.gaps}
    assert (by_id["b"].effect.components_before, by_id["b"].effect.components_after) == (6, 5)
    session.stroke(np.ones((1, 8), np.uint8), (12, 49))  # joined beside the proposed way
    by_id = {gap.id: gap for gap in session.gaps}
    assert (by_id["b"].effect.components_before, by_id["b"].effect.components_after) == (5, 5)
    assert by_id["b"].effect.cycles == 1


def test_a_proposal_that_became_pointless_says_so_until_the_next_search(session):
    session.stroke(np.ones((3, 8), np.uint8), (10, 49))  # painted over
    session.delete_component(31, 10)  # an end of the third
    by_id = {gap.id: gap for gap in session.gaps}
    for name in "bc":
        effect = by_id[name].effect
        assert (effect.components_before, effect.components_after, effect.cycles) == (5, 5, 0)
        assert session.state_of(name) == "open"
    assert by_id["d"].effect.components_after == 4


def test_flags_and_comment_without_a_project(session):
    session.flags = {"ungradable"}
    session.comment = "blurred"
    assert session.flags == frozenset({"ungradable"})
    assert session.comment == "blurred"
