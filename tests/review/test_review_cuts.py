"""Cuts in a session: decided, taken back and remembered like gaps, and never mixed with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.completion import GapKind, find_cuts, find_gaps, propose_cuts
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, ReviewSession, Verdict
from napari_vessel.review.agreement import compare_projects
from napari_vessel.review.edits import VerdictRecord
from napari_vessel.review.opinions import opinions_of
from napari_vessel.review.settling import keep_mine, take_theirs


@pytest.fixture
def bridged(broken) -> np.ndarray:
    """The broken vessels with a false bridge between them at x = 15 and another at x = 65."""
    labels = broken.copy()
    labels[11:31, 14:17] = 1
    labels[11:31, 64:67] = 1
    return labels


@pytest.fixture
def doubted(bridged, gaps) -> ReviewSession:
    """A session with four gaps and two cuts."""
    session = ReviewSession(bridged.copy(), annotator="ann")
    session.set_gaps(gaps)
    session.set_cuts(propose_cuts(bridged))
    assert len(session.open_cuts) == 2
    return session


def test_gaps_and_cuts_are_counted_and_numbered_apart(doubted):
    left = doubted.remaining()
    assert (left["open"], left["cuts"]) == (4, 2)
    assert [doubted.number_of(gap.id) for gap in doubted.gaps] == [1, 2, 3, 4]
    assert [doubted.number_of(gap.id) for gap in doubted.cuts] == [1, 2]
    assert doubted.decide(doubted.cuts[1].id, Verdict.REJECTED, 1.0).text == "rejected cut 2"


def test_accepting_erases_and_undo_or_another_verdict_brings_back(doubted, bridged):
    cut = doubted.cuts[0]
    doubted.decide(cut.id, Verdict.ACCEPTED, 1.0)
    assert (doubted.labels <= bridged).all()
    assert doubted.components.count == cut.effect.components_after
    doubted.undo()
    assert np.array_equal(doubted.labels, bridged)
    doubted.redo()
    doubted.decide(cut.id, Verdict.REJECTED, 1.0)
    assert np.array_equal(doubted.labels, bridged)
    assert doubted.components.count == cut.effect.components_before


def test_a_new_search_for_one_leaves_the_other(doubted, make_gap):
    cuts = doubted.cuts
    doubted.set_gaps([make_gap(31, 24, 31, 0.7, name="new")])
    assert [gap.id for gap in doubted.gaps] == ["new"]
    assert [gap.id for gap in doubted.cuts] == [gap.id for gap in cuts]
    doubted.set_cuts([])
    assert [gap.id for gap in doubted.gaps] == ["new"]


def test_what_was_kept_is_not_doubted_again_and_what_was_closed_neither(doubted):
    kept = doubted.cuts[0]
    doubted.decide(kept.id, Verdict.REJECTED, 1.0)
    shifted = replace(kept, id="seen differently", path=kept.path + np.float32(1.0))
    labels = doubted.labels.copy()
    found = run_job(find_cuts(labels, rejected=doubted.refused_cuts))
    assert [gap.id for gap in found] == [doubted.cuts[1].id]
    assert run_job(find_cuts(labels, rejected=[shifted])) != run_job(find_cuts(labels))
    closed = replace(kept, id="bridge", kind=GapKind.BRIDGE)
    assert kept.id not in {gap.id for gap in run_job(find_cuts(labels, rejected=[closed]))}


def test_what_was_cut_is_not_proposed_to_be_joined_again(doubted, bridged):
    for gap in doubted.open_cuts:
        doubted.decide(gap.id, Verdict.ACCEPTED, 1.0)
    found = run_job(find_gaps(doubted.labels, rejected=doubted.rejected_gaps))
    doubted.set_gaps(found)
    ends = [end.point for gap in doubted.open_gaps for end in gap.ends]
    assert not [(y, x) for y, x in ends if 14 < y < 27]


def test_a_new_mask_opens_a_cut_again_that_it_joins(doubted, bridged):
    first, second = doubted.cuts
    for gap in (first, second):
        doubted.decide(gap.id, Verdict.ACCEPTED, 1.0)
    again = doubted.labels.copy()
    column = round(first.centre[1])
    again[11:31, column - 1 : column + 2] = 1
    doubted.set_segmentation(again, "anew")
    assert doubted.state_of(first.id) == "open"
    assert doubted.state_of(second.id) == "accepted"


def test_a_bulk_accept_passes_cuts_over(doubted, bridged):
    doubted.accept_above(0.0)
    assert len(doubted.open_gaps) < 4
    assert len(doubted.open_cuts) == 2
    assert (doubted.labels >= bridged).all()


def test_verdicts_on_cuts_teach_nothing_about_vessels(doubted):
    known = [replace(gap, facts={"size": 1.0}) for gap in doubted.cuts]
    record = VerdictRecord(Verdict.REJECTED, "ann", "t", 1.0, 0.9)
    assert opinions_of([(gap, record) for gap in known]) == []


def test_a_reopened_project_has_them_and_its_table_counts_gaps_alone(project, bridged, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_segmentation(bridged, "with bridges")
    session.set_gaps(gaps)
    session.set_cuts(propose_cuts(bridged))
    first, second = session.cuts
    session.decide(first.id, Verdict.ACCEPTED, 1.0)
    folder = project.folder
    project.close()
    with Project.open(folder) as again:
        assert again.record(image_id).open_gaps == 4
        stored = again.open_session(image_id, "ann")
        assert np.array_equal(stored.labels, session.labels)
        assert [gap.id for gap in stored.cuts] == [gap.id for gap in session.cuts]
        assert [gap.id for gap in stored.open_cuts] == [second.id]
        stored.undo()
        assert np.array_equal(stored.labels, bridged)


def test_two_annotators_are_compared_on_cuts_apart(tmp_path, image_file, bridged, gaps):
    from napari_vessel.images import VESSEL, VesselMask
    from napari_vessel.images.inputs import ImageInput

    mask = VesselMask(bridged, (VESSEL,))
    cuts = propose_cuts(bridged)
    made = []
    for name, verdicts in (
        ("ann", (Verdict.ACCEPTED, Verdict.ACCEPTED)),
        ("bob", (Verdict.ACCEPTED, Verdict.REJECTED)),
    ):
        project = Project.create(tmp_path / name)
        run_job(project.add([ImageInput(image_file, None)], masks=mask))
        session = project.open_session(project.images()[0].id, name)
        session.set_gaps(gaps)
        session.set_cuts(cuts)
        session.decide("a", Verdict.ACCEPTED, 1.0)
        for gap, verdict in zip(cuts, verdicts, strict=True):
            session.decide(gap.id, verdict, 1.0)
        made.append((project, session))
    (ann, session), (bob, other) = made
    found = run_job(compare_projects(ann, bob))
    data = found.to_json()
    assert data["gaps"]["both_join"] == 1
    assert data["gaps"]["verdict_in_first_only"] == 0
    assert {name: n for name, n in data["cuts"].items() if n} == {"both_part": 1, "only_first_parts": 1}
    assert data["figures"]["cut_agreement"]["value"] == 0.5
    [row] = data["disagreements"]
    assert (row["kind"], row["first"], row["second"]) == ("cut", "accepted", "rejected")
    [pair] = found.images[0].disagreements
    assert keep_mine(session, pair, 1.0).text == "kept cut as accepted"
    take_theirs(session, pair, (other.labels > 0).view(np.uint8), 1.0)
    assert np.array_equal(session.labels, other.labels)
    ann.close()
    bob.close()
