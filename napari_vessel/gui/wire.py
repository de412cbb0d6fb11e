"""The live wire of a repaint: click along a vessel, and the stroke follows it from click to click."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_vessel.completion.gap import Gap
from napari_vessel.gui.opening import wire_job

if TYPE_CHECKING:
    from napari_vessel.completion.wire import WireField
    from napari_vessel.gui.workspace import Workspace

_LANE = "wire"
_REACH = 192
"""How far around a gap the image is looked at, px."""
_STILL = 3.0
"""A press that moves less than this, in pixels of the screen, is a click and not a drag of the canvas."""

Pixel = tuple[int, int]


class Wire:
    """Draws between clicks while a repaint is going on; dragging moves the canvas.

    Parameters
    ----------
    workspace : Workspace
        Whose session and scene are used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._gap: Gap | None = None
        self._field: WireField | None = None
        self._on = False
        self._clicks: list[tuple[Pixel, int]] = []

    @property
    def on(self) -> bool:
        """Whether clicks draw."""
        return self._on

    def begin(self, gap: Gap) -> None:
        """Look at the image around a gap, on a thread, so that the first stroke need not wait."""
        workspace = self._workspace
        self._gap, self._field, self._on = gap, None, False
        session, image = workspace.session, workspace.image
        if session is None or image is None:
            return
        y0, x0 = np.maximum(np.floor(gap.path.min(axis=0)).astype(int) - _REACH, 0)
        y1, x1 = np.minimum(np.ceil(gap.path.max(axis=0)).astype(int) + _REACH, session.shape)
        box = (int(y0), int(x0), int(y1), int(x1))
        calibre = float(np.mean(gap.widths))

        def done(field: WireField) -> None:
            if self._gap is gap:
                self._field = field

        job = wire_job(image, session.labels.copy(), workspace.project, session.image_id, box, calibre)
        workspace.tasks.start(_LANE, job, done)

    def end(self) -> None:
        """Forget the gap."""
        self._workspace.tasks.drop(_LANE)
        self._trace(None)
        self._gap, self._field, self._on = None, None, False
        self._clicks = []

    def switch(self, on: bool) -> None:
        """Let clicks draw, or no longer."""
        self._on, self._clicks = on and self._gap is not None, []
        self._trace(None)

    def moved(self, pixel: Pixel | None) -> None:
        """Show the way from the last click to where the mouse is."""
        start = self._start()
        if self._on and start is not None:
            self._trace(None if pixel is None else self._way(start, pixel))

    def on_drag(self, layer: Any, event: Any) -> Generator[None, None, None]:
        """Tell a click from a drag; a mouse callback of the mask layer."""
        if not self._on:
            return
        pressed, dragged = np.asarray(event.pos, float), False
        yield
        while event.type == "mouse_move":
            dragged = dragged or float(np.hypot(*(np.asarray(event.pos, float) - pressed))) > _STILL
            yield
        pixel = self._workspace.scene.pixel_at(event.position)
        if not dragged and pixel is not None:
            self.click(pixel)

    def click(self, pixel: Pixel) -> None:
        """Begin a wire, or draw on to here."""
        workspace = self._workspace
        session = workspace.session
        if session is None or self._gap is None:
            return
        workspace.flush()
        start = self._start()
        if start is not None:
            path = self._way(start, pixel)
            self._trace(None)
            self._draw(path)
        else:
            workspace.say("The wire begins here; click on along the vessel.")
        self._clicks.append((pixel, session.history_position))

    def _start(self) -> Pixel | None:
        session = self._workspace.session
        # An undo takes the clicks back whose strokes it took back.
        while self._clicks and session is not None and self._clicks[-1][1] > session.history_position:
            self._clicks.pop()
        return self._clicks[-1][0] if self._clicks else None

    def _way(self, start: Pixel, goal: Pixel) -> NDArray[np.float64]:
        if self._field is not None:
            return self._field.way(start, goal)
        steps = max(abs(goal[0] - start[0]), abs(goal[1] - start[1]), 1)
        return np.linspace(start, goal, steps + 1)

    def _draw(self, path: NDArray[np.float64]) -> None:
        from napari_vessel.completion.drawing import draw_path

        workspace, gap = self._workspace, self._gap
        session, layer = workspace.session, workspace.scene.mask_layer
        if session is None or gap is None or workspace.scene.binding is None:
            return
        # The calibre of the gap at its nearest point, made wider or narrower as the brush was.
        away = np.hypot(*(path[:, None, :] - np.asarray(gap.path, np.float64)[None]).transpose(2, 0, 1))
        widths = np.asarray(gap.widths, np.float64)[away.argmin(axis=1)]
        widths = widths * (float(layer.brush_size) / max(round(float(np.mean(gap.widths))), 1))
        (y, x), patch = draw_path(path, widths, session.shape)
        after = session.labels[y : y + patch.shape[0], x : x + patch.shape[1]].copy()
        after[patch & (after == 0)] = int(layer.selected_label)
        group = workspace.scene.binding.group
        workspace.review.attempt(lambda: session.stroke(after, (y, x), "live wire", group))

    def _trace(self, path: NDArray[np.float64] | None) -> None:
        overlay = self._workspace.scene.overlay
        if overlay is not None:
            overlay.trace(path)
