"""One Labels layer and one review session, kept the same in both directions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_vessel.errors import VesselError
from napari_vessel.gui.pixels import put_pixels
from napari_vessel.review.drawing import Box, union_box
from napari_vessel.review.edits import Edit
from napari_vessel.review.session import ReviewSession

_NAMES = {"paint": "brush stroke", "erase": "erased", "fill": "fill", "polygon": "polygon"}


class MaskBinding(QObject):
    """Brings what napari's tools do to a mask layer into the session, and the session's changes to the layer.

    The layer has its own copy of the mask. A change is noticed by the layer's events, and compared with the session in
    the next turn of the event loop, inside the box that napari says it touched, or everywhere where it does not say;
    while a mouse button is down nothing is compared, so that a stroke is one edit.

    The layer's undo and redo are replaced, on this layer alone, by the session's: napari keeps a history of its own
    that knows nothing of verdicts and would overwrite them.

    Parameters
    ----------
    layer : napari.layers.Labels
        Its data is a uint8 array equal to the session's labels.
    session : ReviewSession
        The session.
    on_problem : callable
        Called with a sentence and a level when something is refused or put right.
    on_undo, on_redo : callable
        What the layer's undo and redo shall do.
    """

    def __init__(
        self,
        layer: Any,
        session: ReviewSession,
        on_problem: Callable[[str, str], None],
        on_undo: Callable[[], None],
        on_redo: Callable[[], None],
    ) -> None:
        super().__init__()
        self.layer, self.session = layer, session
        self.group = ""
        self._say = on_problem
        self._box: Box | None = None
        self._dirty = self._everywhere = self._mouse_down = self._writing = False
        self._told_labels = False
        self._known = np.zeros(256, bool)
        self._known[[0, *(c.label for c in session.classes)]] = True
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._on_turn)
        layer.events.paint.connect(self._on_paint)
        layer.events.labels_update.connect(self._on_update)
        layer.events.set_data.connect(self._on_set_data)
        layer.events.data.connect(self._on_set_data)
        layer.mouse_drag_callbacks.append(self._on_drag)
        layer.undo, layer.redo = on_undo, on_redo
        session.edited.connect(self._on_edited)

    def close(self) -> None:
        """Let go of both; a change that waits is committed first."""
        self.flush()
        self.session.edited.disconnect(self._on_edited)
        events = self.layer.events
        events.paint.disconnect(self._on_paint)
        events.labels_update.disconnect(self._on_update)
        events.set_data.disconnect(self._on_set_data)
        events.data.disconnect(self._on_set_data)
        if self._on_drag in self.layer.mouse_drag_callbacks:
            self.layer.mouse_drag_callbacks.remove(self._on_drag)
        del self.layer.undo, self.layer.redo

    @property
    def stroke_open(self) -> bool:
        """Whether a stroke is being made right now."""
        # The flag is napari's own for a stroke over several mouse events (encircle and fill); without it each of its
        # parts would be one edit, and nothing worse.
        return self._mouse_down or bool(getattr(self.layer, "_block_history", False))

    def flush(self) -> None:
        """Compare now and commit what differs."""
        self._timer.stop()
        if not self._dirty:
            return
        box, everywhere = self._box, self._everywhere or self._box is None
        self._dirty = self._everywhere = False
        self._box = None
        data = self.layer.data
        if np.shape(data) != self.session.shape:
            self._restore_all()
            self._say("The mask has to keep the image's size, so the new data was not taken.", "warning")
            return
        y0, x0, y1, x1 = (0, 0, *self.session.shape) if everywhere or box is None else box
        window = np.s_[y0:y1, x0:x1]
        patch, before = np.asarray(data[window]), self.session.labels[window]
        changed = patch != before
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        if rows.size:
            inner = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            self._commit(patch[inner], (y0 + int(rows[0]), x0 + int(columns[0])))
        if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.flags.writeable):
            self._restore_all()

    def _commit(self, patch: np.ndarray, origin: tuple[int, int]) -> None:
        unknown = ~self._known[np.clip(patch, 0, 255)] | (patch > 255) | (patch < 0)
        clean = patch.astype(np.uint8)
        if unknown.any():
            first = self.session.classes[0]
            clean[unknown] = first.label
            if not self._told_labels:
                self._told_labels = True
                self._say(
                    f"This mask has no label {int(patch[unknown][0])}; painted as {first.name} instead.", "warning"
                )
            if not self._known[min(int(self.layer.selected_label), 255)]:
                self.layer.selected_label = first.label
        text = _NAMES.get(str(self.layer.mode), "edit")
        try:
            self.session.stroke(clean, origin, text, self.group)
        except VesselError as error:
            self._say(str(error), "error")
        y, x = origin
        self._write((y, x, y + patch.shape[0], x + patch.shape[1]))

    # From the layer

    def _mark(self, box: Box | None) -> None:
        if self._writing:
            return
        self._dirty = True
        if box is None:
            self._everywhere = True
        else:
            self._box = box if self._box is None else union_box([self._box, box])
        self._timer.start()

    def _on_paint(self, event: Any = None) -> None:
        # napari tells the box with labels_update, which comes with every paint; this one only says that it is over.
        if not self._writing:
            self._dirty = True
            self._timer.start()

    def _on_update(self, event: Any) -> None:
        offset, data = getattr(event, "offset", None), getattr(event, "data", None)
        if offset is None or data is None or len(offset) != 2:
            self._mark(None)
            return
        y, x = (max(int(n or 0), 0) for n in offset)
        height, width = np.shape(data)[:2]
        limit_y, limit_x = self.session.shape
        self._mark((y, x, min(y + height, limit_y), min(x + width, limit_x)))

    def _on_set_data(self, event: Any = None) -> None:
        self._mark(None)

    def _on_drag(self, layer: Any, event: Any) -> Generator[None, None, None]:
        self._mouse_down = True
        try:
            yield
            while event.type == "mouse_move":
                yield
        finally:
            self._mouse_down = False
            self._timer.start()

    def _on_turn(self) -> None:
        if not self.stroke_open:
            self.flush()

    # From the session

    def _on_edited(self, edit: Edit, box: Box | None) -> None:
        if box is not None:
            self._write(box)

    def _write(self, box: Box) -> None:
        y0, x0, y1, x1 = box
        window = np.s_[y0:y1, x0:x1]
        wanted = self.session.labels[window]
        now = self.layer.data[window]
        rows, columns = np.nonzero(now != wanted)
        if not rows.size:
            return
        self._writing = True
        try:
            if rows.size * 8 > self.layer.data.size:
                self.layer.data[window] = wanted
                self.layer.refresh(thumbnail=False, extent=False)
            else:
                put_pixels(self.layer, rows + y0, columns + x0, wanted[rows, columns])
        finally:
            self._writing = False

    def _restore_all(self) -> None:
        self._writing = True
        try:
            self.layer.data = self.session.labels.copy()
        finally:
            self._writing = False
