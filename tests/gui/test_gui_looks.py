"""What an annotator sees: docks that leave the canvas its room, words that are never cut, arrows that hide nothing."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from qtpy.QtCore import QSortFilterProxyModel, Qt
from qtpy.QtGui import QFontMetrics, QStandardItemModel
from qtpy.QtWidgets import QApplication, QFrame, QLabel, QPushButton, QTabBar

from napari_vessel.completion.gap import Effect, Gap, GapEnd, GapKind, Reason
from napari_vessel.gui.export import ExportWidget
from napari_vessel.gui.fewshot import FewShotWidget
from napari_vessel.gui.finetune import FineTuneWidget
from napari_vessel.gui.fragments import fragments_of
from napari_vessel.gui.gap_table import COLUMNS, QueueTable
from napari_vessel.gui.gap_words import effect_lines, why
from napari_vessel.gui.gaps import GapsWidget
from napari_vessel.gui.image_table import short_time
from napari_vessel.gui.measurements import MeasurementsWidget
from napari_vessel.gui.overlay import aims, arrows
from napari_vessel.gui.parts import StatusLine
from napari_vessel.gui.project import ProjectWidget
from napari_vessel.gui.segment import SegmentWidget
from napari_vessel.jobs import Progress

pytestmark = pytest.mark.gui

NARROW = 390


def turn():
    for _ in range(4):
        QApplication.processEvents()


def gap_with(effect=None, reasons=(), points=((10, 10), (10, 20)), width=3.0):
    path = np.linspace(*points, 11).astype(np.float32)
    ends = tuple(GapEnd(1, tuple(map(float, p)), None, width / 2, True) for p in points)
    effect = Effect(3, 2, 10.0, 40.0, 0) if effect is None else effect
    widths = np.full(len(path), width, np.float32)
    return Gap("g", GapKind.BRIDGE, ends, path, widths, 0.9, tuple(reasons), effect)


@pytest.fixture(
    params=[GapsWidget, SegmentWidget, ProjectWidget, MeasurementsWidget, ExportWidget, FewShotWidget, FineTuneWidget]
)
def docked(request, shown_review):
    viewer = shown_review.viewer
    widget = request.param(viewer)
    viewer.window.add_dock_widget(widget, area="right")
    turn()
    return widget


def test_no_dock_is_larger_than_a_small_screen_can_spare(docked):
    assert docked.minimumSizeHint().width() <= NARROW
    # 768 px less the desktop's bar, the window's frame, menu, status bar and the dock's title and tab.
    assert docked.minimumSizeHint().height() <= 620
    assert docked.sizeHint().width() <= NARROW


def test_texts_of_buttons_fit_at_the_least_width(docked):
    docked.setFixedWidth(docked.minimumSizeHint().width())
    turn()
    for button in docked.findChildren(QPushButton):
        if button.isVisible():
            needed = button.fontMetrics().horizontalAdvance(button.text().replace("&", ""))
            assert needed <= button.width(), button.text()


def test_the_tabs_of_many_docks_are_told_apart(shown_review):
    viewer = shown_review.viewer
    names = ["Vessel gaps", "Vessel project", "Vessel training"]
    docks = [viewer.window.add_plugin_dock_widget("napari-vessel", name, tabify=True)[0] for name in names]
    turn()
    [tabs] = [bar for bar in viewer.window._qt_window.findChildren(QTabBar) if bar.isVisible() and bar.count() == 3]
    assert [tabs.tabText(n) for n in range(3)] == ["Gaps", "Project", "Training"]
    # The Window menu has the room for whole names.
    assert [dock.toggleViewAction().text() for dock in docks] == [f"{name} (napari-vessel)" for name in names]


def test_docks_opened_one_after_the_other_are_tabs_on_a_small_screen_and_one_that_was_moved_stays(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    window, docks = viewer.window._qt_window, {}
    window.resize(1366, 768)

    def open_dock(name):
        docks[name] = viewer.window.add_plugin_dock_widget("napari-vessel", name)[0]
        turn()
        assert docks[name].widget().visibleRegion().boundingRect().height() > 400, "it is in front"

    for name in ("Vessel project", "Vessel gaps", "Measurements"):
        open_dock(name)
        assert window.height() <= 768
    first = docks["Vessel project"]
    assert window.tabifiedDockWidgets(first) == [docks["Vessel gaps"], docks["Measurements"]]
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, docks["Vessel gaps"])
    first.setFloating(True)
    open_dock("Vessel training")
    assert docks["Measurements"] in window.tabifiedDockWidgets(docks["Vessel training"])
    assert window.dockWidgetArea(docks["Vessel gaps"]) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert first.isFloating()
    # Else napari asks this one, deleted with the window, when that is closed.
    first.setFloating(False)


def test_four_lists_with_many_in_each_fit(shown_review):
    widget = GapsWidget(shown_review.viewer)
    shown_review.viewer.window.add_dock_widget(widget, area="right")
    widget.tabs.setTabVisible(3, True)
    for number, text in enumerate(("Gaps 138", "Cuts 12", "Fragments 188", "Differences 12")):
        widget.tabs.setTabText(number, text)
    widget._fit_tabs()
    turn()
    assert widget.minimumSizeHint().width() <= NARROW


@pytest.mark.parametrize(
    "effect",
    [
        Effect(13, 12, 3.0, 34.0, 0),
        Effect(188, 187, 288.0, 8888.0, 0),
        Effect(188, 188, 288.0, 0.0, 1),
        Effect(1888, 1887, 8888.0, 88888.0, 1),
    ],
)
def test_effect_is_never_cut(shown_review, effect):
    widget = GapsWidget(shown_review.viewer)
    shown_review.viewer.window.add_dock_widget(widget, area="right")
    widget.setFixedWidth(widget.minimumSizeHint().width())
    turn()
    label = widget.effect
    label.set_wordings(effect_lines(gap_with(effect)))
    assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width()
    assert f"{effect.components_before} → {effect.components_after}" in label.text()
    assert ("closes a loop" if effect.cycles else "no loop") in label.text()


def test_the_ordinary_effect_is_told_in_full(shown_review):
    widget = GapsWidget(shown_review.viewer)
    shown_review.viewer.window.add_dock_widget(widget, area="right")
    turn()
    widget.effect.set_wordings(effect_lines(gap_with(Effect(13, 12, 3.0, 34.0, 0))))
    assert widget.effect.text() == "components 13 → 12 · +34 px joined · no loop"


def test_why_says_what_counts_for_and_against():
    reasons = (
        Reason("mean probability 0.46 on the way", 1.4),
        Reason("runs straight on", 0.9),
        Reason("meets the side of a vessel", -0.6),
    )
    assert why(gap_with(reasons=reasons)) == "p .46, −side-on"
    assert why(gap_with(reasons=reasons[:2])) == "p .46, straight"
    assert why(gap_with(reasons=reasons[2:])) == "−side-on"
    assert why(gap_with(reasons=(Reason("something new", 0.2),))) == "something new"
    assert why(gap_with()) == ""


def test_why_tells_the_rows_of_a_real_list_apart(shown_review):
    widget = GapsWidget(shown_review.viewer)
    shown_review.viewer.window.add_dock_widget(widget, area="right")
    turn()
    column = widget.table.columnWidth(COLUMNS.index("why"))
    metrics = widget.table.fontMetrics()
    for row in range(widget.proxy.rowCount()):
        text = widget.proxy.data(widget.proxy.index(row, COLUMNS.index("why")))
        assert text
        assert metrics.horizontalAdvance(text) <= column - 6, text


@pytest.mark.parametrize("on_screen", [0.1, 1.0, 4.0])
def test_arrows_point_at_the_ends_and_keep_clear_of_the_vessel(on_screen):
    gap = gap_with(width=5.0)
    found = arrows(aims(gap), on_screen)
    for (start, vector), end in zip(found, (gap.path[0], gap.path[-1]), strict=True):
        tip = start + vector
        assert np.hypot(*(tip - end)) >= 2.5 + 5 * on_screen, "the tip is off the vessel"
        assert np.hypot(*(start - end)) > np.hypot(*(tip - end)), "it points at the end"
        across = end - tip
        cosine = across @ vector / (np.hypot(*across) * np.hypot(*vector))
        assert cosine == pytest.approx(1.0, abs=1e-5)
        assert np.hypot(*vector) == pytest.approx(20 * on_screen, rel=1e-4)


def test_arrows_keep_their_size_on_the_screen_and_go_with_the_proposals(review):
    ws = review
    layer = ws.scene.overlay.arrows
    camera = ws.scene._camera

    def on_screen():
        return float(np.hypot(*layer.data[0, 1])) * camera.zoom

    before = on_screen()
    camera.zoom = camera.zoom * 3
    assert on_screen() == pytest.approx(before, rel=1e-4)
    # It points at the proposal's first pixel: on one line with it, a little before.
    tip, heading = layer.data[0].sum(axis=0) - ws.review.gap.path[0], layer.data[0, 1] / np.hypot(*layer.data[0, 1])
    assert abs(tip[0] * heading[1] - tip[1] * heading[0]) < 0.2
    ws.scene.proposals_visible = False
    assert not layer.visible
    ws.next_gap()
    assert not layer.visible
    ws.scene.proposals_visible = True
    assert layer.visible
    assert not layer.editable
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer


def test_the_ghost_is_exactly_what_accepting_adds(review):
    from napari_vessel.review.edits import Verdict

    ws = review
    ghost = ws.scene.overlay.layer.data == 1
    before = ws.session.labels > 0
    ws.decide(Verdict.ACCEPTED)
    assert np.array_equal((ws.session.labels > 0) & ~before, ghost & ~before)


def test_proposals_follow_the_list_of_gaps(review):
    ws = review
    overlay = ws.scene.overlay
    gap = ws.session.gaps[0]
    moved = replace(gap, path=gap.path + np.float32(9))
    overlay.show([moved], None)
    rows, _ = np.nonzero(overlay.layer.data)
    assert rows.size
    assert rows.min() >= gap.path[:, 0].min() + 7
    overlay.show([], None)
    assert not overlay.layer.data.any()
    assert not overlay.arrows.visible


def test_fragments_of_a_small_label_image():
    components = np.zeros((9, 12), np.int32)
    components[0:3, 1:11] = 1
    components[4:7, 2:6] = 2
    expected = (components == 2).astype(np.uint8)
    assert np.array_equal(fragments_of(components), expected)
    expected[5, 3:5] = 0
    assert np.array_equal(fragments_of(components, outline=1), expected)
    assert not fragments_of(np.zeros((4, 4), np.int32)).any()


def test_fragments_follow_every_edit_and_the_mask(review, spin):
    from napari_vessel.review.edits import Verdict
    from napari_vessel.topology.components import main_component

    ws = review

    def right():
        spin()
        labels = ws.session.components.labels
        expected = (labels != 0) & (labels != main_component(labels))
        return expected.any() and np.array_equal(ws.scene.fragments.layer.data > 0, expected)

    assert right()
    ws.decide(Verdict.ACCEPTED)
    assert right()
    ws.undo()
    assert right()
    layer = ws.scene.fragments.layer
    assert not layer.editable
    assert ws.viewer.layers.selection.active is ws.scene.mask_layer
    ws.scene.mask_visible = False
    assert not layer.visible
    ws.scene.mask_visible = True
    assert layer.visible
    ws.scene.opacity = 0.3
    assert layer.opacity == pytest.approx(0.3)
    ws.scene.fragments_shown = False
    assert not layer.visible
    ws.decide(Verdict.ACCEPTED)
    ws.scene.fragments_shown = True
    assert layer.visible
    assert right()


def test_a_fragments_layer_thrown_away_stays_away(review, spin):
    ws = review
    ws.viewer.layers.remove(ws.scene.fragments.layer)
    turn()
    assert ws.session is not None, "the image stays open"
    assert not ws.scene.fragments_shown
    ws.scene.fragments_shown = True
    spin()
    assert ws.scene.fragments.layer.data.any()
    names = [layer.name for layer in ws.viewer.layers]
    assert names[1:3] == ["Vessels", "Fragments"]


def test_times_are_told_in_few_characters():
    now = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
    assert short_time("2026-11-21T05:23:14+00:00", now) == "05:23"
    assert short_time("2026-03-02T05:23:14+00:00", now) == "02 Mar"
    assert short_time("2025-03-02T05:23:14+00:00", now) == "Mar 2025"
    assert short_time("some day", now) == "some day"


def test_the_project_table_never_scrolls_sideways(shown_review):
    widget = ProjectWidget(shown_review.viewer)
    shown_review.viewer.window.add_dock_widget(widget, area="right")
    widget.setFixedWidth(NARROW - 20)
    turn()
    header = widget.table.horizontalHeader()
    widths = [header.sectionSize(n) for n in range(header.count())]
    assert sum(widths) <= widget.table.viewport().width()
    assert widths[1] >= 80, "the name is read"
    record = shown_review.record
    shown_review.set_flag("second_reader", True)
    turn()
    name = widget.proxy.data(widget.proxy.index(0, 1))
    assert record.name in name
    assert "⚑" in name
    widget.proxy.set_filter(None, "fundus second reader")
    assert widget.proxy.rowCount() == 1
    widget.proxy.set_filter(None, "octa")
    assert widget.proxy.rowCount() == 0


@pytest.mark.parametrize("kind", [ProjectWidget, GapsWidget])
def test_the_table_has_all_the_height_there_is(shown_review, kind):
    viewer = shown_review.viewer
    # napari puts room below what does not grow, and more of it with each dock that it opens.
    for _ in range(2):
        viewer.window.add_dock_widget(QFrame(), area="left")
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, area="right")
    turn()
    assert widget.status.geometry().bottom() >= widget.height() - 20


def test_the_row_under_review_is_in_view_when_the_list_becomes_longer(qtbot):
    model, proxy = QStandardItemModel(5, 7), QSortFilterProxyModel()
    proxy.setSourceModel(model)
    table = QueueTable(proxy)
    qtbot.addWidget(table)
    table.resize(300, 120)
    table.show()
    turn()
    model.setRowCount(60)
    table.point_at(proxy.index(40, 0))
    assert table.viewport().rect().contains(table.visualRect(proxy.index(40, 0)).center())


def test_what_was_under_way_is_not_said_for_ever(qapp):
    line = StatusLine()
    line.show_busy(Progress(1, 2, "Reading"), "Checking: Reading, 50%")
    assert line.text() == "Checking: Reading, 50%"
    line.show_busy(None, "")
    assert line.text() == ""
    line.show_busy(Progress(1, 2, "Reading"), "Checking: Reading, 50%")
    line.tell("No space left.", "error")
    line.show_busy(None, "")
    assert line.text() == "✘ No space left."


def test_a_sentence_with_too_little_room_ends_in_dots_and_the_tooltip_has_it_all(qtbot):
    line = StatusLine(2)
    qtbot.addWidget(line)
    line.resize(200, line.height())
    sentence = "The image file has moved and was not found near there; " * 4 + "put it back."
    line.setText(sentence)
    (label,) = line.findChildren(QLabel)
    assert label.text().endswith("…")
    assert label.heightForWidth(200) <= line.height()
    assert line.text() == line.toolTip() == sentence
    line.setText("Short.")
    assert label.text() == "Short."


def test_a_status_line_has_room_for_its_lines_in_naparis_font(shown_review):
    line = StatusLine(3)
    shown_review.viewer.window.add_dock_widget(line, area="right")
    turn()
    (label,) = line.findChildren(QLabel)
    assert label.fontMetrics().lineSpacing() > QFontMetrics(line.font()).lineSpacing(), "napari's labels are larger"
    assert line.height() >= 3 * label.fontMetrics().lineSpacing()


def test_the_name_of_the_model_is_read_whole(shown_review):
    widget = SegmentWidget(shown_review.viewer)
    shown_review.viewer.window.add_dock_widget(widget, area="right")
    widget.setFixedWidth(NARROW - 20)
    turn()
    arrow = 30
    assert widget.model.fontMetrics().horizontalAdvance(widget.model.currentText()) <= widget.model.width() - arrow
