"""Everything napari's tools do to the mask layer arrives in the session, and the other way round."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QWidget

from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui


def turn():
    QApplication.processEvents()
    QApplication.processEvents()


def agree(workspace):
    return np.array_equal(workspace.scene.mask_layer.data, workspace.session.labels)


def canvas_of(workspace) -> QWidget:
    return workspace.viewer.window._qt_viewer.canvas.native


def on_canvas(workspace, pixel) -> QPoint:
    """Where a pixel (y, x) is drawn on the canvas."""
    y, x = workspace.scene.camera.to_world(pixel)
    canvas, camera = canvas_of(workspace), workspace.scene._camera
    cy, cx = camera.center[-2:]
    return QPoint(
        round(canvas.width() / 2 + (x - cx) * camera.zoom), round(canvas.height() / 2 + (y - cy) * camera.zoom)
    )


def drag(qtbot, workspace, pixels, before_release=None):
    canvas = canvas_of(workspace)
    left = Qt.MouseButton.LeftButton
    points = [on_canvas(workspace, pixel) for pixel in pixels]
    qtbot.mouseMove(canvas, points[0])
    qtbot.mousePress(canvas, left, pos=points[0])
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent

    for point in points[1:]:
        none = Qt.KeyboardModifier.NoModifier
        at = QPointF(point)
        move = QMouseEvent(QEvent.Type.MouseMove, at, QPointF(canvas.mapToGlobal(point)), left, left, none)
        QApplication.sendEvent(canvas, move)
        turn()
    if before_release is not None:
        before_release()
    qtbot.mouseRelease(canvas, left, pos=points[-1])


def test_brush_stroke_by_mouse_is_one_edit_committed_in_the_turn_after_release(qtbot, shown_review):
    ws = shown_review
    layer = ws.scene.mask_layer
    ws.scene.camera.show_all()
    turn()
    layer.mode, layer.brush_size = "paint", 3
    start = ws.session.history_position
    seen = []

    drag(qtbot, ws, [(55, 20), (55, 30), (56, 45)], lambda: seen.append(ws.session.history_position))
    assert layer.data[55, 30] == 1
    assert seen == [start], "nothing is committed while the button is down"
    turn()
    assert ws.session.history_position == start + 1
    assert ws.session.undo_text == "brush stroke"
    assert ws.session.labels[55, 25] == 1
    assert agree(ws)
    assert ws.project.read_mask(ws.record.id).labels[55, 25] == 1, "the stroke is in the project"


def test_erase_by_mouse(qtbot, shown_review):
    ws = shown_review
    ws.scene.camera.show_all()
    turn()
    layer = ws.scene.mask_layer
    layer.mode, layer.brush_size = "erase", 5
    drag(qtbot, ws, [(20, 90), (20, 100)])
    turn()
    assert ws.session.labels[20, 95] == 0
    assert ws.session.undo_text == "erased"
    assert agree(ws)


def test_fill_by_mouse(qtbot, shown_review):
    ws = shown_review
    ws.scene.camera.show_all()
    turn()
    layer = ws.scene.mask_layer
    layer.mode, layer.selected_label = "fill", 0
    before = int(ws.session.labels.sum())
    drag(qtbot, ws, [(20, 100)])
    turn()
    assert int(ws.session.labels.sum()) < before
    assert ws.session.labels[20, 100] == 0
    assert agree(ws)


def test_polygon(review):
    layer = review.scene.mask_layer
    layer.mode = "polygon"
    layer.paint_polygon(np.array([(50, 10), (50, 30), (60, 30)]), 1)
    turn()
    assert review.session.labels[52, 28] == 1
    assert review.session.undo_text == "polygon"
    assert agree(review)


@pytest.mark.parametrize("contour", [0, 1])
def test_napari_undo_and_redo_are_the_sessions(review, contour):
    layer = review.scene.mask_layer
    review.scene.contour = contour
    before = review.session.labels.copy()
    layer.paint((55, 50), 1)
    turn()
    after = review.session.labels.copy()
    assert not np.array_equal(before, after)
    layer.undo()
    turn()
    assert np.array_equal(review.session.labels, before)
    assert agree(review)
    layer.redo()
    turn()
    assert np.array_equal(review.session.labels, after)
    assert agree(review)


def test_napari_undo_takes_back_a_verdict_rather_than_an_older_stroke(review):
    from napari_vessel.review.edits import Verdict

    layer = review.scene.mask_layer
    layer.paint((55, 50), 1)
    turn()
    gap = review.review.selected
    review.decide(Verdict.ACCEPTED)
    layer.undo()
    turn()
    assert review.session.state_of(gap) == "open"
    assert review.session.labels[55, 50] == 1
    assert agree(review)


def test_data_setitem_and_silent_writes_arrive(review):
    layer = review.scene.mask_layer
    layer.data_setitem((np.array([5, 6]), np.array([7, 7])), 1)
    turn()
    assert review.session.labels[5:7, 7].tolist() == [1, 1]
    layer.data[100, 100] = 1
    layer.refresh()
    turn()
    assert review.session.labels[100, 100] == 1


def test_new_data_of_the_same_size_is_one_edit_and_another_size_is_refused(review):
    layer, start = review.scene.mask_layer, review.session.history_position
    layer.data = np.zeros(review.session.shape, np.int64)
    turn()
    assert not review.session.labels.any()
    assert layer.data.dtype == np.uint8
    assert review.session.history_position == start + 1
    said = []
    review.message.connect(lambda text, level: said.append((level, text)))
    layer.data = np.ones((5, 5), np.uint8)
    turn()
    assert layer.data.shape == review.session.shape
    assert said[0][0] == "warning"


def test_unknown_label_becomes_vessel_and_is_said_once(review):
    said = []
    review.message.connect(lambda text, level: said.append(text))
    layer = review.scene.mask_layer
    for x in (30, 60):
        layer.selected_label = 7
        layer.paint((55, x), 7)
        turn()
    assert review.session.labels[55, 30] == review.session.labels[55, 60] == 1
    assert layer.data[55, 60] == 1
    assert layer.selected_label == 1
    assert len([text for text in said if "no label 7" in text]) == 1


def test_undo_everything_and_redo_everything(review):
    from napari_vessel.review.edits import Verdict

    session, layer = review.session, review.scene.mask_layer
    position, first = session.history_position, session.labels.copy()
    review.decide(Verdict.ACCEPTED)
    layer.paint((55, 50), 1)
    turn()
    review.decide(Verdict.REJECTED)
    layer.fill((20, 100), 0)
    turn()
    review.accept_above(0.0)
    last, states = session.labels.copy(), {g.id: session.state_of(g.id) for g in session.gaps}
    while session.history_position > position:
        review.undo()
    assert np.array_equal(session.labels, first)
    assert agree(review)
    while session.can_redo:
        review.redo()
    assert np.array_equal(session.labels, last)
    assert {g.id: session.state_of(g.id) for g in session.gaps} == states
    assert agree(review)


def test_closed_binding_leaves_the_layer_to_napari(review):
    layer, session = review.scene.mask_layer, review.session
    review.scene.binding.close()
    review.scene.binding = None
    layer.paint((55, 50), 1)
    turn()
    assert session.labels[55, 50] == 0
    layer.undo()
    assert layer.data[55, 50] == 0


def test_a_hidden_mask_is_written_though_napari_has_forgotten_its_picture(review, spin):
    ws, scene = review, review.scene
    layer = scene.mask_layer
    scene.fragments_shown = scene.changes_shown = True
    scene.mask_visible = scene.proposals_visible = False
    # What another layer does that is larger than these.
    ws.viewer.dims.set_point((0, 1), (3.0, 3.0))
    ws.decide(Verdict.ACCEPTED)
    assert np.array_equal(layer.data, ws.session.labels)
    ws.session.stroke(np.ones((4, 4), np.uint8), (2, 2))
    spin()
    scene.mask_visible = scene.proposals_visible = True
    assert np.array_equal(layer._slice.image.raw, ws.session.labels)
    assert scene.fragments.layer._slice.image.raw[3, 3]
