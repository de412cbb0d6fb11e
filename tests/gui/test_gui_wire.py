"""Repainting with the live wire and the eraser, by real clicks on the canvas and real keys."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.keys import ReviewKeys

pytestmark = pytest.mark.gui


@pytest.fixture
def repainting(shown_review, qtbot, spin):
    """The dock with a repaint begun, and a function that clicks a pixel of the image."""
    ws = shown_review
    widget = GapsWidget(ws.viewer)
    ws.viewer.window.add_dock_widget(widget, name="Vessel gaps", area="right")
    QApplication.processEvents()
    widget.window().activateWindow()
    ReviewKeys.of(ws, widget.window())
    ws.scene._camera.zoom = 8
    canvas = ws.viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(widget.table, Qt.Key.Key_E)
    spin()
    assert ws.review.repainting

    def at(pixel):
        centre = np.asarray(ws.scene._camera.center[-2:])
        y, x = (np.asarray(ws.scene.camera.to_world(pixel)) - centre) * ws.scene._camera.zoom
        return QPoint(round(canvas.width() / 2 + x), round(canvas.height() / 2 + y))

    def click(pixel):
        qtbot.mouseMove(canvas, at(pixel))
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at(pixel))
        for _ in range(3):
            QApplication.processEvents()

    yield ws, widget, click
    ws.viewer.window.remove_dock_widget(widget)


def ends_of(gap):
    return [tuple(round(v) for v in end.point) for end in (gap.ends[0], gap.ends[-1])]


def test_two_clicks_close_the_gap_along_the_vessel_at_its_calibre(qtbot, repainting, spin):
    ws, widget, click = repainting
    gap, before, position = ws.review.gap, ws.session.labels.copy(), ws.session.history_position
    start, goal = ends_of(gap)
    qtbot.keyClick(widget.table, Qt.Key.Key_W)
    assert ws.review.repaint.tool == "wire"
    assert widget.buttons["wire"].isChecked()
    click(start)
    assert np.array_equal(ws.session.labels, before), "the first click only begins"
    click(goal)
    added = (ws.session.labels > 0) & (before == 0)
    assert added.any()
    rows, columns = np.nonzero(added)
    assert abs(rows - start[0]).max() <= 2, "the vessel is straight, and so is the stroke"
    assert np.bincount(columns)[columns.min() + 1 : columns.max()].max() <= 4
    labels = ws.session.components.labels
    assert labels[start] == labels[goal] != 0
    assert ws.session.undo_text == "live wire"
    qtbot.keyClick(widget.table, Qt.Key.Key_Return)
    spin()
    assert ws.session.state_of(gap.id) == "repainted"
    qtbot.keyClick(widget.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    spin()
    assert np.array_equal(ws.session.labels, before)
    assert ws.session.history_position == position


def test_undo_takes_one_stretch_back_and_the_wire_goes_on_from_the_click_before(qtbot, repainting):
    ws, widget, click = repainting
    start, goal = ends_of(ws.review.gap)
    middle = (start[0], (start[1] + goal[1]) // 2)
    qtbot.keyClick(widget.table, Qt.Key.Key_W)
    click(start)
    click(middle)
    half = ws.session.labels.copy()
    click((start[0] + 9, middle[1] + 4))
    assert not np.array_equal(ws.session.labels, half)
    qtbot.keyClick(widget.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(ws.session.labels, half)
    click(goal)
    labels = ws.session.components.labels
    assert labels[start] == labels[goal] != 0


def test_the_way_is_shown_before_the_click(qtbot, repainting):
    ws, widget, click = repainting
    start, goal = ends_of(ws.review.gap)
    qtbot.keyClick(widget.table, Qt.Key.Key_W)
    click(start)
    before = ws.scene.overlay.layer.data.copy()
    far = (start[0] + 9, goal[1])
    ws.review.repaint.wire.moved(far)
    assert ws.scene.overlay.layer.data[far] != 0
    ws.review.repaint.wire.moved(None)
    assert np.array_equal(ws.scene.overlay.layer.data, before)


def test_the_eraser_and_back_to_the_brush(qtbot, repainting):
    ws, widget, click = repainting
    left = min(ends_of(ws.review.gap), key=lambda end: end[1])
    size = ws.scene.mask_layer.brush_size
    qtbot.keyClick(widget.table, Qt.Key.Key_X)
    assert str(ws.scene.mask_layer.mode) == "erase"
    assert widget.buttons["erase"].isChecked()
    assert ws.scene.mask_layer.brush_size == size
    place = (left[0], left[1] - 6)
    assert ws.session.labels[place]
    click(place)
    assert not ws.session.labels[place]
    qtbot.keyClick(widget.table, Qt.Key.Key_X)
    assert str(ws.scene.mask_layer.mode) == "paint"
    assert ws.review.repaint.tool == "paint"
    qtbot.keyClick(widget.table, Qt.Key.Key_Escape)
    assert ws.session.labels[place], "leaving the repaint takes everything back"
    assert str(ws.scene.mask_layer.mode) == "pan_zoom"
    assert ws.review.repaint.tool == ""


def test_escape_gives_the_wire_up(qtbot, repainting):
    ws, widget, click = repainting
    before = ws.session.labels.copy()
    start, goal = ends_of(ws.review.gap)
    widget.buttons["wire"].click()
    click(start)
    click(goal)
    assert not np.array_equal(ws.session.labels, before)
    qtbot.keyClick(widget.table, Qt.Key.Key_Escape)
    assert np.array_equal(ws.session.labels, before)
    assert not ws.review.repaint.wire.on
    widget.buttons["wire"].click()
    assert not ws.review.repaint.wire.on, "outside a repaint there is no wire"
