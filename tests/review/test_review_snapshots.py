"""A long history: opening starts at a snapshot, memory holds a window of it, and undo still reaches the first edit."""

import numpy as np
import pytest

from napari_vessel.errors import ProjectError
from napari_vessel.review import EditKind, Project, Verdict, history, journal
from napari_vessel.review.edits import Edit
from napari_vessel.review.history import History


@pytest.fixture
def small(monkeypatch):
    """Snapshots every ten edits, and eight edits read at once."""
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(history, "PAGE", 8)


def paint(session, count, seed=0):
    """Make `count` strokes and return the mask after each, the one before them first."""
    rng = np.random.default_rng(seed)
    masks = [session.labels.copy()]
    while len(masks) <= count:
        place = (int(rng.integers(0, 44)), int(rng.integers(0, 74)))
        if session.stroke(rng.integers(0, 2, (6, 6)).astype(np.uint8), place) is not None:
            masks.append(session.labels.copy())
    return masks


def snapshots(project):
    return [row[0] for row in project._database.rows("SELECT seq FROM snapshots ORDER BY seq")]


def test_opening_starts_at_the_last_snapshot(project, small):
    image_id = project.images()[0].id
    masks = paint(project.open_session(image_id), 35)
    assert snapshots(project) == [10, 20, 30]
    # Nothing of the first thirty edits is needed any more to know the mask.
    project._database.rows("UPDATE mask_edits SET after = x'00' WHERE seq <= 30")
    (project.folder / "masks" / f"{image_id}.png").unlink()
    assert np.array_equal(project.open_session(image_id).labels, masks[-1])
    assert np.array_equal(project.read_mask(image_id).labels, masks[-1])


def test_undo_reaches_the_first_edit_after_a_restart_and_redo_the_last(project, small):
    image_id = project.images()[0].id
    masks = paint(project.open_session(image_id), 45)
    for back in (0, 27):
        project.close()
        project = Project.open(project.folder)
        session = project.open_session(image_id)
        assert session.history_position == 45 - back
        for number in range(44 - back, -1, -1):
            session.undo()
            assert np.array_equal(session.labels, masks[number])
        assert session.undo() is None
        for number in range(1, 46):
            session.redo()
            assert np.array_equal(session.labels, masks[number])
        assert session.redo() is None
        for _ in range(27):
            session.undo()
    project.close()


def test_a_new_edit_forgets_the_snapshots_of_what_it_replaces(project, small):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    paint(session, 32)
    for _ in range(15):
        session.undo()
    assert snapshots(project) == [10, 20, 30]
    masks = paint(session, 5, seed=1)
    assert snapshots(project) == [10, 20]
    again = project.open_session(image_id)
    assert again.history_position == 22
    assert np.array_equal(again.labels, masks[-1])


def test_a_damaged_snapshot_is_passed_over(project, small):
    image_id = project.images()[0].id
    masks = paint(project.open_session(image_id), 25)
    project._database.rows("UPDATE snapshots SET labels = x'0102' WHERE seq = 20")
    assert np.array_equal(project.open_session(image_id).labels, masks[-1])
    project._database.rows("UPDATE snapshots SET labels = x'0102'")
    assert np.array_equal(project.open_session(image_id).labels, masks[-1])


def test_a_damaged_edit_is_a_sentence(project):
    image_id = project.images()[0].id
    paint(project.open_session(image_id), 3)
    project._database.rows("UPDATE mask_edits SET after = x'0102' WHERE seq = 2")
    with pytest.raises(ProjectError, match=r"history of image .* is damaged"):
        project.open_session(image_id)


def test_a_history_from_before_there_were_snapshots_gets_one(project, small):
    image_id = project.images()[0].id
    masks = paint(project.open_session(image_id), 35)
    project._database.rows("DELETE FROM snapshots")
    project.read_mask(image_id)
    assert snapshots(project) == []
    assert np.array_equal(project.open_session(image_id).labels, masks[-1])
    assert snapshots(project) == [35]


def test_a_gap_accepted_long_ago_is_taken_back(project, gaps, small):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    session.set_gaps(gaps)
    before = session.labels.copy()
    session.decide("a", Verdict.ACCEPTED)
    drawn = session.labels != before
    assert drawn.any()
    for number in range(30):
        session.stroke(np.full((2, 2), 1 - number % 2, np.uint8), (40, 40))
    again = project.open_session(image_id)
    again.decide("a", Verdict.REJECTED)
    assert np.array_equal(again.labels, before)


def test_reopened_proposals_are_those_of_the_session(project, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    session.set_gaps(gaps)
    session.decide("a", Verdict.REJECTED)
    session.reopen("a")
    session.set_gaps(gaps[1:])
    again = project.open_session(image_id)
    assert [gap.id for gap in again.gaps] == [gap.id for gap in session.gaps] == ["b", "c", "d"]


def test_only_a_window_of_a_stored_history_is_in_memory():
    stored = [Edit(EditKind.STROKE, str(n)) for n in range(5000)]
    long = History(position=5000, count=5000, load=lambda start, stop: stored[start:stop])
    for number in range(4999, -1, -1):
        assert [edit.text for edit in long.step_back()] == [str(number)]
        long.move_to(number)
        assert len(long._window) <= 2 * history.PAGE
    assert long.step_forward()[0].text == "0"
    for number in range(5000):
        long.push(stored[number])
        assert len(long._window) <= 2 * history.PAGE
    assert [edit.text for edit in long.back()] == [edit.text for edit in reversed(stored)]
