"""Which queue the keys act on, gaps, cuts, fragments or disagreements, and what the keys of all mean in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_vessel.review.edits import Verdict
from napari_vessel.review.fragments import FragmentVerdict

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

QUEUES = ("gaps", "cuts", "fragments", "differences")

_ON_FRAGMENTS = {
    Verdict.ACCEPTED: FragmentVerdict.KEPT,
    Verdict.REJECTED: FragmentVerdict.DELETED,
    Verdict.UNSURE: FragmentVerdict.UNSURE,
    Verdict.SKIPPED: FragmentVerdict.SKIPPED,
}


class Queues:
    """The queues of a viewer, of which one is shown.

    Parameters
    ----------
    workspace : Workspace
        Whose queues they are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def shown(self) -> str:
        """The one that the keys act on, one of :data:`QUEUES`."""
        if self._workspace.differences.active:
            return "differences"
        if self._workspace.fragments.active:
            return "fragments"
        return "cuts" if self._workspace.review.cutting else "gaps"

    def show(self, name: str) -> None:
        """Make one of :data:`QUEUES` the queue that the keys act on."""
        workspace = self._workspace
        if name == self.shown or not workspace.review.settle():
            return
        # The one that is left lets go first: what the other then shows is drawn and flown to as its own.
        workspace.differences.activate(False)
        workspace.fragments.activate(False)
        if name == "differences":
            workspace.differences.activate(True)
        elif name == "fragments":
            workspace.fragments.activate(True)
        else:
            workspace.review.turn_to(cuts=name == "cuts")
        workspace.queue_changed.emit()

    def go_on(self) -> None:
        """Go to the next queue in which something is open, in the order of :data:`QUEUES`; gaps come after the last."""
        if self._workspace.session is None:
            return
        name, _ = self._next()
        if name:
            self.show(name)
        else:
            self._workspace.say("Nothing is open in the other lists.")

    @property
    def elsewhere(self) -> str:
        """What to do when nothing is left in the list that is shown: go to the next, or be done."""
        name, count = self._next()
        if not name:
            return "D marks the image as done."
        what = f"goes to the {count} {name if count != 1 else name[:-1]} to look at" if count else "looks for cuts"
        return f"Q {what}, D marks it as done."

    def _next(self) -> tuple[str, int]:
        """Return the next queue with something open, and how many; of cuts not looked for yet there may be some."""
        session = self._workspace.session
        if session is None:
            return "", 0
        left = session.remaining()
        open_ones = (left["open"], left["cuts"], left["fragments"], self._workspace.differences.left)
        waiting = list(zip(QUEUES, open_ones, strict=True))
        at = QUEUES.index(self.shown)
        unknown = () if self._workspace.review.search.cuts_known else ("cuts",)
        others = [*waiting[at + 1 :], *waiting[:at]]
        return next(((name, count) for name, count in others if count or name in unknown), ("", 0))

    def answer(self, verdict: Verdict) -> None:
        """Give what is under review its verdict: a gap or cut, or what it means for a fragment or a disagreement."""
        workspace = self._workspace
        if workspace.differences.active:
            workspace.differences.answer(verdict)
        elif workspace.fragments.active:
            workspace.fragments.decide(_ON_FRAGMENTS[verdict])
        else:
            workspace.decide(verdict)

    def step(self, step: int = 1) -> None:
        """Go to the next open one, or with a negative step back to the one before, open or not."""
        workspace = self._workspace
        if workspace.differences.active:
            workspace.differences.step(step)
        elif workspace.fragments.active:
            workspace.fragments.step(step)
        else:
            workspace.next_gap(step)

    @property
    def undecided(self) -> bool:
        """Whether Enter and Escape mean something: a repaint, or a bulk action that is shown."""
        return self._workspace.review.repainting or self._workspace.bulk.pending

    def finish(self) -> None:
        """End the repaint, or do the bulk action that is shown."""
        if self._workspace.bulk.pending:
            self._workspace.bulk.confirm()
        else:
            self._workspace.end_repaint()

    def leave(self) -> None:
        """Leave the repaint, or the bulk action that is shown."""
        if self._workspace.bulk.pending:
            self._workspace.bulk.leave()
        else:
            self._workspace.cancel_repaint()

    def show_selected(self) -> None:
        """Put what is under review into the middle of the canvas."""
        workspace = self._workspace
        if workspace.differences.active:
            workspace.differences.select(workspace.differences.selected)
        elif workspace.fragments.active:
            workspace.fragments.select(workspace.fragments.selected)
        else:
            workspace.review.select(workspace.review.selected)
