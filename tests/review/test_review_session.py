from __future__ import annotations

import numpy as np
import pytest

from napari_vessel.errors import ProjectError, VesselError
from napari_vessel.images import MaskClass
from napari_vessel.review import Edit, EditKind, MaskEdit, ReviewSession, Verdict, VerdictChange, VerdictRecord
from napari_vessel.topology import label_components


def paint(session, y, x, height=2, width=3, value=1, **more):
    return session.stroke(np.full((height, width), value, np.uint8), (y, x), **more)


def test_a_stroke_changes_the_mask_and_says_where(session):
    heard = []
    session.edited.connect(lambda edit, box: heard.append((edit, box)))
    before = session.labels.copy()
    edit = paint(session, 20, 40)
    assert heard == [(edit, (20, 40, 22, 43))]
    assert np.argwhere(session.labels != before).tolist() == [[y, x] for y in (20, 21) for x in (40, 41, 42)]


def test_a_stroke_that_changes_nothing_is_no_edit(session):
    assert paint(session, 20, 40, value=0) is None
    assert not session.can_undo


def test_labels_are_one_view_that_nobody_can_write(session):
    view = session.labels
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    paint(session, 0, 0)
    assert view[0, 0] == 1
    assert session.labels is view


def test_an_edit_made_for_another_mask_is_refused(session):
    stale = Edit(
        EditKind.STROKE, "x", (MaskEdit.between(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8), (20, 20)),)
    )
    before = session.labels.copy()
    with pytest.raises(VesselError, match="changed since"):
        session.apply(stale)
    assert np.array_equal(session.labels, before)
    assert not session.can_undo


def test_a_verdict_made_for_another_state_is_refused(session):
    gap = session.gaps[0]
    record = VerdictRecord(Verdict.REJECTED, "x", "", 0, 0.5)
    with pytest.raises(VesselError, match="decide again"):
        session.apply(Edit(EditKind.VERDICT, "x", verdicts=(VerdictChange(gap, record, None),)))


@pytest.mark.parametrize("origin", [(-1, 0), (0, -1), (49, 0), (0, 78)])
def test_a_stroke_outside_the_image_is_refused(session, origin):
    with pytest.raises(VesselError, match="outside"):
        paint(session, *origin)


def test_an_edit_with_a_box_outside_the_image_is_refused(session):
    change = MaskEdit.between(np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), (49, 0))
    with pytest.raises(VesselError, match="outside"):
        session.apply(Edit(EditKind.STROKE, "x", (change,)))


def test_a_label_that_is_no_class_is_refused_with_the_classes(session):
    with pytest.raises(VesselError, match=r"Label 3 .* 1 \(vessel\)"):
        paint(session, 20, 40, value=3)


def test_damaged_bytes_are_refused(session):
    with pytest.raises(VesselError, match="damaged"):
        session.apply(Edit(EditKind.STROKE, "x", (MaskEdit((0, 0, 2, 2), b"nonsense", b"nonsense"),)))


def test_overlapping_changes_of_one_edit_build_on_each_other(session):
    zero, one = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    masks = (MaskEdit.between(zero, one, (20, 20)), MaskEdit.between(one, zero, (20, 20)))
    before = session.labels.copy()
    session.apply(Edit(EditKind.STROKE, "there and back", masks))
    assert np.array_equal(session.labels, before)
    session.undo()
    assert np.array_equal(session.labels, before)


def test_an_empty_edit_leaves_no_trace(session):
    session.apply(Edit(EditKind.STROKE, "nothing"))
    assert not session.can_undo


def test_undo_and_redo_say_what_they_would_do(session):
    assert (session.undo_text, session.redo_text, session.can_undo, session.can_redo) == ("", "", False, False)
    paint(session, 20, 40, text="first")
    paint(session, 22, 40, text="second")
    assert session.undo_text == "second"
    session.undo()
    assert (session.undo_text, session.redo_text, session.can_undo, session.can_redo) == ("first", "second", True, True)


def test_undo_returns_the_edit_it_took_back_and_emits_the_inverse(session):
    edit = paint(session, 20, 40)
    heard = []
    session.edited.connect(lambda change, box: heard.append((change, box)))
    assert session.undo() == edit
    assert heard == [(edit.inverse(), (20, 40, 22, 43))]
    assert session.redo() == edit
    assert heard[1] == (edit, (20, 40, 22, 43))
    assert session.redo() is None


def test_undo_at_the_beginning_does_nothing(session):
    heard = []
    session.history_changed.connect(lambda: heard.append(1))
    assert session.undo() is None
    assert heard == []


def test_a_new_edit_after_undo_forgets_what_could_be_redone(session):
    paint(session, 20, 40, text="first")
    session.undo()
    paint(session, 22, 40, text="second")
    assert not session.can_redo
    assert session.undo_text == "second"


def test_a_repaint_is_undone_and_redone_as_one_step(session):
    start = session.labels.copy()
    paint(session, 20, 60, text="before it")
    between = session.labels.copy()
    paint(session, 11, 25, group="r1")
    paint(session, 11, 28, group="r1")
    session.decide("a", Verdict.REPAINTED, 4.0, group="r1")
    end = session.labels.copy()
    assert session.state_of("a") == "repainted"

    undone = session.undo()
    assert undone is not None
    assert (len(undone.masks), len(undone.verdicts)) == (2, 1)
    assert np.array_equal(session.labels, between)
    assert session.state_of("a") == "open"
    session.undo()
    assert np.array_equal(session.labels, start)
    session.redo()
    session.redo()
    assert np.array_equal(session.labels, end)
    assert session.state_of("a") == "repainted"


def test_strokes_of_a_repaint_not_ended_are_steps_of_their_own(session):
    paint(session, 20, 40, group="r1")
    middle = session.labels.copy()
    paint(session, 24, 40, group="r1")
    session.undo()
    assert np.array_equal(session.labels, middle)
    assert session.can_undo


def test_components_follow_every_edit(session):
    assert session.components.count == 7
    labels, count = session.components
    assert labels.max() == count == 7
    paint(session, 10, 25, 3, 6)
    assert session.components.count == 6
    session.undo()
    assert session.components.count == 7
    session.accept_above(0.0)
    session.delete_component(*np.argwhere(session.labels)[0].tolist())
    session.set_segmentation(session.labels[::-1].copy(), "turned over")
    session.undo()
    for done in (session.undo, session.undo, session.redo):
        done()
        expected, count = label_components(session.labels)
        vessel = expected > 0
        assert session.components.count == count
        # The pieces are the same, whatever their numbers.
        assert np.array_equal(labels > 0, vessel)
        assert len(np.unique(labels[vessel] * np.int64(count + 1) + expected[vessel])) == count


def test_components_are_one_array_that_cannot_be_written_to(session):
    before = session.components.labels
    paint(session, 20, 40)
    assert session.components.labels is before
    with pytest.raises(ValueError, match="read-only"):
        before[0, 0] = 1


def test_a_copy_of_the_components_stays_as_it_was(session):
    copy, before = session.components_copy(), session.components.labels.copy()
    assert session.components_copy() is copy
    paint(session, 10, 25, 3, 6)
    assert np.array_equal(copy, before)
    assert np.array_equal(session.components_copy(), session.components.labels)
    assert not np.array_equal(copy, session.components_copy())


def test_the_main_component_follows_each_edit():
    labels = np.zeros((20, 40), np.uint8)
    labels[2, 2:20] = labels[10, 2:15] = 1
    session = ReviewSession(labels, (MaskClass(1, 1, "vessel"),))
    upper, lower = (int(session.components.labels[y, 2]) for y in (2, 10))
    assert session.main == upper
    session.delete_component(2, 5)
    assert session.main == lower
    session.undo()
    assert session.components.labels[2, 2] == session.main
    session.delete_component(2, 5)
    session.delete_component(10, 5)
    assert session.main == 0


def test_diagonal_neighbours_are_one_component():
    session = ReviewSession(np.eye(4, dtype=np.uint8))
    assert session.components.count == 1


def test_what_is_left(session):
    assert session.remaining() == {"open": 4, "cuts": 0, "fragments": 6, "b0": 7}
    session.decide("a", Verdict.ACCEPTED)
    assert session.remaining() == {"open": 3, "cuts": 0, "fragments": 5, "b0": 6}


def test_an_empty_mask_has_no_fragments():
    assert ReviewSession(np.zeros((4, 4), np.uint8)).remaining() == {"open": 0, "cuts": 0, "fragments": 0, "b0": 0}


def test_delete_removes_exactly_the_component_under_the_pixel(session):
    before = session.labels.copy()
    edit = session.delete_component(46, 6)
    assert edit is not None
    assert edit.kind is EditKind.DELETE
    assert np.argwhere(session.labels != before).tolist() == [[45, 5], [45, 6], [46, 5], [46, 6]]
    session.undo()
    assert np.array_equal(session.labels, before)


def test_delete_takes_every_class_of_the_component_and_spares_neighbours_in_its_box():
    labels = np.zeros((8, 8), np.uint8)
    labels[0, :] = 1
    labels[:, 7] = 2
    labels[4, 2] = 1  # inside the box of the other, not part of it
    session = ReviewSession(labels, (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein")))
    session.delete_component(0, 0)
    assert np.argwhere(session.labels).tolist() == [[4, 2]]
    session.undo()
    assert session.labels[7, 7] == 2


@pytest.mark.parametrize("at", [(20, 20), (-1, 0), (0, 999)])
def test_delete_where_there_is_nothing_is_no_edit(session, at):
    assert session.delete_component(*at) is None
    assert not session.can_undo


def test_a_new_segmentation_is_one_undoable_edit(session):
    before = session.labels.copy()
    new = np.zeros(session.shape, bool)
    new[3:6, 3:60] = True
    edit = session.set_segmentation(new, "segmented with ridge")
    assert edit is not None
    assert edit.kind is EditKind.SEGMENT
    assert np.array_equal(session.labels, new.astype(np.uint8))
    assert session.undo_text == "segmented with ridge"
    session.undo()
    assert np.array_equal(session.labels, before)


def test_the_same_segmentation_again_is_no_edit(session):
    assert session.set_segmentation(session.labels > 0, "again") is None


def test_a_segmentation_of_another_shape_is_refused(session):
    with pytest.raises(VesselError, match="shape"):
        session.set_segmentation(np.zeros((3, 3), bool), "wrong")


def test_a_segmentation_becomes_the_first_class():
    session = ReviewSession(np.zeros((4, 4), np.uint8), (MaskClass(2, 9, "vein"), MaskClass(3, 12, "x")))
    session.set_segmentation(np.ones((4, 4), bool), "all")
    assert np.unique(session.labels).tolist() == [2]


def test_a_segmentation_keeps_the_classes_there_were():
    labels = np.zeros((40, 60), np.uint8)
    labels[10, 5:30], labels[30, 5:30] = 1, 2
    session = ReviewSession(labels.copy(), (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein")))
    new = np.zeros(labels.shape, bool)
    new[9:12, 5:50] = new[29:32, 5:50] = True
    session.set_segmentation(new, "another threshold")
    expected = np.zeros_like(labels)
    expected[9:12, 5:50], expected[29:32, 5:50] = 1, 2
    assert np.array_equal(session.labels, expected)
    session.undo()
    assert np.array_equal(session.labels, labels)


def test_a_pixel_beside_another_class_keeps_its_own():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (50, 70)).astype(np.uint8)
    session = ReviewSession(labels.copy(), (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein")))
    session.set_segmentation(np.ones(labels.shape, bool), "everything")
    assert np.array_equal(session.labels[labels > 0], labels[labels > 0])
    assert set(np.unique(session.labels)) == {1, 2}


def test_a_segmentation_opens_accepted_gaps_that_it_breaks_again_and_keeps_rejections(session):
    session.decide("a", Verdict.ACCEPTED)
    session.decide("b", Verdict.ACCEPTED)
    session.decide("c", Verdict.REJECTED)
    new = session.labels > 0
    new[10:13, 24:32] = False
    session.set_segmentation(new, "another threshold")
    assert [session.state_of(g) for g in "abcd"] == ["open", "accepted", "rejected", "open"]
    session.undo()
    assert [session.state_of(g) for g in "abcd"] == ["accepted", "accepted", "rejected", "open"]


def test_signals_come_after_the_memory_has_changed(session):
    seen = []
    session.edited.connect(
        lambda edit, box: seen.append(("edited", session.state_of("a"), int(session.labels[11, 27])))
    )
    session.verdict_changed.connect(lambda gap_id: seen.append(("verdict", gap_id)))
    session.gaps_changed.connect(lambda: seen.append(("gaps", len(session.open_gaps))))
    session.history_changed.connect(lambda: seen.append(("history", session.can_undo)))
    session.decide("a", Verdict.ACCEPTED)
    assert seen == [("edited", "accepted", 1), ("verdict", "a"), ("gaps", 3), ("history", True)]


def test_nothing_changes_when_the_journal_cannot_be_written(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    heard = []
    session.edited.connect(lambda edit, box: heard.append(edit))
    pages = project._database.rows("PRAGMA page_count")[0][0]
    project._database.rows(f"PRAGMA max_page_count={pages + 1}")
    noise = np.random.default_rng(0).integers(0, 2, session.shape).astype(np.uint8)
    kept = [session.labels.copy()]

    def fill_the_disk():
        for n in range(200):
            session.stroke(np.roll(noise, n, axis=1), (0, 0))
            kept.append(session.labels.copy())

    with pytest.raises(ProjectError, match="disk is full"):
        fill_the_disk()
    before, applied = kept[-1], session.history_position
    assert np.array_equal(session.labels, before)
    assert len(heard) == applied == len(kept) - 1

    project._database.rows(f"PRAGMA max_page_count={1 << 30}")
    assert np.array_equal(project.read_mask(image_id).labels, before)
    session.stroke(np.ones((2, 2), np.uint8) - session.labels[:2, :2], (0, 0))
    assert session.history_position == applied + 1


def test_two_sessions_on_one_image_cannot_mix_their_histories(project):
    image_id = project.images()[0].id
    one, other = project.open_session(image_id), project.open_session(image_id)
    paint(one, 20, 40)
    with pytest.raises(ProjectError, match="changed elsewhere"):
        paint(other, 20, 60)
    assert other.labels[20, 60] == 0
    assert project.open_session(image_id).labels[20, 40] == 1


def test_a_locked_database_changes_nothing(project):
    import sqlite3

    session = project.open_session(project.images()[0].id)
    project._database.rows("PRAGMA busy_timeout=20")
    other = sqlite3.connect(project.folder / "project.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProjectError, match="Another program is writing"):
        paint(session, 20, 40)
    assert session.labels[20, 40] == 0
    assert not session.can_undo
    other.execute("ROLLBACK")
    other.close()
    paint(session, 20, 40)
    assert session.labels[20, 40] == 1
