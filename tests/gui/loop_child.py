"""An annotator at the keys, in a process of its own: ``python loop_child.py PROJECT`` says each step once it is done.

Every line on standard output that starts with a brace is one JSON object. After the last one the process waits to be
killed.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_vessel.gui.launch import open_window
from napari_vessel.gui.project import ProjectWidget
from napari_vessel.gui.segment import SegmentWidget
from napari_vessel.gui.workspace import Workspace

PATIENCE_SECONDS = 120.0


def settle(seconds: float = 0.05) -> None:
    """Let the event loop turn."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


def wait(reached: Callable[[], bool], what: str) -> None:
    """Turn the event loop until something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}")
        settle()


def say(workspace: Workspace, step: str, **more: object) -> None:
    """Acknowledge a step."""
    session = workspace.session
    state = {
        "step": step,
        "labels": hashlib.sha256(session.labels.tobytes()).hexdigest(),
        "verdicts": {gap_id: record.verdict.value for gap_id, record in session.verdicts.items()},
        "undo": session.undo_text,
        "redo": session.redo_text,
        **more,
    }
    sys.stdout.write(json.dumps(state) + "\n")
    sys.stdout.flush()


def paint_along(viewer: napari.Viewer, workspace: Workspace, canvas: QWidget) -> None:
    """Drag the brush along the proposal under review, with the left button, on the canvas itself."""
    middle = np.array([canvas.width() / 2, canvas.height() / 2])
    centre = np.asarray(workspace.scene._camera.center[-2:])

    def on_canvas(pixel: np.ndarray) -> QPoint:
        there = np.asarray(workspace.scene.camera.to_world(tuple(pixel)))
        y, x = middle + (there - centre) * workspace.scene._camera.zoom
        return QPoint(round(float(x)), round(float(y)))

    path = workspace.review.gap.path
    points = [on_canvas(pixel) for pixel in (*path[:: max(len(path) // 8, 1)], path[-1])]
    left = Qt.MouseButton.LeftButton
    QTest.mouseMove(canvas, points[0])
    settle()
    QTest.mousePress(canvas, left, Qt.KeyboardModifier.NoModifier, points[0])
    for point in points[1:]:
        QTest.mouseMove(canvas, point)
        settle(0.02)
    QTest.mouseRelease(canvas, left, Qt.KeyboardModifier.NoModifier, points[-1])
    settle()


def main(project: str) -> None:
    """Do the loop."""
    viewer = open_window(project)
    viewer.window.resize(1366, 768)
    workspace = Workspace.of(viewer)
    canvas = viewer.window._qt_viewer.canvas.native

    def key(code: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.keyClick(canvas, code, modifiers)
        settle()

    settle(0.5)
    table = next(w for w in QApplication.allWidgets() if isinstance(w, ProjectWidget)).table
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_Home, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(table, Qt.Key.Key_Return)
    wait(lambda: workspace.session is not None, "the image")
    run = next(w for w in QApplication.allWidgets() if isinstance(w, SegmentWidget)).run_button
    run.setFocus()
    QTest.keyClick(run, Qt.Key.Key_Space)
    wait(lambda: bool(workspace.session.labels.any()), "the segmentation")
    wait(lambda: len(workspace.session.open_gaps) >= 3 and bool(workspace.review.selected), "three gaps")
    model = workspace.project.segmentation_info(workspace.record.id)["model"]
    say(workspace, "segmented", gaps=[gap.id for gap in workspace.session.gaps], model=model)

    canvas.setFocus()
    first = workspace.review.selected
    key(Qt.Key.Key_A)
    say(workspace, "accepted", gap=first)
    second = workspace.review.selected
    key(Qt.Key.Key_R)
    say(workspace, "rejected", gap=second)
    third = workspace.review.selected
    key(Qt.Key.Key_E)
    paint_along(viewer, workspace, canvas)
    key(Qt.Key.Key_Return)
    say(workspace, "repainted", gap=third)

    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    for number in (1, 2, 3):
        key(Qt.Key.Key_Z, control)
        say(workspace, f"undone {number}")
    for number in (1, 2, 3):
        key(Qt.Key.Key_Z, control | shift)
        say(workspace, f"redone {number}")
    say(workspace, "all done", image=workspace.record.id)
    while True:
        settle(1.0)


if __name__ == "__main__":
    main(sys.argv[1])
