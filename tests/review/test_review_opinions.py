"""What verdicts teach about what an annotator takes for a vessel."""

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_vessel.completion import Gap, propose_gaps
from napari_vessel.completion.belief import LINKED, Belief, Opinion
from napari_vessel.completion.scoring import scoring
from napari_vessel.errors import ProjectError
from napari_vessel.jobs import run_job
from napari_vessel.review import ReviewSession
from napari_vessel.review.edits import Edit, EditKind, Verdict, VerdictRecord
from napari_vessel.review.fragments import FragmentChange, FragmentRecord, FragmentVerdict, find_fragments
from napari_vessel.review.opinions import opinions_of, opinions_of_fragments


@pytest.fixture
def gap() -> Gap:
    mask = np.zeros((50, 160), bool)
    mask[22:27, 20:80] = True
    mask[22:27, 86:98] = True
    return propose_gaps(mask, mask.astype(np.float32))[0]


def said(verdict: Verdict, gap: Gap, seconds: float = 1.5, annotator: str = "ada") -> VerdictRecord:
    return VerdictRecord(verdict, annotator, "2026-01-01T00:00:00+00:00", seconds, gap.score)


def test_accepting_and_repainting_say_vessel_and_one(gap):
    opinions = opinions_of([(gap, said(Verdict.ACCEPTED, gap)), (gap, said(Verdict.REPAINTED, gap))])
    assert [(one.right, one.weight) for one in opinions] == [(True, 1.0)] * 4
    assert [one.facts for one in opinions] == [gap.facts, {LINKED: gap.linked}] * 2


def test_a_refusal_counts_by_the_chance_that_the_piece_was_meant(gap):
    sure_link = replace(gap, link=0.99, fragment=0.4)
    sure_piece = replace(gap, link=0.4, fragment=0.99)
    opinions = opinions_of([(g, said(Verdict.REJECTED, g)) for g in (sure_link, sure_piece)])
    assert not any(one.right for one in opinions)
    pieces, links = ([one.weight for one in opinions if one.of_link is of_link] for of_link in (False, True))
    likely, hardly = 0.6 / (1 - 0.99 * 0.4), 0.01 / (1 - 0.99 * 0.4)
    assert pieces == pytest.approx([likely, hardly])
    assert links == pytest.approx([hardly, likely])


def test_what_was_not_looked_at_or_not_decided_says_nothing(gap):
    records = [
        said(Verdict.ACCEPTED, gap, seconds=0.0),
        said(Verdict.UNSURE, gap),
        said(Verdict.SKIPPED, gap),
        said(Verdict.ACCEPTED, gap, annotator="grace"),
    ]
    assert opinions_of([(gap, record) for record in records], "ada") == []
    assert opinions_of([(replace(gap, facts={}, linked=None), said(Verdict.ACCEPTED, gap))]) == []


def test_with_nothing_known_of_a_piece_a_refusal_is_of_the_link(gap):
    blind = replace(gap, facts={}, fragment=None)
    assert opinions_of([(blind, said(Verdict.REJECTED, gap))]) == [Opinion({LINKED: gap.linked}, False, 1.0)]


def test_refused_pieces_sink_in_the_next_search(gap):
    opinions = opinions_of([(gap, said(Verdict.REJECTED, gap))] * 20)
    belief = Belief(scoring("image").fragment)
    belief.learn([one for one in opinions if not one.of_link])
    assert belief.chance(gap.facts) < 0.6 * gap.fragment


def test_the_newest_verdicts_of_one_annotator_are_read_at_once(project, gap, monkeypatch):
    image_id = project.images()[0].id
    for annotator, name, verdict in (
        ("ada", "one", Verdict.ACCEPTED),
        ("grace", "two", Verdict.REJECTED),
        ("ada", "three", Verdict.REJECTED),
        ("ada", "four", Verdict.UNSURE),
    ):
        session = project.open_session(image_id, annotator)
        session.set_gaps([replace(gap, id=name)])
        session.decide(name, verdict, 1.0)
    told = project.opinions("ada")
    assert [one.right for one in told] == [True, True, False, False]
    assert told == opinions_of(project.verdicts(image_id), "ada")
    assert project.opinions("ada", besides=image_id) == []
    monkeypatch.setattr("napari_vessel.review.opinions.REMEMBERED", 1)
    assert [one.right for one in project.opinions("ada")] == [False, False], "the newest"


@pytest.mark.parametrize("damage", [None, {"linked": "far"}, {"facts": {"size": "small"}}, {"facts": [1]}])
def test_a_damaged_verdict_of_another_image_teaches_nothing_and_stops_nothing(project, gap, damage):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ada")
    session.set_gaps([gap])
    session.decide(gap.id, Verdict.ACCEPTED, 1.0)
    with project._database.transaction() as connection:
        text = "{" if damage is None else json.dumps({**gap.to_json(), **damage})
        connection.execute("UPDATE verdicts SET proposal = ?", (text,))
    assert project.opinions("ada") == []


def two_pieces() -> np.ndarray:
    mask = np.zeros((90, 160), np.uint8)
    for row in (20, 60):
        mask[row : row + 5, 20:80] = 1
        mask[row : row + 5, 86:98] = 1
    mask[20:65, 18:22] = 1
    return mask


def test_keeping_and_deleting_a_fragment_teaches_and_undo_takes_it_back():
    mask = two_pieces()
    session = ReviewSession(mask.copy(), annotator="ada")
    session.set_gaps(propose_gaps(mask, (mask > 0).astype(np.float32)))
    scores = {gap.id: gap.score for gap in session.open_gaps}
    first, second = run_job(find_fragments(session.components.labels))
    session.decide_fragment(first, FragmentVerdict.DELETED, 1.0)
    said = session.fragment_verdicts[first.id]
    assert "size" in said.facts
    assert [one.right for one in opinions_of_fragments([said])] == [False]
    other = next(gap for gap in session.open_gaps if abs(gap.centre[0] - second.centre[0]) < 10)
    assert other.score < scores[other.id]
    session.undo()
    assert {gap.id: gap.score for gap in session.open_gaps} == pytest.approx(scores)
    session.decide_fragment(first, FragmentVerdict.KEPT, 1.0)
    assert session.gaps[0].fragment is not None
    kept = next(gap for gap in session.open_gaps if gap.id == other.id)
    assert kept.score >= scores[other.id]


def test_a_fragment_deleted_unseen_or_of_which_nothing_is_known_teaches_nothing():
    facts = {"size": 1.0}
    unseen = FragmentRecord(FragmentVerdict.DELETED, "ada", "t", 0.0, facts)
    unknown = FragmentRecord(FragmentVerdict.DELETED, "ada", "t", 1.0)
    seen = FragmentRecord(FragmentVerdict.KEPT, "ada", "t", 1.0, facts)
    assert [one.right for one in opinions_of_fragments([unseen, unknown, seen], "ada")] == [True]
    assert opinions_of_fragments([seen], "grace") == []
    assert FragmentRecord.from_json(seen.to_json()) == seen
    assert "facts" not in unknown.to_json()


def test_opinions_on_fragments_are_read_with_those_on_gaps(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ada")
    fragment = run_job(find_fragments(session.components.labels))[0]
    record = FragmentRecord(FragmentVerdict.KEPT, "ada", "2026-01-01", 1.0, {"size": 1.0})
    session.apply(Edit(EditKind.FRAGMENT, "kept", fragments=(FragmentChange(fragment, None, record),)))
    assert [(dict(one.facts), one.right) for one in project.opinions("ada")] == [({"size": 1.0}, True)]
    assert project.opinions("grace") == []


def test_what_says_nothing_does_not_crowd_out_what_does(project, gap, monkeypatch):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ada")
    session.set_gaps([replace(gap, id=name) for name in ("one", "two")])
    session.decide("one", Verdict.REJECTED, 1.0)
    session.decide("two", Verdict.ACCEPTED, 0.0)
    fragment = run_job(find_fragments(session.components.labels))[0]
    kept = FragmentRecord(FragmentVerdict.KEPT, "ada", "2026-01-01", 1.0, {"size": 1.0})
    unseen = FragmentRecord(FragmentVerdict.DELETED, "ada", "2026-01-02", 0.0, {"size": 1.0})
    for area, record in ((9, kept), (8, unseen)):
        change = FragmentChange(replace(fragment, area_px=area), None, record)
        session.apply(Edit(EditKind.FRAGMENT, "said", fragments=(change,)))
    monkeypatch.setattr("napari_vessel.review.opinions.REMEMBERED", 1)
    assert [one.right for one in project.opinions("ada")] == [False, False, True], "nobody looked at the newer ones"


def test_a_gap_that_is_painted_over_tells_nothing_of_a_fragment():
    mask = two_pieces()
    first = min(propose_gaps(mask, (mask > 0).astype(np.float32)), key=lambda gap: gap.centre[0])
    session = ReviewSession(mask.copy(), annotator="ada")
    # A search numbers components by itself: what it calls this piece may be what the session calls the other one.
    other = int(session.components.labels[62, 90])
    ends = (first.ends[0], replace(first.ends[1], component=other))
    session.set_gaps([replace(first, ends=ends)])
    session.stroke(np.ones((5, 6), np.uint8), (20, 80))
    assert session.gaps[0].joins == (0, 0)
    fragment = next(one for one in run_job(find_fragments(session.components.labels)) if one.box[0] > 50)
    session.decide_fragment(fragment, FragmentVerdict.DELETED, 1.0)
    assert session.fragment_verdicts[fragment.id].facts == {}


def test_who_goes_on_is_written_down_and_judged_by_their_own_verdicts(project, gap):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ada")
    session.set_gaps([replace(gap, id=name) for name in ("one", "two", "three")])
    before = session.gaps[-1].score
    session.decide("one", Verdict.REJECTED, 1.0)
    assert session.open_gaps[0].score != pytest.approx(before, abs=1e-6)
    session.hand_to("grace", [])
    assert session.open_gaps[0].score == pytest.approx(before, abs=1e-9)
    session.decide("two", Verdict.REJECTED, 1.0)
    assert session.verdicts["two"].annotator == "grace"
    assert project.annotators(image_id) == ["ada", "grace"]
    assert project.record(image_id).annotator == "grace"


def test_a_session_knows_when_another_one_has_gone_on(project):
    image_id = project.images()[0].id
    session, other = (project.open_session(image_id, "ada") for _ in range(2))
    assert session.is_current()
    other.stroke(np.ones((3, 3), np.uint8), (0, 0))
    assert other.is_current()
    assert not session.is_current()
    assert ReviewSession(np.zeros((5, 5), np.uint8)).is_current()


def dot(session: ReviewSession, y: int) -> None:
    session.stroke(np.ones((3, 3), np.uint8), (y, 0))


def test_a_session_knows_when_another_one_took_its_edit_back_and_made_another(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ada")
    dot(session, 0)
    other = project.open_session(image_id, "ada")
    other.undo()
    assert not session.is_current()
    other.redo()
    assert session.is_current(), "it is the same again"
    other.undo()
    dot(other, 20)
    assert other.history_position == session.history_position
    assert not session.is_current()
    for act in (session.undo, lambda: dot(session, 40)):
        with pytest.raises(ProjectError, match="changed elsewhere"):
            act()
    assert np.array_equal(project.read_mask(image_id).labels, other.labels)


def test_a_session_knows_when_another_one_made_what_it_would_do_again_another(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ada")
    dot(session, 0)
    session.undo()
    other = project.open_session(image_id, "ada")
    dot(other, 20)
    other.undo()
    assert not session.is_current()
    with pytest.raises(ProjectError, match="changed elsewhere"):
        session.redo()
    other.redo()
    assert np.array_equal(project.read_mask(image_id).labels, other.labels)
