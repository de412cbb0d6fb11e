"""A disagreement is settled with one edit: mine is kept, or theirs taken, and undo brings back what was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_vessel.errors import InputError, ProjectError, VesselError
from napari_vessel.images import VesselMask
from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, Verdict
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.origins import Origin
from napari_vessel.review.settling import compare_with, keep_mine, take_theirs

A, R, P = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.REPAINTED


@pytest.fixture
def theirs(tmp_path: Path, image_file: Path, broken) -> Project:
    """Bob's project over the image of `project`."""
    with Project.create(tmp_path / "bob") as fresh:
        run_job(fresh.add([ImageInput(image_file, None)], masks=VesselMask(broken.copy())))
        yield fresh


def opened(project: Project, gaps, annotator: str = "ann"):
    session = project.open_session(project.images()[0].id, annotator)
    session.set_gaps(gaps)
    return session


def compared(project: Project, theirs: Project):
    folder = theirs.folder
    theirs.close()
    found = run_job(compare_with(project, folder))
    image = found.agreement.images[0]
    return found.theirs(image.first_id), image.disagreements


@pytest.mark.parametrize(("mine", "other"), [(A, R), (R, A), (A, Verdict.UNSURE)])
def test_taking_theirs_gives_their_verdict_and_mask_and_undo_mine(project, theirs, gaps, mine, other):
    session = opened(project, gaps)
    session.decide("b", mine, 1.0)
    their = opened(theirs, gaps, "bob")
    their.decide("b", other, 1.0)
    wanted = their.labels.copy()
    before = session.labels.copy()
    mask, [pair] = compared(project, theirs)
    assert np.array_equal(mask > 0, wanted > 0)

    take_theirs(session, pair, mask, 2.0)
    assert session.state_of("b") == other
    assert session.verdicts["b"].annotator == "ann", "it is mine now"
    assert np.array_equal(session.labels, wanted)
    again = project.open_session(session.image_id)
    assert np.array_equal(again.labels, wanted)
    session.undo()
    assert session.state_of("b") == mine
    assert np.array_equal(session.labels, before)


@pytest.mark.parametrize(("mine", "other"), [(P, R), (R, P)])
def test_what_was_repainted_is_taken_from_the_mask_near_the_gap_alone(project, theirs, gaps, mine, other):
    sessions = {}
    for name, verdict, it in (("mine", mine, project), ("other", other, theirs)):
        session = sessions[name] = opened(it, gaps)
        if verdict is P:
            # A bow above the straight way.
            bow = np.ones((2, 10), np.uint8)
            session.stroke(bow, (9, 23), group="r")
        session.decide("a", verdict, 1.0, "r" if verdict is P else "")
    # Far away each has something of their own.
    sessions["mine"].stroke(np.ones((2, 2), np.uint8), (40, 60))
    sessions["other"].stroke(np.ones((2, 2), np.uint8), (20, 60))
    near, session = np.s_[5:16, 20:40], sessions["mine"]
    wanted, before = sessions["other"].labels[near].copy(), session.labels.copy()
    mask, [pair] = compared(project, theirs)

    take_theirs(session, pair, mask, 2.0)
    assert np.array_equal(session.labels[near], wanted)
    outside = np.ones(session.shape, bool)
    outside[near] = False
    assert np.array_equal(session.labels[outside], before[outside])
    assert session.state_of("a") == other
    session.undo()
    assert np.array_equal(session.labels, before)
    assert session.state_of("a") == mine


def test_keeping_mine_is_an_edit_that_changes_no_pixel(project, theirs, gaps):
    session = opened(project, gaps)
    session.decide("b", A, 1.0)
    first = session.verdicts["b"]
    opened(theirs, gaps, "bob").decide("b", R, 1.0)
    before = session.labels.copy()
    _, [pair] = compared(project, theirs)
    keep_mine(session, pair, 3.0)
    assert np.array_equal(session.labels, before)
    assert (session.verdicts["b"].verdict, session.verdicts["b"].seconds) == (A, 3.0)
    assert session.undo_text == "kept gap as accepted"
    session.undo()
    assert session.verdicts["b"] == first
    session.undo()
    with pytest.raises(VesselError, match="taken your verdict on it back"):
        keep_mine(session, pair, 1.0)
    session.redo()
    # Rejecting it later still takes back what accepting had drawn.
    session.redo()
    session.decide("b", R)
    assert session.labels[11, 52] == 0


def test_fragments_are_settled_too(project, theirs, gaps):
    session = opened(project, gaps)
    found = {one.point: one for one in run_job(find_fragments(session.components.labels))}
    session.decide_fragment(found[45, 5], FragmentVerdict.KEPT)
    session.decide_fragment(found[30, 5], FragmentVerdict.DELETED)
    their = opened(theirs, gaps, "bob")
    their.decide_fragment(found[45, 5], FragmentVerdict.DELETED)
    their.decide_fragment(found[30, 5], FragmentVerdict.KEPT)
    wanted, before = their.labels.copy(), session.labels.copy()
    mask, pairs = compared(project, theirs)
    assert len(pairs) == 2
    keep_mine(session, pairs[0], 1.0)
    assert np.array_equal(session.labels, before)
    session.undo()
    for pair in pairs:
        take_theirs(session, pair, mask, 1.0)
    assert np.array_equal(session.labels, wanted)
    assert session.fragment_state(found[45, 5].id) == "deleted"
    session.undo()
    session.undo()
    assert np.array_equal(session.labels, before)


def test_a_deletion_that_was_kept_as_mine_can_still_be_taken_back(project, theirs, gaps):
    session = opened(project, gaps)
    found = {one.point: one for one in run_job(find_fragments(session.components.labels))}
    piece, whole = found[30, 5], session.labels.copy()
    session.decide_fragment(piece, FragmentVerdict.DELETED)
    opened(theirs, gaps, "bob").decide_fragment(piece, FragmentVerdict.KEPT)
    _, pairs = compared(project, theirs)
    keep_mine(session, pairs[0], 1.0)
    origins = run_job(project.origins(session.image_id))
    assert (origins.pixels[whole != session.labels] == Origin.REJECTED).all()
    session.decide_fragment(piece, FragmentVerdict.KEPT)
    assert np.array_equal(session.labels, whole)


def test_the_open_project_and_one_that_is_open_elsewhere_are_refused(project, theirs):
    with pytest.raises(InputError, match="itself"):
        run_job(compare_with(project, project.folder))
    with pytest.raises(ProjectError, match="already open"):
        run_job(compare_with(project, theirs.folder))


def test_their_project_is_free_again_when_the_job_is_cancelled(project, theirs):
    folder = theirs.folder
    theirs.close()
    job = compare_with(project, folder)
    next(job)
    with pytest.raises(ProjectError, match="already open"):
        Project.open(folder)
    job.close()
    Project.open(folder).close()
