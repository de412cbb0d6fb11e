"""The review of the open image: which gap or cut is under review, verdicts, deleted components and history."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.errors import VesselError
from napari_vessel.gui.preferences import preferred
from napari_vessel.gui.proposal_list import ProposalList
from napari_vessel.gui.repaint import Repaint
from napari_vessel.gui.searching import Searching
from napari_vessel.review.drawing import union_box
from napari_vessel.review.edits import Edit, EditKind, Verdict
from napari_vessel.review.session import OPEN, ReviewSession

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

_SAID = {
    Verdict.ACCEPTED: "Cut",
    Verdict.REJECTED: "Kept as a vessel",
    Verdict.REPAINTED: "Erased by hand",
    Verdict.UNSURE: "Unsure",
    Verdict.SKIPPED: "Skipped",
}
_REDRAWN = (EditKind.STROKE, EditKind.DELETE, EditKind.FRAGMENT, EditKind.SEGMENT)


class Reviewing:
    """Everything an annotator does to one image.

    Gaps and cuts are two lists, gone through alike; one of them is shown at a time.

    Parameters
    ----------
    workspace : Workspace
        Whose session, scene and signals are used.

    Attributes
    ----------
    repaint : Repaint
        What is under review, drawn or erased by hand.
    search : Searching
        Finds gaps and cuts.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._session: ReviewSession | None = None
        self._lists = _lists(None)
        self._cutting = False
        self._deciding = self._stale = False
        self._shown_at = 0.0
        self.order: Callable[[], list[str]] | None = None
        """Gives the ids of what is listed as a sorted, filtered table shows them; None for the list's own order."""
        self.b0_before = 0
        self.repaint = Repaint(workspace, self)
        self.search = Searching(workspace, self)

    # The image comes and goes

    def enter(self, session: ReviewSession) -> None:
        """Take up the review of a session."""
        self._session, self._lists = session, _lists(session)
        self.search.enter(session)
        self._list.follow()
        self.b0_before = session.components.count
        session.edited.connect(self._on_edited)
        session.gaps_changed.connect(self._on_gaps)
        session.history_changed.connect(self._workspace.history_changed.emit)

    def begin(self, search: bool) -> None:
        """Put the first open gap under review; `search` looks for gaps first."""
        if search:
            self.search.find_gaps()
            return
        self.select_first()
        if self._cutting:
            self.search.need_cuts()

    def leave(self) -> None:
        """Let go of the session. A repaint that was not ended keeps its strokes; the gap stays open."""
        self.search.leave()
        self.repaint.leave()
        session, self._session = self._session, None
        if session is not None:
            session.edited.disconnect(self._on_edited)
            session.gaps_changed.disconnect(self._on_gaps)
            session.history_changed.disconnect(self._workspace.history_changed.emit)
        self._lists = _lists(None)

    # Selection

    @property
    def selected(self) -> str:
        """Id of the gap or cut under review; empty for none."""
        return self._list.selected

    @property
    def gap(self) -> Gap | None:
        """The gap or cut under review."""
        return self._find(self.selected)

    @property
    def cutting(self) -> bool:
        """Whether cuts are listed, and not gaps."""
        return self._cutting

    @property
    def repainting(self) -> bool:
        """Whether what is under review is being repainted."""
        return self.repaint.active

    @property
    def seconds(self) -> float:
        """How long what is under review has been on the screen, s."""
        return time.monotonic() - self._shown_at

    @property
    def listed(self) -> list[Gap]:
        """The gaps, or the cuts, in the order in which they are gone through."""
        return self._list.listed

    def turn_to(self, cuts: bool) -> None:
        """List the cuts, or the gaps, and show the one under review."""
        self._cutting = cuts
        self._list.follow()
        self._workspace.gaps_changed.emit()
        if self._session is None:
            return
        if self.selected in self._list:
            self.select(self.selected)
        else:
            self.select_first()
        if cuts:
            self.search.need_cuts()

    @property
    def _list(self) -> ProposalList:
        return self._lists[self._cutting]

    def walk(self) -> list[str]:
        """Return the ids of what is listed in the order in which the annotator goes through them."""
        return self._list.walk(self.order)

    def renew(self, cuts: bool, quietly: bool) -> None:
        """Make room in a list for the result of a search; of one that was asked for all is put in order anew."""
        self._lists[cuts].renew(quietly)

    def _find(self, gap_id: str) -> Gap | None:
        if self._session is None or not gap_id:
            return None
        return next((gap for gap in (*self._session.gaps, *self._session.cuts) if gap.id == gap_id), None)

    def select(self, gap_id: str, fly: bool = True) -> None:
        """Put a gap or cut under review; an empty or unknown id puts none."""
        if self.repaint.active and gap_id != self.selected and not self.settle():
            return
        self._workspace.bulk.leave(fly=False)
        gap = self._find(gap_id)
        self._list.selected = "" if gap is None else gap.id
        self._shown_at = time.monotonic()
        self.draw()
        if gap is not None and fly and not self._workspace.fragments.active:
            self._workspace.scene.camera.fly_to(gap.centre, gap.length, float(np.mean(gap.widths)))
        self._workspace.gap_selected.emit(self.selected)

    def next_gap(self, step: int = 1) -> None:
        """Go to the next open gap or cut, or with a negative step to the one before, open or not."""
        if self._session is None or not self.settle():
            return
        walk = self.walk()
        at = walk.index(self.selected) if self.selected in walk else (-1 if step > 0 else len(walk))
        ahead = [i for i in [*walk[at + 1 :], *walk[: max(at, 0)]] if self._waits(i)]
        ids = walk[:at][::-1] if step < 0 else ahead
        if ids:
            self.select(ids[0])
        elif step < 0:
            self._workspace.say(f"This is the first {self._list.noun}.")
        else:
            self._none_left()

    def _waits(self, gap_id: str) -> bool:
        """Whether a gap waits for a verdict: an open one, or one of the audit that nobody has looked at."""
        assert self._session is not None
        return self._session.state_of(gap_id) == OPEN or self._workspace.audit.waits(gap_id)

    def _none_left(self) -> None:
        assert self._session is not None
        if self.search.looks_for(self._cutting):
            self.say_none()
            return
        audit = self._workspace.audit.text
        if audit:
            self._workspace.say(f"Nothing of this image is left to look at. Audit: {audit}.")
            return
        noun, left = self._list.noun, len(self._list.open)
        shown = self._session.state_of(self.selected) == OPEN and bool(self.selected)
        if shown:
            self._workspace.say(f"This is the only open {noun} left.")
        elif left:
            self._workspace.say(f"No open {noun} left in this list; {left} more are hidden by the filter.")
        else:
            self._workspace.say(f"No open {noun} left. {self._workspace.queues.elsewhere}")

    def select_first(self) -> None:
        """Put the first gap or cut that waits for a verdict under review."""
        session = self._session
        if session is not None and not self._workspace.differences.active:
            self.select(next((i for i in self.walk() if self._waits(i)), ""))

    # Verdicts

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Do something that may be refused; say why and return None then."""
        try:
            return action()
        except VesselError as error:
            self._workspace.report(error)
            return None

    def attempt_undrawn(self, action: Callable[[], Any]) -> Any:
        """Attempt what is followed by another gap: the proposals are drawn once, with that one."""
        self._deciding = True
        try:
            return self.attempt(action)
        finally:
            self._deciding = False

    def settle(self) -> bool:
        """Whether something else may begin: commits a waiting stroke; in a repaint says how to end it."""
        self._workspace.flush()
        if self.repaint.active:
            self._workspace.say("Finish the repaint with Enter, or leave it with Esc, first.", "warning")
            return False
        if self._workspace.bulk.pending:
            self._workspace.say("Answer what is shown with Enter or Esc first.", "warning")
            return False
        return True

    def decide(self, verdict: Verdict) -> None:
        """Give what is under review its verdict (written to the project first), then go to the next open one."""
        session = self._session
        if session is None or not self.settle():
            return
        gap = self.gap
        if gap is None:
            self.say_none()
            return
        seconds = self.seconds
        walk = self.walk()

        def give() -> bool:
            if verdict is Verdict.ACCEPTED and self._workspace.audit.unseen(gap.id):
                from napari_vessel.review.audit import confirmation

                session.apply(confirmation(gap, session.verdicts[gap.id], session.annotator, seconds))
            else:
                session.decide(gap.id, verdict, seconds)
            return True

        if self.attempt_undrawn(give):
            self.advance(gap.id, walk)

    def say_none(self) -> None:
        """Say that there is nothing to decide, or not yet."""
        if self.search.looks_for(self._cutting):
            self._workspace.say(f"{self._list.noun.capitalize()}s are still being looked for.")
            return
        self._workspace.say(f"No {self._list.noun} is under review; N goes to the next one.", "warning")

    def advance(self, gap_id: str, before: Sequence[str]) -> None:
        """Say what was decided and go to the next open one; `before` is :meth:`walk` as it was before the verdict."""
        assert self._session is not None
        walk = self.walk()
        at = before.index(gap_id) if gap_id in before else -1
        # A table that shows open ones only has lost the decided one by now; what was above it is there still.
        there = set(walk)
        above = [one for one in before[: at + 1] if one in there]
        at = walk.index(above[-1]) if above else -1
        state = self._session.state_of(gap_id)
        said = _SAID[Verdict(state)] if self._cutting else state.capitalize()
        for other in [*walk[at + 1 :], *walk[: max(at, 0)]] if preferred("advance") else ():
            if self._waits(other):
                audit = self._workspace.audit.text
                rest = f"audit: {audit}" if audit else f"{len(self._list.open)} open"
                self._workspace.say(f"{said}; {rest}.")
                self.select(other)
                return
        self.select(gap_id, fly=False)
        if preferred("advance"):
            self._none_left()
        else:
            self._workspace.say(f"{said}; N goes on.")

    def accept_above(self, score: float) -> None:
        """Accept every open gap with at least this score, as one undoable action."""
        session = self._session
        if session is None or not self.settle():
            return
        edit = self.attempt(lambda: session.accept_above(score))
        if edit is None:
            self._workspace.say(f"No open gap has a score of {score:.2f} or more.")
            return
        self._workspace.say(f"{edit.text[:1].upper()}{edit.text[1:]}; undo takes all of them back.")
        if session.state_of(self.selected) != OPEN:
            self.select_first()

    # Components and history

    def delete_component(self) -> None:
        """Delete the component under the cursor; where that is off the image, the one that was clicked last."""
        session, scene = self._session, self._workspace.scene
        if session is None or not self.settle():
            return
        pixel = scene.pixel_at_cursor()
        if pixel is None:
            pixel = scene.pixel_clicked
        if pixel is None or not session.labels[pixel]:
            self._workspace.say("There is no vessel under the cursor; point at the component to delete.")
            return
        area = int((session.components.labels == session.components.labels[pixel]).sum())
        if self.attempt(partial(session.delete_component, *pixel)) is not None:
            self._workspace.say(f"Deleted a component of {area} px; undo brings it back.")

    def undo(self) -> None:
        """Take back the last thing done to this image, and show where."""
        session = self._session
        if session is None:
            return
        done = self._travel(session.undo)
        if done is None:
            if not session.can_undo:
                self._workspace.say("Nothing to undo.")
            return
        self.repaint.undone(session.history_position)
        self._arrive(f"Undone: {done.text}.", done)

    def redo(self) -> None:
        """Do again what was taken back last in this image, and show where."""
        session = self._session
        if session is None:
            return
        done = self._travel(session.redo)
        if done is None:
            if not session.can_redo:
                self._workspace.say("Nothing to redo.")
            return
        self.repaint.redone(done, session.history_position)
        self._arrive(f"Done again: {done.text}.", done)

    def _travel(self, action: Callable[[], Edit | None]) -> Edit | None:
        self._workspace.flush()
        return self.attempt_undrawn(action)

    def _arrive(self, words: str, done: Edit) -> None:
        self._workspace.say(words)
        self.show_change(done)
        if self._stale:
            self.draw()
        session = self._session
        if done.kind is EditKind.SEGMENT and self.gap is None and session is not None and session.labels.any():
            # As after the segmentation itself: found unseen, none of them would be under review.
            self.search.find_gaps()

    def show_change(self, edit: Edit, arriving: bool = False) -> None:
        """Show where an edit is; on `arriving` in its image in the queue that it belongs to."""
        fragments = self._workspace.fragments
        differences = self._workspace.differences
        if differences.active and differences.show_change(edit):
            return
        cuts = bool(edit.verdicts) and edit.verdicts[0].gap.kind is GapKind.CUT
        if arriving and (edit.verdicts or edit.fragments):
            self._workspace.queues.show("fragments" if edit.fragments else "cuts" if cuts else "gaps")
        if len(edit.fragments) == 1 and fragments.active:
            fragments.show_change(edit.fragments[0].fragment)
        elif edit.fragments:
            self._workspace.fragments_changed.emit()
        elif not self.repaint.active and len(edit.verdicts) == 1 and not fragments.active and cuts == self._cutting:
            self.select(edit.verdicts[0].gap.id)
            return
        box = union_box([mask.box for mask in edit.masks])
        if box is not None:
            self._workspace.scene.camera.bring_into_view(box)

    # From the session

    def _on_edited(self, edit: Edit, box: Any) -> None:
        self._workspace.bulk.leave(fly=False)
        self._workspace.scene.note_change(box)
        self._workspace.note_review()
        # A cut may leave the other way round a loop the only one; a gap that is closed changes nothing for the others.
        parted = any(change.gap.kind is GapKind.CUT for change in edit.verdicts)
        if edit.masks and (edit.kind in _REDRAWN or parted):
            self.search.soon()
        if edit.kind is EditKind.SEGMENT and self._session is not None:
            self.b0_before = self._session.components.count
            self.repaint.replaced()
        self._workspace.mask_changed.emit()

    def _on_gaps(self) -> None:
        self._list.follow()
        if self._session is not None and self.selected and not self.repaint.active and self.gap is None:
            overlay = self._workspace.scene.overlay
            before = None if overlay is None else overlay.gap
            self._list.selected = "" if before is None else self._list.near(before)
            self._workspace.gap_selected.emit(self.selected)
        self._stale = self._deciding
        if not self._deciding:
            self.draw()
        self._workspace.gaps_changed.emit()

    def draw(self) -> None:
        """Draw the proposals, and what is under review."""
        self._stale = False
        overlay, fragments = self._workspace.scene.overlay, self._workspace.fragments
        if overlay is not None and self._session is not None and not self._workspace.bulk.pending:
            ringed = fragments.pixels() or self._workspace.differences.pixels()
            overlay.show(self._list.open, None if fragments.active else self.gap, ringed)


def _lists(session: ReviewSession | None) -> dict[bool, ProposalList]:
    return {cuts: ProposalList(session, cuts) for cuts in (False, True)}
