"""The queue of fragments: which one is under review, what is decided, and the list that follows the mask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_vessel.errors import VesselError
from napari_vessel.gui.preferences import preferred
from napari_vessel.jobs import Job
from napari_vessel.review.fragments import Fragment, FragmentVerdict, find_fragments, is_there, ranked
from napari_vessel.review.session import OPEN, ReviewSession

if TYPE_CHECKING:
    from napari_vessel.gui.workspace import Workspace

_LANE = "fragment list"
_FRAME_SECONDS = 0.08
_T = TypeVar("_T")


class FragmentReview:
    """Everything an annotator decides about components beside the main one.

    The list is made on a thread, and only while the queue is shown; what was decided counts at once.

    Parameters
    ----------
    workspace : Workspace
        Whose session, scene and signals are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._session: ReviewSession | None = None
        self._found: tuple[Fragment, ...] = ()
        self._selected = ""
        self._shown_at = 0.0
        self._active = False
        self._stale = True
        self.order: Callable[[], list[str]] | None = None
        """Gives the ids as a sorted, filtered table shows them; None for the ranks."""
        workspace.mask_changed.connect(self._on_mask)

    # The image and the queue come and go

    def enter(self, session: ReviewSession) -> None:
        """Take up the fragments of a session."""
        self._session = session
        self._found, self._selected, self._stale = (), "", True

    def leave(self) -> None:
        """Let go of the session."""
        self._workspace.tasks.drop(_LANE)
        self._session = None
        self._found, self._selected = (), ""

    @property
    def active(self) -> bool:
        """Whether this is the queue that the keys act on."""
        return self._active

    def activate(self, on: bool) -> None:
        """Make this the queue that the keys act on, or leave it."""
        self._active = on
        if not on:
            return
        if self.fragment is None and not self._stale:
            self._select_first()
        else:
            # Shown before the list is made anew: a key means this one meanwhile, and afterwards where it stays.
            self.select(self._selected)
        if self._stale:
            self._find()

    # The list

    @property
    def listed(self) -> tuple[Fragment, ...]:
        """Fragments there are, and those a verdict has deleted, ranked."""
        session = self._session
        if session is None:
            return ()
        known = {fragment.id for fragment in self._found}
        gone = [fragment for fragment in session.deleted_fragments if fragment.id not in known]
        return ranked([*self._found, *gone])

    @property
    def selected(self) -> str:
        """Id of the fragment under review; empty for none."""
        return self._selected

    @property
    def fragment(self) -> Fragment | None:
        """The fragment under review."""
        return next((fragment for fragment in self.listed if fragment.id == self._selected), None)

    def _on_mask(self) -> None:
        self._stale = True
        if self._active:
            self._find()

    def _find(self) -> None:
        session = self._session
        if session is None:
            return
        self._stale = False
        components = session.components_copy()
        known = {fragment.id: fragment for fragment in self._found}

        def done(found: tuple[Fragment, ...]) -> None:
            if session is not self._session:
                return
            first = not known and not self._selected
            self._found = found
            if self._selected and self.fragment is None:
                self._selected = ""
            self._workspace.fragments_changed.emit()
            if self._active and (first or not self._selected):
                self._select_first()

        self._workspace.tasks.start(_LANE, _after_the_frame(find_fragments(components, known)), done)

    # Selection

    def select(self, fragment_id: str, fly: bool = True) -> None:
        """Put a fragment under review; an empty or unknown id puts none."""
        self._workspace.bulk.leave(fly=False)
        fragment = next((f for f in self.listed if f.id == fragment_id), None)
        self._selected = "" if fragment is None else fragment.id
        self._shown_at = time.monotonic()
        self._workspace.review.draw()
        if fragment is not None and fly:
            y0, x0, y1, x1 = fragment.box
            width = fragment.area_px / fragment.length_px
            self._workspace.scene.camera.fly_to(fragment.centre, float(max(y1 - y0, x1 - x0)), width)
        self._workspace.fragment_selected.emit(self._selected)

    def _walk(self) -> list[str]:
        known = [fragment.id for fragment in self.listed]
        if self.order is None:
            return known
        there = set(known)
        return [name for name in self.order() if name in there]

    def _open(self, fragment_id: str) -> bool:
        return self._session is not None and self._session.fragment_state(fragment_id) == OPEN

    def step(self, step: int = 1) -> None:
        """Go to the next open fragment, or with a negative step to the one before, open or not."""
        if self._session is None or not self._workspace.review.settle():
            return
        walk = self._walk()
        at = walk.index(self._selected) if self._selected in walk else (-1 if step > 0 else len(walk))
        if step < 0:
            names = walk[:at][::-1]
        else:
            names = [name for name in [*walk[at + 1 :], *walk[: max(at, 0)]] if self._open(name)]
        if names:
            self.select(names[0])
        elif step < 0:
            self._workspace.say("This is the first fragment.")
        else:
            self._none_left()

    def _none_left(self) -> None:
        if self._session is None:
            return
        left = self._session.remaining()["fragments"]
        if self._selected and self._open(self._selected):
            self._workspace.say("This is the only open fragment left.")
        elif left:
            self._workspace.say(f"No open fragment left in this list; {left} more are hidden by the filter.")
        else:
            self._workspace.say(f"No open fragment left. {self._workspace.queues.elsewhere}")

    def _select_first(self) -> None:
        self.select(next((name for name in self._walk() if self._open(name)), ""))

    # Verdicts

    def decide(self, verdict: FragmentVerdict) -> None:
        """Give the fragment under review its verdict (written to the project first), then go to the next open one."""
        session, workspace = self._session, self._workspace
        if session is None or not workspace.review.settle():
            return
        fragment = self.fragment
        if fragment is None:
            workspace.say("No fragment is under review; N goes to the next one.", "warning")
            return
        seconds, walk = time.monotonic() - self._shown_at, self._walk()
        try:
            session.decide_fragment(fragment, verdict, seconds)
        except VesselError as error:
            workspace.report(error)
            return
        workspace.fragments_changed.emit()
        at = walk.index(fragment.id) if fragment.id in walk else -1
        there = {one.id for one in self.listed} if preferred("advance") else set[str]()
        for name in [*walk[at + 1 :], *walk[: max(at, 0)]]:
            if name in there and self._open(name):
                left = session.remaining()["fragments"]
                workspace.say(f"{verdict.capitalize()}; {left} fragment{'s' * (left != 1)} open.")
                self.select(name)
                return
        self.select(fragment.id, fly=False)
        if preferred("advance"):
            self._none_left()
        else:
            workspace.say(f"{verdict.capitalize()}; N goes on.")

    def up_to(self, pixels: int) -> list[Fragment]:
        """Return the open fragments of at most so many pixels: what :meth:`delete_up_to` would delete."""
        small = [fragment for fragment in self._found if fragment.area_px <= pixels and self._open(fragment.id)]
        if not small or self._session is None:
            return []
        labels = self._session.components.labels
        return [fragment for fragment in small if is_there(fragment, labels, self._session.main)]

    def delete_up_to(self, pixels: int) -> None:
        """Delete every open fragment of at most so many pixels, as one undoable action."""
        session, workspace = self._session, self._workspace
        if session is None or not workspace.review.settle():
            return
        edit = workspace.review.attempt(lambda: session.delete_fragments(self.up_to(pixels)))
        if edit is None:
            workspace.say(f"No open fragment has {pixels} px or fewer.")
            return
        workspace.say(f"{edit.text.capitalize()}; undo brings all of them back.")
        workspace.fragments_changed.emit()
        if not self._open(self._selected):
            self._select_first()

    def show_change(self, fragment: Fragment) -> None:
        """Put the fragment that an undo or redo was about under review."""
        if all(one.id != fragment.id for one in self.listed):
            # It has just come back; the list follows in a moment.
            self._found = (*self._found, fragment)
        self._workspace.fragments_changed.emit()
        self.select(fragment.id)

    # In the canvas

    def pixels(self) -> tuple[tuple[int, int], NDArray[np.bool_]] | None:
        """Return where the fragment under review is, as origin (y, x) and patch; None without one that is there."""
        fragment, session = self.fragment, self._session
        if not self._active or fragment is None or session is None:
            return None
        labels = session.components.labels
        if not is_there(fragment, labels, session.main):
            return None
        y0, x0, y1, x1 = fragment.box
        return (y0, x0), labels[y0:y1, x0:x1] == labels[fragment.point]


def _after_the_frame(job: Job[_T]) -> Job[_T]:
    """Leave the processor to what shows the change that a job follows, and then run it."""
    time.sleep(_FRAME_SECONDS)
    return (yield from job)
