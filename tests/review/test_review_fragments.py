"""Fragments: found and ranked, decided through the session's one door, in the journal, undoable."""

import numpy as np
import pytest

from napari_vessel.errors import VesselError
from napari_vessel.jobs import run_job
from napari_vessel.review import EditKind, Project, ReviewSession
from napari_vessel.review.fragments import Fragment, FragmentChange, FragmentVerdict, find_fragments


def found(session, known=None):
    return run_job(find_fragments(session.components.labels, known))


@pytest.fixture
def lone():
    """A long main vessel, a shorter one near it, a speck far away, and another still farther."""
    labels = np.zeros((60, 90), np.uint8)
    labels[10:13, 5:85] = 1
    labels[20:23, 5:45] = 1
    labels[40:42, 60:62] = 1
    labels[57:59, 60:62] = 1
    return labels


@pytest.fixture
def session(lone):
    return ReviewSession(lone.copy(), annotator="ann")


def test_fragments_are_measured_and_the_least_likely_come_first(session):
    fragments = found(session)
    assert [f.point for f in fragments] == [(57, 60), (40, 60), (20, 5)]
    far, speck, near = fragments
    assert (far.area_px, speck.area_px, near.area_px) == (4, 4, 120)
    assert speck.box == (40, 60, 42, 62)
    assert speck.distance_px == pytest.approx(28, abs=0.5)
    assert near.distance_px == pytest.approx(8, abs=0.2)
    assert 36 <= near.length_px <= 40
    assert speck.centre == (40.5, 60.5)
    assert found(ReviewSession(np.zeros((9, 9), np.uint8))) == ()


def test_a_fragment_survives_json(session):
    for fragment in found(session):
        again = Fragment.from_json(fragment.to_json())
        assert again.id == fragment.id
        assert again.distance_px == pytest.approx(fragment.distance_px, abs=0.06)


def test_a_known_length_is_not_measured_again(session):
    speck = found(session)[1]
    told = Fragment(speck.point, speck.area_px, speck.box, 77, 0.0)
    again = {f.id: f for f in found(session, {told.id: told})}
    assert again[speck.id].length_px == 77
    assert again[speck.id].distance_px == speck.distance_px


def test_every_verdict_is_an_edit_and_is_taken_back(session):
    before = session.labels.copy()
    for verdict in (FragmentVerdict.KEPT, FragmentVerdict.UNSURE, FragmentVerdict.SKIPPED):
        far = found(session)[0]
        edit = session.decide_fragment(far, verdict, 1.5)
        assert edit.kind is EditKind.FRAGMENT
        assert edit.text == f"{verdict} fragment of 4 px"
        assert session.fragment_state(far.id) == verdict
        assert session.fragment_verdicts[far.id].annotator == "ann"
        assert session.fragment_verdicts[far.id].seconds == 1.5
        assert session.remaining()["fragments"] == 2
        assert session.decide_fragment(far, verdict) is None
        session.undo()
        assert session.fragment_state(far.id) == "open"
        assert session.remaining()["fragments"] == 3
    assert np.array_equal(session.labels, before)


def test_deleting_erases_exactly_it_and_keeping_brings_it_back(session):
    before = session.labels.copy()
    near = found(session)[2]
    session.decide_fragment(near, FragmentVerdict.DELETED)
    assert not session.labels[20:23].any()
    assert np.array_equal(np.delete(session.labels, [20, 21, 22], 0), np.delete(before, [20, 21, 22], 0))
    assert session.remaining() == {"open": 0, "cuts": 0, "fragments": 2, "b0": 3}
    assert session.deleted_fragments == (near,)
    session.decide_fragment(near, FragmentVerdict.KEPT)
    assert np.array_equal(session.labels, before)
    assert session.fragment_state(near.id) == "kept"
    session.undo()
    session.undo()
    assert np.array_equal(session.labels, before)
    session.redo()
    assert session.fragment_state(near.id) == "deleted"
    assert not session.labels[20:23].any()


def test_what_was_painted_over_a_deleted_fragment_stays(session):
    near = found(session)[2]
    session.decide_fragment(near, FragmentVerdict.DELETED)
    session.stroke(np.ones((1, 4), np.uint8), (21, 10))
    session.stroke(np.zeros((1, 4), np.uint8), (21, 10))
    session.decide_fragment(near, FragmentVerdict.UNSURE)
    assert not session.labels[21, 10:14].any(), "touched since, so not brought back"
    assert session.labels[20, 5:45].all()


def test_a_changed_fragment_is_another_and_must_be_decided_anew(session):
    near = found(session)[2]
    session.decide_fragment(near, FragmentVerdict.KEPT)
    session.stroke(np.ones((3, 3), np.uint8), (20, 45))
    assert session.remaining()["fragments"] == 3
    with pytest.raises(VesselError, match="has changed here"):
        session.decide_fragment(near, FragmentVerdict.DELETED)
    session.undo()
    assert session.remaining()["fragments"] == 2


def test_several_at_once_are_one_edit(session):
    before = session.labels.copy()
    specks = found(session)[:2]
    session.decide_fragment(specks[0], FragmentVerdict.UNSURE)
    edit = session.delete_fragments(specks)
    assert edit.text == "deleted 2 fragments"
    assert not session.labels[40:].any()
    assert session.delete_fragments(specks) is None
    session.decide_fragment(specks[1], FragmentVerdict.KEPT)
    assert session.labels[40, 60] == 1
    assert session.labels[57, 60] == 0, "only that one comes back"
    session.undo()
    session.undo()
    assert np.array_equal(session.labels, before)
    assert session.fragment_state(specks[0].id) == "unsure"


def test_a_new_segmentation_that_brings_a_deleted_one_back_opens_it(session, lone):
    speck = found(session)[0]
    session.decide_fragment(speck, FragmentVerdict.DELETED)
    session.set_segmentation(lone.copy() > 0, "segmentation")
    assert session.fragment_state(speck.id) == "open"
    session.undo()
    assert session.fragment_state(speck.id) == "deleted"


def test_an_edit_that_starts_from_another_verdict_is_refused(session):
    speck = found(session)[0]
    edit = session.decide_fragment(speck, FragmentVerdict.KEPT)
    record = edit.fragments[0].after
    assert edit.inverse().fragments == (FragmentChange(speck, record, None),)
    with pytest.raises(VesselError, match="decide again"):
        session.apply(edit)


def test_verdicts_on_fragments_survive_a_restart(project, tmp_path):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    fragments = found(session)
    session.decide_fragment(fragments[0], FragmentVerdict.DELETED, 2.0)
    session.decide_fragment(fragments[1], FragmentVerdict.KEPT)
    session.decide_fragment(fragments[2], FragmentVerdict.UNSURE)
    session.undo()
    left, labels = session.remaining(), session.labels.copy()
    project.close()
    with Project.open(tmp_path / "project") as again:
        session = again.open_session(image_id, "bob")
        assert np.array_equal(session.labels, labels)
        assert session.remaining() == left
        assert session.fragment_state(fragments[0].id) == "deleted"
        assert session.fragment_verdicts[fragments[0].id].annotator == "ann"
        assert session.fragment_state(fragments[1].id) == "kept"
        assert session.fragment_state(fragments[2].id) == "open"
        session.redo()
        assert session.fragment_state(fragments[2].id) == "unsure"
        session.decide_fragment(fragments[0], FragmentVerdict.KEPT)
        assert session.remaining()["b0"] == left["b0"] + 1
