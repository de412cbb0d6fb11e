"""Cuts in the window: a list of their own, gone through with the keys of gaps, drawn and said in a way of their own."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_vessel.completion.gap import GapKind
from napari_vessel.gui.gap_table import joined
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.theme import COMPLETION, MARK
from napari_vessel.gui.workspace import Workspace
from napari_vessel.review.edits import Verdict

pytestmark = pytest.mark.gui

FALSE = ((20, 95), (44, 100), (68, 20))
"""Upper row and column of the false bridges, each to the vessel 24 px below."""
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def bridged(shown_workspace, drawn, spin, qtbot) -> tuple[Workspace, GapsWidget]:
    """The four broken vessels with three false bridges between them, in a shown window with its dock."""
    image, mask = drawn
    labels = mask.labels.copy()
    for row, x in FALSE:
        labels[row : row + 24, x - 1 : x + 2] = 1
    ws = shown_workspace
    ws.add_image(image, replace(mask, labels=labels))
    spin()
    widget = GapsWidget(ws.viewer)
    ws.viewer.window.add_dock_widget(widget, name="Vessel gaps", area="right")
    widget.window().activateWindow()
    QApplication.processEvents()
    return ws, widget


def press(qtbot, ws, key, modifiers=Qt.KeyboardModifier.NoModifier):
    qtbot.keyClick(ws.viewer.window._qt_viewer.canvas.native, key, modifiers)
    QApplication.processEvents()


def striped(ws):
    return int(np.isin(ws.scene.overlay.layer.data, (4, 5)).sum())


def test_a_cut_is_said_to_be_in_the_vessel_that_is_left(bridged):
    ws, _ = bridged
    cut, components = ws.session.cuts[0], (ws.session.labels > 0).astype(np.int32)
    assert joined([cut], components, 1) == ["main"]
    for end in cut.ends:
        left = components.copy()
        y, x = (round(v) for v in end.point)
        left[y - 3 : y + 4, x - 3 : x + 4] = 0
        assert joined([cut], left, 1) == ["main"], "one of its two vessels was deleted"
    assert joined([cut], np.zeros_like(components), 1) == ["–"]


def test_cuts_wait_beside_the_gaps_and_a_key_goes_there(bridged, qtbot):
    ws, widget = bridged
    assert widget.tabs.tabText(1) == "Cuts 3"
    assert ws.queues.shown == "gaps"
    assert {gap.kind for gap in widget.model._gaps} == {GapKind.BRIDGE}
    press(qtbot, ws, Qt.Key.Key_Q)
    assert ws.queues.shown == "cuts"
    assert widget.tabs.currentIndex() == 1
    assert ws.review.gap.kind is GapKind.CUT
    assert widget.proxy.rowCount() == 3
    assert not widget.bulk.isVisible(), "no verdicts promise anything for a bulk accept of cuts"
    assert [widget.buttons[key].text() for key in ("accept", "reject", "repaint")] == ["A Cut", "R Keep", "E Erase"]
    assert widget.effect.text().startswith("cut: separates 2 vessels · components 5 → 6")
    assert striped(ws) > 20
    assert not (ws.scene.overlay.layer.data == 1).any(), "nothing is drawn as if it were to be added"
    assert np.allclose(ws.scene.overlay.arrows.edge_color[0], np.array([*bytes.fromhex(MARK[1:]), 255]) / 255)
    qtbot.mouseClick(widget.tabs, LEFT, pos=widget.tabs.tabRect(0).center())
    assert ws.queues.shown == "gaps"
    assert widget.buttons["accept"].text() == "A Accept"
    assert widget.bulk.isVisible()
    assert striped(ws) == 0
    assert np.allclose(ws.scene.overlay.arrows.edge_color[0], np.array([*bytes.fromhex(COMPLETION[1:]), 255]) / 255)


def test_a_cuts_r_keeps_and_undo_takes_either_back(bridged, qtbot):
    ws, widget = bridged
    before = ws.session.labels.copy()
    press(qtbot, ws, Qt.Key.Key_Q)
    first = ws.review.gap
    ghost = np.isin(ws.scene.overlay.layer.data, (4, 5))
    position = ws.session.history_position
    press(qtbot, ws, Qt.Key.Key_A)
    assert np.array_equal(ws.session.labels == 0, (before == 0) | ghost), "exactly what was striped is erased"
    assert ws.session.components.count == 6
    assert ws.session.undo_text == f"accepted cut {ws.session.number_of(first.id)}"
    second = ws.review.gap
    assert second.id != first.id
    assert second.kind is GapKind.CUT
    assert striped(ws) > 20, "the next is drawn"
    assert widget.tabs.tabText(1) == "Cuts 2"
    press(qtbot, ws, Qt.Key.Key_R)
    assert ws.session.state_of(second.id) == "rejected"
    assert np.array_equal(ws.session.labels == 0, (before == 0) | ghost)
    press(qtbot, ws, Qt.Key.Key_B)
    assert ws.review.selected == second.id
    press(qtbot, ws, Qt.Key.Key_N)
    assert ws.review.selected not in (first.id, second.id)
    for _ in range(2):
        press(qtbot, ws, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(ws.session.labels, before)
    assert ws.session.history_position == position
    assert ws.review.selected == first.id
    assert widget.tabs.tabText(1) == "Cuts 3"


def test_the_last_cut_tells_what_is_left(bridged, qtbot):
    ws, _ = bridged
    said = []
    ws.message.connect(lambda text, level: said.append(text))
    ws.queues.show("cuts")
    for _ in range(3):
        press(qtbot, ws, Qt.Key.Key_S)
    assert f"Q goes to the {ws.session.remaining()['fragments']} fragments" in said[-1]
    press(qtbot, ws, Qt.Key.Key_Q)
    assert ws.queues.shown == "fragments"


def test_what_was_decided_is_not_proposed_again_and_is_there_after_a_restart(bridged, qtbot, spin, make_napari_viewer):
    ws, widget = bridged
    ws.queues.show("cuts")
    cut, kept = ws.session.cuts[:2]
    press(qtbot, ws, Qt.Key.Key_A)
    press(qtbot, ws, Qt.Key.Key_R)
    qtbot.mouseClick(widget.find_button, LEFT)
    spin()
    assert len(ws.session.open_cuts) == 1
    middle = np.asarray(cut.centre)
    assert all(np.hypot(*(middle - gap.centre)) > 8 for gap in ws.session.open_gaps), "the cut is not bridged again"
    order = [gap.id for gap in ws.session.cuts]
    folder = ws.project.folder
    ws.close()
    again = Workspace.of(make_napari_viewer())
    assert again.open_project(folder)
    spin()
    assert again.session.state_of(cut.id) == "accepted"
    assert again.session.state_of(kept.id) == "rejected"
    assert [gap.id for gap in again.session.cuts] == order
    assert not again.session.labels[tuple(np.rint(cut.centre).astype(int))]
    again.close()


def test_an_own_stroke_of_the_eraser_is_one_step(bridged, qtbot):
    ws, _ = bridged
    before = ws.session.labels.copy()
    ws.queues.show("cuts")
    gap, layer = ws.review.gap, ws.scene.mask_layer
    press(qtbot, ws, Qt.Key.Key_E)
    assert ws.review.repaint.tool == "erase"
    assert layer.mode == "erase"
    for point in gap.path[::2]:
        layer.paint(tuple(point), 0)
    QApplication.processEvents()
    press(qtbot, ws, Qt.Key.Key_Return)
    assert ws.session.state_of(gap.id) == "repainted"
    assert ws.session.components.count == 6
    ws.undo()
    assert np.array_equal(ws.session.labels, before)


def test_a_bulk_accept_leaves_cuts_alone_and_their_verdicts_say_nothing_of_gaps(bridged, qtbot):
    ws, widget = bridged
    ws.queues.show("cuts")
    for _ in range(2):
        press(qtbot, ws, Qt.Key.Key_R)
    ws.queues.show("gaps")
    assert ws.bulk.calibration() is None, "two refused cuts are no verdict on a gap"
    scores = [gap.score for gap in ws.session.open_gaps]
    widget.bulk_score.setValue(0.0)
    widget.bulk.button.click()
    widget.bulk.confirm_button.click()
    assert not ws.session.open_gaps
    assert len(ws.session.open_cuts) == 1
    assert len(scores) == 4


def test_a_cut_that_opens_a_loop_says_so(bridged, qtbot, spin):
    ws, widget = bridged
    ws.decide(Verdict.ACCEPTED)
    while ws.session.open_gaps:
        ws.decide(Verdict.ACCEPTED)
    ws.find_gaps()
    spin()
    ws.queues.show("cuts")
    assert {gap.effect.components_after for gap in ws.session.open_cuts} == {2}
    labels = ws.session.labels.copy()
    cv2.line(labels, (60, 20), (60, 44), 1, 3)
    ws.session.stroke(labels, (0, 0))
    ws.find_gaps()
    spin()
    told = [gap for gap in ws.session.open_cuts if gap.effect.cycles < 0]
    assert len(told) == 2
    ws.select_gap(told[0].id)
    assert widget.effect.text().startswith("cut: opens a loop · components stay 1")


def test_cuts_are_looked_for_when_their_list_is_opened_first(bridged, qtbot, spin, make_napari_viewer):
    ws, _ = bridged
    ws.session.set_cuts([])
    folder = ws.project.folder
    ws.close()
    again = Workspace.of(make_napari_viewer())
    assert again.open_project(folder)
    spin()
    widget = GapsWidget(again.viewer)
    qtbot.addWidget(widget)
    assert widget.tabs.tabText(1) == "Cuts", "nobody has looked"
    widget.tabs.setCurrentIndex(1)
    assert again.tasks.is_running("cuts")
    spin()
    assert widget.tabs.tabText(1) == "Cuts 3"
    assert again.review.gap.kind is GapKind.CUT
    again.close()


def test_the_search_can_be_cancelled(bridged, spin):
    ws, _ = bridged
    said = []
    ws.message.connect(lambda text, level: said.append(text))
    before = ws.session.cuts
    ws.review.search.find_cuts()
    ws.cancel()
    spin()
    assert "Looking for false bridges: cancelled; nothing was changed." in said
    assert ws.session.cuts == before


def test_cuts_found_in_a_mask_that_has_moved_on_take_none_away(bridged, qtbot, spin):
    ws, _ = bridged
    press(qtbot, ws, Qt.Key.Key_Q)
    first = ws.review.gap
    press(qtbot, ws, Qt.Key.Key_A)
    ws.review.search.find_cuts(quietly=True)
    ws.review.undo()
    assert ws.review.selected == first.id
    spin()
    assert first.id in [cut.id for cut in ws.session.open_cuts]
    assert ws.review.selected == first.id
