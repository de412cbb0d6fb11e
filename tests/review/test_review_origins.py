"""Who decided each pixel: every kind of decision, and any history against a plain account of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from napari_vessel.completion import GapKind, propose_cuts
from napari_vessel.completion.drawing import cut_gap, draw_gap
from napari_vessel.errors import ProjectError
from napari_vessel.images import MaskClass, VesselMask
from napari_vessel.jobs import run_job
from napari_vessel.review import EditKind, ImageState, Project, ReviewSession, Verdict, history, journal
from napari_vessel.review.fragments import FragmentVerdict, find_fragments
from napari_vessel.review.origins import Origin, judged_pixels, trace_origins
from napari_vessel.review.pairs import Pair
from napari_vessel.review.settling import take_theirs
from napari_vessel.topology import label_components

SHAPE = (50, 80)


def traced(session: ReviewSession, done: bool = False) -> np.ndarray:
    stretch = list(session._history.back())[::-1]
    return run_job(trace_origins(session.labels, session.classes, [stretch], done))


def drawn(gap) -> np.ndarray:
    """Every pixel that drawing a gap, or cutting a cut, covers."""
    whole = np.zeros(SHAPE, bool)
    (y, x), patch = (cut_gap if gap.kind is GapKind.CUT else draw_gap)(gap, SHAPE)
    whole[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return whole


def only(origin: np.ndarray, value: Origin, where: np.ndarray) -> bool:
    return np.array_equal(origin == value, where)


# One decision at a time


def test_nothing_was_decided(session):
    assert not traced(session).any()
    assert (traced(session, done=True) == Origin.MODEL).all()


def test_an_accepted_gap_is_what_it_drew(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    assert only(traced(session), Origin.ACCEPTED, session.labels != broken)
    done = traced(session, done=True)
    assert only(done, Origin.ACCEPTED, session.labels != broken)
    assert only(done, Origin.MODEL, session.labels == broken)


def test_a_rejected_gap_is_where_there_is_no_vessel(session, broken, gaps):
    session.decide("a", Verdict.REJECTED)
    refused = drawn(gaps[0]) & (broken == 0)
    assert refused.any()
    assert (drawn(gaps[0]) & (broken > 0)).any(), "it begins inside the vessel"
    assert only(traced(session), Origin.REJECTED, refused)


@pytest.mark.parametrize("last", [Verdict.SKIPPED, Verdict.UNSURE, Verdict.REJECTED, None])
def test_a_verdict_that_was_changed_has_decided_nothing(session, broken, gaps, last):
    session.decide("a", Verdict.ACCEPTED)
    if last is None:
        session.reopen("a")
    else:
        session.decide("a", last)
    refused = drawn(gaps[0]) & (broken == 0)
    expected = {Verdict.UNSURE: Origin.UNSURE, Verdict.REJECTED: Origin.REJECTED}.get(last)
    assert np.array_equal(traced(session), refused * np.uint8(expected or 0))


def test_a_stroke_over_an_accepted_gap_that_is_reopened_later(session):
    session.decide("a", Verdict.ACCEPTED)
    session.stroke(np.zeros((2, 6), np.uint8), (10, 26))
    origin = traced(session)
    assert (origin[10:12, 26:31] == Origin.BRUSH).all()
    assert (origin[12, 25:31] == Origin.ACCEPTED).all()
    # Then the verdict goes: the stroke is still the annotator's.
    session.reopen("a")
    again = traced(session)
    assert (again[10:12, 26:31] == Origin.BRUSH).all()
    assert not (again == Origin.ACCEPTED).any()


def test_what_was_drawn_over_a_stroke_is_the_strokes_again_when_it_is_reopened(session):
    session.stroke(np.ones((3, 3), np.uint8), (10, 25))
    session.stroke(np.zeros((3, 3), np.uint8), (10, 25))
    session.decide("a", Verdict.ACCEPTED)
    assert (traced(session)[10:13, 25:31] == Origin.ACCEPTED).all()
    session.reopen("a")
    origin = traced(session)
    assert (origin[10:13, 25:28] == Origin.BRUSH).all()
    assert (origin == Origin.BRUSH).sum() == 9


def test_a_bulk_accept_is_of_each_gap_by_itself(session, broken):
    session.accept_above(0.6)
    assert set(session.verdicts) == {"a", "b", "c", "d"}
    session.decide("c", Verdict.REJECTED)
    origin = traced(session)
    assert only(origin, Origin.ACCEPTED, (session.labels > 0) & (broken == 0))
    assert (origin[30:33, 25:31] == Origin.REJECTED).all()
    assert (origin[10:13, 25:31] == Origin.ACCEPTED).all()


def test_the_strokes_of_a_repaint_once_its_verdict_is_given(session):
    session.stroke(np.ones((3, 6), np.uint8), (10, 25), group="repaint a 1")
    assert (traced(session)[10:13, 25:31] == Origin.BRUSH).all()
    session.decide("a", Verdict.REPAINTED, 1.0, "repaint a 1")
    session.stroke(np.ones((2, 2), np.uint8), (2, 2))
    origin = traced(session)
    assert (origin[10:13, 25:31] == Origin.REPAINTED).all()
    assert (origin[2:4, 2:4] == Origin.BRUSH).all()
    # No verdict takes a repaint back: the mask is still as it was painted.
    session.decide("a", Verdict.SKIPPED)
    assert (traced(session)[10:13, 25:31] == Origin.REPAINTED).all()
    session.undo()
    session.undo()
    session.undo()
    assert not traced(session).any()


def test_fragments(session, broken):
    parts = {part.point: part for part in run_job(find_fragments(session.components.labels))}
    speck, left = parts[(45, 5)], parts[(10, 5)] if (10, 5) in parts else parts[(30, 5)]
    session.decide_fragment(speck, FragmentVerdict.DELETED)
    session.decide_fragment(left, FragmentVerdict.KEPT)
    origin = traced(session)
    assert only(origin, Origin.REJECTED, (broken > 0) & (session.labels == 0))
    y0, x0, y1, x1 = left.box
    assert (origin[y0:y1, x0:x1] == Origin.ACCEPTED).all()
    session.decide_fragment(speck, FragmentVerdict.UNSURE)
    session.decide_fragment(left, FragmentVerdict.UNSURE)
    unsure = np.zeros(SHAPE, bool)
    unsure[45:47, 5:7] = unsure[y0:y1, x0:x1] = True
    assert np.array_equal(traced(session), unsure * np.uint8(Origin.UNSURE))
    # One that was painted on is no longer the one that was judged.
    session.stroke(np.ones((2, 3), np.uint8), (45, 5))
    assert only(traced(session), Origin.BRUSH, np.pad(np.ones((2, 1), bool), ((45, 3), (7, 72))))
    assert not (traced(session)[45:47, 5:7] == Origin.UNSURE).any()


def test_fragments_deleted_together_and_one_of_them_taken_back(session, broken):
    parts = run_job(find_fragments(session.components.labels))[:3]
    session.delete_fragments(parts)
    gone = (broken > 0) & (session.labels == 0)
    assert only(traced(session), Origin.REJECTED, gone)
    session.decide_fragment(parts[1], FragmentVerdict.SKIPPED)
    left = (broken > 0) & (session.labels == 0)
    assert 0 < left.sum() < gone.sum()
    assert only(traced(session), Origin.REJECTED, left)


def test_a_deleted_component_is_the_brushs(session, broken):
    session.delete_component(45, 5)
    assert only(traced(session), Origin.BRUSH, (broken > 0) & (session.labels == 0))


def test_cuts_say_the_opposite(broken):
    bridged = broken.copy()
    bridged[11:31, 14:17] = bridged[11:31, 64:67] = 1
    session = ReviewSession(bridged.copy())
    session.set_cuts(propose_cuts(bridged))
    first, second = session.cuts
    session.decide(first.id, Verdict.ACCEPTED)
    session.decide(second.id, Verdict.REJECTED)
    origin = traced(session)
    kept = drawn(second) & (bridged > 0)
    assert np.array_equal(origin == Origin.ACCEPTED, kept | (session.labels != bridged))
    assert not (origin == Origin.REJECTED).any()
    session.decide(second.id, Verdict.UNSURE)
    assert only(traced(session), Origin.UNSURE, kept)


def test_a_new_mask_replaces_every_decision_where_it_differs(session, broken):
    session.decide("a", Verdict.ACCEPTED)
    session.decide("b", Verdict.REJECTED)
    new = session.labels > 0
    new[10:13, 25:28] = False
    new[10:13, 50:56] = True
    session.set_segmentation(new, "segmented again")
    origin = traced(session)
    assert not origin[10:13, 50:56].any(), "the refusal is not of a vessel"
    # The gap is open again, so nothing of it was accepted.
    assert not origin[10:13, 25:31].any()
    assert session.state_of("a") == "open"


def test_what_another_annotator_drew_was_repainted(session, broken, gaps):
    session.stroke(np.ones((1, 6), np.uint8), (11, 25), group="repaint a 1")
    session.decide("a", Verdict.REPAINTED, 1.0, "repaint a 1")
    theirs = broken.copy()
    theirs[10:13, 25:31] = 1
    mine = session.verdicts["a"]
    pair = Pair(gaps[0], mine, replace(mine, verdict=Verdict.ACCEPTED, annotator="other"))
    take_theirs(session, pair, theirs, 1.0)
    origin = traced(session)
    assert (origin[11, 25:31] == Origin.REPAINTED).all()
    assert (origin[[10, 12], 25:31] == Origin.ACCEPTED).all()


def test_the_class_uncertain_is_unsure_whoever_painted_it(broken):
    classes = (MaskClass(1, 1, "artery"), MaskClass(2, 2, "vein"), MaskClass(3, 3, "uncertain"))
    labels = broken.copy()
    labels[30:33, 5:20] = 3
    session = ReviewSession(labels.copy(), classes)
    session.stroke(np.full((2, 2), 3, np.uint8), (2, 2))
    session.stroke(np.full((2, 2), 2, np.uint8), (30, 5))
    origin = traced(session, done=True)
    assert only(origin, Origin.UNSURE, session.labels == 3)
    assert (origin[30:32, 5:7] == Origin.BRUSH).all()


# In a project


def test_done_and_reopened(project, gaps):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    session.set_gaps(gaps)
    session.decide("a", Verdict.ACCEPTED)
    session.decide("b", Verdict.REJECTED)
    before = run_job(project.origins(image_id))
    assert (before.done, before.edits) == (False, 2)
    assert set(np.unique(before.pixels)) == {Origin.NEVER_REVIEWED, Origin.ACCEPTED, Origin.REJECTED}
    assert np.array_equal(before.vessels, session.labels > 0)
    project.set_state(image_id, ImageState.DONE)
    done = run_job(project.origins(image_id))
    assert done.done
    assert np.array_equal(done.pixels, np.where(before.pixels == 0, np.uint8(Origin.MODEL), before.pixels))
    session.stroke(np.ones((2, 2), np.uint8), (2, 2))
    reopened = run_job(project.origins(image_id))
    assert (reopened.done, reopened.edits) == (False, 3)
    assert (reopened.pixels == Origin.MODEL).sum() == 0


def test_edits_made_while_a_history_is_read_do_not_mix_with_it(project, monkeypatch):
    monkeypatch.setattr("napari_vessel.review.origins.PAGE", 4)
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    rng = np.random.default_rng(3)

    def paint():
        place = (int(rng.integers(0, 44)), int(rng.integers(0, 74)))
        session.stroke(rng.integers(0, 2, (6, 6)).astype(np.uint8), place)

    for _ in range(12):
        paint()
    job = project.origins(image_id)
    next(job)
    before = run_job(project.origins(image_id))
    paint()
    # What was added since is left out.
    found = run_job(job)
    assert found.edits == 12
    assert np.array_equal(found.pixels, before.pixels)
    assert np.array_equal(found.mask.labels, before.mask.labels)
    job = project.origins(image_id)
    next(job)
    for _ in range(11):
        session.undo()
    for _ in range(3):
        paint()
    found = run_job(job)
    assert found.edits == 5
    assert np.array_equal(found.mask.labels, session.labels)
    assert np.array_equal(found.pixels, traced(session))


def test_a_damaged_history_is_a_sentence(project):
    image_id = project.images()[0].id
    session = project.open_session(image_id)
    session.stroke(np.ones((2, 2), np.uint8), (2, 2))
    project._database.rows("UPDATE mask_edits SET before = x'0102'")
    with pytest.raises(ProjectError, match=r"history of image .* is damaged"):
        run_job(project.origins(image_id))
    project._database.rows("DELETE FROM edits")
    with pytest.raises(ProjectError, match=r"history of image .* is damaged"):
        run_job(project.origins(image_id))


# Any history


@dataclass(frozen=True, eq=False)
class Entry:
    """One decision in the plain account: on what, which verdict, and whose the pixels are."""

    name: str
    verdict: object
    value: Origin
    where: np.ndarray
    fragment: object = None


class Account:
    """A list of all decisions that stand, one after another, made from what is seen and not from the history."""

    def __init__(self, session: ReviewSession) -> None:
        self.session = session
        self.entries: tuple[Entry, ...] = ()
        self.past = [self.entries]
        self.here = 0

    def note(self, *new: Entry, decided: tuple[tuple[str, object], ...] = ()) -> None:
        """Add a step: verdicts put an end to what other verdicts on the same decided."""
        now = dict(decided)
        kept = tuple(e for e in self.entries if e.name not in now or e.verdict == now[e.name])
        self.entries = kept + new
        del self.past[self.here + 1 :]
        self.past.append(self.entries)
        self.here += 1

    def go(self, steps: int) -> None:
        self.here = min(max(self.here + steps, 0), len(self.past) - 1)
        self.entries = self.past[self.here]

    def pixels(self, done: bool) -> np.ndarray:
        labels = self.session.labels
        origin = np.zeros(labels.shape, np.uint8)
        components, _ = label_components(labels)
        for entry in self.entries:
            if entry.verdict is FragmentVerdict.UNSURE:
                # It is still there when its pixels are a component.
                there = components[entry.where]
                if there[0] == 0 or not np.array_equal(components == there[0], entry.where):
                    continue
            origin[entry.where] = entry.value
        origin[(origin == Origin.REJECTED) & (labels > 0)] = 0
        if done:
            origin[origin == 0] = Origin.MODEL
        return origin


class Worker:
    """Does random things in a session, and says in the account what each was."""

    def __init__(self, session: ReviewSession, seed: int) -> None:
        self.session, self.account = session, Account(session)
        self.luck = random.Random(seed)
        self.repaints = 0

    def patch(self) -> tuple[np.ndarray, tuple[int, int]]:
        size = (self.luck.randint(2, 9), self.luck.randint(2, 14))
        place = (self.luck.randint(0, SHAPE[0] - size[0]), self.luck.randint(0, SHAPE[1] - size[1]))
        return np.full(size, self.luck.randint(0, 1), np.uint8), place

    def stroke(self) -> None:
        before = self.session.labels.copy()
        if self.session.stroke(*self.patch()) is not None:
            self.account.note(Entry("", None, Origin.BRUSH, before != self.session.labels))

    def repaint(self) -> None:
        gap = self.luck.choice([*self.session.gaps, *self.session.cuts])
        self.repaints += 1
        group, new = f"repaint {self.repaints}", []
        position = self.session.history_position
        decided = [(gap.id, None)]
        self.session.reopen(gap.id, group)
        for _ in range(self.luck.randint(1, 3)):
            before = self.session.labels.copy()
            self.session.stroke(*self.patch(), group=group)
            new.append(Entry("", None, Origin.REPAINTED, before != self.session.labels))
        self.session.decide(gap.id, Verdict.REPAINTED, 1.0, group)
        assert self.session.history_position > position
        self.account.note(*new, decided=(*decided, (gap.id, Verdict.REPAINTED)))

    def decide(self) -> None:
        gap = self.luck.choice([*self.session.gaps, *self.session.cuts])
        verdict = self.luck.choice([v for v in Verdict if v is not Verdict.REPAINTED])
        before = self.session.labels.copy()
        if self.session.decide(gap.id, verdict, 1.0) is None:
            return
        labels, cut = self.session.labels, gap.kind is GapKind.CUT
        about = drawn(gap) & ((labels > 0) == cut)
        refused = Origin.ACCEPTED if cut else Origin.REJECTED
        entry = {
            Verdict.ACCEPTED: Entry(gap.id, verdict, Origin.ACCEPTED, before != labels),
            Verdict.REJECTED: Entry(gap.id, verdict, refused, about),
            Verdict.UNSURE: Entry(gap.id, verdict, Origin.UNSURE, about),
        }.get(verdict)
        self.account.note(*([entry] if entry else []), decided=((gap.id, verdict),))

    def bulk(self) -> None:
        edit = self.session.accept_above(self.luck.random())
        if edit is None:
            return
        new, decided = [], []
        for change, mask in zip(edit.verdicts, edit.masks, strict=True):
            where = np.zeros(SHAPE, bool)
            y0, x0, y1, x1 = mask.box
            where[y0:y1, x0:x1] = mask.labels_before() != mask.labels_after()
            new.append(Entry(change.gap.id, Verdict.ACCEPTED, Origin.ACCEPTED, where))
            decided.append((change.gap.id, Verdict.ACCEPTED))
        self.account.note(*new, decided=tuple(decided))

    def fragment(self) -> None:
        parts = run_job(find_fragments(self.session.components.labels))
        choice = [*parts, *self.session.deleted_fragments]
        if not choice:
            return
        part, verdict = self.luck.choice(choice), self.luck.choice(list(FragmentVerdict))
        before = self.session.labels.copy()
        if self.session.decide_fragment(part, verdict, 1.0) is None:
            return
        labels = self.session.labels
        after = label_components(labels)[0]
        whole = after == after[part.point]
        untouched = labels[part.point] > 0 and whole.sum() == part.area_px
        entry = None
        if verdict is FragmentVerdict.DELETED:
            entry = Entry(part.id, verdict, Origin.REJECTED, before != labels)
        elif verdict in (FragmentVerdict.KEPT, FragmentVerdict.UNSURE) and untouched:
            value = Origin.ACCEPTED if verdict is FragmentVerdict.KEPT else Origin.UNSURE
            entry = Entry(part.id, verdict, value, whole)
        self.account.note(*([entry] if entry else []), decided=((part.id, verdict),))

    def fragments(self) -> None:
        parts = run_job(find_fragments(self.session.components.labels))
        before = self.session.labels.copy()
        components = self.session.components.labels.copy()
        edit = self.session.delete_fragments(self.luck.sample(parts, min(len(parts), 2)))
        if edit is None:
            return
        new = [
            Entry(c.fragment.id, FragmentVerdict.DELETED, Origin.REJECTED, components == components[c.fragment.point])
            for c in edit.fragments
        ]
        assert np.array_equal(np.any([e.where for e in new], axis=0), before != self.session.labels)
        self.account.note(*new, decided=tuple((e.name, e.verdict) for e in new))

    def delete(self) -> None:
        vessels = np.argwhere(self.session.labels)
        if len(vessels):
            y, x = vessels[self.luck.randrange(len(vessels))]
            before = self.session.labels.copy()
            self.session.delete_component(int(y), int(x))
            self.account.note(Entry("", None, Origin.BRUSH, before != self.session.labels))

    def segment(self) -> None:
        new = self.session.labels > 0
        patch, (y, x) = self.patch()
        new[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        before = self.session.labels.copy()
        edit = self.session.set_segmentation(new, "segmented")
        if edit is not None:
            opened = tuple((c.gap.id, None) for c in edit.verdicts)
            opened += tuple((c.fragment.id, None) for c in edit.fragments)
            entry = Entry("", None, Origin.NEVER_REVIEWED, before != self.session.labels)
            self.account.note(entry, decided=opened)

    def undo(self) -> None:
        if self.session.undo() is not None:
            self.account.go(-1)

    def redo(self) -> None:
        if self.session.redo() is not None:
            self.account.go(1)

    def work(self, count: int) -> None:
        every = [self.stroke, self.repaint, self.decide, self.bulk, self.fragment, self.fragments, self.delete]
        every += [self.segment, self.undo, self.redo]
        for step in self.luck.choices(every, weights=[4, 2, 8, 1, 5, 1, 1, 1, 4, 3], k=count):
            step()


@pytest.fixture
def doubtful(broken):
    labels = broken.copy()
    labels[11:31, 14:17] = labels[11:31, 64:67] = 1
    labels[2:4, 40:44] = labels[20:22, 40:46] = labels[40:43, 30:36] = 1
    return labels


@pytest.mark.parametrize("seed", range(12))
def test_any_history_is_as_a_plain_account_of_it(doubtful, gaps, seed):
    session = ReviewSession(doubtful.copy(), annotator="ann")
    session.set_gaps(gaps)
    session.set_cuts(propose_cuts(doubtful))
    worker = Worker(session, seed)
    for _ in range(10):
        worker.work(6)
        assert np.array_equal(traced(session), worker.account.pixels(done=False))
    assert np.array_equal(traced(session, done=True), worker.account.pixels(done=True))


def test_random_work_decides_everything(doubtful, gaps):
    # The test above is worth nothing if its steps do nothing.
    met: set[int] = set()
    kinds = set()
    for seed in range(8):
        session = ReviewSession(doubtful.copy(), annotator="ann")
        session.set_gaps(gaps)
        session.set_cuts(propose_cuts(doubtful))
        worker = Worker(session, seed)
        for _ in range(10):
            worker.work(5)
            met |= set(np.unique(traced(session)).tolist())
            kinds |= {edit.kind for edit in session._history.back()}
    assert met == set(Origin) - {Origin.MODEL}
    assert kinds == set(EditKind)


def test_a_history_that_was_kept_is_as_a_plain_account_of_it(project, gaps, monkeypatch):
    monkeypatch.setattr(journal, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(history, "PAGE", 8)
    monkeypatch.setattr("napari_vessel.review.origins.PAGE", 8)
    image_id = project.images()[0].id
    session = project.open_session(image_id, "ann")
    session.set_gaps(gaps)
    worker = Worker(session, 77)
    for _ in range(4):
        worker.work(25)
        project.close()
        project = Project.open(project.folder)
        found = run_job(project.origins(image_id))
        assert np.array_equal(found.pixels, worker.account.pixels(done=False))
        assert np.array_equal(found.mask.labels, session.labels)
        session = project.open_session(image_id, "ann")
        worker.session = worker.account.session = session
    project.close()


def test_what_a_verdict_is_about_at_the_border(make_gap):
    gap = make_gap(0, 70, 79)
    (y0, x0, y1, x1), where = judged_pixels(gap, np.zeros(SHAPE, np.uint8))
    assert where.shape == (y1 - y0, x1 - x0)
    assert y0 == 0
    assert x1 == 80


def test_a_mask_without_vessels_and_no_history():
    mask = VesselMask(np.zeros((5, 7), np.uint8))
    assert not run_job(trace_origins(mask.labels, mask.classes, [], False)).any()
