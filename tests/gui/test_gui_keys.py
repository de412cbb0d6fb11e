"""Every key, with the focus in the canvas, the table, a button and after a spin box; and none while typing."""

import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QCloseEvent, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QApplication, QComboBox, QDialog, QLineEdit, QListWidget, QMainWindow

from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.keys import BY_ID, KEYS, ReviewKeys, is_typing
from napari_vessel.gui.workspace import Workspace
from napari_vessel.review import Project

pytestmark = pytest.mark.gui

QT = {
    "Enter": Qt.Key.Key_Return,
    "Escape": Qt.Key.Key_Escape,
    "Delete": Qt.Key.Key_Delete,
}


def parts(name):
    *modifiers, key = name.split("-")
    flags = Qt.KeyboardModifier.NoModifier
    for modifier in modifiers:
        flags |= getattr(Qt.KeyboardModifier, f"{modifier}Modifier")
    return QT.get(key) or getattr(Qt.Key, f"Key_{key}"), flags


def press(qtbot, widget, name):
    key, flags = parts(name)
    qtbot.keyClick(widget, key, flags)


@pytest.fixture
def docked(shown_review):
    """The widget in its dock, and a list of what keys did in place of doing it."""
    ws = shown_review
    widget = GapsWidget(ws.viewer)
    ws.viewer.window.add_dock_widget(widget, name="Vessel gaps", area="right")
    QApplication.processEvents()
    window = widget.window()
    assert isinstance(window, QMainWindow)
    window.activateWindow()
    keys = ReviewKeys.of(ws, window)
    done = []
    for key in KEYS:
        keys._actions[key.id] = lambda key_id=key.id: done.append(key_id)
    keys._press_mask = lambda: None
    keys._release_mask = lambda: done.append("mask")
    yield ws, widget, done
    ws.viewer.window.remove_dock_widget(widget)


def place_focus(where, ws, widget, qtbot):
    """Put the focus somewhere and return the widget that has it."""
    canvas = ws.viewer.window._qt_viewer.canvas.native
    if where == "canvas":
        canvas.setFocus()
        return canvas
    if where == "table":
        widget.table.setFocus()
        return widget.table
    if where == "button":
        widget.buttons["accept"].setFocus()
        return widget.buttons["accept"]
    if where == "check box":
        widget.view.outline.setFocus()
        return widget.view.outline
    if where == "layer list":
        found = ws.viewer.window._qt_viewer.layers
        found.setFocus()
        return found
    box = widget.bulk_score
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, "0.5")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    focus = QApplication.focusWidget() or widget.table
    assert not is_typing(focus)
    return focus


@pytest.mark.parametrize("where", ["canvas", "table", "button", "check box", "layer list", "after a spin box"])
def test_every_key_in_each_focus(qtbot, docked, where):
    ws, widget, done = docked
    for key in KEYS:
        if where == "layer list" and key.id == "delete":
            continue
        for name in key.keys:
            target = place_focus(where, ws, widget, qtbot)
            if key.id in ("end_repaint", "cancel_repaint", "wire", "erase"):
                ws.review.repaint._begun = (ws.review.selected, "group", 0, 0)
            done.clear()
            press(qtbot, target, name)
            QApplication.processEvents()
            ws.review.repaint._begun = None
            assert done == [key.id], f"{name} with the focus in {where}"


def test_delete_in_the_list_of_layers_takes_a_layer_out_unless_the_mouse_points_at_the_image(qtbot, docked):
    ws, widget, done = docked
    canvas = ws.viewer.window._qt_viewer.canvas.native
    for pointing in (False, True):
        layer = ws.viewer.add_points(name="mine")
        ws.viewer.layers.selection.active = layer
        target = place_focus("layer list", ws, widget, qtbot)
        canvas.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, pointing)
        press(qtbot, target, "Delete")
        assert (layer in ws.viewer.layers) == pointing
        assert done == (["delete"] if pointing else [])
    canvas.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)


def test_no_key_while_typing(qtbot, docked):
    ws, widget, done = docked
    texts = [widget.remarks.comment, widget.bulk_score, widget.state_filter]
    controls = ws.viewer.window._qt_viewer.controls
    texts += [box for box in controls.findChildren(QLineEdit) if box.isVisible()][:2]
    texts += [box for box in controls.findChildren(QComboBox) if box.isVisible()][:1]
    for text in texts:
        text.setFocus()
        for key in KEYS:
            for name in key.keys:
                press(qtbot, text, name)
                assert done == [], f"{name} in {type(text).__name__}"
                text.setFocus()
    widget.remarks.comment.setFocus()
    widget.remarks.comment.clear()
    qtbot.keyClicks(widget.remarks.comment, "arteus nbtgd")
    assert widget.remarks.comment.text() == "arteus nbtgd"
    assert done == []


def test_enter_ends_the_comment_and_keys_work_again(qtbot, docked):
    ws, widget, done = docked
    widget.remarks.comment.setFocus()
    qtbot.keyClicks(widget.remarks.comment, "blurred")
    qtbot.keyClick(widget.remarks.comment, Qt.Key.Key_Return)
    assert ws.session.comment == "blurred"
    press(qtbot, QApplication.focusWidget() or widget.table, "A")
    assert done == ["accept"]


def test_enter_and_escape_are_free_outside_a_repaint(qtbot, docked):
    _, widget, done = docked
    widget.table.setFocus()
    press(qtbot, widget.table, "Enter")
    press(qtbot, widget.table, "Escape")
    assert done == []


def test_bindings_on_viewer_and_layer_come_and_go_with_the_image(shown_review):
    ws = shown_review
    viewer = ws.viewer

    def mine(_):
        pass

    ws.close_image()
    viewer.bind_key("A", mine, overwrite=True)
    record = ws.images()[0]
    widget = GapsWidget(viewer)
    viewer.window.add_dock_widget(widget)
    QApplication.processEvents()
    ws.open_image(record.id)
    from napari_vessel.gui.workers import running_jobs

    while running_jobs():
        QApplication.processEvents()
    layer = ws.scene.mask_layer
    names = {str(binding) for binding in layer.keymap}
    assert {"A", "E", "B", "Shift+N", "Ctrl+Z", "Delete"} <= names
    ws.close_image()
    assert list(viewer.keymap.values()) == [mine]
    viewer.window.remove_dock_widget(widget)


def test_mask_key_toggles_on_a_tap_and_shows_the_raw_image_while_held(qtbot, shown_review):
    ws = shown_review
    widget = GapsWidget(ws.viewer)
    ws.viewer.window.add_dock_widget(widget)
    QApplication.processEvents()
    keys = ReviewKeys.of(ws, widget.window())
    none = Qt.KeyboardModifier.NoModifier

    def send(kind, repeat=False):
        event = QKeyEvent(kind, Qt.Key.Key_T, none, "t", repeat)
        QApplication.sendEvent(widget.table, event)

    changes = []
    ws.scene.mask_layer.events.visible.connect(lambda event: changes.append(ws.scene.mask_visible))
    send(QEvent.Type.KeyPress)
    assert not ws.scene.mask_visible
    send(QEvent.Type.KeyRelease)
    assert not ws.scene.mask_visible
    # Not shown in between: that would draw all of it for nothing.
    assert changes == [False]
    send(QEvent.Type.KeyPress)
    send(QEvent.Type.KeyRelease)
    assert ws.scene.mask_visible

    send(QEvent.Type.KeyPress)
    assert not ws.scene.mask_visible
    assert not ws.scene.proposals_visible
    send(QEvent.Type.KeyPress, repeat=True)
    since, visible = keys._held
    keys._held = (since - 1.0, visible)
    send(QEvent.Type.KeyRelease)
    assert ws.scene.mask_visible
    assert ws.scene.proposals_visible
    ws.viewer.window.remove_dock_widget(widget)


def test_key_table_has_no_key_twice_and_every_action_is_there(workspace):
    from napari_vessel.gui.keys import actions

    names = [name for key in KEYS for name in key.keys]
    assert len(names) == len(set(names))
    assert set(actions(workspace)) == set(BY_ID)
    assert isinstance(workspace, Workspace)


def test_a_key_that_qt_hands_over_as_an_event_of_the_mouse_is_let_through(docked):
    ws, widget, done = docked
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.KeyPress, QPointF(1, 1), QPointF(1, 1), left, left, none)
    assert not ReviewKeys.of(ws, widget.window()).eventFilter(widget.table, event)
    assert done == []


def test_a_project_is_free_once_its_window_was_closed_though_the_viewer_lives_on(review):
    ws = review
    folder, window = ws.project.folder, ws.viewer.window._qt_window
    # What napari does to its window would end this test's viewer; the window was never shown.
    assert not ReviewKeys.of(ws, window).eventFilter(window, QCloseEvent())
    QApplication.processEvents()
    assert ws.project is None
    Project.open(folder).close()


@pytest.mark.parametrize("box", ["score_filter", "bulk_score", "size"])
def test_from_a_number_the_next_click_and_tab_go_where_they_were_meant(qtbot, docked, box):
    ws, widget, done = docked
    number = widget.fragments.size if box == "size" else getattr(widget, box)
    if box == "size":
        ws.queues.show("fragments")
    table = widget.fragments.table if box == "size" else widget.table
    number.setFocus()
    qtbot.mouseClick(widget.remarks.comment, Qt.MouseButton.LeftButton)
    widget.remarks.comment.setFocus(Qt.FocusReason.MouseFocusReason)
    assert QApplication.focusWidget() is widget.remarks.comment
    qtbot.keyClicks(QApplication.focusWidget(), "artefact")
    assert done == []
    number.setFocus()
    qtbot.keyClick(number, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() not in (number, table)
    number.setFocus()
    qtbot.keyClick(number, Qt.Key.Key_Return)
    assert QApplication.focusWidget() is table


def test_after_a_filter_was_chosen_the_keys_mean_the_review(qtbot, docked):
    _, widget, done = docked
    widget.state_filter.setFocus()
    widget.state_filter.setCurrentIndex(1)
    widget.state_filter.activated.emit(1)
    press(qtbot, QApplication.focusWidget(), "A")
    assert done == ["accept"]
    assert widget.state_filter.currentIndex() == 1


def test_no_key_in_a_window_that_is_no_dock(qtbot, docked):
    _, widget, done = docked
    window = QDialog(widget.window())
    choices = QListWidget(window)
    window.show()
    choices.setFocus()
    press(qtbot, choices, "A")
    assert done == []
    window.close()


def test_any_dock_binds_the_keys(shown_review):
    shown_review.viewer.window.add_plugin_dock_widget("napari-vessel", "Vessel project")
    QApplication.processEvents()
    window = shown_review.viewer.window._qt_window
    assert window.findChild(ReviewKeys, "napari-vessel-keys") is not None
