"""Any sequence of edits, undos, redos and reopenings gives what an independent model of a history says."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import cv2
import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind
from napari_vessel.images import VesselMask
from napari_vessel.images.inputs import ImageInput
from napari_vessel.jobs import run_job
from napari_vessel.review import Project, Verdict, history, journal
from napari_vessel.topology import label_components

SHAPE = (24, 40)


def bridge(row: int, score: float) -> Gap:
    path = np.stack([np.full(9, row, np.float32), np.arange(14, 23, dtype=np.float32)], 1)
    ends = (GapEnd(1, (row, 14.0), (0.0, 1.0), 1.0, True), GapEnd(2, (row, 22.0), (0.0, -1.0), 1.0, True))
    return Gap(f"r{row}", GapKind.BRIDGE, ends, path, np.full(9, 2, np.float32), score, (), Effect(8, 7, 8, 9, 0))


GAPS = [bridge(row, score) for row, score in ((3, 0.9), (9, 0.8), (15, 0.7), (21, 1 / 3))]

PLACES = st.tuples(st.integers(0, SHAPE[0] - 4), st.integers(0, SHAPE[1] - 6))


def told(session):
    """Return what is said of the gaps, but for the numbers of components: a session that is reopened counts anew."""
    rows = []
    for gap in session.gaps:
        row = gap.to_json()
        row["joins"] = len(set(row["joins"]))
        for end in row["ends"]:
            del end["component"]
        rows.append(row)
    return rows


class ReviewMachine(RuleBasedStateMachine):
    """Keeps, beside the session, a plain list of snapshots: what undo and redo must lead to."""

    @initialize()
    def start(self):
        # So small that the few edits of a run go past snapshots and out of memory.
        self.usual = (journal.SNAPSHOT_EVERY, history.PAGE)
        journal.SNAPSHOT_EVERY, history.PAGE = 4, 3
        self.folder = Path(tempfile.mkdtemp())
        base = np.zeros(SHAPE, np.uint8)
        for row in (3, 9, 15, 21):
            base[row - 1 : row + 2, 2:15] = 1
            base[row - 1 : row + 2, 22:38] = 1
        cv2.imwrite(str(self.folder / "a.png"), np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(SHAPE))
        self.project = Project.create(self.folder / "project")
        [record] = run_job(self.project.add([ImageInput(self.folder / "a.png", None)], masks=VesselMask(base)))
        self.image_id = record.id
        self.session = self.project.open_session(self.image_id, "ann")
        self.session.set_gaps(GAPS)
        self.snapshots = [self.look()]
        self.repaints = 0
        self.here = 0

    def look(self):
        return (self.session.labels.tobytes(), dict(self.session.verdicts))

    def done(self, edit):
        if edit is None:
            return
        del self.snapshots[self.here + 1 :]
        self.snapshots.append(self.look())
        self.here += 1

    @rule(place=PLACES, value=st.integers(0, 1))
    def paint(self, place, value):
        self.done(self.session.stroke(np.full((4, 6), value, np.uint8), place))

    @rule(gap=st.sampled_from(GAPS), places=st.lists(PLACES, min_size=1, max_size=3), ended=st.booleans())
    def repaint(self, gap, places, ended):
        self.repaints += 1
        group, before = f"g{self.repaints}", self.here
        for place in places:
            self.done(self.session.stroke(np.ones((4, 6), np.uint8), place, group=group))
        edit = self.session.decide(gap.id, Verdict.REPAINTED, 0.1, group) if ended else None
        if edit is not None:
            self.here = before
            self.done(edit)

    @rule(gap=st.sampled_from(GAPS), verdict=st.sampled_from(list(Verdict)))
    def decide(self, gap, verdict):
        self.done(self.session.decide(gap.id, verdict, 0.1))

    @rule(gap=st.sampled_from(GAPS))
    def reopen_gap(self, gap):
        self.done(self.session.reopen(gap.id))

    @rule(score=st.sampled_from([0.0, 0.75, 0.85]))
    def bulk(self, score):
        self.done(self.session.accept_above(score))

    @rule(y=st.integers(0, SHAPE[0] - 1), x=st.integers(0, SHAPE[1] - 1))
    def delete(self, y, x):
        self.done(self.session.delete_component(y, x))

    @rule(seed=st.integers(0, 3))
    def segment(self, seed):
        mask = cv2.blur(np.random.default_rng(seed).random(SHAPE), (3, 3)) > 0.5
        self.done(self.session.set_segmentation(mask, "segmented"))

    @rule()
    def undo(self):
        undone = self.session.undo()
        assert (undone is not None) == (self.here > 0)
        self.here = max(self.here - 1, 0)

    @rule()
    def redo(self):
        redone = self.session.redo()
        assert (redone is not None) == (self.here < len(self.snapshots) - 1)
        self.here = min(self.here + 1, len(self.snapshots) - 1)

    @rule(again=st.lists(st.sampled_from(GAPS), unique=True))
    def search_again(self, again):
        self.session.set_gaps(again)
        # A gap that is not offered any more cannot be decided by the rules above: offer all of them.
        self.session.set_gaps(GAPS)

    @rule()
    def reopen(self):
        before = (self.look(), self.session.history_position, told(self.session))
        self.project.close()
        self.project = Project.open(self.folder / "project")
        self.session = self.project.open_session(self.image_id, "ann")
        after = (self.look(), self.session.history_position, told(self.session))
        assert after == before

    @invariant()
    def the_session_is_where_the_model_is(self):
        if hasattr(self, "snapshots"):
            assert self.look() == self.snapshots[self.here]
            assert self.session.can_undo == (self.here > 0)
            assert self.session.can_redo == (self.here < len(self.snapshots) - 1)

    @invariant()
    def components_are_those_of_the_mask(self):
        if hasattr(self, "snapshots"):
            (labels, count), (expected, wanted) = self.session.components, label_components(self.session.labels)
            pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))
            assert count == wanted
            first, second = ({pair[side] for pair in pairs} - {0} for side in (0, 1))
            assert len(pairs - {(0, 0)}) == len(first) == len(second) == count

    @invariant()
    def the_table_agrees(self):
        if hasattr(self, "snapshots"):
            assert self.project.record(self.image_id).open_gaps == len(self.session.open_gaps)
            stored = {gap.id: record for gap, record in self.project.verdicts(self.image_id)}
            assert stored == dict(self.session.verdicts)

    def teardown(self):
        if hasattr(self, "project"):
            journal.SNAPSHOT_EVERY, history.PAGE = self.usual
            assert np.array_equal(self.project.read_mask(self.image_id).labels, self.session.labels)
            self.project.close()
            shutil.rmtree(self.folder)


TestReviewMachine = ReviewMachine.TestCase
TestReviewMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
