"""The queue of fragments in a real window: its tab, the keys, the table, the canvas, and what a restart finds."""

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_vessel.gui.fragment_review import FragmentReview
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.keys import ReviewKeys
from napari_vessel.gui.overlay import _COMPLETION, _MARK
from napari_vessel.gui.workspace import Workspace

pytestmark = pytest.mark.gui

FRAGMENTS_TAB = 2


def dock(ws):
    widget = GapsWidget(ws.viewer)
    ws.viewer.window.add_dock_widget(widget, name="Vessel gaps", area="right")
    QApplication.processEvents()
    widget.window().activateWindow()
    ReviewKeys.of(ws, widget.window())
    return widget


@pytest.fixture
def docked(shown_review, spin):
    """The dock with two specks in the mask, 4 and 9 px, and its second tab on top."""
    ws = shown_review
    ws.session.stroke(np.ones((2, 2), np.uint8), (5, 60))
    ws.session.stroke(np.ones((3, 3), np.uint8), (104, 20))
    widget = dock(ws)
    widget.tabs.setCurrentIndex(FRAGMENTS_TAB)
    spin()
    yield ws, widget
    ws.viewer.window.remove_dock_widget(widget)


def drawn(ws, value):
    return ws.scene.overlay.layer.data == value


def press(qtbot, widget, key, modifier=Qt.KeyboardModifier.NoModifier):
    qtbot.keyClick(widget, key, modifier)
    QApplication.processEvents()


def test_the_tab_lists_every_component_beside_the_main_one(docked):
    ws, widget = docked
    panel = widget.fragments
    assert widget.queues.currentWidget() is panel
    assert panel.proxy.rowCount() == ws.session.components.count - 1
    first = panel.model._fragments[0]
    assert ws.fragments.selected == first.id
    assert first.area_px in (4, 9), "the specks come first"
    assert np.allclose(ws.scene._camera.center[-2:], first.centre, atol=1e-3)
    assert widget.tabs.tabText(FRAGMENTS_TAB) == f"Fragments {ws.session.components.count - 1}"
    assert "px" in panel.facts.text()


def test_the_ring_and_the_arrows_stand_around_the_fragment_and_hide_none_of_it(docked):
    ws, _ = docked
    (y, x), pixels = ws.fragments.pixels()
    ring = drawn(ws, _MARK)
    assert ring.any()
    assert not ring[y : y + pixels.shape[0], x : x + pixels.shape[1]][pixels].any()
    rows, columns = np.nonzero(ring)
    assert abs(rows - y).max() <= pixels.shape[0] + 3
    assert abs(columns - x).max() <= pixels.shape[1] + 3
    assert not drawn(ws, _COMPLETION).any()
    assert len(ws.scene.overlay.arrows.data) == 2
    assert ws.scene.overlay.arrows.visible


@pytest.mark.parametrize(
    ("key", "state"),
    [(Qt.Key.Key_A, "kept"), (Qt.Key.Key_R, "deleted"), (Qt.Key.Key_U, "unsure"), (Qt.Key.Key_S, "skipped")],
)
def test_one_key_decides_and_the_next_one_flies_in(qtbot, docked, spin, key, state):
    ws, widget = docked
    fragment, left = ws.fragments.fragment, ws.session.remaining()["fragments"]
    labels = ws.session.labels.copy()
    press(qtbot, widget.fragments.table, key)
    spin()
    assert ws.session.fragment_state(fragment.id) == state
    assert ws.session.fragment_verdicts[fragment.id].annotator == ws.annotator
    assert ws.session.remaining()["fragments"] == left - 1
    assert widget.tabs.tabText(FRAGMENTS_TAB) == f"Fragments {left - 1}"
    assert ws.fragments.selected != fragment.id
    assert ws.session.fragment_state(ws.fragments.selected) == "open"
    assert (ws.session.labels[fragment.point] == 0) == (state == "deleted")
    press(qtbot, widget.fragments.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    spin()
    assert np.array_equal(ws.session.labels, labels)
    assert ws.session.fragment_state(fragment.id) == "open"
    assert ws.fragments.selected == fragment.id


def test_a_tick_says_that_every_piece_is_a_vessel(qtbot, docked, spin):
    ws, widget = docked
    box, count = widget.fragments.all_vessels, ws.session.remaining()["fragments"]
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton)
    spin()
    assert ws.project.record(ws.record.id).flags == {"all_vessels"}
    assert ws.session.open_gaps
    assert all(gap.fragment is None and gap.score == gap.link for gap in ws.session.open_gaps)
    assert ws.session.remaining()["fragments"] == count, "nothing is decided of the pieces themselves"
    ws.set_mask(np.roll(ws.session.labels, 3, axis=0), "another model")
    spin()
    assert not box.isChecked()
    assert ws.project.record(ws.record.id).flags == frozenset()
    assert all(gap.fragment is not None for gap in ws.session.open_gaps)


def test_decided_ones_leave_the_open_list_and_stay_in_the_whole_one(qtbot, docked, spin):
    ws, widget = docked
    panel = widget.fragments
    first, count = ws.fragments.selected, panel.proxy.rowCount()
    press(qtbot, panel.table, Qt.Key.Key_R)
    spin()
    assert first in panel.proxy.ids()
    panel.state_filter.setCurrentIndex(panel.state_filter.findText("open"))
    assert first not in panel.proxy.ids()
    assert panel.proxy.rowCount() == count - 1
    panel.state_filter.setCurrentIndex(panel.state_filter.findText("decided"))
    assert panel.proxy.ids() == [first]
    panel.table.selectRow(0)
    press(qtbot, panel.table, Qt.Key.Key_A)
    spin()
    assert ws.session.fragment_state(first) == "kept"


def test_buttons_and_steps_act_on_the_fragments(qtbot, docked, spin):
    ws, widget = docked
    names = widget.fragments.proxy.ids()
    gap = ws.review.selected
    press(qtbot, widget.fragments.table, Qt.Key.Key_N)
    assert ws.fragments.selected == names[1]
    press(qtbot, widget.fragments.table, Qt.Key.Key_B)
    assert ws.fragments.selected == names[0]
    widget.fragments.table.selectRow(2)
    assert ws.fragments.selected == names[2]
    widget.fragments.buttons["unsure"].click()
    spin()
    assert ws.session.fragment_state(names[2]) == "unsure"
    assert ws.review.selected == gap, "the gap under review is where it was"
    assert ws.session.state_of(gap) == "open"
    for _ in names:
        press(qtbot, widget.fragments.table, Qt.Key.Key_A)
    left = f"No open fragment left. Q goes to the {len(ws.session.open_gaps)} gaps to look at, D marks it as done."
    assert widget.status.text() == left


def test_going_back_to_the_gaps(qtbot, docked, spin):
    ws, widget = docked
    widget.tabs.setCurrentIndex(0)
    assert not ws.fragments.active
    assert drawn(ws, _COMPLETION).any()
    assert not drawn(ws, _MARK).any()
    gap = ws.review.selected
    press(qtbot, widget.table, Qt.Key.Key_R)
    spin()
    assert ws.session.state_of(gap) == "rejected"
    assert not ws.session.fragment_verdicts


def test_no_repaint_among_fragments(qtbot, docked):
    ws, widget = docked
    press(qtbot, widget.fragments.table, Qt.Key.Key_E)
    assert not ws.review.repainting


def test_the_list_follows_the_mask(docked, spin):
    ws, widget = docked
    count = widget.fragments.proxy.rowCount()
    ws.session.stroke(np.ones((2, 2), np.uint8), (5, 90))
    spin()
    assert widget.fragments.proxy.rowCount() == count + 1
    selected = ws.fragments.selected
    ws.session.stroke(np.zeros((2, 2), np.uint8), (5, 90))
    spin()
    assert widget.fragments.proxy.rowCount() == count
    assert ws.fragments.selected == selected


def test_specks_go_together_after_they_were_shown(qtbot, docked, spin):
    ws, widget = docked
    panel, before = widget.fragments, ws.session.labels.copy()
    panel.size.setValue(9)
    assert panel.bulk.count.text() == "2 fragments"
    panel.bulk.button.click()
    assert np.array_equal(ws.session.labels, before), "nothing is done yet"
    assert drawn(ws, _MARK).sum() == 13
    assert panel.bulk.confirm_button.text() == "Enter Delete 2"
    press(qtbot, panel.table, Qt.Key.Key_Escape)
    assert not ws.bulk.pending
    assert np.array_equal(ws.session.labels, before)
    panel.bulk.button.click()
    press(qtbot, panel.table, Qt.Key.Key_Return)
    spin()
    assert ws.session.labels.sum() == before.sum() - 13
    assert not ws.bulk.pending
    press(qtbot, panel.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    spin()
    assert np.array_equal(ws.session.labels, before)


def test_a_restart_finds_the_verdicts(qtbot, docked, make_napari_viewer, spin):
    ws, widget = docked
    folder = ws.project.folder
    first = ws.fragments.selected
    press(qtbot, widget.fragments.table, Qt.Key.Key_R)
    second = ws.fragments.selected
    press(qtbot, widget.fragments.table, Qt.Key.Key_A)
    spin()
    left = ws.session.remaining()
    ws.close()
    again = Workspace.of(make_napari_viewer())
    assert again.open_project(folder)
    spin()
    again.queues.show("fragments")
    spin()
    assert again.session.fragment_state(first) == "deleted"
    assert again.session.fragment_state(second) == "kept"
    assert again.session.remaining() == left
    assert {first, second} <= {fragment.id for fragment in again.fragments.listed}
    assert again.session.fragment_state(again.fragments.selected) == "open"
    again.undo()
    assert again.session.fragment_state(second) == "open"
    again.close()


def test_undo_flies_to_a_fragment_that_is_not_the_first(qtbot, docked, spin):
    ws, widget = docked
    last = widget.fragments.proxy.ids()[-1]
    ws.fragments.select(last)
    press(qtbot, widget.fragments.table, Qt.Key.Key_R)
    spin()
    assert ws.fragments.selected != last
    press(qtbot, widget.fragments.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert ws.fragments.selected == last
    spin()
    assert ws.fragments.selected == last
    assert ws.session.fragment_state(last) == "open"


class _Name(str):
    """An id that counts how often it is looked up."""

    __slots__ = ()
    looked_up = 0

    def __hash__(self):
        _Name.looked_up += 1
        return super().__hash__()


def test_a_long_list_is_not_gone_through_once_for_each_of_its_fragments(monkeypatch):
    names = [_Name(number) for number in range(300)]
    monkeypatch.setattr(FragmentReview, "listed", [SimpleNamespace(id=name) for name in names])
    fragments = FragmentReview(SimpleNamespace(mask_changed=SimpleNamespace(connect=lambda slot: None)))
    fragments.order = lambda: names[::-1]
    assert fragments._walk() == names[::-1]
    assert _Name.looked_up <= 4 * len(names)
