"""A repaint: the annotator draws a completion, or erases a false bridge, by hand, in place of what is proposed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_vessel.completion.gap import Gap, GapKind
from napari_vessel.gui.wire import Wire
from napari_vessel.review.edits import Edit, Verdict
from napari_vessel.review.session import OPEN, ReviewSession

if TYPE_CHECKING:
    from napari_vessel.gui.reviewing import Reviewing
    from napari_vessel.gui.workspace import Workspace


class _Begun(NamedTuple):
    gap_id: str
    group: str
    position: int
    """Where the history was: what comes after is of this repaint."""
    painted_from: int
    """The same after what had been decided was opened again: what comes after is a stroke."""


class Repaint:
    """The repaint of the gap or cut under review; its strokes and its verdict are one undoable action.

    Parameters
    ----------
    workspace : Workspace
        Whose session, scene and signals are used.
    review : Reviewing
        Whose gap it is.
    """

    def __init__(self, workspace: Workspace, review: Reviewing) -> None:
        self._workspace, self._review = workspace, review
        self._begun: _Begun | None = None
        self._tool = ("pan_zoom", 10, 1)
        self.wire = Wire(workspace)

    @property
    def active(self) -> bool:
        """Whether one is going on."""
        return self._begun is not None

    def start(self) -> None:
        """Take the brush in the gap's width, of a cut the eraser; the proposal stays as a ghost."""
        workspace, review = self._workspace, self._review
        session, gap, scene = workspace.session, review.gap, workspace.scene
        if session is None or scene.binding is None or not review.settle():
            return
        if gap is None:
            review.say_none()
            return
        group = f"repaint {gap.id} {time.time_ns()}"
        position = session.history_position
        if session.state_of(gap.id) != OPEN and review.attempt(lambda: session.reopen(gap.id, group)) is None:
            return
        workspace.end_preview()
        layer = scene.mask_layer
        self._tool = (str(layer.mode), int(layer.brush_size), int(layer.selected_label))
        self._begun = _Begun(gap.id, group, position, session.history_position)
        scene.binding.group = group
        scene.mask_visible = True
        scene.activate_mask()
        layer.selected_label = _label_near(session, gap)
        layer.brush_size = max(1, round(float(np.mean(gap.widths))))
        cut = gap.kind is GapKind.CUT
        layer.mode = "erase" if cut else "paint"
        self.wire.begin(gap)
        workspace.repaint_changed.emit(True)
        what = "Erase what is no vessel" if cut else "Paint the vessel"
        workspace.say(f"{what}. Enter ends the repaint, Esc leaves it.")

    @property
    def tool(self) -> str:
        """What the mouse does in a repaint: ``paint``, ``wire`` or ``erase``; empty outside one."""
        if self._begun is None:
            return ""
        if self.wire.on:
            return "wire"
        return "erase" if str(self._workspace.scene.mask_layer.mode) == "erase" else "paint"

    def take(self, tool: str) -> None:
        """Take a tool in a repaint; taken again it gives way to the brush."""
        if self._begun is None:
            self._workspace.say("Begin a repaint with E first.", "warning")
            return
        self._workspace.flush()
        tool = "paint" if tool == self.tool else tool
        self.wire.switch(tool == "wire")
        # With the wire a drag moves the canvas.
        self._workspace.scene.mask_layer.mode = "pan_zoom" if tool == "wire" else tool
        words = {
            "paint": "The brush paints.",
            "wire": "Live wire: click along the vessel.",
            "erase": "The eraser takes away.",
        }
        self._workspace.say(f"{words[tool]} Enter ends the repaint, Esc leaves it.")
        self._workspace.repaint_changed.emit(True)

    def end(self) -> None:
        """End it: verdict and strokes are one undoable action. Without a stroke nothing is decided."""
        workspace, review, session = self._workspace, self._review, self._workspace.session
        if session is None or self._begun is None:
            return
        workspace.flush()
        gap_id, group, _, painted_from = self._begun
        if session.history_position <= painted_from:
            self.cancel("Nothing was painted, so nothing was decided.")
            return
        seconds, walk = review.seconds, review.walk()
        if review.attempt_undrawn(lambda: session.decide(gap_id, Verdict.REPAINTED, seconds, group)) is None:
            return
        self.leave()
        review.advance(gap_id, walk)
        review.search.soon()

    def cancel(self, words: str = "Left the repaint; its strokes were taken back.") -> None:
        """Leave it and take its strokes back, and what it had opened again is decided as before."""
        workspace, session = self._workspace, self._workspace.session
        if session is None or self._begun is None:
            return
        workspace.flush()
        position = self._begun.position
        while session.history_position > position and self._review.attempt(session.undo) is not None:
            pass
        self.leave()
        workspace.say(words)

    def replaced(self) -> None:
        """Leave it because another mask came: its strokes are steps of their own, for undo."""
        if self._begun is not None:
            self.leave()
            self._workspace.say("The mask was replaced, which ended the repaint; undo takes both back.", "warning")

    def leave(self) -> None:
        """Put the brush away and keep the strokes; the gap stays as it is decided."""
        if self._begun is None:
            return
        self._begun = None
        self.wire.end()
        scene = self._workspace.scene
        if scene.binding is not None:
            scene.binding.group = ""
            layer = scene.mask_layer
            layer.mode, layer.brush_size, layer.selected_label = self._tool
        self._workspace.repaint_changed.emit(False)

    def undone(self, position: int) -> None:
        """Follow an undo that led to a position of the history, maybe to before the repaint."""
        if self._begun is not None:
            first = min(self._begun.position, position)
            self._begun = self._begun._replace(position=first, painted_from=min(self._begun.painted_from, position))

    def redone(self, edit: Edit, position: int) -> None:
        """Follow a redo that led to a position of the history."""
        if self._begun is None:
            return
        if edit.group != self._begun.group:
            # From before the repaint: no stroke of it, neither to keep nor to take back.
            self._begun = self._begun._replace(position=position, painted_from=position)
        elif edit.verdicts:
            self._begun = self._begun._replace(painted_from=position)


def _label_near(session: ReviewSession, gap: Gap) -> int:
    """Return the class that the vessel at the gap's ends has."""
    reach = max(2, round(float(np.max(gap.widths))))
    counts = np.zeros(256, np.int64)
    for end in gap.ends:
        y, x = (round(v) for v in end.point)
        near = session.labels[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        counts += np.bincount(near.ravel(), minlength=256)
    counts[0] = 0
    return int(counts.argmax()) or session.classes[0].label
